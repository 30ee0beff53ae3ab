/* SPDX-License-Identifier: MIT */
/* quota - what the upstream's two quota calls say of an account's credits (upstream.md, 2). Pure. The answers
 * are known from reports only, so they are read strictly: what is not understood is no quota, never a wrong
 * one. */
#ifndef CREDD_QUOTA_H
#define CREDD_QUOTA_H

#include <jansson.h>
#include <stdint.h>

enum {
    QUOTA_MAX_PACKAGES = 1000,
    QUOTA_MAX_CREDITS = 1000 * 1000 * 1000, /* of one package; more is no number of credits */
};

struct quota {
    int64_t remaining_micro, total_micro; /* credits, millionths; never negative */
    int64_t resets_wall_ms;               /* the first end of a cycle that is to come; 0: not known */
};

/* The answers' dates come without a zone: they are read as a clock shows them that is so far ahead of UTC
 * (site_clock_ahead_s). Where that is wrong, a credential is tried early or late, which quotas.h makes good.
 */
struct quota_clock {
    int64_t wall_ms; /* now */
    int64_t ahead_s;
};

/* `data` of an answer with code 0. Each returns 0, or ERR_INVALID with the quota unchanged.
 *
 * Personal: `Accounts`, packages with Size and Remain in one of the spellings of quota.c, which are added up;
 * one package that is not understood spoils them all. */
int quota_read_personal(const json_t *data, const struct quota_clock *clock, struct quota *quota);
/* Enterprise: `limitNum` (above 0: what else it may mean is not known) and `credit`, which is what was used.
 */
int quota_read_enterprise(const json_t *data, const struct quota_clock *clock, struct quota *quota);

#endif
