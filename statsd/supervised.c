/* SPDX-License-Identifier: MIT */
#include "statsd/supervised.h"
#include "proto/error.h"
#include "statsd/process_name.h"

#include <jansson.h>
#include <stdlib.h>
#include <utlist.h>

enum { MICRO = 1000000, MS_TO_MICRO = 1000, STATE_BYTES = 24, MAX_MEMBERS = 1200 };

#define STATE_FORMAT "codebuddy2api_process_state{state=\"%s\"}"

/* A process that the supervisor holds up, or it itself. */
struct member {
    struct source *source;
    char process[PROCESS_NAME_BYTES], state[STATE_BYTES];
    bool is_seen; /* in the answer that is being taken */
    struct member *prev, *next;
};

struct supervised {
    struct registry *registry;
    const char *host;
    struct member *members;
    size_t member_count;
    struct member *self;          /* one of them; NULL before the first answer */
    int64_t pid, started_wall_ms; /* of the supervisor */
    int64_t now_wall_ms;          /* of the answer that is being taken */
};

static int64_t number_of(const json_t *object, const char *key)
{
    int64_t value = json_integer_value(json_object_get(object, key));
    return value < 0 || value > INT64_MAX / MICRO ? 0 : value;
}

static void report(const struct supervised *supervised, const struct member *member, const char *name,
                   enum gauge_kind kind, int64_t value_micro)
{
    registry_report(supervised->registry, member->source, span_str(name), kind, value_micro,
                    supervised->now_wall_ms); /* refusals are counted there */
}

static void member_close(struct supervised *supervised, struct member *member)
{
    registry_close_source(supervised->registry, &member->source, supervised->now_wall_ms);
    DL_DELETE(supervised->members, member);
    supervised->member_count--;
    free(member);
}

static struct member *member_open(struct supervised *supervised, const char *role, const char *name)
{
    char process[PROCESS_NAME_BYTES], role_text[33];
    struct member *member;
    process_name_make(process, span_str(name), span_str(supervised->host));
    process_name_clean(role_text, sizeof role_text, span_str(role));
    DL_FOREACH (supervised->members, member) {
        if (strcmp(member->process, process) == 0)
            return member;
    }
    if (supervised->member_count >= MAX_MEMBERS)
        return NULL;
    member = calloc(1, sizeof *member);
    if (!member)
        return NULL;
    memcpy(member->process, process, sizeof process);
    member->source = registry_open_witness(supervised->registry, role_text, process,
                                           (uint32_t)supervised->pid, supervised->started_wall_ms);
    if (!member->source) {
        free(member);
        return NULL;
    }
    DL_APPEND(supervised->members, member);
    supervised->member_count++;
    return member;
}

/* The present state only: the former one's gauge goes. */
static void take_state(struct supervised *supervised, struct member *member, const char *state)
{
    char clean[STATE_BYTES], name[sizeof STATE_FORMAT + STATE_BYTES];
    process_name_clean(clean, sizeof clean, span_str(state));
    if (member->state[0] && strcmp(member->state, clean) != 0) {
        snprintf(name, sizeof name, STATE_FORMAT, member->state);
        registry_drop_gauge(member->source, span_str(name));
    }
    memcpy(member->state, clean, sizeof clean);
    snprintf(name, sizeof name, STATE_FORMAT, member->state);
    report(supervised, member, name, GAUGE_NOW, MICRO);
}

static int take_process(struct supervised *supervised, const json_t *process)
{
    const char *name = json_string_value(json_object_get(process, "name"));
    const char *role = json_string_value(json_object_get(process, "role"));
    const char *state = json_string_value(json_object_get(process, "state"));
    if (!name || !role || !state)
        return 0;
    struct member *member = member_open(supervised, role, name);
    if (!member)
        return ERR_NOMEM;
    member->is_seen = true;
    report(supervised, member, "codebuddy2api_process_up", GAUGE_NOW, 0); /* unless it says that it is up */
    report(supervised, member, REGISTRY_RESTARTS, GAUGE_COUNTER, number_of(process, "restarts") * MICRO);
    report(supervised, member, "codebuddy2api_process_hangs_total", GAUGE_COUNTER,
           number_of(process, "hangs") * MICRO);
    take_state(supervised, member, state);
    return 0;
}

static void report_build(const struct supervised *supervised, const json_t *status)
{
    const char *version = json_string_value(json_object_get(status, "version"));
    const char *revision = json_string_value(json_object_get(status, "revision"));
    char name[200], version_text[33], revision_text[65];
    process_name_clean(version_text, sizeof version_text, span_str(version ? version : ""));
    process_name_clean(revision_text, sizeof revision_text, span_str(revision ? revision : ""));
    snprintf(name, sizeof name, "codebuddy2api_build_info{version=\"%s\",revision=\"%s\"}", version_text,
             revision_text);
    report(supervised, supervised->self, name, GAUGE_NOW, MICRO);
}

static int take_self(struct supervised *supervised, const json_t *status)
{
    const json_t *usage = json_object_get(status, "usage");
    struct member *self = member_open(supervised, "supervisor", "supervisor-0");
    supervised->self = self;
    if (!self)
        return ERR_NOMEM;
    self->is_seen = true;
    report(supervised, self, "codebuddy2api_process_up", GAUGE_NOW, MICRO);
    report(supervised, self, "codebuddy2api_process_start_time_seconds", GAUGE_NOW,
           supervised->started_wall_ms * MS_TO_MICRO);
    report(supervised, self, "codebuddy2api_process_resident_memory_bytes", GAUGE_NOW,
           number_of(usage, "rss_bytes") * MICRO);
    report(supervised, self, "codebuddy2api_process_cpu_seconds_total", GAUGE_COUNTER,
           number_of(usage, "cpu_us"));
    report(supervised, self, "codebuddy2api_process_open_fds", GAUGE_NOW,
           number_of(usage, "open_fds") * MICRO);
    if (number_of(usage, "max_fds") > 0)
        report(supervised, self, "codebuddy2api_process_max_fds", GAUGE_NOW,
               number_of(usage, "max_fds") * MICRO);
    report_build(supervised, status);
    return 0;
}

/* Those that the answer does not name: all, if another supervisor answers. */
static void close_unseen(struct supervised *supervised)
{
    struct member *member, *next;
    DL_FOREACH_SAFE (supervised->members, member, next) {
        if (!member->is_seen)
            member_close(supervised, member);
        else
            member->is_seen = false;
    }
}

static int take_status(struct supervised *supervised, const json_t *status)
{
    size_t i;
    json_t *process;
    int64_t pid = number_of(status, "pid"), started_wall_ms = number_of(status, "started_wall_ms");
    if (pid == 0 || pid > INT32_MAX || started_wall_ms == 0 ||
        !json_is_array(json_object_get(status, "processes")))
        return ERR_INVALID;
    if (pid != supervised->pid || started_wall_ms != supervised->started_wall_ms)
        close_unseen(supervised); /* none is marked */
    supervised->pid = pid;
    supervised->started_wall_ms = started_wall_ms;
    int error = take_self(supervised, status);
    json_array_foreach (json_object_get(status, "processes"), i, process) {
        if (take_process(supervised, process) < 0)
            error = ERR_NOMEM;
    }
    close_unseen(supervised);
    return error;
}

int supervised_take(struct supervised *supervised, struct span answer, int64_t now_wall_ms)
{
    json_t *status = answer.length > 0 ? json_loadb(answer.data, answer.length, 0, NULL) : NULL;
    supervised->now_wall_ms = now_wall_ms;
    int error = status ? take_status(supervised, status) : ERR_INVALID;
    json_decref(status);
    return error;
}

void supervised_miss(struct supervised *supervised, int64_t now_wall_ms)
{
    supervised->now_wall_ms = now_wall_ms;
    if (supervised->self)
        report(supervised, supervised->self, "codebuddy2api_process_up", GAUGE_NOW, 0);
}

struct supervised *supervised_new(struct registry *registry, const char *host)
{
    struct supervised *supervised = calloc(1, sizeof *supervised);
    if (!supervised)
        return NULL;
    supervised->registry = registry;
    supervised->host = host;
    return supervised;
}

void supervised_free(struct supervised **supervised)
{
    struct member *member, *next;
    if (!*supervised)
        return;
    DL_FOREACH_SAFE ((*supervised)->members, member, next) {
        member_close(*supervised, member);
    }
    free(*supervised);
    *supervised = NULL;
}
