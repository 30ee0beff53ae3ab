/* SPDX-License-Identifier: MIT */
#include "tests/upstream/load/client.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "tests/upstream/load/response.h"
#include "tests/upstream/load/stream_check.h"
#include "tests/upstream/wheel.h"

#define READ_BYTES      (256 * 1024)
#define TURN_MAX_EVENTS 1024
#define TURN_MAX_OPENS  64    /* so that a burst of connects fits into the far end's backlog */
#define RETRY_US        10000 /* after a failed connect: no spinning on a dead server */
#define DRAIN_US        10000000

enum conn_state {
    CONN_CLOSED,  /* no socket; waits for its turn to open */
    CONN_SENDING, /* connecting, or the request is not all sent */
    CONN_READING,
    CONN_HOLDING, /* slow reader: has the headers, reads no more */
    CONN_OVER     /* has nothing left to do */
};

struct conn {
    struct wheel_timer timer; /* first: the wheel gives this back */
    int fd;
    enum conn_state state;
    size_t sent;
    struct response response;
    struct stream_check check;
    int64_t asked_us, first_us, last_us; /* first and last event; 0: none yet */
};

struct client {
    const struct client_options *options;
    struct client_result *result;
    struct conn *conns;
    int epoll_fd;
    struct wheel wheel;
    char *read_buffer;
    int64_t start_us, end_us; /* end_us: no new requests from then on; 0: none set */
    int64_t started;          /* requests begun */
    int64_t opened;           /* connections begun, for the ramp */
    int64_t live, streams;    /* conns not CONN_OVER; requests under way */
    bool ending;
};

static const char *const error_names[CLIENT_ERROR_COUNT] = {
    "connect", "closed", "malformed", "status", "incomplete", "error_event", "content", "timeout",
};

const char *client_error_name(enum client_error error)
{
    return error_names[error];
}

static int64_t clock_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* ---- opening, asking ---- */

static bool has_more_requests(const struct client *client)
{
    if (client->ending)
        return false;
    return client->options->requests == 0 || client->started < client->options->requests;
}

static void conn_close(struct conn *conn)
{
    if (conn->fd >= 0)
        close(conn->fd);
    conn->fd = -1;
    conn->state = CONN_CLOSED;
}

static void conn_over(struct client *client, struct conn *conn)
{
    conn_close(conn);
    wheel_remove(&client->wheel, &conn->timer);
    conn->state = CONN_OVER;
    client->live--;
    buffer_fini(&conn->check.held);
}

static void conn_retry(struct client *client, struct conn *conn, int64_t now_us, int64_t after_us)
{
    conn_close(conn);
    wheel_remove(&client->wheel, &conn->timer);
    wheel_add(&client->wheel, &conn->timer, now_us + after_us);
}

static bool conn_send(struct client *client, struct conn *conn)
{
    struct span request = client->options->request;

    while (conn->sent < request.size) {
        ssize_t sent = send(conn->fd, request.data + conn->sent, request.size - conn->sent, MSG_NOSIGNAL);

        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            return errno == EAGAIN || errno == ENOTCONN;
        conn->sent += (size_t)sent;
    }
    conn->state = CONN_READING;
    return true;
}

static void conn_start_timer(struct client *client, struct conn *conn, int64_t now_us)
{
    const struct client_options *options = client->options;
    int64_t wait_us = options->abort_us >= 0 ? options->abort_us : options->timeout_us;

    wheel_remove(&client->wheel, &conn->timer);
    wheel_add(&client->wheel, &conn->timer, now_us + wait_us);
}

static void conn_fail(struct client *client, struct conn *conn, enum client_error error);

static void conn_ask(struct client *client, struct conn *conn)
{
    int64_t now_us = clock_us();

    if (!has_more_requests(client)) {
        conn_over(client, conn);
        return;
    }
    client->started++;
    if (++client->streams > client->result->streams_peak)
        client->result->streams_peak = client->streams;
    conn->state = CONN_SENDING;
    conn->sent = 0;
    conn->asked_us = now_us;
    conn->first_us = conn->last_us = 0;
    response_init(&conn->response);
    stream_check_init(&conn->check, client->options->plain);
    conn_start_timer(client, conn, now_us);
    if (!conn_send(client, conn))
        conn_fail(client, conn, CLIENT_CLOSED);
}

static void conn_open(struct client *client, struct conn *conn)
{
    const struct client_options *options = client->options;
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = conn};
    int on = 1, small = 4096;

    if (!has_more_requests(client)) {
        conn_over(client, conn);
        return;
    }
    conn->fd = socket(options->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (conn->fd >= 0) {
        setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        if (options->slow_reader)
            setsockopt(conn->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    }
    if (conn->fd < 0 || epoll_ctl(client->epoll_fd, EPOLL_CTL_ADD, conn->fd, &event) < 0 ||
        (connect(conn->fd, (const struct sockaddr *)&options->address, options->address_size) < 0 &&
         errno != EINPROGRESS)) {
        client->started++;
        client->result->errors[CLIENT_CONNECT]++;
        conn_retry(client, conn, clock_us(), RETRY_US);
        return;
    }
    client->result->connects++;
    conn_ask(client, conn);
}

/* ---- the end of a request ---- */

static void count_answer(struct client *client, struct conn *conn)
{
    struct client_result *result = client->result;
    const struct stream_check *check = &conn->check;
    int64_t expected = client->options->expect_tokens;

    result->events += check->events;
    result->tokens += check->tokens;
    result->wrong += check->wrong;
    if (expected > check->tokens)
        result->lost += expected - check->tokens;
    client->streams--;
}

static void conn_next(struct client *client, struct conn *conn)
{
    if (client->options->once)
        conn_over(client, conn);
    else if (!conn->response.keep_alive || conn->response.until_close)
        conn_retry(client, conn, clock_us(), 0);
    else
        conn_ask(client, conn);
}

static void conn_fail(struct client *client, struct conn *conn, enum client_error error)
{
    count_answer(client, conn);
    if (error == CLIENT_CLOSED && conn->response.head_done == false && conn->sent == 0)
        error = CLIENT_CONNECT;
    client->result->errors[error]++;
    if (client->options->once)
        conn_over(client, conn);
    else
        conn_retry(client, conn, clock_us(), error == CLIENT_CONNECT ? RETRY_US : 0);
}

/* -1: nothing is wrong with it. */
static int judge(const struct client *client, const struct conn *conn)
{
    const struct stream_check *check = &conn->check;
    int64_t expected = client->options->expect_tokens;

    if (conn->response.status != 200)
        return CLIENT_STATUS;
    if (check->error_event)
        return CLIENT_ERROR_EVENT;
    if (!check->done || check->too_large)
        return CLIENT_INCOMPLETE;
    if (check->wrong || (expected >= 0 && check->tokens != expected))
        return CLIENT_CONTENT;
    return -1;
}

static void conn_answered(struct client *client, struct conn *conn, int64_t now_us)
{
    struct client_result *result = client->result;
    int error;

    stream_check_end(&conn->check);
    error = judge(client, conn);
    count_answer(client, conn);
    if (conn->response.status < CLIENT_STATUS_MAX)
        result->status[conn->response.status]++;
    if (error >= 0) {
        result->errors[error]++;
    } else {
        result->answered++;
        histogram_add(&result->latency, now_us - conn->asked_us);
    }
    conn_next(client, conn);
}

/* ---- reading ---- */

/* Takes the times of the events that came with this read. */
static void note_events(struct client *client, struct conn *conn, uint32_t events_before,
                        uint32_t tokens_before, int64_t now_us)
{
    struct client_result *result = client->result;
    int64_t expected_us = client->options->gap_us;

    if (conn->check.events > events_before && conn->first_us == 0) {
        conn->first_us = now_us;
        histogram_add(&result->first_event, now_us - conn->asked_us);
    }
    for (uint32_t i = tokens_before; i < conn->check.tokens; i++) {
        int64_t gap_us = now_us - conn->last_us;

        if (conn->last_us) {
            histogram_add(&result->gap, gap_us);
            if (expected_us >= 0)
                histogram_add(&result->jitter,
                              gap_us > expected_us ? gap_us - expected_us : expected_us - gap_us);
        }
        conn->last_us = now_us;
    }
}

/* Returns false once the connection has no more use for the bytes of this read. */
static bool conn_take(struct client *client, struct conn *conn, const char *data, size_t size_bytes,
                      int64_t now_us)
{
    uint32_t events = conn->check.events, tokens = conn->check.tokens;
    enum response_result result = RESPONSE_MORE;

    while (size_bytes > 0) {
        struct span piece;
        size_t took;

        result = response_read(&conn->response, data, size_bytes, &took, &piece);
        data += took;
        size_bytes -= took;
        if (result == RESPONSE_PIECE)
            stream_check_feed(&conn->check, piece);
        if (result == RESPONSE_END || result == RESPONSE_BAD)
            break;
    }
    if (result == RESPONSE_PIECE) /* a body of known length may be over without a further byte */
        result = response_read(&conn->response, data, 0, &(size_t){0}, &(struct span){0});
    note_events(client, conn, events, tokens, now_us);
    if (result == RESPONSE_BAD || (result == RESPONSE_END && size_bytes > 0)) {
        conn_fail(client, conn, CLIENT_MALFORMED);
        return false;
    }
    if (result == RESPONSE_END) {
        conn_answered(client, conn, now_us);
        return false;
    }
    if (client->options->slow_reader && conn->response.head_done) {
        conn->state = CONN_HOLDING;
        client->result->held++;
        wheel_remove(&client->wheel, &conn->timer);
        return false;
    }
    return true;
}

static void conn_read(struct client *client, struct conn *conn)
{
    while (conn->state == CONN_READING || conn->state == CONN_SENDING) {
        ssize_t size = recv(conn->fd, client->read_buffer, READ_BYTES, 0);

        if (size < 0 && errno == EINTR)
            continue;
        if (size < 0 && errno == EAGAIN)
            return;
        if (size == 0 && response_may_close(&conn->response)) {
            conn_answered(client, conn, clock_us());
            return;
        }
        if (size <= 0) {
            conn_fail(client, conn, CLIENT_CLOSED);
            return;
        }
        client->result->bytes += size;
        if (!conn_take(client, conn, client->read_buffer, (size_t)size, clock_us()))
            return;
        if (size < READ_BYTES)
            return; /* more would be a new edge, an end too */
    }
}

static void conn_event(struct client *client, struct conn *conn, uint32_t events)
{
    if (conn->state == CONN_SENDING && !(events & EPOLLERR) && !conn_send(client, conn)) {
        conn_fail(client, conn, CLIENT_CLOSED);
        return;
    }
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        conn_read(client, conn);
    /* A short read stopped before the end of file: its edge is this one. */
    if ((events & (EPOLLRDHUP | EPOLLHUP)) && conn->state == CONN_READING)
        conn_read(client, conn);
}

static void conn_on_timer(struct client *client, struct conn *conn)
{
    if (conn->state == CONN_CLOSED) {
        conn_open(client, conn);
    } else if (client->options->abort_us >= 0) {
        client->result->aborted++;
        client->streams--;
        if (client->options->once)
            conn_over(client, conn);
        else
            conn_retry(client, conn, clock_us(), 0);
    } else {
        conn_fail(client, conn, CLIENT_TIMEOUT);
    }
}

/* ---- the loop ---- */

static void end_requests(struct client *client)
{
    client->ending = true;
    for (int64_t i = 0; i < client->options->connections; i++) {
        struct conn *conn = &client->conns[i];

        if (conn->state == CONN_CLOSED || conn->state == CONN_HOLDING)
            conn_over(client, conn);
    }
}

/* Opens connections, as many as are due now. */
static void open_due(struct client *client, int64_t now_us)
{
    const struct client_options *options = client->options;
    int64_t due = options->connections;

    if (options->ramp_per_s > 0)
        due = (now_us - client->start_us) * options->ramp_per_s / 1000000 + 1;
    if (due > options->connections)
        due = options->connections;
    for (int i = 0; i < TURN_MAX_OPENS && client->opened < due && !client->ending; i++)
        conn_open(client, &client->conns[client->opened++]);
}

static int64_t wait_us(const struct client *client, int64_t now_us)
{
    int64_t wait = wheel_until_next_us(&client->wheel, now_us);

    if (client->opened < client->options->connections && !client->ending)
        wait = client->options->ramp_per_s > 0 ? 1000 : 0;
    if (client->end_us && !client->ending && (wait < 0 || client->end_us - now_us < wait))
        wait = client->end_us - now_us;
    if (wait < 0 || wait > 100000)
        wait = 100000;
    return wait;
}

static int turn(struct client *client, struct epoll_event *events)
{
    int64_t now_us = clock_us(), wait = wait_us(client, now_us);
    struct wheel_timer *timer;
    int count = epoll_wait(client->epoll_fd, events, TURN_MAX_EVENTS, (int)((wait + 999) / 1000));

    if (count < 0 && errno != EINTR) {
        perror("epoll");
        return -1;
    }
    for (int i = 0; i < count; i++)
        conn_event(client, events[i].data.ptr, events[i].events);
    now_us = clock_us();
    if (client->end_us && !client->ending && now_us >= client->end_us)
        end_requests(client);
    open_due(client, now_us);
    while ((timer = wheel_take_due(&client->wheel, now_us)))
        conn_on_timer(client, (struct conn *)timer);
    return 0;
}

static void release(struct client *client)
{
    for (int64_t i = 0; i < client->options->connections; i++) {
        conn_close(&client->conns[i]);
        response_fini(&client->conns[i].response);
        stream_check_fini(&client->conns[i].check);
    }
    free(client->conns);
    free(client->read_buffer);
    if (client->epoll_fd >= 0)
        close(client->epoll_fd);
}

int client_run(const struct client_options *options, struct client_result *result)
{
    static struct epoll_event events[TURN_MAX_EVENTS];
    struct client client = {.options = options, .result = result, .live = options->connections};
    int status = -1;

    client.conns = memory_new_zero((size_t)options->connections, sizeof(*client.conns));
    client.read_buffer = memory_new(READ_BYTES);
    client.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    client.start_us = clock_us();
    client.end_us = options->duration_us ? client.start_us + options->duration_us : 0;
    wheel_init(&client.wheel, client.start_us);
    for (int64_t i = 0; i < options->connections; i++)
        client.conns[i].fd = -1;
    if (client.epoll_fd >= 0)
        status = 0;
    /* Past the end what is under way may finish, so that nobody is made to see an abort. */
    while (status == 0 && client.live > 0 &&
           (client.end_us == 0 || clock_us() < client.end_us + DRAIN_US + options->timeout_us))
        status = turn(&client, events);
    result->elapsed_us = clock_us() - client.start_us;
    release(&client);
    return status;
}
