/* SPDX-License-Identifier: MIT */
/* credential_calls - the admin API's credentials.* methods (README.md): list, add, select, delete and the
 * rest. Owned by desk. File writes happen off the loop; a change is answered when it is durable. */
#ifndef CREDD_CREDENTIAL_CALLS_H
#define CREDD_CREDENTIAL_CALLS_H

#include "credd/broker.h"
#include "credd/calls.h"
#include "credd/file_maker.h"
#include "credd/quotas.h"
#include "credd/state_store.h"
#include "proto/settings.h"

struct credential_calls;
/* All borrowed. */
struct credential_calls_parts {
    const struct sites *sites;
    const struct vault *vault;
    struct broker *broker;
    struct state_store *store;
    struct file_maker *maker;
    struct quotas *quotas;
    const struct settings *settings;
    /* The files changed: looks at them at once. */
    void (*rescan)(void *owner);
    /* A person lets the credential's token go to the default site: vault_rebind, and a look at once. */
    int (*rebind)(void *owner, uint32_t number);
    void *owner;
};
/* Adds the methods to `calls`. Returns owned, NULL when out of memory. */
struct credential_calls *credential_calls_new(struct calls *calls,
                                              const struct credential_calls_parts *parts);
/* Nothing may be answered after. NULL-safe. */
void credential_calls_free(struct credential_calls **calls);

/* Finds the credential that `id` or `index` of the arguments names. NULL: the call has been answered 404 or
 * 422. */
const struct credential *credential_calls_find(struct call *call, const json_t *arguments,
                                               const struct vault *vault);

#endif
