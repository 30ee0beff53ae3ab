/* SPDX-License-Identifier: MIT */
/* json_wipe - makes jansson forget: every block it frees is overwritten first. And tells when it ran out.
 *
 * Credential files pass through jansson on their way into struct secret; without this their tokens would stay
 * behind in freed heap blocks. Process-wide; call once, before the first JSON value is made. Costs a memset
 * per free, which is why only credd does it. */
#ifndef CREDD_JSON_WIPE_H
#define CREDD_JSON_WIPE_H

#include <stdbool.h>

void json_wipe_install(void);
/* Whether an allocation of jansson's failed since the last call: it reports some of these as bad syntax. */
bool json_wipe_ran_out(void);

#endif
