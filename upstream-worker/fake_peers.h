/* SPDX-License-Identifier: MIT */
/* fake_peers - a gateway, a credd and a statsd in the test's process, with a real upstream-worker and the
 * stand-in upstream as child processes. For tests only. A failure of the setting itself aborts.
 *
 * Everything happens in fake_turn: the test calls it until what it waits for is there (FAKE_UNTIL). */
#ifndef UPSTREAM_WORKER_FAKE_PEERS_H
#define UPSTREAM_WORKER_FAKE_PEERS_H

#include "proto/failure.h"
#include "proto/link.h"

enum { FAKE_REQUESTS_MAX = 64, FAKE_PATIENCE_MS = 60000 /* a bound for a hang: no test waits for it */ };

struct fake_request {
    uint64_t number;
    char id[32];
    bool withholds_window; /* DATA is not acknowledged by itself */
    int head_count;
    struct msg_head head;
    struct buffer data;
    size_t owed_bytes;
    bool is_ended, is_failed;
    struct msg_end end; /* without its texts */
    struct msg_fail fail;
    char fail_message[1025], fail_code[1025], fail_param[129];
};

struct fake_event {
    char request_id[65], credential_id[65], model[129], code[65];
    struct msg_event event; /* without its texts */
};

struct fake_world {
    char dir[64];
    struct settings settings;
    struct service *service;
    struct link *gateway, *credd, *statsd;
    struct peer *worker; /* as the gateway sees it; NULL while it is not up */
    bool worker_accepts;
    pid_t worker_pid, upstream_pid;
    char upstream_url[64];
    bool is_draining;

    void (*intercept)(struct fake_world *world, const struct frame *frame, const void *message);

    struct fake_request requests[FAKE_REQUESTS_MAX];
    size_t request_count;

    /* credd: grants c1, c2 … cN in turn, leaving out the excluded; with none left, refuses. */
    int credential_count;
    struct peer *follower; /* the worker, on its link that follows credd */
    enum failure refusal;
    uint32_t ttl_ms;
    bool is_credd_mute;
    int lease_count, renew_count, release_count;
    size_t renewed_leases; /* of the last RENEW */
    uint8_t last_outcome;
    uint32_t last_retry_after_s;
    char last_exclude[256], last_released_model[129];
    uint64_t last_lease;

    struct fake_event events[FAKE_REQUESTS_MAX];
    size_t event_count;
};

/* Starts everything; `environment` (NULL-terminated NAME=VALUE, may be NULL) goes to the worker too. Waits
 * until the worker accepts requests. */
void fake_world_start(struct fake_world *world, const char *const *environment);
/* For load: the stand-in checks nothing, `intercept` gets every message of the worker to the gateway (nothing
 * is kept of them here), and events are only counted. */
void fake_world_start_load(struct fake_world *world, const char *const *environment,
                           void (*intercept)(struct fake_world *world, const struct frame *frame,
                                             const void *message));
void fake_send_request(struct fake_world *world, uint64_t number, const char *id, struct span body);
/* SIGTERM to the worker. */
void fake_drain(struct fake_world *world);
/* Drains the worker, unless it drains already, and checks that it drains: returns its exit status. */
int fake_world_stop(struct fake_world *world);
void fake_turn(struct fake_world *world);
/* Aborts the test, with what it waited for, when FAKE_PATIENCE_MS are over. */
bool fake_is_patient(int64_t since_ms, const char *what);

#define FAKE_UNTIL(world, condition)                                                                         \
    for (int64_t fake_since_ms = clock_now_ms();                                                             \
         !(condition) && fake_is_patient(fake_since_ms, "waited too long for " #condition);)                 \
    fake_turn(world)

/* Sends a completion request for `model` (a scenario of the stand-in). */
struct fake_request *fake_ask(struct fake_world *world, const char *model, bool stream);
/* The same with a body of one's own, cut into pieces as a gateway does. */
struct fake_request *fake_ask_with(struct fake_world *world, struct span body);
void fake_wait_end(struct fake_world *world, struct fake_request *request);
void fake_cancel(struct fake_world *world, struct fake_request *request);
/* Acknowledges what was withheld so far. */
void fake_credit(struct fake_world *world, struct fake_request *request);
/* The request's event, once statsd has it. */
const struct fake_event *fake_wait_event(struct fake_world *world, const struct fake_request *request);
void fake_close_credd(struct fake_world *world);
/* Sends STATE to the worker, once it follows. */
void fake_send_state(struct fake_world *world, uint64_t version, const char *body);
void fake_open_credd(struct fake_world *world);
void fake_close_gateway(struct fake_world *world);
void fake_open_gateway(struct fake_world *world);

/* A GET of the stand-in; the loop does not turn meanwhile. Returns the status; the body's beginning goes to
 * `out`. */
long fake_control(struct fake_world *world, const char *path, char *out, size_t out_size);
/* A counter of the stand-in. */
long long fake_upstream_counter(struct fake_world *world, const char *name);
/* Waits at the stand-in until the counter is at least that. */
void fake_wait_upstream(struct fake_world *world, const char *name, long long at_least);
/* Resident memory of the worker, KiB. */
long fake_worker_rss_kib(const struct fake_world *world);

#endif
