/* SPDX-License-Identifier: MIT */
/* rotation - which credential serves the next request, and what outcomes do to credentials. Pure: time is
 * passed in, nothing is logged, nothing blocks.
 *
 * The choice: the pinned credential, if there is one and it can serve; else a conversation's credential of
 * the last hour while it is ready; else the current credential until it served `rotation_count` requests in a
 * row (or, with automatic rotation off, for as long as it can), then the next one that can serve, in the
 * order of rotation_sync. Those that the request has tried, that are at their limit or that cool for its
 * model are passed over. A wish for one credential (`only`) gets that one in whatever state it is, or none.
 *
 * States, and what moves them (any outcome may find any state; a worse state is never replaced by a better
 * one but by time or by a new token):
 *
 *     ready        RATE_LIMITED → cooling for that model       RISK_CONTROL → disabled
 *                  EXHAUSTED → exhausted                       UNAUTHORIZED → expired | needs_login
 *     cooling      per model; until the time is over → ready
 *     exhausted    until the time is over → ready
 *     expired      past its time (5 minutes early), or UNAUTHORIZED with a refresh token. While it is being
 *                  refreshed, requests wait for it if no other can serve; a new token → ready
 *     needs_login  UNAUTHORIZED without a refresh token or within ROTATION_FRESH_MS of a refresh, a refresh
 *                  token that is over, or no usable file; a new token → ready
 *     disabled     by risk control: a new token → ready; switched off by a person: until switched on
 *
 * MODEL_NOT_SERVED is about the site, not the credential: all credentials of that site are passed over for
 * that model for a minute. All other outcomes change nothing. What is to outlive the process is read and put
 * back with rotation_recall and rotation_restore. */
#ifndef CREDD_ROTATION_H
#define CREDD_ROTATION_H

#include "proto/bytes.h"
#include "proto/outcome.h"

enum {
    ROTATION_EARLY_MS = 5 * 60 * 1000,       /* a token counts as expired this early (upstream.md, 8) */
    ROTATION_COOL_DEFAULT_MS = 60 * 1000,    /* 429 that does not say until when */
    ROTATION_COOL_MAX_MS = 24 * 3600 * 1000, /* upstream.md, 6 */
    ROTATION_NOT_SERVED_MS = 60 * 1000,      /* long enough for a request's own failover */
    ROTATION_FRESH_MS = 5 * 60 * 1000, /* a token refreshed this lately and refused is not refreshed again */
    ROTATION_MODEL_MAX_BYTES = 128,    /* LEASE's bound */
    ROTATION_REASON_MAX_BYTES = 256,   /* RELEASE's bound */
    ROTATION_MAX_MODELS = 64,          /* cooling models kept per credential */
};

struct moment {
    int64_t now_ms;  /* monotonic */
    int64_t wall_ms; /* for expiry */
};

/* CS(NAME, word) - the word is what logs, metrics and the admin API show. */
#define CREDENTIAL_STATE_LIST(CS)                                                                            \
    CS(CREDENTIAL_READY, "ready")                                                                            \
    CS(CREDENTIAL_COOLING, "cooling")                                                                        \
    CS(CREDENTIAL_EXHAUSTED, "exhausted")                                                                    \
    CS(CREDENTIAL_EXPIRED, "expired")                                                                        \
    CS(CREDENTIAL_NEEDS_LOGIN, "needs_login")                                                                \
    CS(CREDENTIAL_DISABLED, "disabled")
enum credential_state {
#define CS(name, word) name,
    CREDENTIAL_STATE_LIST(CS)
#undef CS
        CREDENTIAL_STATE_COUNT
};
const char *credential_state_word(enum credential_state state); /* static */

struct rotation_rules {
    int64_t rotation_count; /* requests before the next credential; 0: stay */
    int64_t max_in_flight;  /* per credential */
    int64_t exhausted_ms;   /* how long an exhausted credential is left alone */
};

/* What rotation knows of a credential from its file. */
struct rotation_fact {
    uint64_t id;         /* as in the exclude list */
    uint32_t number;     /* unique, not 0 */
    uint32_t site;       /* equal for credentials of one site */
    uint64_t generation; /* changes with the token; 0: no usable token */
    bool can_refresh;
    int64_t expires_wall_ms; /* 0: unknown */
    const void *subject;     /* handed back by a choice */
};

struct rotation;
/* `seed`: 16 random bytes. Returns owned, NULL when out of memory. */
struct rotation *rotation_new(const struct rotation_rules *rules, const unsigned char seed[16]);
void rotation_free(struct rotation **rotation);
void rotation_set_rules(struct rotation *rotation, const struct rotation_rules *rules);
/* Takes over the credentials there are now, in rotation order. Those known by number keep state and
 * requests in flight. One that went is forgotten when its last request ends. 0 or ERR_NOMEM (unchanged). */
int rotation_sync(struct rotation *rotation, const struct rotation_fact *facts, size_t count);
/* Takes away all credentials, as a sync with none does, but cannot fail. */
void rotation_clear(struct rotation *rotation);

struct rotation_wish {
    struct span model;
    struct span conversation; /* may be empty */
    const uint64_t *excluded; /* ids already tried */
    size_t excluded_count;
    uint64_t only; /* the id of the one that must serve; 0: any */
};

enum rotation_answer {
    ROTATION_GRANTED,    /* and counted as in flight: pair with rotation_end */
    ROTATION_BUSY,       /* some could serve but for their limit: wait for an end, or until return_ms */
    ROTATION_COOLING,    /* all that could serve come back by themselves, the first at return_ms */
    ROTATION_NOT_SERVED, /* no site of a usable credential serves the model */
    ROTATION_TRIED,      /* the request has tried all that are usable */
    ROTATION_NONE        /* no usable credential */
};

struct rotation_choice {
    uint32_t number;
    uint64_t generation;
    const void *subject;
    int64_t return_ms; /* monotonic; INT64_MAX: none will return by itself */
    bool is_cooling;   /* COOLING: some for a rate limit … */
    bool is_exhausted; /* … some because credits are used up */
};

enum rotation_answer rotation_choose(struct rotation *rotation, const struct rotation_wish *wish,
                                     const struct moment *moment, struct rotation_choice *choice);
/* Counts a request in flight that an earlier incarnation granted, over the limit too. False if there is no
 * such credential. */
bool rotation_adopt(struct rotation *rotation, uint32_t number, uint64_t *generation);
/* Ends one request in flight of a credential that has one. */
void rotation_end(struct rotation *rotation, uint32_t number);

struct rotation_report {
    uint32_t number;
    uint64_t generation; /* of the token that was used; 0: not known */
    unsigned outcome;    /* enum outcome; others change nothing */
    struct span model;
    uint32_t retry_after_s; /* 0: unknown */
    struct span reason;
};

/* Acts on what became of a request. Returns true if a state changed, with `view` telling the new one. */
struct rotation_view {
    enum credential_state state;
    struct span reason; /* borrows until the next call that changes state */
    struct span model;  /* the model that cools; empty: all models */
    int64_t until_ms;   /* monotonic; 0: none */
    int64_t in_flight;
    uint64_t uses; /* grants */
    bool is_off;   /* switched off by a person: disabled for that reason, whatever else there is */
    const void *subject;
};
bool rotation_report(struct rotation *rotation, const struct rotation_report *report,
                     const struct moment *moment, struct rotation_view *view);

/* ---- refreshing ---- */

/* Whether requests are to wait for it: a new token is being fetched, or written. */
void rotation_set_refreshing(struct rotation *rotation, uint32_t number, bool is_refreshing);
/* The next new token of this credential comes of a refresh, not of a person: what the account has earned
 * (cooling, exhausted, disabled) stays. */
void rotation_expect_refreshed(struct rotation *rotation, uint32_t number, int64_t now_ms);
/* Its refresh token is over: needs_login. Returns true if the state changed. */
bool rotation_condemn(struct rotation *rotation, uint32_t number, struct span reason);

/* What its quota says: an exhausted one that was to return at `seen_ms` returns at `until_ms`, monotonic,
 * which may be now. Returns false, and changes nothing, if it is not exhausted until just then. */
bool rotation_move_return(struct rotation *rotation, uint32_t number, int64_t seen_ms, int64_t until_ms);

/* ---- what a person decides ---- */

/* Pins one credential, 0 ends the pin. It holds while there is such a credential, also while it is gone. */
void rotation_pin(struct rotation *rotation, uint32_t number);
uint32_t rotation_pinned(const struct rotation *rotation); /* 0: none, or gone */
void rotation_set_auto(struct rotation *rotation, bool is_auto);
bool rotation_is_auto(const struct rotation *rotation);
/* Switches one off, or on: then cooling, exhausted and risk control's disabling are over, too. False if there
 * is no such credential. */
bool rotation_switch(struct rotation *rotation, uint32_t number, bool is_on, struct span reason);
/* The position of the one that would serve a request for some model without conversation, and how many in a
 * row it has; SIZE_MAX if none could. Changes nothing. */
size_t rotation_next(const struct rotation *rotation, const struct moment *moment, int64_t *served);

/* ---- what outlives the process ---- */

struct rotation_cooling {
    struct span model; /* borrows until the next call that changes state */
    int64_t until_ms;
};
struct rotation_memory {
    uint64_t generation;           /* of the token that earned it; rotation_restore does not look at it */
    enum credential_state verdict; /* what outcomes made of it; never COOLING */
    bool is_off;
    int64_t exhausted_until_ms; /* with EXHAUSTED */
    struct span reason;
    uint64_t uses;
    struct rotation_cooling coolings[ROTATION_MAX_MODELS];
    size_t cooling_count;
};
/* Of the i-th credential. */
void rotation_recall(const struct rotation *rotation, size_t i, struct rotation_memory *memory);
/* Puts it back; ended times are left out. 0, ERR_NOT_FOUND, ERR_NOMEM (some of the coolings missing). */
int rotation_restore(struct rotation *rotation, uint32_t number, const struct rotation_memory *memory,
                     int64_t now_ms);
struct rotation_turn {
    uint32_t current; /* number; 0: none */
    int64_t served;
    uint32_t pinned;
    bool is_auto;
};
struct rotation_turn rotation_turn(const struct rotation *rotation);
void rotation_set_turn(struct rotation *rotation, const struct rotation_turn *turn);
/* Grows with every change of what outlives the process, but for turns and uses. */
uint64_t rotation_change_count(const struct rotation *rotation);

size_t rotation_size(const struct rotation *rotation);
/* The i-th credential in order, i below rotation_size. Cooling is shown if any model cools. */
void rotation_look(const struct rotation *rotation, size_t i, const struct moment *moment,
                   struct rotation_view *view);

#endif
