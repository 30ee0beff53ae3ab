/* SPDX-License-Identifier: MIT */
#include "gateway/pool.h"
#include "proto/error.h"
#include "proto/log.h"

#include <stdlib.h>
#include <utlist.h>

struct pool {
    struct link *link;
    const struct pool_events *events;
    void *owner;
    struct worker *workers; /* the one that waited longest first */
    size_t count;
};

static void on_up(void *owner, struct peer *peer, const struct msg_hello *hello)
{
    struct pool *pool = owner;
    struct worker *worker = NULL;
    if (span_equals(hello->role, SPAN("upstream-worker")))
        worker = calloc(1, sizeof *worker);
    else
        log_warning(NULL, "not_a_worker", LOG_STR("peer", peer_name(peer)));
    peer_set_context(peer, worker);
    if (!worker)
        return; /* its frames are ignored */
    worker->peer = peer;
    DL_APPEND(pool->workers, worker);
    pool->count++;
}

static void remove_worker(struct pool *pool, struct worker *worker)
{
    DL_DELETE(pool->workers, worker);
    pool->count--;
    pool->events->lost(pool->owner, worker);
    free(worker);
}

static void on_down(void *owner, struct peer *peer, enum link_down why)
{
    struct worker *worker = peer_context(peer);
    if (!worker)
        return;
    if (why != LINK_DOWN_CLOSED)
        log_warning(NULL, "worker_lost", LOG_STR("peer", peer_name(peer)),
                    LOG_INT("in_flight", worker->in_flight),
                    LOG_STR("why", why == LINK_DOWN_HUNG ? "hung" : "lost"));
    peer_set_context(peer, NULL);
    remove_worker(owner, worker);
}

static void on_ready(struct pool *pool, struct worker *worker, const struct msg_ready *ready)
{
    if (worker->is_accepting != (ready->accepting == 1))
        log_info(NULL, ready->accepting == 1 ? "worker_ready" : "worker_draining",
                 LOG_STR("peer", peer_name(worker->peer)));
    worker->is_accepting = ready->accepting == 1;
    if (worker->is_accepting)
        pool->events->available(pool->owner);
}

static void on_frame(void *owner, struct peer *peer, const struct frame *frame, const void *message)
{
    struct pool *pool = owner;
    struct worker *worker = peer_context(peer);
    if (!worker)
        return;
    if (frame->type == MESSAGE_READY)
        on_ready(pool, worker, message);
    else
        pool->events->frame(pool->owner, worker, frame, message);
}

static const struct link_handlers handlers = {on_up, on_down, on_frame};

struct pool *pool_new(struct service *service, const struct pool_events *events, void *owner)
{
    struct pool *pool = calloc(1, sizeof *pool);
    if (!pool)
        return NULL;
    pool->events = events;
    pool->owner = owner;
    const struct settings *settings = service_settings(service);
    struct buffer endpoint = {0};
    int error = *settings->gateway_bind ? buffer_printf(&endpoint, "%s", settings->gateway_bind)
                                        : buffer_printf(&endpoint, "ipc://%s/gateway-%d.sock",
                                                        settings->run_dir, service_instance(service));
    if (error == 0 && buffer_append_char(&endpoint, '\0') == 0)
        pool->link = link_bind(service, endpoint.data, &handlers, pool);
    buffer_fini(&endpoint);
    if (!pool->link)
        pool_free(&pool);
    return pool;
}

void pool_free(struct pool **pool_pointer)
{
    struct pool *pool = *pool_pointer;
    *pool_pointer = NULL;
    if (!pool)
        return;
    if (pool->link)
        link_close(&pool->link);
    while (pool->workers) /* link_close said down() for each; this is for none to be forgotten */
        remove_worker(pool, pool->workers);
    free(pool);
}

struct worker *pool_pick(struct pool *pool, const struct worker *except)
{
    struct worker *worker, *best = NULL, *last_resort = NULL;
    DL_FOREACH (pool->workers, worker) {
        if (!worker->is_accepting)
            continue;
        if (worker == except)
            last_resort = worker;
        else if (!best || worker->in_flight < best->in_flight)
            best = worker;
    }
    if (!best)
        best = last_resort;
    if (best) { /* to the end: equals take turns */
        DL_DELETE(pool->workers, best);
        DL_APPEND(pool->workers, best);
    }
    return best;
}

const struct link *pool_link(const struct pool *pool)
{
    return pool->link;
}

size_t pool_worker_count(const struct pool *pool)
{
    return pool->count;
}

size_t pool_accepting_count(const struct pool *pool)
{
    const struct worker *worker;
    size_t count = 0;
    DL_FOREACH (pool->workers, worker)
        if (worker->is_accepting)
            count++;
    return count;
}
