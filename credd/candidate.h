/* SPDX-License-Identifier: MIT */
/* candidate - one credential in the eyes of the rotation: its state, by the table in rotation.h. Internal to
 * rotation and its tests. Pure. */
#ifndef CREDD_CANDIDATE_H
#define CREDD_CANDIDATE_H

#include "credd/rotation.h"

#define HASH_NONFATAL_OOM              1
#define uthash_nonfatal_oom(candidate) ((candidate)->is_lost = true)
#include <uthash.h>

struct cooling {
    int64_t until_ms;
    char model[ROTATION_MODEL_MAX_BYTES + 1];
};

struct candidate {
    struct rotation_fact fact;
    enum credential_state verdict; /* what outcomes made of it; never COOLING; time is not looked at */
    int64_t exhausted_until_ms;
    struct cooling *coolings;
    size_t cooling_count;
    char reason[ROTATION_REASON_MAX_BYTES + 1];
    int64_t in_flight;
    uint64_t uses;
    bool is_off;            /* switched off by a person */
    bool is_refreshing;     /* a new token is on its way */
    bool expects_refreshed; /* the next new token is that one */
    int64_t refreshed_ms;   /* when the present token came by a refresh; 0: it did not */
    size_t position;        /* in the order; of no meaning once gone */
    bool has_token;         /* its file is usable; fact.generation is then its token's, else the last one's */
    bool is_gone;           /* its file is; forgotten when in_flight is 0 */
    bool is_new;            /* only within rotation_sync */
    bool is_lost;           /* could not be put into the table */
    UT_hash_handle hh;
};

void candidate_fini(struct candidate *candidate);
/* Takes what the file says now. A new generation starts with a clean slate. */
void candidate_update(struct candidate *candidate, const struct rotation_fact *fact);
/* Its state, cooling left aside: that is per model. */
enum credential_state candidate_state(const struct candidate *candidate, const struct moment *moment);
/* When `model` may be used again; 0 if it may now. */
int64_t candidate_cools_until(const struct candidate *candidate, struct span model, int64_t now_ms);
/* The one function that moves a state. Returns true if it did; then `model` is the cooling one, or empty. */
bool candidate_report(struct candidate *candidate, const struct rotation_report *report, int64_t exhausted_ms,
                      int64_t now_ms, struct span *model);
/* As rotation_condemn. */
bool candidate_condemn(struct candidate *candidate, struct span reason);
/* As rotation_move_return. */
bool candidate_move_return(struct candidate *candidate, int64_t seen_ms, int64_t until_ms);
/* Switches it off or on, as rotation_switch says. */
void candidate_switch(struct candidate *candidate, bool is_on, struct span reason);
void candidate_recall(const struct candidate *candidate, struct rotation_memory *memory);
/* 0 or ERR_NOMEM (some of the coolings missing). */
int candidate_restore(struct candidate *candidate, const struct rotation_memory *memory, int64_t now_ms);
void candidate_look(const struct candidate *candidate, const struct moment *moment,
                    struct rotation_view *view);

#endif
