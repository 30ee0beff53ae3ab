/* SPDX-License-Identifier: MIT */
/* rotation_private - what rotation.c (which credentials there are, and what becomes of them) and
 * rotation_choice.c (which of them serves) share. */
#ifndef CREDD_ROTATION_PRIVATE_H
#define CREDD_ROTATION_PRIVATE_H

#include "credd/affinity.h"
#include "credd/candidate.h"
#include "credd/site_marks.h"

struct rotation {
    struct rotation_rules rules;
    struct affinity *affinity;
    struct candidate *table;  /* by number, those gone but in flight included */
    struct candidate **order; /* those there are */
    size_t count;
    size_t current;  /* in order; 0 when it is empty */
    int64_t served;  /* grants in a row by the current one */
    uint32_t pinned; /* number; 0: none */
    bool is_off;     /* automatic rotation is */
    uint64_t changes;
    struct site_marks marks;
};

/* Those gone but in flight included. NULL: there is none of that number. */
struct candidate *rotation_find(const struct rotation *rotation, uint32_t number);

#endif
