/* SPDX-License-Identifier: MIT */
#include "upstream-worker/transfer.h"
#include "proto/curl_loop.h"
#include "proto/error.h"
#include "proto/turn_budget.h"

#include <assert.h>
#include <stdlib.h>

#include <utlist.h>

enum {
    SPARE_MAX = 256,               /* handles kept for the next request: 6 KB each… */
    UNUSED_MS = 10000,             /* … while they are needed now and then */
    RECEIVE_BYTES = 8 << 10,       /* per running transfer: a small answer in one read */
    CROWD_COUNT = 80,              /* running transfers from which on memory counts more than reads: */
    RECEIVE_CROWD_BYTES = 1 << 10, /* many streams are slow ones, whose events have hundreds of bytes */
    RECEIVE_TLS_BYTES = 4 << 10,   /* the least where a connection's streams wait for one another's reads */
    SEND_SMALL_BYTES = 16 << 10,   /* libcurl's least; kept to the transfer's end over TLS */
    SEND_BYTES = 64 << 10,
    LINGER_MS = 1000,
    LINGER_BYTES = 64 << 10,
    LIBCURL_CONNECT_MAX_MS = 300000 /* what libcurl allows by itself */
};

static const struct turn_limits turn_limits = {.turn_bytes = TRANSFERS_TURN_BYTES,
                                               .share_bytes = TRANSFERS_SHARE_BYTES,
                                               .least_bytes = TRANSFERS_LEAST_BYTES};

/* RUNNING until libcurl is done, then OVER; the caller's in both. LINGERING: nobody's, waits for its end.
 * SPARE: in the pool. */
enum transfer_state { TRANSFER_SPARE, TRANSFER_RUNNING, TRANSFER_OVER, TRANSFER_LINGERING };

struct transfer {
    struct transfers *home;
    CURL *easy;
    enum transfer_state state;
    bool is_https; /* what the handle is set up for */
    bool is_touched, is_paused, has_dropped_call;
    bool is_connecting; /* on that list */
    bool is_resting;    /* libcurl holds its bytes: they are for the next turn */
    bool is_starved;    /* it is over because there was no descriptor */
    int fd;             /* of its connection, -1 if not known */
    const struct transfer_handlers *handlers;
    void *owner;
    const struct payload *payload;
    struct payload_cursor cursor;
    struct turn_share share;
    struct response_head head;
    CURLcode code;
    int64_t connect_until_ms, linger_until_ms;
    size_t lingered_bytes;
    struct transfer *prev, *next;                 /* in the pool, or among the lingering */
    struct transfer *touched_prev, *touched_next; /* among those to settle */
    struct transfer *connecting_prev, *connecting_next;
    struct transfer *resting_prev, *resting_next;
};

struct transfers {
    uv_loop_t *loop;
    struct curl_loop *curl_loop;
    struct transfers_options options;
    struct transfer *spare[2]; /* for http and for https */
    struct transfer *lingering, *touched, *connecting, *resting;
    struct turn_budget budget;
    uv_check_t *turn;    /* a turn has read its sockets: the next begins */
    uv_idle_t *no_sleep; /* active while some rest */
    size_t spare_count, running_count, paused_count;
    size_t unused_count;    /* spare ones that nobody needed since… */
    int64_t unused_from_ms; /* … then */
};

/* ---- the batch of those to settle ---- */

static void transfer_touch(struct transfer *transfer)
{
    if (transfer->is_touched || transfer->state == TRANSFER_LINGERING)
        return;
    transfer->is_touched = true;
    DL_APPEND2(transfer->home->touched, transfer, touched_prev, touched_next);
}

static void transfer_untouch(struct transfer *transfer)
{
    if (!transfer->is_touched)
        return;
    transfer->is_touched = false;
    DL_DELETE2(transfer->home->touched, transfer, touched_prev, touched_next);
}

static void on_settle(void *owner)
{
    struct transfers *transfers = owner;
    while (transfers->touched) {
        struct transfer *transfer = transfers->touched;
        transfer_untouch(transfer);
        transfer->handlers->settle(transfer->owner);
    }
}

/* ---- connecting ---- */

/* The time to connect is watched here and not by libcurl, which would keep a timer for each transfer until it
 * fires, long after the connection stands: two operations on a tree of all of them for every event (1 µs). */
static void transfer_begin_connecting(struct transfer *transfer, int64_t limit_ms)
{
    transfer->is_connecting = true;
    transfer->connect_until_ms = (int64_t)uv_now(transfer->home->loop) + limit_ms;
    DL_APPEND2(transfer->home->connecting, transfer, connecting_prev, connecting_next);
}

static void transfer_end_connecting(struct transfer *transfer)
{
    if (!transfer->is_connecting)
        return;
    transfer->is_connecting = false;
    DL_DELETE2(transfer->home->connecting, transfer, connecting_prev, connecting_next);
}

/* A connection stands, TLS included, and the request is about to be sent. */
static int on_connected(void *context, char *far_address, char *near_address, int far_port, int near_port)
{
    (void)far_address;
    (void)near_address;
    (void)far_port;
    (void)near_port;
    transfer_end_connecting(context);
    return CURL_PREREQFUNC_OK;
}

/* ---- turns ---- */

static void on_no_sleep(uv_idle_t *idle)
{
    (void)idle;
}

static void transfer_rest(struct transfer *transfer)
{
    struct transfers *home = transfer->home;
    if (!transfer->is_resting)
        DL_APPEND2(home->resting, transfer, resting_prev, resting_next);
    transfer->is_resting = true;
    uv_idle_start(home->no_sleep, on_no_sleep);
}

static void transfer_end_rest(struct transfer *transfer)
{
    struct transfers *home = transfer->home;
    if (!transfer->is_resting)
        return;
    transfer->is_resting = false;
    DL_DELETE2(home->resting, transfer, resting_prev, resting_next);
    if (!home->resting)
        uv_idle_stop(home->no_sleep);
}

/* Those that rested go on. Each may rest again at once: then it is behind them. */
static void on_turn(uv_check_t *check)
{
    struct transfers *transfers = check->data;
    struct transfer *transfer;
    turn_budget_begin(&transfers->budget);
    while ((transfer = transfers->resting) && transfer->share.turn != transfers->budget.turn) {
        transfer_end_rest(transfer);
        curl_loop_resume(transfers->curl_loop, transfer->easy);
    }
}

/* ---- life ---- */

static void transfer_free(struct transfer *transfer)
{
    curl_easy_cleanup(transfer->easy);
    free(transfer);
}

static void set_paused(struct transfer *transfer, bool is_paused)
{
    if (is_paused && !transfer->is_paused)
        transfer->home->paused_count++;
    else if (!is_paused && transfer->is_paused)
        transfer->home->paused_count--;
    transfer->is_paused = is_paused;
}

/* The handle keeps its options for the next request; what belongs to this one goes. */
static void transfer_recycle(struct transfer *transfer)
{
    struct transfers *home = transfer->home;
    set_paused(transfer, false);
    transfer_untouch(transfer);
    transfer_end_connecting(transfer);
    transfer_end_rest(transfer);
    if (home->spare_count >= SPARE_MAX ||
        curl_easy_setopt(transfer->easy, CURLOPT_HTTPHEADER, NULL) != CURLE_OK) {
        transfer_free(transfer);
        return;
    }
    transfer->state = TRANSFER_SPARE;
    transfer->handlers = NULL;
    transfer->payload = NULL;
    DL_PREPEND(home->spare[transfer->is_https], transfer);
    home->spare_count++;
}

static void on_done(void *owner, CURL *easy, CURLcode code)
{
    struct transfers *transfers = owner;
    struct transfer *transfer = NULL;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &transfer);
    transfer->code = code;
    transfer->is_starved = code == CURLE_COULDNT_CONNECT && curl_loop_is_starved(transfers->curl_loop);
    transfer_end_connecting(transfer);
    transfer_end_rest(transfer);
    transfers->running_count--;
    if (transfer->state == TRANSFER_LINGERING) {
        DL_DELETE(transfers->lingering, transfer);
        transfer_recycle(transfer);
        return;
    }
    transfer->state = TRANSFER_OVER;
    transfer_touch(transfer);
}

static void on_waits(void *owner, CURL *easy, int fd)
{
    struct transfer *transfer = NULL;
    (void)owner;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &transfer);
    if (transfer)
        transfer->fd = fd;
}

static const struct curl_loop_handlers curl_handlers = {on_waits, on_done, on_settle};

/* ---- the response ---- */

/* libcurl hands over one line at a time. */
static size_t on_header(char *data, size_t size, size_t count, void *context)
{
    struct transfer *transfer = context;
    struct span line = span_of(data, size * count);
    if (!response_head_take(&transfer->head, line))
        return line.length;
    curl_loop_mark_answered(transfer->home->curl_loop, transfer->fd);
    if (transfer->state == TRANSFER_RUNNING)
        transfer->handlers->responded(transfer->owner, &transfer->head);
    transfer_touch(transfer);
    return line.length;
}

static size_t on_write(char *data, size_t size, size_t count, void *context)
{
    struct transfer *transfer = context;
    struct span bytes = span_of(data, size * count);
    if (transfer->state == TRANSFER_LINGERING) {
        transfer->lingered_bytes += bytes.length;
        return transfer->lingered_bytes > LINGER_BYTES ? CURL_WRITEFUNC_ERROR : bytes.length;
    }
    if (!turn_budget_take(&transfer->home->budget, &transfer->share, bytes.length)) {
        transfer_rest(transfer);
        return CURL_WRITEFUNC_PAUSE;
    }
    if (transfer->handlers->data(transfer->owner, bytes) == TRANSFER_PAUSE) {
        set_paused(transfer, true);
        return CURL_WRITEFUNC_PAUSE;
    }
    transfer_touch(transfer);
    return bytes.length;
}

/* ---- the request ---- */

static size_t on_read(char *out, size_t size, size_t count, void *context)
{
    struct transfer *transfer = context;
    return payload_read(transfer->payload, &transfer->cursor, out, size * count);
}

static int on_seek(void *context, curl_off_t offset, int origin)
{
    struct transfer *transfer = context;
    if (origin != SEEK_SET || offset < 0 ||
        !payload_seek(transfer->payload, &transfer->cursor, (size_t)offset))
        return CURL_SEEKFUNC_FAIL;
    return CURL_SEEKFUNC_OK;
}

#define SET(option, value) (code = code ? code : curl_easy_setopt(transfer->easy, option, value))

/* What holds for every request. */
static int transfer_set_up(struct transfer *transfer)
{
    const struct transfers_options *options = &transfer->home->options;
    CURLcode code = CURLE_OK;
    SET(CURLOPT_PRIVATE, transfer);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_QUICK_EXIT, 1L); /* else giving up while a name is looked up waits for the look-up */
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
    SET(CURLOPT_SSL_VERIFYPEER, options->verify ? 1L : 0L);
    SET(CURLOPT_SSL_VERIFYHOST, options->verify ? 2L : 0L);
    SET(CURLOPT_TCP_NODELAY, 1L);
    SET(CURLOPT_TCP_KEEPALIVE, 1L); /* a silent stream's connection may pass a NAT that forgets */
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, transfer);
    SET(CURLOPT_WRITEFUNCTION, on_write);
    SET(CURLOPT_WRITEDATA, transfer);
    SET(CURLOPT_READFUNCTION, on_read);
    SET(CURLOPT_READDATA, transfer);
    SET(CURLOPT_SEEKFUNCTION, on_seek);
    SET(CURLOPT_SEEKDATA, transfer);
    SET(CURLOPT_PREREQFUNCTION, on_connected);
    SET(CURLOPT_PREREQDATA, transfer);
    if (code != CURLE_OK)
        return ERR_NOMEM;
    return curl_loop_prepare(transfer->home->curl_loop, transfer->easy);
}

/* What depends on the kind of upstream. With PIPEWAIT a burst of requests waits to learn whether the first
 * connection takes them all, rather than opening one each. Without TLS the certificates' names are only
 * memory that every connection copies. */
static int transfer_set_up_scheme(struct transfer *transfer)
{
    CURLcode code = CURLE_OK;
    if (transfer->is_https) {
        SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
        SET(CURLOPT_PIPEWAIT, 1L);
        if (*transfer->home->options.ca_file)
            SET(CURLOPT_CAINFO, transfer->home->options.ca_file);
    } else {
        SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
        SET(CURLOPT_PROXY, "");
        SET(CURLOPT_CAINFO, NULL);
        SET(CURLOPT_CAPATH, NULL);
        SET(CURLOPT_PROXY_CAINFO, NULL);
        SET(CURLOPT_PROXY_CAPATH, NULL);
    }
    return code == CURLE_OK ? 0 : ERR_NOMEM;
}

static long transfer_receive_bytes(const struct transfer *transfer)
{
    if (transfer->home->running_count < CROWD_COUNT)
        return RECEIVE_BYTES;
    return transfer->is_https ? RECEIVE_TLS_BYTES : RECEIVE_CROWD_BYTES;
}

static int transfer_set_call(struct transfer *transfer, const struct transfer_call *call)
{
    CURLcode code = CURLE_OK;
    const struct payload *payload = call->payload;
    bool is_small = payload->count == 1 && payload->length <= TRANSFER_SMALL_BYTES;
    transfer->payload = payload;
    /* Refused for a handle that has kept its buffer (HTTP/2): then that one serves. */
    curl_easy_setopt(transfer->easy, CURLOPT_BUFFERSIZE, transfer_receive_bytes(transfer));
    SET(CURLOPT_UPLOAD_BUFFERSIZE, is_small ? (long)SEND_SMALL_BYTES : (long)SEND_BYTES);
    SET(CURLOPT_URL, call->url);
    SET(CURLOPT_HTTPHEADER, call->headers->list);
    SET(CURLOPT_FRESH_CONNECT, call->is_fresh ? 1L : 0L);
    SET(CURLOPT_POST, 1L);
    SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)payload->length);
    SET(CURLOPT_POSTFIELDS, is_small ? payload->pieces[0].data : NULL); /* NULL: by on_read */
    SET(CURLOPT_CONNECTTIMEOUT_MS,
        call->connect_timeout_ms > LIBCURL_CONNECT_MAX_MS ? (long)call->connect_timeout_ms : 0L);
    return code == CURLE_OK ? 0 : ERR_NOMEM;
}

static struct transfer *transfer_new(struct transfers *transfers, bool is_https)
{
    struct transfer *transfer = transfers->spare[is_https];
    if (transfer) {
        DL_DELETE(transfers->spare[is_https], transfer);
        transfers->spare_count--;
        if (transfers->spare_count < transfers->unused_count)
            transfers->unused_count = transfers->spare_count;
        return transfer;
    }
    transfer = calloc(1, sizeof *transfer);
    if (!transfer)
        return NULL;
    transfer->home = transfers;
    transfer->is_https = is_https;
    transfer->easy = curl_easy_init();
    if (transfer->easy && transfer_set_up(transfer) == 0 && transfer_set_up_scheme(transfer) == 0)
        return transfer;
    transfer_free(transfer);
    return NULL;
}

struct transfer *transfer_start(struct transfers *transfers, const struct transfer_call *call,
                                const struct transfer_handlers *handlers, void *owner)
{
    bool is_https = span_starts_with(span_str(call->url), SPAN("https://"));
    struct transfer *transfer = transfer_new(transfers, is_https);
    if (!transfer)
        return NULL;
    transfer->handlers = handlers;
    transfer->owner = owner;
    transfer->fd = -1;
    transfer->has_dropped_call = false;
    transfer->cursor = (struct payload_cursor){0};
    transfer->head = (struct response_head){0};
    transfer->lingered_bytes = 0;
    transfer->share = (struct turn_share){0};
    if (transfer_set_call(transfer, call) < 0 || curl_loop_add(transfers->curl_loop, transfer->easy) < 0) {
        transfer_recycle(transfer);
        return NULL;
    }
    transfer->state = TRANSFER_RUNNING;
    transfers->running_count++;
    transfer_begin_connecting(transfer, call->connect_timeout_ms);
    return transfer;
}

bool transfer_is_over(const struct transfer *transfer)
{
    return transfer->state == TRANSFER_OVER;
}

static bool transfer_was_heard(const struct transfer *transfer)
{
    curl_off_t first_byte_us = 0;
    return curl_easy_getinfo(transfer->easy, CURLINFO_STARTTRANSFER_TIME_T, &first_byte_us) == CURLE_OK &&
           first_byte_us > 0 && !transfer->head.is_whole;
}

enum transfer_result transfer_result(const struct transfer *transfer)
{
    static const struct {
        CURLcode code;
        enum transfer_result result;
    } results[] = {
        {CURLE_OK, TRANSFER_COMPLETE},
        {CURLE_OUT_OF_MEMORY, TRANSFER_NOMEM},
        {CURLE_OPERATION_TIMEDOUT, TRANSFER_CONNECT_TIMEOUT}, /* the only limit it was given */
        {CURLE_PARTIAL_FILE, TRANSFER_BROKEN},
        {CURLE_GOT_NOTHING, TRANSFER_BROKEN},
        {CURLE_RECV_ERROR, TRANSFER_BROKEN},
        {CURLE_SEND_ERROR, TRANSFER_BROKEN},
        {CURLE_SEND_FAIL_REWIND, TRANSFER_BROKEN},
        {CURLE_HTTP2, TRANSFER_BROKEN},
        {CURLE_HTTP2_STREAM, TRANSFER_BROKEN},
        {CURLE_COULDNT_RESOLVE_HOST, TRANSFER_NOT_CONNECTED},
        {CURLE_COULDNT_RESOLVE_PROXY, TRANSFER_NOT_CONNECTED},
        {CURLE_COULDNT_CONNECT, TRANSFER_NOT_CONNECTED},
        {CURLE_PROXY, TRANSFER_NOT_CONNECTED},
        {CURLE_SSL_CONNECT_ERROR, TRANSFER_NOT_CONNECTED},
        {CURLE_PEER_FAILED_VERIFICATION, TRANSFER_NOT_CONNECTED},
        {CURLE_SSL_CERTPROBLEM, TRANSFER_NOT_CONNECTED},
        {CURLE_SSL_CIPHER, TRANSFER_NOT_CONNECTED},
        {CURLE_SSL_CACERT_BADFILE, TRANSFER_NOT_CONNECTED},
        {CURLE_SSL_ISSUER_ERROR, TRANSFER_NOT_CONNECTED},
    };
    if (transfer->is_starved)
        return TRANSFER_NO_DESCRIPTOR;
    if (transfer->code == CURLE_OUT_OF_MEMORY && transfer_was_heard(transfer))
        return TRANSFER_GARBLED; /* what libcurl says of a line of a head over 100 KB */
    for (size_t i = 0; i < sizeof results / sizeof *results; i++)
        if (results[i].code == transfer->code)
            return results[i].result;
    return TRANSFER_GARBLED;
}

const char *transfer_problem(const struct transfer *transfer)
{
    return curl_easy_strerror(transfer->code);
}

bool transfer_is_multiplexed(const struct transfer *transfer)
{
    long version = 0;
    return curl_easy_getinfo(transfer->easy, CURLINFO_HTTP_VERSION, &version) == CURLE_OK &&
           version == CURL_HTTP_VERSION_2_0;
}

bool transfer_drop_call(struct transfer *transfer)
{
    curl_off_t sent = 0;
    assert(!curl_loop_is_inside(transfer->home->curl_loop));
    if (transfer->has_dropped_call || transfer->state == TRANSFER_OVER)
        return true;
    if (!transfer->head.is_whole ||
        curl_easy_getinfo(transfer->easy, CURLINFO_SIZE_UPLOAD_T, &sent) != CURLE_OK ||
        sent < (curl_off_t)transfer->payload->length)
        return false;
    CURLcode code = CURLE_OK;
    SET(CURLOPT_HTTPHEADER, NULL);
    SET(CURLOPT_POSTFIELDS, NULL);
    if (code != CURLE_OK)
        return false;
    transfer->payload = NULL;
    transfer->has_dropped_call = true;
    return true;
}

bool transfer_is_paused(const struct transfer *transfer)
{
    return transfer->is_paused;
}

void transfer_resume(struct transfer *transfer)
{
    if (!transfer->is_paused)
        return;
    set_paused(transfer, false);
    if (transfer->state == TRANSFER_RUNNING)
        curl_loop_resume(transfer->home->curl_loop, transfer->easy);
}

void transfer_cancel(struct transfer **transfer_at)
{
    struct transfer *transfer = *transfer_at;
    *transfer_at = NULL;
    if (!transfer)
        return;
    if (transfer->state == TRANSFER_RUNNING) {
        curl_loop_remove(transfer->home->curl_loop, transfer->easy);
        transfer->home->running_count--;
    }
    transfer_recycle(transfer);
}

void transfer_let_finish(struct transfer **transfer_at)
{
    struct transfer *transfer = *transfer_at;
    if (!transfer || transfer->state == TRANSFER_OVER || transfer->is_paused ||
        !transfer_drop_call(transfer)) {
        transfer_cancel(transfer_at);
        return;
    }
    *transfer_at = NULL;
    transfer_untouch(transfer);
    transfer->state = TRANSFER_LINGERING;
    transfer->linger_until_ms = (int64_t)uv_now(transfer->home->loop) + LINGER_MS;
    DL_APPEND(transfer->home->lingering, transfer);
}

/* ---- all of them ---- */

static int transfers_watch_turns(struct transfers *transfers)
{
    transfers->turn = calloc(1, sizeof *transfers->turn);
    transfers->no_sleep = calloc(1, sizeof *transfers->no_sleep);
    if (!transfers->turn || !transfers->no_sleep) {
        free(transfers->turn);
        free(transfers->no_sleep);
        transfers->turn = NULL;
        transfers->no_sleep = NULL;
        return ERR_NOMEM;
    }
    uv_idle_init(transfers->loop, transfers->no_sleep);
    uv_check_init(transfers->loop, transfers->turn);
    transfers->turn->data = transfers;
    uv_check_start(transfers->turn, on_turn);
    uv_unref((uv_handle_t *)transfers->turn);
    return 0;
}

static void handle_on_closed(uv_handle_t *handle)
{
    free(handle);
}

struct transfers *transfers_new(uv_loop_t *loop, const struct transfers_options *options)
{
    struct transfers *transfers = calloc(1, sizeof *transfers);
    if (!transfers)
        return NULL;
    transfers->loop = loop;
    transfers->options = *options;
    transfers->budget.limits = turn_limits;
    transfers->curl_loop = curl_loop_new(loop, options->connections_max, &curl_handlers, transfers);
    if (!transfers->curl_loop || transfers_watch_turns(transfers) < 0)
        transfers_free(&transfers);
    return transfers;
}

static void transfers_cut_lingering(struct transfers *transfers, int64_t until_ms)
{
    while (transfers->lingering && transfers->lingering->linger_until_ms <= until_ms) {
        struct transfer *transfer = transfers->lingering;
        DL_DELETE(transfers->lingering, transfer);
        transfer->state = TRANSFER_RUNNING;
        transfer_cancel(&transfer);
    }
}

/* Those of libcurl that wait for another's connection to stand (PIPEWAIT) are among them. */
static void transfers_cut_connecting(struct transfers *transfers, int64_t now_ms)
{
    struct transfer *transfer, *next;
    DL_FOREACH_SAFE2(transfers->connecting, transfer, next, connecting_next)
    {
        if (transfer->connect_until_ms > now_ms)
            continue;
        curl_loop_remove(transfers->curl_loop, transfer->easy);
        on_done(transfers, transfer->easy, CURLE_OPERATION_TIMEDOUT);
    }
    on_settle(transfers);
}

static void transfers_drop_spare(struct transfers *transfers, bool is_https, size_t count)
{
    while (count-- > 0 && transfers->spare[is_https]) {
        struct transfer *transfer = transfers->spare[is_https];
        DL_DELETE(transfers->spare[is_https], transfer);
        transfers->spare_count--;
        transfer_free(transfer);
    }
}

/* After a crowd: what was not needed for a while is not kept. */
static void transfers_drop_unused(struct transfers *transfers, int64_t now_ms)
{
    if (now_ms - transfers->unused_from_ms < UNUSED_MS)
        return;
    size_t before = transfers->spare_count;
    transfers_drop_spare(transfers, false, transfers->unused_count);
    transfers_drop_spare(transfers, true, transfers->unused_count - (before - transfers->spare_count));
    transfers->unused_count = transfers->spare_count;
    transfers->unused_from_ms = now_ms;
}

void transfers_tick(struct transfers *transfers)
{
    int64_t now_ms = (int64_t)uv_now(transfers->loop);
    transfers_drop_unused(transfers, now_ms);
    transfers_cut_lingering(transfers, now_ms);
    transfers_cut_connecting(transfers, now_ms);
}

void transfers_free(struct transfers **transfers_at)
{
    struct transfers *transfers = *transfers_at;
    struct transfer *transfer, *next;
    *transfers_at = NULL;
    if (!transfers)
        return;
    transfers_cut_lingering(transfers, INT64_MAX);
    for (size_t i = 0; i < 2; i++)
        DL_FOREACH_SAFE (transfers->spare[i], transfer, next) {
            transfer_free(transfer);
        }
    curl_loop_free(&transfers->curl_loop);
    if (transfers->turn) {
        uv_close((uv_handle_t *)transfers->turn, handle_on_closed);
        uv_close((uv_handle_t *)transfers->no_sleep, handle_on_closed);
    }
    free(transfers);
}

size_t transfers_paused_count(const struct transfers *transfers)
{
    return transfers->paused_count;
}

size_t transfers_connection_count(const struct transfers *transfers)
{
    return curl_loop_connection_count(transfers->curl_loop);
}
