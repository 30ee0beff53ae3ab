/* SPDX-License-Identifier: MIT */
#include "deploy/supervisor/supervise.h"

#include "proto/error.h"

#include <assert.h>
#include <stddef.h>

typedef enum supervise_action handler(struct supervise *s, int64_t detail, int64_t now_ms);

static enum supervise_action enter(struct supervise *s, enum supervise_state state, int64_t deadline_ms,
                                   enum supervise_action action, int64_t now_ms)
{
    s->state = state;
    s->since_ms = s->heard_ms = now_ms;
    s->deadline_ms = deadline_ms;
    return action;
}

static enum supervise_action enter_starting(struct supervise *s, int64_t now_ms)
{
    return enter(s, SUPERVISE_STARTING, now_ms + s->limits->start_ms, SUPERVISE_DO_SPAWN, now_ms);
}

static enum supervise_action enter_stopping(struct supervise *s, enum supervise_after after,
                                            int64_t kill_at_ms, enum supervise_action action, int64_t now_ms)
{
    s->after = after;
    return enter(s, SUPERVISE_STOPPING, kill_at_ms, action, now_ms);
}

static enum supervise_action enter_stopped(struct supervise *s, int64_t now_ms)
{
    return enter(s, SUPERVISE_STOPPED, SUPERVISE_NEVER, SUPERVISE_DO_NOTHING, now_ms);
}

static enum supervise_action after_failure(struct supervise *s, int64_t exit_status, int64_t now_ms)
{
    int64_t delay_ms = s->delay_ms;

    s->failures_count++;
    if (exit_status == EXIT_CONFIG)
        return enter(s, SUPERVISE_PARKED, SUPERVISE_NEVER, SUPERVISE_DO_NOTHING, now_ms);
    s->delay_ms = delay_ms > 0 ? delay_ms * 2 : s->limits->backoff_first_ms;
    if (s->delay_ms > s->limits->backoff_most_ms)
        s->delay_ms = s->limits->backoff_most_ms;
    if (delay_ms == 0)
        return enter_starting(s, now_ms);
    return enter(s, SUPERVISE_BACKING_OFF, now_ms + delay_ms, SUPERVISE_DO_NOTHING, now_ms);
}

/* Leaving `ready` after a while of health forgets the failures before it. */
static void settle_health(struct supervise *s, int64_t now_ms)
{
    if (s->state == SUPERVISE_READY && now_ms - s->since_ms >= s->limits->healthy_ms)
        s->delay_ms = 0;
}

static enum supervise_action ignore(struct supervise *s, int64_t detail, int64_t now_ms)
{
    (void)s, (void)detail, (void)now_ms;
    return SUPERVISE_DO_NOTHING;
}

static enum supervise_action start(struct supervise *s, int64_t detail, int64_t now_ms)
{
    (void)detail;
    return enter_starting(s, now_ms);
}

static enum supervise_action become_ready(struct supervise *s, int64_t detail, int64_t now_ms)
{
    (void)detail;
    return enter(s, SUPERVISE_READY, now_ms + s->limits->silence_ms, SUPERVISE_DO_NOTHING, now_ms);
}

static enum supervise_action hear(struct supervise *s, int64_t detail, int64_t now_ms)
{
    (void)detail;
    s->heard_ms = now_ms;
    s->deadline_ms = now_ms + s->limits->silence_ms;
    return SUPERVISE_DO_NOTHING;
}

static enum supervise_action drain_unasked(struct supervise *s, int64_t detail, int64_t now_ms)
{
    (void)detail;
    settle_health(s, now_ms);
    return enter_stopping(s, SUPERVISE_THEN_FAILED, now_ms + s->limits->drain_ms, SUPERVISE_DO_NOTHING,
                          now_ms);
}

static enum supervise_action fail(struct supervise *s, int64_t detail, int64_t now_ms)
{
    settle_health(s, now_ms);
    return after_failure(s, detail, now_ms);
}

static enum supervise_action check_hang(struct supervise *s, int64_t is_starved, int64_t now_ms)
{
    if (now_ms < s->deadline_ms)
        return SUPERVISE_DO_NOTHING;
    if (is_starved && now_ms - s->heard_ms < s->limits->starved_most_ms) {
        s->deadline_ms = now_ms + s->limits->starved_look_ms;
        return SUPERVISE_DO_NOTHING;
    }
    settle_health(s, now_ms);
    return enter_stopping(s, SUPERVISE_THEN_FAILED, now_ms + s->limits->abort_grace_ms, SUPERVISE_DO_ABORT,
                          now_ms);
}

static enum supervise_action stop(struct supervise *s, int64_t detail, int64_t now_ms)
{
    return enter_stopping(s, SUPERVISE_THEN_STOPPED, detail, SUPERVISE_DO_TERMINATE, now_ms);
}

static enum supervise_action replace(struct supervise *s, int64_t detail, int64_t now_ms)
{
    (void)detail;
    settle_health(s, now_ms);
    return enter_stopping(s, SUPERVISE_THEN_RELOADED, now_ms + s->limits->drain_ms, SUPERVISE_DO_TERMINATE,
                          now_ms);
}

static enum supervise_action kill_now(struct supervise *s, int64_t detail, int64_t now_ms)
{
    (void)detail;
    return enter_stopping(s, SUPERVISE_THEN_STOPPED, SUPERVISE_NEVER, SUPERVISE_DO_KILL, now_ms);
}

static enum supervise_action end_stopping(struct supervise *s, int64_t detail, int64_t now_ms)
{
    switch (s->after) {
    case SUPERVISE_THEN_FAILED:
        return after_failure(s, detail, now_ms);
    case SUPERVISE_THEN_RELOADED:
        return enter_starting(s, now_ms);
    case SUPERVISE_THEN_STOPPED:
        break;
    }
    return enter_stopped(s, now_ms);
}

static enum supervise_action check_drain(struct supervise *s, int64_t detail, int64_t now_ms)
{
    (void)detail;
    if (now_ms < s->deadline_ms)
        return SUPERVISE_DO_NOTHING;
    s->deadline_ms = SUPERVISE_NEVER; /* nothing is stronger than SIGKILL: wait for the kernel */
    return SUPERVISE_DO_KILL;
}

/* It is on its way out already; it just must not come back. Whichever SIGKILL is due first stays due. */
static enum supervise_action stay_stopped(struct supervise *s, int64_t detail, int64_t now_ms)
{
    (void)now_ms;
    s->after = SUPERVISE_THEN_STOPPED;
    if (s->deadline_ms != SUPERVISE_NEVER && detail < s->deadline_ms)
        s->deadline_ms = detail;
    return SUPERVISE_DO_NOTHING;
}

static enum supervise_action check_backoff(struct supervise *s, int64_t detail, int64_t now_ms)
{
    (void)detail;
    return now_ms < s->deadline_ms ? SUPERVISE_DO_NOTHING : enter_starting(s, now_ms);
}

/* A person asked: what failed before counts no longer. */
static enum supervise_action start_afresh(struct supervise *s, int64_t detail, int64_t now_ms)
{
    (void)detail;
    s->delay_ms = 0;
    return enter_starting(s, now_ms);
}

static enum supervise_action give_up(struct supervise *s, int64_t detail, int64_t now_ms)
{
    (void)detail;
    return enter_stopped(s, now_ms);
}

/* The table of the header, cell by cell. */
/* clang-format off */
static handler *const table[SUPERVISE_STATE_COUNT][SUPERVISE_EVENT_COUNT] = {
    /*                         start   ready         alive   draining       exited        time           stop          reload        kill */
    [SUPERVISE_STOPPED]     = {start,  ignore,       ignore, ignore,        ignore,       ignore,        ignore,       ignore,       ignore},
    [SUPERVISE_STARTING]    = {ignore, become_ready, ignore, drain_unasked, fail,         check_hang,    stop,         replace,      kill_now},
    [SUPERVISE_READY]       = {ignore, hear,         hear,   drain_unasked, fail,         check_hang,    stop,         replace,      kill_now},
    [SUPERVISE_STOPPING]    = {ignore, ignore,       ignore, ignore,        end_stopping, check_drain,   stay_stopped, ignore,       kill_now},
    [SUPERVISE_BACKING_OFF] = {ignore, ignore,       ignore, ignore,        ignore,       check_backoff, give_up,      start_afresh, give_up},
    [SUPERVISE_PARKED]      = {ignore, ignore,       ignore, ignore,        ignore,       ignore,        give_up,      start_afresh, give_up},
};
/* clang-format on */

void supervise_init(struct supervise *supervise, const struct supervise_limits *limits, int64_t now_ms)
{
    *supervise = (struct supervise){
        .limits = limits, .state = SUPERVISE_STOPPED, .since_ms = now_ms, .deadline_ms = SUPERVISE_NEVER};
}

enum supervise_action supervise_handle(struct supervise *supervise, enum supervise_event event,
                                       int64_t detail, int64_t now_ms)
{
    assert(supervise->state < SUPERVISE_STATE_COUNT && event < SUPERVISE_EVENT_COUNT);
    return table[supervise->state][event](supervise, detail, now_ms);
}

bool supervise_is_alive(const struct supervise *supervise)
{
    return supervise->state == SUPERVISE_STARTING || supervise->state == SUPERVISE_READY ||
           supervise->state == SUPERVISE_STOPPING;
}

const char *supervise_state_name(enum supervise_state state)
{
    static const char *const names[SUPERVISE_STATE_COUNT] = {
        [SUPERVISE_STOPPED] = "stopped",
        [SUPERVISE_STARTING] = "starting",
        [SUPERVISE_READY] = "ready",
        [SUPERVISE_STOPPING] = "stopping",
        [SUPERVISE_BACKING_OFF] = "backing off",
        [SUPERVISE_PARKED] = "parked",
    };
    return names[state];
}
