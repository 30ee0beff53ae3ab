/* SPDX-License-Identifier: MIT */
#include "credd/second_chances.h"

/* Its place in the ring; SECOND_CHANCES: it has none. */
static size_t find(const struct second_chances *chances, uint64_t request, uint64_t credential_id)
{
    size_t i = request != 0 ? 0 : SECOND_CHANCES;
    while (i < SECOND_CHANCES &&
           (chances->ring[i].request != request || chances->ring[i].credential_id != credential_id))
        i++;
    return i;
}

void second_chances_note(struct second_chances *chances, uint64_t request, uint64_t credential_id)
{
    if (request == 0 || find(chances, request, credential_id) < SECOND_CHANCES)
        return;
    size_t i = chances->next++ % SECOND_CHANCES;
    chances->ring[i].request = request;
    chances->ring[i].credential_id = credential_id;
    chances->ring[i].is_used = false;
}

size_t second_chances_give(struct second_chances *chances, uint64_t request, uint64_t *excluded, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        size_t place = find(chances, request, excluded[i]);
        if (place == SECOND_CHANCES || chances->ring[place].is_used)
            excluded[kept++] = excluded[i];
        else
            chances->ring[place].is_used = true;
    }
    return kept;
}
