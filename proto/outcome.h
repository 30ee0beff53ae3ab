/* SPDX-License-Identifier: MIT */
/* outcome - what became of a leased credential's use: workers report it with RELEASE, credd acts on it.
 * The table of upstream codes behind it is upstream.md, section 6. */
#ifndef PROTO_OUTCOME_H
#define PROTO_OUTCOME_H

/* O(NAME, value, word) - the word is what logs, metrics and the ledger show. Values are on the wire: only
 * append. */
#define OUTCOME_LIST(O)                                                                                      \
    O(OUTCOME_OK, 0, "ok")                     /* a complete answer */                                       \
    O(OUTCOME_CANCELLED, 1, "cancelled")       /* the client left; blames nobody */                          \
    O(OUTCOME_BLAMELESS, 2, "blameless")       /* our or the client's fault (11101, 11128, 400): fine */     \
    O(OUTCOME_TRANSIENT, 3, "transient")       /* upstream trouble (5xx, connect, incomplete): fine */       \
    O(OUTCOME_RATE_LIMITED, 4, "rate_limited") /* 429: cool for this model until retry_after */              \
    O(OUTCOME_EXHAUSTED, 5, "exhausted")       /* 14018: credits used up */                                  \
    O(OUTCOME_UNAUTHORIZED, 6, "unauthorized") /* 401/403: token bad or expired */                           \
    O(OUTCOME_RISK_CONTROL, 7, "risk_control") /* 403 with 11140: disable, alert */                          \
    O(OUTCOME_MODEL_NOT_SERVED, 8, "model_not_served") /* 11102 */

enum outcome {
#define O(name, value, word) name = (value),
    OUTCOME_LIST(O)
#undef O
        OUTCOME_COUNT = 9
};

/* The word of an outcome, "unknown" when out of range. Static. */
const char *outcome_word(unsigned outcome);

#endif
