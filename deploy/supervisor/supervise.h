/* SPDX-License-Identifier: MIT */
/* clang-format off */
/* supervise - how one child process is kept alive: a state × event table, and nothing else. Pure: time is
 * passed in, what must be done comes back as an action, and the caller (tree.c) does it. Never blocks.
 *
 *              start    ready alive draining    exited      time         stop       reload        kill
 *  stopped     starting .     .     .           .           .            .          .             .
 *  starting    .        ready .     stopping[f] failed      stopping[f]A stopping T stopping[r]T  stopping K
 *  ready       .        heard heard stopping[f] failed      stopping[f]A stopping T stopping[r]T  stopping K
 *  stopping    .        .     .     .           as brackets stopping K   [s]        .             stopping K
 *  backing off .        .     .     .           .           starting     stopped    starting      stopped
 *  parked      .        .     .     .           .           .            stopped    starting      stopped
 *
 * `.` nothing changes. T, A, K: SIGTERM, SIGABRT, SIGKILL. Entering `starting` spawns. In brackets, what
 * follows once the process is gone: [s] it stays stopped, [r] it starts again at once (asked for), [f] it has
 * failed. `failed`: exit 78 parks; anything else starts again, at once after the first failure, then after
 * 100 ms, 200 ms … 30 s. Ten seconds of health wipe the slate clean.
 * `time` acts only when its limit is over: no `ready` in 30 s and no line for 10 s are both a hang, unless the
 * process is starved (starved.h): then it gets up to a minute. */
/* clang-format on */
#ifndef SUPERVISOR_SUPERVISE_H
#define SUPERVISOR_SUPERVISE_H

#include <stdbool.h>
#include <stdint.h>

enum supervise_state {
    SUPERVISE_STOPPED, /* not started yet, or gone for good */
    SUPERVISE_STARTING,
    SUPERVISE_READY,
    SUPERVISE_STOPPING,
    SUPERVISE_BACKING_OFF,
    SUPERVISE_PARKED,
    SUPERVISE_STATE_COUNT
};

enum supervise_event {
    SUPERVISE_START,
    SUPERVISE_IS_READY,    /* the child's line `ready` */
    SUPERVISE_IS_ALIVE,    /* the child's line `alive …` */
    SUPERVISE_IS_DRAINING, /* the child's line `draining`: it stops by itself unless it was asked to */
    SUPERVISE_HAS_EXITED,  /* detail: its exit status, or -signal. A failed spawn is EXIT_SYSTEM. */
    SUPERVISE_TIME,        /* time has passed. detail: 1 if the process is starved */
    SUPERVISE_STOP,        /* detail: when to send SIGKILL, monotonic ms */
    SUPERVISE_RELOAD,      /* replace the process in place */
    SUPERVISE_KILL,        /* stop, without a drain */
    SUPERVISE_EVENT_COUNT
};

enum supervise_action {
    SUPERVISE_DO_NOTHING,
    SUPERVISE_DO_SPAWN,
    SUPERVISE_DO_TERMINATE, /* SIGTERM */
    SUPERVISE_DO_ABORT,     /* SIGABRT, so that a hang leaves a core */
    SUPERVISE_DO_KILL,      /* SIGKILL */
};

struct supervise_limits {
    int64_t start_ms;         /* from spawn to `ready`; longer is a hang */
    int64_t silence_ms;       /* between two lines of a ready child; longer is a hang */
    int64_t starved_most_ms;  /* for one who is starved, in the place of those two */
    int64_t starved_look_ms;  /* how often we look whether it still is */
    int64_t abort_grace_ms;   /* from SIGABRT to SIGKILL */
    int64_t drain_ms;         /* from SIGTERM to SIGKILL */
    int64_t backoff_first_ms; /* delay of the second restart in a row; doubles from there */
    int64_t backoff_most_ms;
    int64_t healthy_ms; /* ready for so long: earlier failures are forgotten */
};

/* What design.md promises; drain_ms is set from the settings. Defined in limits.c, which tests replace. */
extern const struct supervise_limits supervise_limits_default;

enum supervise_after { SUPERVISE_THEN_STOPPED, SUPERVISE_THEN_RELOADED, SUPERVISE_THEN_FAILED };

/* Embedded. Read the fields freely; only the functions below write them. */
struct supervise {
    const struct supervise_limits *limits; /* borrows */
    enum supervise_state state;
    enum supervise_after after; /* STOPPING: what follows */
    int64_t heard_ms;           /* STARTING, READY: its last line, or the start */
    int64_t since_ms;           /* when the state was entered */
    int64_t deadline_ms;        /* when `time` acts next; SUPERVISE_NEVER if not */
    int64_t delay_ms;           /* the delay before the restart after the next failure */
    uint32_t failures_count;    /* over the whole life */
};

#define SUPERVISE_NEVER INT64_MAX

void supervise_init(struct supervise *supervise, const struct supervise_limits *limits, int64_t now_ms);
/* The one function that changes a state. `detail` as said at the events, otherwise ignored. */
enum supervise_action supervise_handle(struct supervise *supervise, enum supervise_event event,
                                       int64_t detail, int64_t now_ms);
/* True while there is (or, right after a spawn action, will be) a process. */
bool supervise_is_alive(const struct supervise *supervise);
/* "starting", "backing off", … Static. */
const char *supervise_state_name(enum supervise_state state);

#endif
