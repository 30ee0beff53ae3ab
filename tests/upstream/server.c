/* SPDX-License-Identifier: MIT */
#include "tests/upstream/server.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <utlist.h>

#include "tests/upstream/chunked.h"

#define READ_BYTES       (256 * 1024)
#define TURN_MAX_READS   4         /* of one connection, so that one upload cannot starve the rest */
#define TURN_MAX_BYTES   (1 << 20) /* sent to one connection */
#define TURN_MAX_EVENTS  1024
#define TURN_MAX_ACCEPTS 256
#define BODY_MAX_BYTES   ((int64_t)256 << 20)

enum conn_state {
    CONN_HEAD,    /* waits for a request head, or has part of one in `in` */
    CONN_BODY,    /* the head is in `in`, its body comes */
    CONN_PLAYING, /* a script is being sent */
    CONN_PARKED,  /* the handler answers later */
    CONN_DEAD     /* closed; freed at the end of the turn */
};

struct conn {
    struct server_timer timer; /* first: on_fire casts back */
    struct server *server;
    int fd;
    enum conn_state state;
    bool readable, peer_closed, busy, close_after, collecting;

    struct buffer in;    /* a head, whole in CONN_BODY */
    struct buffer stash; /* pipelined bytes that wait for the answer */
    struct http_request request;
    struct chunked chunked;
    int64_t body_left; /* of a Content-Length */
    struct buffer body;
    size_t body_bytes;
    struct body_scan scan;
    EVP_MD_CTX *digest; /* NULL while body holds everything */

    struct server_exchange exchange;
    struct script *script;
    size_t run, run_sent;
    bool run_started;
    int64_t due_us;

    struct conn *prev, *next;           /* in server->conns, later server->dead */
    struct conn *busy_prev, *busy_next; /* in server->busy */
};

struct server {
    struct server_options options;
    const struct server_handler *handler;
    struct stats *stats;
    int64_t *counters;
    int epoll_fd, listen_fd, signal_fd;
    bool stopping, listening, no_pwait2;
    struct wheel wheel;
    int64_t now_us;
    struct conn *conns, *dead, *busy;
    char *read_buffer;
};

static int64_t clock_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* ---- connections ---- */

static void watch_listener(struct server *server, bool on)
{
    struct epoll_event event = {.events = on ? EPOLLIN : 0, .data.ptr = &server->listen_fd};

    if (server->listening == on)
        return;
    server->listening = on;
    epoll_ctl(server->epoll_fd, EPOLL_CTL_MOD, server->listen_fd, &event);
}

static void conn_set_busy(struct conn *conn, bool busy)
{
    struct server *server = conn->server;

    if (conn->busy == busy)
        return;
    conn->busy = busy;
    if (busy)
        DL_APPEND2(server->busy, conn, busy_prev, busy_next);
    else
        DL_DELETE2(server->busy, conn, busy_prev, busy_next);
}

static void exchange_end(struct conn *conn, enum server_outcome outcome)
{
    struct server *server = conn->server;
    struct server_exchange *exchange = &conn->exchange;

    if (exchange->is_chat) {
        stats_move(server->stats, STATS_streams_now, STATS_streams_peak, -1);
        server->counters[outcome == OUTCOME_COMPLETE  ? STATS_completed
                         : outcome == OUTCOME_ABORTED ? STATS_aborts
                                                      : STATS_cut_short]++;
        if (outcome == OUTCOME_ABORTED && exchange->events == 0)
            server->counters[STATS_aborts_early]++;
    }
    server->handler->on_end(server->handler->context, exchange, conn->script, outcome);
    script_unref(&conn->script);
    server_timer_stop(server, &conn->timer);
}

/* Closes at once; the memory goes at the end of the turn. */
static void conn_kill(struct conn *conn, bool reset)
{
    struct server *server = conn->server;

    if (conn->state == CONN_DEAD)
        return;
    if (conn->state == CONN_PLAYING || conn->state == CONN_PARKED)
        exchange_end(conn, OUTCOME_ABORTED);
    conn->state = CONN_DEAD;
    conn_set_busy(conn, false);
    if (reset) {
        struct linger linger = {.l_onoff = 1, .l_linger = 0};

        setsockopt(conn->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    }
    close(conn->fd);
    DL_DELETE(server->conns, conn);
    DL_APPEND(server->dead, conn);
    stats_move(server->stats, STATS_connections_now, STATS_connections_peak, -1);
    watch_listener(server, true);
}

static void conn_free(struct conn *conn)
{
    buffer_fini(&conn->in);
    buffer_fini(&conn->stash);
    buffer_fini(&conn->body);
    EVP_MD_CTX_free(conn->digest);
    free(conn);
}

static void free_dead(struct server *server)
{
    struct conn *conn, *next;

    DL_FOREACH_SAFE (server->dead, conn, next) {
        DL_DELETE(server->dead, conn);
        conn_free(conn);
    }
}

static void conn_on_timer(struct server_timer *timer);

static void conn_new(struct server *server, int fd)
{
    struct conn *conn = memory_new_zero(1, sizeof(*conn));
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = conn};
    int on = 1;

    conn->server = server;
    conn->fd = fd;
    conn->timer.on_fire = conn_on_timer;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
        close(fd);
        free(conn);
        return;
    }
    DL_APPEND(server->conns, conn);
    server->counters[STATS_connections_accepted]++;
    stats_move(server->stats, STATS_connections_now, STATS_connections_peak, 1);
}

static void accept_some(struct server *server)
{
    for (int i = 0; i < TURN_MAX_ACCEPTS; i++) {
        int fd = accept4(server->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd >= 0) {
            conn_new(server, fd);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE) {
            fprintf(stderr, "out of file descriptors: no more connections until one closes\n");
            watch_listener(server, false);
        }
        if (errno != EINTR && errno != ECONNABORTED)
            return;
    }
}

/* ---- playing a script ---- */

static void conn_finish(struct conn *conn)
{
    enum script_end end = conn->script->end;

    if (end == SCRIPT_HANG)
        return; /* stays in CONN_PLAYING until the client goes */
    exchange_end(conn, conn->script->complete ? OUTCOME_COMPLETE : OUTCOME_CUT);
    conn->state = CONN_HEAD;
    if (end != SCRIPT_KEEP || conn->close_after) {
        conn_kill(conn, end == SCRIPT_RESET);
        return;
    }
    if (conn->readable || conn->stash.size || conn->peer_closed)
        conn_set_busy(conn, true); /* the next request, at the end of this turn */
}

static void conn_wait(struct conn *conn)
{
    server_timer_stop(conn->server, &conn->timer);
    wheel_add(&conn->server->wheel, &conn->timer.timer, conn->due_us);
}

static void run_done(struct conn *conn, const struct script_run *run)
{
    conn->exchange.events += run->events;
    if (conn->exchange.is_chat)
        conn->server->counters[STATS_events] += run->events;
    conn->run++;
    conn->run_sent = 0;
    conn->run_started = false;
}

/* Makes the next run current. Returns false if it has to be waited for, or all is sent. */
static bool run_ready(struct conn *conn)
{
    const struct script *script = conn->script;
    bool loops = script->loop_from < script->run_count;
    int64_t delay_ms;

    if (conn->run == script->run_count && loops)
        conn->run = script->loop_from;
    delay_ms = conn->run < script->run_count ? script->runs[conn->run].delay_ms : script->end_ms;
    if (!conn->run_started) {
        if (loops && conn->due_us < conn->server->now_us)
            conn->due_us = conn->server->now_us; /* what never ends has nothing to catch up with */
        conn->due_us += delay_ms * 1000;
        conn->run_started = true;
    }
    if (delay_ms > 0 && conn->due_us > conn->server->now_us) {
        conn_wait(conn);
        return false;
    }
    if (conn->run < script->run_count)
        return true;
    conn_finish(conn);
    return false;
}

static void conn_pump(struct conn *conn)
{
    size_t budget = TURN_MAX_BYTES;

    while (run_ready(conn)) {
        const struct script_run *run = &conn->script->runs[conn->run];
        size_t left = run->size - conn->run_sent;
        ssize_t sent = send(conn->fd, conn->script->bytes + run->offset + conn->run_sent, left, MSG_NOSIGNAL);

        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0) {
            if (errno != EAGAIN)
                conn_kill(conn, false);
            return; /* EAGAIN: the edge of EPOLLOUT brings us back */
        }
        if (conn->exchange.is_chat)
            conn->server->counters[STATS_bytes_sent] += sent;
        conn->run_sent += (size_t)sent;
        if (conn->run_sent < run->size)
            continue;
        run_done(conn, run);
        budget -= (size_t)sent < budget ? (size_t)sent : budget;
        if (budget == 0) {
            conn_set_busy(conn, true);
            return;
        }
    }
}

static void conn_on_timer(struct server_timer *timer)
{
    conn_pump((struct conn *)timer);
}

void server_play(struct conn *conn, struct script *script)
{
    struct server *server = conn->server;

    assert(!conn->script);
    conn->script = script;
    conn->run = conn->run_sent = 0;
    conn->run_started = false;
    conn->due_us = server->now_us;
    stats_add_status(server->stats, script->run_count ? script->status : 0);
    if (conn->state == CONN_PARKED) { /* an answer from a timer or a turn's end: not from inside a read */
        conn->state = CONN_PLAYING;
        conn_pump(conn);
    }
}

void server_park(struct conn *conn)
{
    conn->state = CONN_PARKED;
}

struct server_exchange *server_conn_exchange(struct conn *conn)
{
    return &conn->exchange;
}

/* ---- requests ---- */

static void refuse(struct conn *conn, const char *why)
{
    static const char head[] = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

    conn->server->counters[STATS_malformed]++;
    stats_add_failure(conn->server->stats, 0, why);
    if (send(conn->fd, head, sizeof(head) - 1, MSG_NOSIGNAL) < 0)
        errno = 0; /* it is closed next in any case */
    conn_kill(conn, false);
}

static void start_body(struct conn *conn)
{
    conn->body_left = conn->request.content_length > 0 ? conn->request.content_length : 0;
    conn->chunked = (struct chunked){0};
    conn->body_bytes = 0;
    buffer_clear(&conn->body);
    body_scan_init(&conn->scan);
    conn->collecting = conn->server->options.keep_bodies || !span_has_prefix(conn->request.path, "/v2/chat/");
    conn->close_after = !conn->request.keep_alive;
}

/* From here on the body is more than is kept: its digest stands for it. */
static void start_digest(struct conn *conn)
{
    conn->digest = EVP_MD_CTX_new();
    if (!conn->digest || EVP_DigestInit_ex(conn->digest, EVP_sha256(), NULL) != 1 ||
        EVP_DigestUpdate(conn->digest, conn->body.data, conn->body.size) != 1)
        abort(); /* out of memory */
}

static void keep_body(struct conn *conn, struct span piece)
{
    size_t room = SERVER_BODY_KEEP_BYTES - conn->body.size;
    size_t take = piece.size < room ? piece.size : room;

    buffer_append(&conn->body, piece.data, take);
    if (take == piece.size)
        return;
    if (!conn->digest)
        start_digest(conn);
    if (EVP_DigestUpdate(conn->digest, piece.data + take, piece.size - take) != 1)
        abort();
}

static bool body_piece(struct conn *conn, struct span piece)
{
    conn->body_bytes += piece.size;
    if ((int64_t)conn->body_bytes > BODY_MAX_BYTES)
        return false;
    body_scan_feed(&conn->scan, piece.data, piece.size);
    if (conn->collecting)
        keep_body(conn, piece);
    return true;
}

static void handle(struct conn *conn, struct span head, struct span body)
{
    unsigned char sha256[EVP_MAX_MD_SIZE];
    struct server *server = conn->server;
    struct server_request request = {
        .http = &conn->request,
        .head = head,
        .body = body,
        .body_bytes = conn->body_bytes,
        .scan = &conn->scan,
    };

    if (conn->digest) {
        EVP_DigestFinal_ex(conn->digest, sha256, NULL);
        EVP_MD_CTX_free(conn->digest);
        conn->digest = NULL;
        request.sha256 = sha256;
    }
    conn->exchange = (struct server_exchange){.started_us = server->now_us};
    conn->state = CONN_PLAYING;
    server->handler->on_request(server->handler->context, conn, &request);
    assert(conn->script || conn->state == CONN_PARKED);
    if (conn->exchange.is_chat)
        stats_move(server->stats, STATS_streams_now, STATS_streams_peak, 1);
    buffer_clear(&conn->in);
    if (conn->in.capacity > 4096)
        buffer_fini(&conn->in);
    buffer_fini(&conn->body); /* a slow stream must not hold its request's memory */
    if (conn->state == CONN_PLAYING)
        conn_pump(conn);
}

static void send_continue(struct conn *conn)
{
    static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";

    if (conn->request.expect_continue && send(conn->fd, text, sizeof(text) - 1, MSG_NOSIGNAL) < 0)
        conn->peer_closed = true; /* found out again when it is read */
}

/* Takes body bytes; *over says that the body is complete. Returns how many bytes it took, -1 if bad. */
static int64_t feed_body(struct conn *conn, const char *data, size_t size_bytes, bool *over)
{
    size_t at = 0;

    *over = false;
    if (!conn->request.chunked) {
        size_t take = (int64_t)size_bytes < conn->body_left ? size_bytes : (size_t)conn->body_left;

        conn->body_left -= (int64_t)take;
        *over = conn->body_left == 0;
        return body_piece(conn, (struct span){data, take}) ? (int64_t)take : -1;
    }
    while (at < size_bytes) {
        struct span piece;
        size_t took;
        enum chunked_result result =
            chunked_decode(&conn->chunked, data + at, size_bytes - at, &took, &piece);

        at += took;
        if (result == CHUNKED_BAD || (result == CHUNKED_PIECE && !body_piece(conn, piece)))
            return -1;
        *over = result == CHUNKED_END;
        if (*over || result == CHUNKED_MORE)
            break;
    }
    return (int64_t)at;
}

/* The usual request came in one read with all of its body: nothing is copied. Returns the size, 0: no. */
static size_t feed_whole(struct conn *conn, const char *data, size_t head_size, size_t size_bytes)
{
    size_t body_size = (size_t)(conn->request.content_length > 0 ? conn->request.content_length : 0);
    struct span body = {data + head_size, body_size};

    if (conn->request.chunked || body_size > size_bytes - head_size || body_size > SERVER_BODY_KEEP_BYTES)
        return 0;
    start_body(conn);
    conn->body_bytes = body_size;
    body_scan_feed(&conn->scan, body.data, body.size);
    handle(conn, (struct span){data, head_size}, body);
    return head_size + body_size;
}

/* Takes bytes of a head. Returns how many, -1 if bad. */
static int64_t feed_head(struct conn *conn, const char *data, size_t size_bytes)
{
    size_t before = conn->in.size;
    const char *why;
    int64_t head_size;
    size_t whole;

    if (before == 0) {
        head_size = http_head_parse(data, size_bytes, &conn->request, &why);
        if (head_size > 0 && (whole = feed_whole(conn, data, (size_t)head_size, size_bytes)) > 0)
            return (int64_t)whole;
    }
    buffer_append(&conn->in, data, size_bytes);
    head_size = http_head_parse(conn->in.data, conn->in.size, &conn->request, &why);
    if (head_size < 0) {
        refuse(conn, why);
        return -1;
    }
    if (head_size == 0)
        return (int64_t)size_bytes;
    conn->in.size = (size_t)head_size;
    start_body(conn);
    conn->state = CONN_BODY;
    send_continue(conn);
    return head_size - (int64_t)before;
}

static int64_t feed_body_step(struct conn *conn, const char *data, size_t size_bytes)
{
    bool over;
    int64_t took = feed_body(conn, data, size_bytes, &over);

    if (took < 0)
        refuse(conn, "the body is not chunked coding, or too large");
    else if (over)
        handle(conn, (struct span){conn->in.data, conn->in.size},
               (struct span){conn->body.data, conn->body.size});
    return took;
}

static int64_t feed_step(struct conn *conn, const char *data, size_t size_bytes)
{
    int64_t head = 0, body;

    if (conn->state == CONN_HEAD) {
        head = feed_head(conn, data, size_bytes);
        if (head < 0 || conn->state != CONN_BODY)
            return head;
    }
    /* Also with nothing left: a body of no bytes is over now, not with the next byte. */
    body = feed_body_step(conn, data + head, size_bytes - (size_t)head);
    return body < 0 ? -1 : head + body;
}

/* Uses up data, or keeps what must wait for the answer under way. */
static void conn_feed(struct conn *conn, const char *data, size_t size_bytes)
{
    while (size_bytes > 0 && (conn->state == CONN_HEAD || conn->state == CONN_BODY)) {
        int64_t took = feed_step(conn, data, size_bytes);

        if (took < 0)
            return;
        data += took;
        size_bytes -= (size_t)took;
    }
    if (conn->state != CONN_DEAD)
        buffer_append(&conn->stash, data, size_bytes);
}

static void feed_stash(struct conn *conn)
{
    struct buffer stash = conn->stash;

    if (stash.size == 0)
        return;
    conn->stash = (struct buffer){0};
    conn_feed(conn, stash.data, stash.size);
    buffer_fini(&stash);
}

/* The client closed while it had nothing under way, or in the middle of a request. */
static void conn_peer_left(struct conn *conn)
{
    if (conn->state == CONN_BODY || conn->in.size > 0)
        stats_add_failure(conn->server->stats, 0, "connection closed inside a request");
    conn_kill(conn, false);
}

static void conn_read(struct conn *conn)
{
    struct server *server = conn->server;

    feed_stash(conn);
    for (int i = 0; conn->state == CONN_HEAD || conn->state == CONN_BODY; i++) {
        ssize_t size;

        if (!conn->readable && !conn->peer_closed)
            return;
        if (i == TURN_MAX_READS) {
            conn_set_busy(conn, true);
            return;
        }
        size = recv(conn->fd, server->read_buffer, READ_BYTES, 0);
        if (size < 0 && errno == EINTR)
            continue;
        if (size < 0 && errno == EAGAIN) {
            conn->readable = false;
            return;
        }
        if (size <= 0) {
            conn_peer_left(conn);
            return;
        }
        if (size < READ_BYTES) /* a short read: more would be a new edge */
            conn->readable = false;
        conn_feed(conn, server->read_buffer, (size_t)size);
    }
    if (conn->peer_closed && conn->state != CONN_DEAD)
        conn_kill(conn, false); /* it left right behind its request: no edge will tell again */
}

static void conn_event(struct conn *conn, uint32_t events)
{
    if (conn->state == CONN_DEAD)
        return;
    conn->readable |= (events & EPOLLIN) != 0;
    conn->peer_closed |= (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
    if (conn->peer_closed && (conn->state == CONN_PLAYING || conn->state == CONN_PARKED)) {
        conn_kill(conn, false);
        return;
    }
    if (conn->state == CONN_PLAYING && (events & EPOLLOUT) && !conn->timer.timer.added)
        conn_pump(conn);
    if (conn->state == CONN_HEAD || conn->state == CONN_BODY)
        conn_read(conn);
}

/* ---- the loop ---- */

static void fire_timers(struct server *server)
{
    struct wheel_timer *timer;

    while ((timer = wheel_take_due(&server->wheel, server->now_us)))
        ((struct server_timer *)timer)->on_fire((struct server_timer *)timer);
}

/* Goes once through those that lined up before; whoever stays busy lines up again. */
static void serve_busy(struct server *server)
{
    struct conn *conn;
    int count = 0;

    DL_COUNT2(server->busy, conn, count, busy_next);
    while (count-- > 0 && server->busy) {
        conn = server->busy;
        conn_set_busy(conn, false);
        if (conn->state == CONN_PLAYING)
            conn_pump(conn);
        else
            conn_read(conn);
    }
}

/* Waits to the microsecond: whole milliseconds of epoll_wait would double the wheel's lateness. */
static int wait_events(struct server *server, struct epoll_event *events)
{
    int64_t wait_us = server->busy ? 0 : wheel_until_next_us(&server->wheel, clock_us());
    struct timespec wait = {.tv_sec = wait_us / 1000000, .tv_nsec = wait_us % 1000000 * 1000};
    int count;

    if (!server->no_pwait2) {
        count = epoll_pwait2(server->epoll_fd, events, TURN_MAX_EVENTS, wait_us < 0 ? NULL : &wait, NULL);
        if (count >= 0 || errno != ENOSYS)
            return count;
        server->no_pwait2 = true; /* a kernel before 5.11, or a sandbox */
    }
    if (wait_us > 1000000)
        wait_us = 1000000;
    return epoll_wait(server->epoll_fd, events, TURN_MAX_EVENTS,
                      wait_us < 0 ? -1 : (int)((wait_us + 999) / 1000));
}

static void turn(struct server *server, const struct epoll_event *events, int count)
{
    server->now_us = clock_us();
    for (int i = 0; i < count; i++) {
        void *owner = events[i].data.ptr;

        if (owner == &server->listen_fd)
            accept_some(server);
        else if (owner == &server->signal_fd)
            server->stopping = true;
        else
            conn_event(owner, events[i].events);
    }
    fire_timers(server);
    serve_busy(server);
    server->handler->on_turn(server->handler->context);
    free_dead(server);
}

int server_run(struct server *server)
{
    static struct epoll_event events[TURN_MAX_EVENTS];

    while (!server->stopping) {
        int count = wait_events(server, events);

        if (count < 0 && errno != EINTR) {
            perror("epoll");
            return -1;
        }
        turn(server, events, count);
    }
    return 0;
}

void server_timer_start(struct server *server, struct server_timer *timer, int64_t after_ms)
{
    server_timer_stop(server, timer);
    wheel_add(&server->wheel, &timer->timer, server->now_us + after_ms * 1000);
}

void server_timer_stop(struct server *server, struct server_timer *timer)
{
    wheel_remove(&server->wheel, &timer->timer);
}

int64_t server_now_us(const struct server *server)
{
    return server->now_us;
}

/* ---- begin and end ---- */

static int listen_at(const char *host, uint16_t port)
{
    struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    char service[8];
    int fd, on = 1;

    snprintf(service, sizeof(service), "%u", port);
    if (getaddrinfo(host, service, &hints, &found) != 0)
        return -1;
    fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (fd >= 0 && (bind(fd, found->ai_addr, found->ai_addrlen) < 0 || listen(fd, 4096) < 0)) {
        close(fd);
        fd = -1;
    }
    freeaddrinfo(found);
    return fd;
}

static int watch_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
        return -1;
    return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

static bool watch(struct server *server, int *fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = fd};

    return *fd >= 0 && epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, *fd, &event) == 0;
}

struct server *server_new(const struct server_options *options, const struct server_handler *handler,
                          struct stats *stats)
{
    struct server *server = memory_new_zero(1, sizeof(*server));

    server->options = *options;
    server->handler = handler;
    server->stats = stats;
    server->counters = stats_counters(stats);
    server->read_buffer = memory_new(READ_BYTES);
    server->now_us = clock_us();
    server->listening = true;
    wheel_init(&server->wheel, server->now_us);
    server->signal_fd = server->listen_fd = -1;
    server->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (server->epoll_fd >= 0) {
        server->listen_fd = listen_at(options->host, options->port);
        server->signal_fd = watch_signals();
    }
    if (!watch(server, &server->listen_fd) || !watch(server, &server->signal_fd)) {
        fprintf(stderr, "cannot listen at %s port %u: %s\n", options->host, options->port, strerror(errno));
        server_free(&server);
    }
    return server;
}

uint16_t server_port(const struct server *server)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address = {.v6 = {0}};
    socklen_t size = sizeof(address);

    if (getsockname(server->listen_fd, &address.any, &size) < 0)
        return 0;
    return ntohs(address.any.sa_family == AF_INET6 ? address.v6.sin6_port : address.v4.sin_port);
}

void server_free(struct server **server)
{
    struct server *old = *server;
    struct conn *conn, *next;

    *server = NULL;
    if (!old)
        return;
    free_dead(old);
    DL_FOREACH_SAFE (old->conns, conn, next) {
        close(conn->fd);
        script_unref(&conn->script);
        conn_free(conn);
    }
    if (old->listen_fd >= 0)
        close(old->listen_fd);
    if (old->signal_fd >= 0)
        close(old->signal_fd);
    if (old->epoll_fd >= 0)
        close(old->epoll_fd);
    free(old->read_buffer);
    free(old);
}
