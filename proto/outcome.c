/* SPDX-License-Identifier: MIT */
#include "proto/outcome.h"

const char *outcome_word(unsigned outcome)
{
    static const char *const words[OUTCOME_COUNT] = {
#define O(name, value, word) [name] = (word),
        OUTCOME_LIST(O)
#undef O
    };
    return outcome < OUTCOME_COUNT ? words[outcome] : "unknown";
}
