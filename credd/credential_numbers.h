/* SPDX-License-Identifier: MIT */
/* credential_numbers - what metrics say of each credential, for the first 1,000 in the rotation's order:
 *
 *     codebuddy2api_credential_state{credential="ID",state="WORD"} 1          the present state only; a
 *         disabled one has reason="person" or reason="risk_control" besides
 *     codebuddy2api_credential_in_flight{credential="ID"}
 *     codebuddy2api_credential_uses_total{credential="ID"}                    grants by this process
 *     codebuddy2api_credential_expires_timestamp_seconds{credential="ID"}     if known
 *     codebuddy2api_credential_refresh_due_timestamp_seconds{credential="ID"} if it can be refreshed: in the
 *         past means that its refresh is late, since it fails
 *     codebuddy2api_credential_until_timestamp_seconds{credential="ID"}       while cooling or exhausted
 *
 * ID is the opaque one of the admin API; names and reasons are shown there only. The gauges of a credential
 * go with its file. Owned by desk_numbers; never blocks. */
#ifndef CREDD_CREDENTIAL_NUMBERS_H
#define CREDD_CREDENTIAL_NUMBERS_H

#include "credd/rotation.h"

enum { CREDENTIAL_NUMBERS_MAX = 1000 };

/* Where the numbers go: the reporter's functions, or a test's. `value_micro` in millionths. */
struct number_sink {
    void (*gauge)(void *owner, const char *name, int64_t value_micro);
    void (*drop_gauge)(void *owner, const char *name);
    void (*count)(void *owner, const char *name, uint64_t add);
    void *owner;
};

struct credential_numbers;
/* Borrows the sink. Returns owned, NULL when out of memory. */
struct credential_numbers *credential_numbers_new(const struct number_sink *sink);
void credential_numbers_free(struct credential_numbers **numbers); /* NULL-safe */
/* Says what changed since the last time. Call once a second. */
void credential_numbers_report(struct credential_numbers *numbers, const struct rotation *rotation,
                               const struct moment *moment);

#endif
