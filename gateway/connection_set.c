/* SPDX-License-Identifier: MIT */
/* connection_set - all connections: their limits and time limits, drain and end. */
#include "gateway/connection_private.h"
#include "gateway/leave.h"
#include "proto/log.h"

#include <stdlib.h>
#include <utlist.h>

enum { LINGER_MS = 2000, DRAIN_IDLE_MS = 1000 };

/* A copy out of the kernel into fresh pages: half a millisecond. */
static const struct turn_limits turn_limits = {
    .turn_bytes = 512 << 10, .share_bytes = 256 << 10, .least_bytes = 16 << 10};

static void init_timeouts(struct connection_set *set, const struct settings *settings)
{
    uv_loop_t *loop = set->h2o->loop;
    h2o_timeout_init(loop, &set->header_timeout, (uint64_t)settings->header_timeout_s * 1000);
    h2o_timeout_init(loop, &set->body_timeout, (uint64_t)settings->body_timeout_s * 1000);
    set->body_total_timeout_ms = settings->body_total_timeout_s * 1000;
    h2o_timeout_init(loop, &set->stall_timeout, (uint64_t)settings->body_timeout_s * 1000 / 2);
    h2o_timeout_init(loop, &set->idle_timeout, (uint64_t)settings->client_idle_timeout_s * 1000);
    h2o_timeout_init(loop, &set->linger_timeout, LINGER_MS);
    h2o_timeout_init(loop, &set->drain_timeout, DRAIN_IDLE_MS);
}

struct connection_set *connection_set_new(struct service *service, h2o_context_t *h2o, SSL_CTX *tls,
                                          const struct connection_hooks *hooks, void *owner)
{
    const struct settings *settings = service_settings(service);
    struct connection_set *set = calloc(1, sizeof *set);
    if (!set)
        return NULL;
    set->service = service;
    set->h2o = h2o;
    set->accept = (h2o_accept_ctx_t){.ctx = h2o, .hosts = h2o->globalconf->hosts, .ssl_ctx = tls};
    set->hooks = hooks;
    set->owner = owner;
    set->limits.max_header_bytes = (uint64_t)settings->max_header_bytes;
    set->limits.max_body_bytes = (uint64_t)settings->max_body_bytes;
    set->budget.limits = turn_limits;
    init_timeouts(set, settings);
    set->leave = leave_watch_new(h2o->loop, connection_on_left);
    set->hook = service_at_turn_end(service, connection_on_turn_end, set);
    if (!set->leave || !set->hook)
        connection_set_free(&set);
    return set;
}

static void dispose_timeouts(struct connection_set *set)
{
    uv_loop_t *loop = set->h2o->loop;
    h2o_timeout_dispose(loop, &set->header_timeout);
    h2o_timeout_dispose(loop, &set->body_timeout);
    h2o_timeout_dispose(loop, &set->stall_timeout);
    h2o_timeout_dispose(loop, &set->idle_timeout);
    h2o_timeout_dispose(loop, &set->linger_timeout);
    h2o_timeout_dispose(loop, &set->drain_timeout);
}

void connection_set_free(struct connection_set **set_pointer)
{
    struct connection_set *set = *set_pointer;
    struct connection *c, *next;
    if (!set)
        return;
    DL_FOREACH_SAFE (set->all, c, next) {
        connection_tell_left(c); /* whoever answers gives up */
        connection_cut(c);
    }
    for (int turns = 0; set->all && turns < 1000; turns++)
        uv_run(set->h2o->loop, UV_RUN_NOWAIT);
    *set_pointer = NULL; /* not before: hooks->closed may count */
    if (set->all) {      /* freeing under them would be worse than leaving it all to the process's end */
        log_warning(NULL, "connections_left", LOG_INT("count", set->count));
        return;
    }
    dispose_timeouts(set);
    leave_watch_free(&set->leave);
    service_remove_hook(set->service, &set->hook);
    uv_run(set->h2o->loop, UV_RUN_NOWAIT); /* closed handles are inside the set */
    free(set);
}

size_t connection_set_count(const struct connection_set *set)
{
    return set->count;
}

void connection_set_drain(struct connection_set *set)
{
    struct connection *c;
    set->draining = true;
    set->h2o->shutdown_requested = 1; /* further answers say Connection: close */
    DL_FOREACH (set->all, c)
        if (c->state == STATE_IDLE)
            connection_enter(c, STATE_IDLE); /* its limit is now another */
}
