/* SPDX-License-Identifier: MIT */
#include "proto/curl_loop.h"
#include "proto/error.h"
#include "proto/log.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { RECEIVE_QUEUE_BYTES = 512 << 10 /* of a connection: 5 MB/s at 100 ms, for all its streams */ };

/* A descriptor that libcurl waits on, or one of a kept connection that nothing waits on now. */
struct watch {
    uv_poll_t poll;
    struct curl_loop *loop;
    int fd;
    int wanted;     /* UV_READABLE | UV_WRITABLE: what libcurl waits for */
    int registered; /* what the loop watches for */
    bool is_kept;   /* it answered: libcurl will tell us when it closes it */
};

struct curl_loop {
    uv_loop_t *loop;
    CURLM *multi;
    uv_timer_t *timer;
    uv_idle_t *soon; /* at once, but in the next turn: see on_timeout_change */
    const struct curl_loop_handlers *handlers;
    void *owner;
    struct watch **watches; /* by descriptor */
    size_t watches_capacity;
    size_t connection_count;
    unsigned inside; /* depth of calls into libcurl */
    bool is_settling;
    bool is_in_timer;
    bool is_starved;
};

/* ---- watches ---- */

static struct watch *watch_find(const struct curl_loop *curl_loop, int fd)
{
    return fd >= 0 && (size_t)fd < curl_loop->watches_capacity ? curl_loop->watches[fd] : NULL;
}

static int watches_reserve(struct curl_loop *curl_loop, int fd)
{
    size_t capacity = curl_loop->watches_capacity ? curl_loop->watches_capacity : 256;
    while (capacity <= (size_t)fd)
        capacity *= 2;
    if (capacity == curl_loop->watches_capacity)
        return 0;
    struct watch **watches = realloc(curl_loop->watches, capacity * sizeof(struct watch *));
    if (!watches)
        return ERR_NOMEM;
    memset(watches + curl_loop->watches_capacity, 0,
           (capacity - curl_loop->watches_capacity) * sizeof(struct watch *));
    curl_loop->watches = watches;
    curl_loop->watches_capacity = capacity;
    return 0;
}

static struct watch *watch_new(struct curl_loop *curl_loop, int fd)
{
    if (watches_reserve(curl_loop, fd) < 0)
        return NULL;
    struct watch *watch = calloc(1, sizeof *watch);
    if (!watch)
        return NULL;
    watch->loop = curl_loop;
    watch->fd = fd;
    if (uv_poll_init(curl_loop->loop, &watch->poll, fd) < 0) {
        free(watch);
        return NULL;
    }
    watch->poll.data = watch;
    curl_loop->watches[fd] = watch;
    return watch;
}

static void watch_on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void watch_drop(struct watch *watch)
{
    watch->loop->watches[watch->fd] = NULL;
    uv_close((uv_handle_t *)&watch->poll, watch_on_closed);
}

static void curl_loop_pump(struct curl_loop *curl_loop, int fd, int action);

static void watch_on_event(uv_poll_t *poll, int status, int events);

static void watch_want(struct watch *watch, int wanted)
{
    watch->wanted = wanted;
    if (wanted == 0 || wanted == watch->registered)
        return;
    if (uv_poll_start(&watch->poll, wanted, watch_on_event) == 0)
        watch->registered = wanted;
}

/* Of a socket with an error, a reset by the far end say, libuv tells nothing but that, and has stopped to
 * watch it. What came before the reset can still be read, and the error after it: told of an error alone,
 * libcurl would throw that away. */
static int watch_fail(struct watch *watch)
{
    watch->registered = 0;
    watch_want(watch, watch->wanted);
    return CURL_CSELECT_ERR | ((watch->wanted & UV_READABLE) ? CURL_CSELECT_IN : CURL_CSELECT_OUT);
}

static void watch_on_event(uv_poll_t *poll, int status, int events)
{
    struct watch *watch = poll->data;
    int action = status < 0 ? watch_fail(watch) : 0;
    if (events & UV_READABLE)
        action |= CURL_CSELECT_IN;
    if (events & UV_WRITABLE)
        action |= CURL_CSELECT_OUT;
    if (watch->wanted == 0) {
        /* The far end closed an idle connection, or sends to a paused one. libcurl will look for itself when
         * it uses the socket again; until then it must not wake us on every turn. */
        uv_poll_stop(&watch->poll);
        watch->registered = 0;
        return;
    }
    curl_loop_pump(watch->loop, watch->fd, action);
}

/* ---- libcurl's callbacks ---- */

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *context, void *unused)
{
    struct curl_loop *curl_loop = context;
    struct watch *watch = watch_find(curl_loop, fd);
    (void)unused;
    if (what == CURL_POLL_REMOVE || what == CURL_POLL_NONE) {
        if (watch && (watch->is_kept || what == CURL_POLL_NONE))
            watch_want(watch, 0);
        else if (watch)
            watch_drop(watch);
        return 0;
    }
    if (!watch)
        watch = watch_new(curl_loop, fd);
    if (!watch)
        return -1; /* libcurl fails the transfer */
    curl_loop->handlers->waits(curl_loop->owner, easy, fd);
    watch_want(watch, ((what & CURL_POLL_IN) ? UV_READABLE : 0) | ((what & CURL_POLL_OUT) ? UV_WRITABLE : 0));
    return 0;
}

static void on_timer(uv_timer_t *timer)
{
    struct curl_loop *curl_loop = timer->data;
    curl_loop->is_in_timer = true;
    curl_loop_pump(curl_loop, CURL_SOCKET_TIMEOUT, 0);
    curl_loop->is_in_timer = false;
}

static void on_soon(uv_idle_t *soon)
{
    uv_idle_stop(soon);
    curl_loop_pump(soon->data, CURL_SOCKET_TIMEOUT, 0);
}

/* libcurl asks for 0 ms when a socket had more than it reads at a time. libuv runs a timer that is set to 0
 * in its own callback again in the same turn: an upstream that sends faster than we read would own the loop.
 */
static int on_timeout_change(CURLM *multi, long timeout_ms, void *context)
{
    struct curl_loop *curl_loop = context;
    (void)multi;
    uv_idle_stop(curl_loop->soon);
    if (timeout_ms == 0 && curl_loop->is_in_timer)
        uv_idle_start(curl_loop->soon, on_soon);
    else if (timeout_ms < 0)
        uv_timer_stop(curl_loop->timer);
    else
        uv_timer_start(curl_loop->timer, on_timer, (uint64_t)timeout_ms, 0);
    return 0;
}

static curl_socket_t on_open_socket(void *context, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct curl_loop *curl_loop = context;
    (void)purpose;
    int fd = socket(address->family, address->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, address->protocol);
    curl_loop->is_starved =
        fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM);
    if (curl_loop->is_starved)
        log_warning(NULL, "no_descriptor", LOG_STR("problem", strerror(errno)));
    if (fd < 0)
        return CURL_SOCKET_BAD;
    /* Left alone it grows to 6 MiB for an upstream that is faster than our client. Only memory is at stake.
     */
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &(int){RECEIVE_QUEUE_BYTES}, sizeof(int));
    if (watch_find(curl_loop, fd)) /* closed without a word: the number is used again */
        watch_drop(watch_find(curl_loop, fd));
    return fd;
}

static int on_close_socket(void *context, curl_socket_t fd)
{
    struct curl_loop *curl_loop = context;
    struct watch *watch = watch_find(curl_loop, fd);
    if (watch && watch->is_kept)
        curl_loop->connection_count--;
    if (watch)
        watch_drop(watch);
    return close(fd);
}

/* ---- the pump ---- */

static void curl_loop_settle(struct curl_loop *curl_loop)
{
    CURLMsg *message;
    int left;
    if (curl_loop->is_settling || curl_loop->inside > 0)
        return; /* whoever is further out does it */
    curl_loop->is_settling = true;
    while ((message = curl_multi_info_read(curl_loop->multi, &left)) != NULL) {
        if (message->msg != CURLMSG_DONE)
            continue;
        CURL *easy = message->easy_handle;
        CURLcode result = message->data.result; /* the message dies with the removal */
        curl_loop_remove(curl_loop, easy);
        curl_loop->handlers->done(curl_loop->owner, easy, result);
    }
    curl_loop->handlers->settle(curl_loop->owner);
    curl_loop->is_settling = false;
}

static void curl_loop_pump(struct curl_loop *curl_loop, int fd, int action)
{
    int running;
    curl_loop->inside++;
    CURLMcode code = curl_multi_socket_action(curl_loop->multi, fd, action, &running);
    curl_loop->inside--;
    if (code != CURLM_OK)
        log_warning(NULL, "curl_failed", LOG_STR("problem", curl_multi_strerror(code)));
    curl_loop_settle(curl_loop);
}

bool curl_loop_is_starved(const struct curl_loop *curl_loop)
{
    return curl_loop->is_starved;
}

int curl_loop_prepare(struct curl_loop *curl_loop, CURL *easy)
{
    CURLcode code = curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
    code = code ? code : curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, curl_loop);
    code = code ? code : curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, on_close_socket);
    code = code ? code : curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, curl_loop);
    return code == CURLE_OK ? 0 : ERR_NOMEM;
}

int curl_loop_add(struct curl_loop *curl_loop, CURL *easy)
{
    assert(curl_loop->inside == 0);
    curl_loop->inside++;
    CURLMcode code = curl_multi_add_handle(curl_loop->multi, easy);
    curl_loop->inside--;
    return code == CURLM_OK ? 0 : ERR_NOMEM;
}

void curl_loop_remove(struct curl_loop *curl_loop, CURL *easy)
{
    assert(curl_loop->inside == 0);
    curl_loop->inside++;
    curl_multi_remove_handle(curl_loop->multi, easy);
    curl_loop->inside--;
}

void curl_loop_resume(struct curl_loop *curl_loop, CURL *easy)
{
    assert(curl_loop->inside == 0);
    curl_loop->inside++;
    curl_easy_pause(easy, CURLPAUSE_CONT); /* a failure shows as the transfer's end */
    curl_loop->inside--;
    curl_loop_settle(curl_loop);
}

void curl_loop_mark_answered(struct curl_loop *curl_loop, int fd)
{
    struct watch *watch = watch_find(curl_loop, fd);
    if (!watch || watch->is_kept)
        return;
    watch->is_kept = true;
    curl_loop->connection_count++;
}

bool curl_loop_is_inside(const struct curl_loop *curl_loop)
{
    return curl_loop->inside > 0;
}

size_t curl_loop_connection_count(const struct curl_loop *curl_loop)
{
    return curl_loop->connection_count;
}

/* ---- life ---- */

static int curl_loop_set_options(struct curl_loop *curl_loop, long connections_max)
{
    CURLM *multi = curl_loop->multi;
    CURLMcode code = curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    code = code ? code : curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, curl_loop);
    code = code ? code : curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timeout_change);
    code = code ? code : curl_multi_setopt(multi, CURLMOPT_TIMERDATA, curl_loop);
    code = code ? code : curl_multi_setopt(multi, CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX);
    code = code ? code : curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, connections_max);
    return code == CURLM_OK ? 0 : ERR_NOMEM;
}

static void handle_on_closed(uv_handle_t *handle)
{
    free(handle);
}

struct curl_loop *curl_loop_new(uv_loop_t *loop, long connections_max,
                                const struct curl_loop_handlers *handlers, void *owner)
{
    struct curl_loop *curl_loop = calloc(1, sizeof *curl_loop);
    if (!curl_loop)
        return NULL;
    curl_loop->loop = loop;
    curl_loop->handlers = handlers;
    curl_loop->owner = owner;
    curl_loop->multi = curl_multi_init();
    curl_loop->timer = calloc(1, sizeof *curl_loop->timer);
    if (curl_loop->timer) {
        uv_timer_init(loop, curl_loop->timer);
        curl_loop->timer->data = curl_loop;
    }
    curl_loop->soon = calloc(1, sizeof *curl_loop->soon);
    if (curl_loop->soon) {
        uv_idle_init(loop, curl_loop->soon);
        curl_loop->soon->data = curl_loop;
    }
    if (!curl_loop->multi || !curl_loop->timer || !curl_loop->soon ||
        curl_loop_set_options(curl_loop, connections_max) < 0)
        curl_loop_free(&curl_loop);
    return curl_loop;
}

void curl_loop_free(struct curl_loop **curl_loop_at)
{
    struct curl_loop *curl_loop = *curl_loop_at;
    *curl_loop_at = NULL;
    if (!curl_loop)
        return;
    if (curl_loop->multi)
        curl_multi_cleanup(curl_loop->multi); /* closes the connections: on_close_socket for each */
    for (size_t fd = 0; fd < curl_loop->watches_capacity; fd++)
        if (curl_loop->watches[fd])
            watch_drop(curl_loop->watches[fd]);
    if (curl_loop->timer)
        uv_close((uv_handle_t *)curl_loop->timer, handle_on_closed);
    if (curl_loop->soon)
        uv_close((uv_handle_t *)curl_loop->soon, handle_on_closed);
    free(curl_loop->watches);
    free(curl_loop);
}
