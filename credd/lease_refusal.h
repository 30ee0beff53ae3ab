/* SPDX-License-Identifier: MIT */
/* lease_refusal - why a LEASE gets no credential: the failure, when to come back, and words for the client.
 * Part of broker. Pure. */
#ifndef CREDD_LEASE_REFUSAL_H
#define CREDD_LEASE_REFUSAL_H

#include "credd/rotation.h"
#include "credd/vault.h"
#include "proto/failure.h"

struct lease_refusal {
    enum failure failure;
    uint32_t retry_after_s; /* 0: none */
    char message[128];
};

/* All are at their limit, for as long as the asker waits. */
void lease_refusal_overloaded(struct lease_refusal *refusal);
/* What rotation_choose answered to `wish`, with its `choice`: neither GRANTED nor BUSY. */
void lease_refusal_of(enum rotation_answer answer, const struct rotation_wish *wish,
                      const struct rotation_choice *choice, const struct vault *vault,
                      const struct rotation *rotation, const struct moment *moment,
                      struct lease_refusal *refusal);

#endif
