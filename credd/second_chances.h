/* SPDX-License-Identifier: MIT */
/* second_chances - requests whose token the upstream refused, and with which credential: when such a request
 * asks again, that credential may serve it once more, for its token may be a new one by then. Remembers the
 * last SECOND_CHANCES of them. Part of broker. Pure. */
#ifndef CREDD_SECOND_CHANCES_H
#define CREDD_SECOND_CHANCES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SECOND_CHANCES = 1024 /* requests come back within milliseconds */ };

struct second_chances { /* all zero: none */
    struct {
        uint64_t request, credential_id;
        bool is_used;
    } ring[SECOND_CHANCES];
    size_t next;
};

/* `request` is a hash of the request's id, the same each time it asks; 0: not known, and nothing is noted.
 * Neither is what was before. */
void second_chances_note(struct second_chances *chances, uint64_t request, uint64_t credential_id);
/* Takes out of `excluded`, `count` credentials that the request has tried, each that gets its second chance,
 * and uses that up. Returns how many are left. */
size_t second_chances_give(struct second_chances *chances, uint64_t request, uint64_t *excluded,
                           size_t count);

#endif
