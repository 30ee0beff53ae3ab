/* SPDX-License-Identifier: MIT */
#include "deploy/supervisor/tree_member.h"

#include "proto/clock.h"
#include "proto/error.h"
#include "proto/log.h"

#include <assert.h>
#include <stdlib.h>
#include <utlist.h>

enum { LATE_GROUP_MS = 2000 }; /* what a group gets when the ones before it took all the drain time */

struct tree {
    uv_loop_t *loop;
    struct tree_options options;
    struct member *members; /* in the order of start */
    uv_timer_t timer;       /* the earliest deadline of all tables */
    uv_check_t after_poll;  /* runs once when the timer fires: see on_timer */
    uv_idle_t no_sleep;
    unsigned open_handles;

    bool was_ready, told_gone;
    int stop_turn; /* the group that stops now; -1: no stop; TREE_STOP_TURNS: all gone */
    int64_t stop_by_ms;
    uint32_t generation; /* of the reload under way, or the last */
    bool reloading;
    struct member *reload_at;        /* whom the reload waits for; NULL: those that retire */
    uint32_t reload_failures_count;  /* of that member when its turn came */
    bool reload_ended, reload_whole; /* to be told at the end of tree_settle */
};

uv_loop_t *tree_loop(struct tree *tree)
{
    return tree->loop;
}

const struct tree_options *tree_options(const struct tree *tree)
{
    return &tree->options;
}

bool tree_is_stopping(const struct tree *tree)
{
    return tree->stop_turn >= 0;
}

bool tree_is_reloading(const struct tree *tree)
{
    return tree->reloading;
}

const struct member *tree_members(const struct tree *tree)
{
    return tree->members;
}

/* ---- reload: one member after another (order and manner: tree.h) ---- */

static struct member *find_unreloaded(struct tree *tree)
{
    struct member *member;

    DL_FOREACH (tree->members, member) {
        if (!member->retiring && member->generation != tree->generation)
            return member;
    }
    return NULL;
}

static bool has_retiring(const struct tree *tree)
{
    const struct member *member;

    DL_FOREACH (tree->members, member) {
        if (member->retiring)
            return true;
    }
    return false;
}

static void retire(struct tree *tree, struct member *member)
{
    member->retiring = true;
    member_handle(member, SUPERVISE_STOP, clock_now_ms() + tree->options.limits.drain_ms);
}

static void end_reload(struct tree *tree, bool whole)
{
    struct member *at = tree->reload_at;

    if (!whole)
        log_error(NULL, "reload_failed", LOG_STR("at", at ? at->name : "-"),
                  LOG_STR("problem",
                          tree_is_stopping(tree) ? "the tree stops" : "a new process does not get ready"));
    else
        log_info(NULL, "reloaded");
    if (at && at->replaces) {
        at->replaces = NULL;
        retire(tree, at);
    }
    tree->reloading = false;
    tree->reload_at = NULL;
    tree->reload_ended = true;
    tree->reload_whole = whole;
}

/* Begins a second process beside a worker that serves. NULL when out of memory. */
static struct member *add_replacement(struct tree *tree, struct member *old)
{
    int instance =
        old->instance + (old->instance < TREE_INSTANCE_STEP ? TREE_INSTANCE_STEP : -TREE_INSTANCE_STEP);
    struct member *replacement = member_new(tree, old->role, instance);

    if (!replacement)
        return NULL;
    replacement->replaces = old;
    replacement->generation = tree->generation;
    replacement->restarts_count = old->restarts_count;
    DL_APPEND_ELEM(tree->members, old, replacement);
    return replacement;
}

static void begin_member_reload(struct tree *tree, struct member *member)
{
    bool overlaps = member_overlaps(member) && member->table.state == SUPERVISE_READY;

    member->generation = tree->generation;
    tree->reload_at = overlaps ? add_replacement(tree, member) : member;
    if (!tree->reload_at) {
        end_reload(tree, false);
        return;
    }
    tree->reload_failures_count = tree->reload_at->table.failures_count;
    member_handle(tree->reload_at, overlaps ? SUPERVISE_START : SUPERVISE_RELOAD, 0);
}

/* True if it got on, and may get further. */
static bool reload_step(struct tree *tree)
{
    struct member *at = tree->reload_at, *next;

    if (!tree->reloading)
        return false;
    if (at && at->table.failures_count != tree->reload_failures_count) {
        end_reload(tree, false);
        return true;
    }
    if (at && at->table.state != SUPERVISE_READY)
        return false;
    tree->reload_at = NULL;
    if (at && at->replaces) {
        retire(tree, at->replaces);
        at->replaces = NULL;
    }
    next = find_unreloaded(tree);
    if (next)
        begin_member_reload(tree, next);
    else if (!has_retiring(tree))
        end_reload(tree, true);
    return next || !tree->reloading;
}

int tree_reload(struct tree *tree)
{
    if (tree->reloading || tree_is_stopping(tree))
        return ERR_BUSY;
    log_info(NULL, "reloading");
    tree->reloading = true;
    tree->generation++;
    tree_settle(tree);
    return 0;
}

/* ---- stop: one group after another ---- */

static void stop_group(struct tree *tree)
{
    int64_t late_ms = clock_now_ms() + LATE_GROUP_MS;
    int64_t kill_at_ms = tree->stop_by_ms > late_ms ? tree->stop_by_ms : late_ms;
    struct member *member;

    DL_FOREACH (tree->members, member) {
        if (member_stop_turn(member) == tree->stop_turn)
            member_handle(member, SUPERVISE_STOP, kill_at_ms);
    }
}

static bool group_is_gone(const struct tree *tree)
{
    const struct member *member;

    DL_FOREACH (tree->members, member) {
        if (member_stop_turn(member) == tree->stop_turn && member->table.state != SUPERVISE_STOPPED)
            return false;
    }
    return true;
}

static void stop_step(struct tree *tree)
{
    while (tree_is_stopping(tree) && tree->stop_turn < TREE_STOP_TURNS && group_is_gone(tree)) {
        tree->stop_turn++;
        stop_group(tree);
    }
}

void tree_stop(struct tree *tree, bool at_once)
{
    struct member *member;

    if (!tree_is_stopping(tree)) {
        tree->stop_turn = 0;
        tree->stop_by_ms = clock_now_ms() + tree->options.limits.drain_ms;
        if (tree->reloading)
            end_reload(tree, false);
        stop_group(tree);
    }
    if (at_once) {
        DL_FOREACH (tree->members, member)
            member_handle(member, SUPERVISE_KILL, 0);
    }
    tree_settle(tree);
}

/* ---- time ---- */

/* Lines that came while we could not look (a stopped or starved supervisor) count before silence does: so a
 * deadline is judged after the loop has polled once more, without sleeping. */
static void on_timer(uv_timer_t *timer);

static void arm_timer(struct tree *tree)
{
    int64_t first_ms = SUPERVISE_NEVER, now_ms = clock_now_ms();
    const struct member *member;

    DL_FOREACH (tree->members, member) {
        if (member->table.deadline_ms < first_ms)
            first_ms = member->table.deadline_ms;
    }
    uv_timer_stop(&tree->timer);
    if (first_ms == SUPERVISE_NEVER)
        return;
    uv_update_time(tree->loop); /* libuv counts from when this turn began */
    uv_timer_start(&tree->timer, on_timer, first_ms > now_ms ? (uint64_t)(first_ms - now_ms) : 0, 0);
}

static void on_polled(uv_check_t *check)
{
    struct tree *tree = check->data;
    struct member *member;

    uv_check_stop(check);
    uv_idle_stop(&tree->no_sleep);
    DL_FOREACH (tree->members, member)
        member_tick(member);
    tree_settle(tree);
}

static void on_no_sleep(uv_idle_t *idle)
{
    (void)idle; /* its being active is all */
}

static void on_timer(uv_timer_t *timer)
{
    struct tree *tree = timer->data;

    uv_idle_start(&tree->no_sleep, on_no_sleep);
    uv_check_start(&tree->after_poll, on_polled);
}

/* ---- conclusions ---- */

static void remove_retired(struct tree *tree)
{
    struct member *member, *next;

    DL_FOREACH_SAFE (tree->members, member, next) {
        if (member->retiring && member->table.state == SUPERVISE_STOPPED) {
            DL_DELETE(tree->members, member);
            member_free(&member);
        }
    }
}

/* Callbacks come last: they may call back in. */
static void tell(struct tree *tree)
{
    const struct tree_options *options = &tree->options;

    options->on_change(options->context);
    if (tree->reload_ended) {
        tree->reload_ended = false;
        options->on_reloaded(options->context, tree->reload_whole);
    }
    if (!tree->was_ready && tree_is_ready(tree)) {
        tree->was_ready = true;
        options->on_ready(options->context);
    }
    if (!tree->told_gone && tree->stop_turn == TREE_STOP_TURNS) {
        tree->told_gone = true;
        options->on_gone(options->context);
    }
}

void tree_settle(struct tree *tree)
{
    do
        remove_retired(tree);
    while (reload_step(tree));
    stop_step(tree);
    arm_timer(tree);
    tell(tree);
}

/* ---- life ---- */

static int add_members(struct tree *tree)
{
    static const enum tree_role order[] = {ROLE_STATSD, ROLE_CREDD, ROLE_GATEWAY, ROLE_WORKER};

    for (size_t i = 0; i < sizeof(order) / sizeof(*order); i++) {
        int count = order[i] == ROLE_GATEWAY  ? tree->options.gateways_count
                    : order[i] == ROLE_WORKER ? tree->options.workers_count
                                              : 1;
        for (int instance = 0; instance < count; instance++) {
            struct member *member = member_new(tree, order[i], instance);
            if (!member)
                return ERR_NOMEM;
            DL_APPEND(tree->members, member);
        }
    }
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct tree *tree = handle->data;

    if (--tree->open_handles == 0)
        free(tree);
}

struct tree *tree_new(uv_loop_t *loop, const struct tree_options *options)
{
    struct tree *tree = calloc(1, sizeof(*tree));

    if (!tree) {
        log_error(NULL, "out_of_memory");
        return NULL;
    }
    tree->loop = loop;
    tree->options = *options;
    tree->stop_turn = -1;
    uv_timer_init(loop, &tree->timer);
    uv_check_init(loop, &tree->after_poll);
    uv_idle_init(loop, &tree->no_sleep);
    tree->open_handles = 3;
    tree->timer.data = tree->after_poll.data = tree->no_sleep.data = tree;
    if (add_members(tree) < 0) {
        log_error(NULL, "out_of_memory");
        tree_free(&tree);
    }
    return tree;
}

void tree_free(struct tree **tree_pointer)
{
    struct tree *tree = *tree_pointer;
    struct member *member, *next;

    *tree_pointer = NULL;
    if (!tree)
        return;
    DL_FOREACH_SAFE (tree->members, member, next)
        member_free(&member);
    uv_close((uv_handle_t *)&tree->timer, on_closed);
    uv_close((uv_handle_t *)&tree->after_poll, on_closed);
    uv_close((uv_handle_t *)&tree->no_sleep, on_closed);
}

void tree_start(struct tree *tree)
{
    struct member *member;

    DL_FOREACH (tree->members, member)
        member_handle(member, SUPERVISE_START, 0);
    tree_settle(tree);
}
