/* SPDX-License-Identifier: MIT */
/* credential_list - what the admin API shows of credentials (http-api.md, 3). Pure. No tokens but the last
 * four characters of a long one, no server paths. */
#ifndef CREDD_CREDENTIAL_LIST_H
#define CREDD_CREDENTIAL_LIST_H

#include "credd/quotas.h"
#include "credd/rotation.h"
#include "credd/vault.h"

#include <jansson.h>

enum { TOKEN_PREVIEW_LEAST_BYTES = 16 /* of a shorter token four characters would be too much */ };

/* Each returns owned, NULL when out of memory. */
json_t *credential_list_all(const struct rotation *rotation, const struct quotas *quotas,
                            const struct moment *moment);
/* `rotation_count` is the setting. */
json_t *credential_list_current(const struct vault *vault, const struct rotation *rotation,
                                const struct moment *moment, int64_t rotation_count);

#endif
