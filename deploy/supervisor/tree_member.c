/* SPDX-License-Identifier: MIT */
#include "deploy/supervisor/tree_member.h"

#include "proto/clock.h"
#include "proto/error.h"
#include "proto/log.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const struct {
    const char *name;
    int stop_turn;
    bool overlaps;
} roles[] = {
#define R(name, text, turn, overlaps) [name] = {text, turn, overlaps},
    TREE_ROLES(R)
#undef R
};

const char *member_role_name(const struct member *member)
{
    return roles[member->role].name;
}

int member_stop_turn(const struct member *member)
{
    return roles[member->role].stop_turn;
}

bool member_overlaps(const struct member *member)
{
    return roles[member->role].overlaps &&
           (member->role != ROLE_GATEWAY || tree_options(member->tree)->gateways_overlap);
}

struct member *member_new(struct tree *tree, enum tree_role role, int instance)
{
    struct member *member = calloc(1, sizeof(*member));

    if (!member)
        return NULL;
    member->tree = tree;
    member->role = role;
    member->instance = instance;
    snprintf(member->name, sizeof(member->name), "%s-%d", roles[role].name, instance);
    supervise_init(&member->table, &tree_options(tree)->limits, clock_now_ms());
    return member;
}

void member_free(struct member **member)
{
    if (*member)
        child_free(&(*member)->child);
    free(*member);
    *member = NULL;
}

/* "exit 1", "SIGKILL". */
static void describe_exit(int exit_status, char *text, size_t size)
{
    const char *signal_name = exit_status < 0 ? sigabbrev_np(-exit_status) : NULL;

    if (signal_name)
        snprintf(text, size, "SIG%s", signal_name);
    else
        snprintf(text, size, "%s %d", exit_status < 0 ? "signal" : "exit", abs(exit_status));
}

/* What was set at run time is credd's to know: its log level is ours, too. */
static void take_log_level(const struct member *member, const struct report *report)
{
    if (strncmp(member->name, "credd-", strlen("credd-")) != 0)
        return;
    for (size_t i = 0; i < report->numbers_count; i++) {
        int64_t level = report->numbers[i].value;
        if (strcmp(report->numbers[i].key, "log_level") == 0 && level >= LOG_LEVEL_DEBUG &&
            level <= LOG_LEVEL_ERROR)
            log_set_level((enum log_level)level);
    }
}

static void on_report(void *context, const struct report *report)
{
    static const enum supervise_event events[] = {[REPORT_READY] = SUPERVISE_IS_READY,
                                                  [REPORT_ALIVE] = SUPERVISE_IS_ALIVE,
                                                  [REPORT_DRAINING] = SUPERVISE_IS_DRAINING};
    struct member *member = context;

    if (report->type == REPORT_ALIVE)
        member->last_report = *report;
    child_sample(member->child, &member->heard);
    member->starves = false;
    take_log_level(member, report);
    member_handle(member, events[report->type], 0);
    tree_settle(member->tree);
}

static void log_exit(const struct member *member)
{
    char text[32];
    bool asked = member->table.state == SUPERVISE_STOPPING && member->table.after != SUPERVISE_THEN_FAILED;

    describe_exit(member->last_exit, text, sizeof(text));
    if (asked && member->last_exit == 0)
        log_info(NULL, "process_exited", LOG_STR("name", member->name), LOG_STR("exit", text));
    else
        log_warning(NULL, "process_exited", LOG_STR("name", member->name), LOG_STR("exit", text));
}

static void on_exit_status(void *context, int exit_status)
{
    struct member *member = context;

    child_free(&member->child);
    member->has_exited = true;
    member->last_exit = exit_status;
    member->last_report.numbers_count = 0;
    log_exit(member);
    member_handle(member, SUPERVISE_HAS_EXITED, exit_status);
    tree_settle(member->tree);
}

static void add_socket(struct child_spec *spec, int fd, const char *name)
{
    if (fd < 0)
        return;
    spec->sockets[spec->sockets_count++] = fd;
    spec->socket_names = name;
}

/* Returns a negative enum error if there is no process. */
static int spawn(struct member *member)
{
    const struct tree_options *options = tree_options(member->tree);
    const struct child_events events = {on_report, on_exit_status, member};
    struct child_spec spec = {.directory = options->directory,
                              .role = member_role_name(member),
                              .instance = member->instance,
                              .keep_fd = options->lock_fd,
                              .variables = options->variables};
    int error;

    if (member->role == ROLE_GATEWAY)
        add_socket(&spec, options->http_fd, "http");
    else if (member->role == ROLE_STATSD)
        add_socket(&spec, options->ops_fd, "ops");
    member->heard = (struct starved_sample){0};
    member->starves = false;
    error = child_start(tree_loop(member->tree), &spec, &events, &member->child);
    if (error == 0)
        log_info(NULL, "process_started", LOG_STR("name", member->name),
                 LOG_INT("child_pid", child_pid(member->child)));
    return error;
}

static void signal_child(struct member *member, enum supervise_action action)
{
    if (action == SUPERVISE_DO_KILL)
        log_warning(NULL, "process_killed", LOG_STR("name", member->name));
    child_signal(member->child, action == SUPERVISE_DO_TERMINATE ? SIGTERM
                                : action == SUPERVISE_DO_ABORT   ? SIGABRT
                                                                 : SIGKILL);
}

static void log_change(const struct member *member, const struct supervise *former, int64_t now_ms)
{
    const struct supervise *table = &member->table;

    if (table->state == SUPERVISE_READY)
        log_info(NULL, "process_ready", LOG_STR("name", member->name),
                 LOG_INT("after_ms", now_ms - former->since_ms));
    else if (table->state == SUPERVISE_BACKING_OFF)
        log_warning(NULL, "process_backs_off", LOG_STR("name", member->name),
                    LOG_INT("delay_ms", table->deadline_ms - now_ms));
    else if (table->state == SUPERVISE_PARKED)
        log_error(NULL, "process_parked", LOG_STR("name", member->name), LOG_INT("exit", EXIT_CONFIG),
                  LOG_STR("problem", "its configuration will not do, so it is not started again: see its own "
                                     "log line above, mend it, then run codebuddy2api reload"));
    else if (table->state == SUPERVISE_STOPPING)
        log_info(NULL, "process_stopping", LOG_STR("name", member->name),
                 LOG_STR("was", supervise_state_name(former->state)));
}

static enum supervise_action step(struct member *member, enum supervise_event event, int64_t detail)
{
    int64_t now_ms = clock_now_ms();
    const struct supervise former = member->table;
    const struct supervise *table = &member->table;
    enum supervise_action action = supervise_handle(&member->table, event, detail, now_ms);

    if (table->state != former.state)
        log_change(member, &former, now_ms);
    if (table->state == SUPERVISE_READY && former.state != SUPERVISE_READY)
        member->ready_at_ms = now_ms;
    if (action == SUPERVISE_DO_ABORT) {
        member->hangs_count++;
        log_error(NULL, "process_hung", LOG_STR("name", member->name),
                  LOG_STR("was", supervise_state_name(former.state)),
                  LOG_STR("action", "SIGABRT, then start again"));
    }
    /* A restart is what nobody asked for: straight after a failure, or when the back-off's time is over. */
    if (action == SUPERVISE_DO_SPAWN &&
        (table->failures_count != former.failures_count || event == SUPERVISE_TIME))
        member->restarts_count++;
    return action;
}

void member_handle(struct member *member, enum supervise_event event, int64_t detail)
{
    enum supervise_action action = step(member, event, detail);

    /* What cannot be started has failed at once. Ends: the table backs off at the second failure in a row. */
    while (action == SUPERVISE_DO_SPAWN && spawn(member) < 0)
        action = step(member, SUPERVISE_HAS_EXITED, EXIT_SYSTEM);
    if (action != SUPERVISE_DO_NOTHING && action != SUPERVISE_DO_SPAWN)
        signal_child(member, action);
}

void member_tick(struct member *member)
{
    const struct supervise *table = &member->table;
    int64_t now_ms = clock_now_ms(), silent_ms = now_ms - table->heard_ms;
    struct starved_sample now = {0};
    bool is_starved = false;

    if (member->child && now_ms >= table->deadline_ms) {
        child_sample(member->child, &now);
        is_starved = starved_judge(&member->heard, &now, silent_ms);
    }
    member_handle(member, SUPERVISE_TIME, is_starved);
    if (!is_starved || member->starves || table->state == SUPERVISE_STOPPING)
        return;
    member->starves = true; /* one line for each silence */
    log_warning(NULL, "process_starved", LOG_STR("name", member->name), LOG_INT("silent_ms", silent_ms),
                LOG_STR("problem", now.state == 'D' ? "it waits for disk or memory" : "it gets no CPU"));
}

static json_t *describe_numbers(const struct report *report)
{
    json_t *numbers = json_object();

    for (size_t i = 0; i < report->numbers_count; i++)
        json_object_set_new(numbers, report->numbers[i].key, json_integer(report->numbers[i].value));
    return numbers;
}

/* By the kernel's account, so that a hung process has one too; 0 if gone. */
static int64_t resident_bytes(const struct member *member)
{
    struct starved_sample now = {0};

    if (member->child)
        child_sample(member->child, &now);
    return now.resident_bytes;
}

json_t *member_describe(const struct member *member, int64_t now_ms)
{
    const struct supervise *table = &member->table;
    bool waits = table->state == SUPERVISE_BACKING_OFF;
    int pid = member->child ? child_pid(member->child) : 0;
    char last_exit[32] = "";

    if (member->has_exited)
        describe_exit(member->last_exit, last_exit, sizeof(last_exit));
    return json_pack(
        "{s:s, s:s, s:i, s:s, s:i, s:I, s:I, s:i, s:i, s:s?, s:I, s:I, s:I, s:b, s:o}", "name", member->name,
        "role", member_role_name(member), "instance", member->instance, "state",
        supervise_state_name(table->state), "pid", pid, "in_state_ms", (json_int_t)(now_ms - table->since_ms),
        "up_ms", (json_int_t)(table->state == SUPERVISE_READY ? now_ms - member->ready_at_ms : 0), "restarts",
        (int)member->restarts_count, "hangs", (int)member->hangs_count, "last_exit",
        member->has_exited ? last_exit : NULL, "retry_in_ms",
        (json_int_t)(waits ? table->deadline_ms - now_ms : 0), "rss_bytes",
        (json_int_t)resident_bytes(member), "silent_ms", (json_int_t)(pid ? now_ms - table->heard_ms : 0),
        "retiring", member->retiring, "numbers", describe_numbers(&member->last_report));
}
