/* SPDX-License-Identifier: MIT */
/* fake_worker - an upstream-worker for the gateway's tests: it does what the request's body says.
 *
 *     fake_worker ENDPOINT NAME
 *
 * The first line of a body is a script, steps separated by `;`:
 *     head stream | head plain N    HEAD
 *     data TEXT                     DATA with TEXT, `~` standing for a line end
 *     fill N                        N bytes of DATA, waiting for WINDOW as a worker must
 *     flood N                       N bytes of DATA, window or not
 *     tick MS N                     N events `data: K<wall µs>`, MS apart
 *     end | fail CODE MOVABLE RETRY END, FAIL
 *     echo                          a plain answer that says what arrived
 *     die | die-once                the process ends at once (-once: only on a request never moved)
 *     refuse-once                   FAIL movable, only on a request never moved
 *     drain                         READY 0
 *     hang                          nothing more
 * What happens to it is said on standard output, a line each, for the test to wait for:
 *     up | request ID BYTES MOVES | cancel ID REASON | window ID BYTES | sent ID BYTES */
#include "proto/clock.h"
#include "proto/error.h"
#include "proto/failure.h"
#include "proto/link.h"
#include "proto/outcome.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>
#include <utlist.h>

enum { PIECE_BYTES = 64 << 10 };

struct fake;

struct job {
    struct fake *fake;
    struct peer *peer;
    uint64_t number;
    char id[65], key_id[65], conversation_id[257];
    unsigned moves;
    size_t body_bytes;
    struct buffer body;
    uint64_t
        sum; /* of it, made as it comes: 24 MB at once take longer than a peer may be silent under TSan */
    char *script, *step; /* the rest of it; NULL: over */
    size_t window, fill_left;
    unsigned ticks_left, tick;
    uv_timer_t timer;
    struct job *prev, *next;
};

struct fake {
    struct service *service;
    struct link *link;
    const char *name;
    struct job *jobs;
};

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
    fflush(stdout);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct job *job = handle->data;
    buffer_fini(&job->body);
    free(job->script);
    free(job);
}

static void job_end(struct job *job)
{
    DL_DELETE(job->fake->jobs, job);
    job->step = NULL;
    uv_close((uv_handle_t *)&job->timer, on_timer_closed);
}

static void send_data(struct job *job, const char *data, size_t length)
{
    struct msg_data message = {span_of(data, length)};
    job->window -= length < job->window ? length : job->window;
    peer_send(job->peer, MESSAGE_DATA, job->number, &message);
}

static void send_head(struct job *job, bool is_stream, int64_t content_bytes)
{
    struct msg_head head = {.status = 200,
                            .stream = is_stream,
                            .content_bytes = is_stream ? -1 : content_bytes,
                            .model = SPAN("fake")};
    peer_send(job->peer, MESSAGE_HEAD, job->number, &head);
}

static void send_end(struct job *job)
{
    struct msg_end end = {.outcome = OUTCOME_OK};
    peer_send(job->peer, MESSAGE_END, job->number, &end);
    job_end(job);
}

static void send_fail(struct job *job, const char *code, uint8_t movable, uint32_t retry_after_s)
{
    struct msg_fail message = {.movable = movable, .retry_after_s = retry_after_s};
    for (int i = 1; i < FAILURE_COUNT; i++)
        if (strcmp(failure_code((enum failure)i), code) == 0)
            message.failure = (uint16_t)i;
    peer_send(job->peer, MESSAGE_FAIL, job->number, &message);
    job_end(job);
}

/* True once all of it is sent. */
static bool fill(struct job *job)
{
    static char bytes[PIECE_BYTES];
    memset(bytes, 'x', sizeof bytes);
    while (job->fill_left > 0 && job->window > 0) {
        size_t size = job->fill_left < PIECE_BYTES ? job->fill_left : PIECE_BYTES;
        size = size < job->window ? size : job->window;
        job->fill_left -= size;
        send_data(job, bytes, size);
    }
    if (job->fill_left > 0)
        say("sent %s %zu", job->id, job->fill_left);
    return job->fill_left == 0;
}

static void flood(struct job *job, size_t size)
{
    static char bytes[PIECE_BYTES];
    for (; size > 0; size -= size < PIECE_BYTES ? size : PIECE_BYTES)
        send_data(job, bytes, size < PIECE_BYTES ? size : PIECE_BYTES);
}

static void echo(struct job *job)
{
    struct buffer text = {0};
    buffer_printf(&text,
                  "{\"worker\":\"%s\",\"bytes\":%zu,\"sum\":%" PRIu64
                  ",\"moves\":%u,\"key\":\"%s\",\"conversation\":\"%s\"}",
                  job->fake->name, job->body.length, job->sum, job->moves, job->key_id, job->conversation_id);
    send_head(job, false, (int64_t)text.length);
    send_data(job, text.data, text.length);
    buffer_fini(&text);
    send_end(job);
}

static void run(struct job *job);

static void on_tick(uv_timer_t *timer)
{
    struct job *job = timer->data;
    char text[64];
    int length = snprintf(text, sizeof text, "data: %u %" PRId64 "\n\n", job->tick++, clock_now_us());
    send_data(job, text, (size_t)length);
    if (--job->ticks_left > 0)
        return;
    uv_timer_stop(timer);
    run(job);
}

static void send_ready(struct peer *peer, uint8_t accepting)
{
    struct msg_ready ready = {accepting};
    peer_send(peer, MESSAGE_READY, 0, &ready);
}

/* Takes a word or a number off the front of a step. */
static char *take_word(char **text)
{
    char *word = *text + strspn(*text, " ");
    size_t length = strcspn(word, " ");
    *text = word + length + (word[length] == ' ');
    word[length] = '\0';
    return word;
}

static unsigned long take_number(char **text)
{
    return strtoul(take_word(text), NULL, 10);
}

static void start_ticks(struct job *job, char *arguments)
{
    unsigned long every_ms = take_number(&arguments);
    job->ticks_left = (unsigned)take_number(&arguments);
    uv_timer_start(&job->timer, on_tick, every_ms, every_ms);
}

static void fail_as_told(struct job *job, char *arguments)
{
    const char *code = take_word(&arguments);
    uint8_t movable = (uint8_t)take_number(&arguments);
    send_fail(job, code, movable, (uint32_t)take_number(&arguments));
}

/* Steps after which the script goes on. */
static bool run_passing_step(struct job *job, const char *word, char *arguments)
{
    if (strcmp(word, "head") == 0) {
        bool is_stream = strcmp(take_word(&arguments), "stream") == 0;
        send_head(job, is_stream, is_stream ? -1 : (int64_t)take_number(&arguments));
    } else if (strcmp(word, "data") == 0) {
        for (char *c = arguments; *c; c++)
            *c = *c == '~' ? '\n' : *c;
        send_data(job, arguments, strlen(arguments));
    } else if (strcmp(word, "flood") == 0) {
        flood(job, take_number(&arguments));
    } else if (strcmp(word, "die") == 0 || (strcmp(word, "die-once") == 0 && job->moves == 0)) {
        _exit(9);
    } else if (strcmp(word, "drain") == 0) {
        send_ready(job->peer, 0);
    }
    return true;
}

/* Does one step; false if the script waits, or is over (then the job may be gone). */
static bool run_step(struct job *job, char *step)
{
    char *arguments = step;
    const char *word = take_word(&arguments);
    if (strcmp(word, "fill") == 0) {
        job->fill_left = take_number(&arguments);
        return fill(job);
    }
    if (strcmp(word, "refuse-once") == 0 && job->moves > 0)
        return true;
    if (strcmp(word, "tick") == 0)
        start_ticks(job, arguments);
    else if (strcmp(word, "end") == 0)
        send_end(job);
    else if (strcmp(word, "fail") == 0)
        fail_as_told(job, arguments);
    else if (strcmp(word, "echo") == 0)
        echo(job);
    else if (strcmp(word, "refuse-once") == 0)
        send_fail(job, "unavailable", 1, 0);
    else if (strcmp(word, "hang") != 0)
        return run_passing_step(job, word, arguments);
    return false;
}

static void run(struct job *job)
{
    bool is_going_on = true;
    while (is_going_on && job->step) {
        char *step = job->step, *end = strchr(step, ';');
        job->step = end ? end + 1 : NULL;
        if (end)
            *end = '\0';
        is_going_on = run_step(job, step);
    }
}

static void take_body(struct job *job, struct span piece)
{
    buffer_append_span(&job->body, piece);
    for (size_t i = 0; i < piece.length; i++)
        job->sum = job->sum * 31 + (unsigned char)piece.data[i];
    if (job->body.length < job->body_bytes)
        return;
    const char *end = job->body.length ? memchr(job->body.data, '\n', job->body.length) : NULL;
    size_t length = end ? (size_t)(end - job->body.data) : job->body.length < 4096 ? job->body.length : 0;
    job->script = job->step = span_dup(span_of(job->body.data, length));
    say("request %s %zu %u", job->id, job->body.length, job->moves);
    run(job);
}

static void copy_text(char *to, size_t size, struct span from)
{
    snprintf(to, size, "%.*s", (int)from.length, from.length ? from.data : "");
}

static void on_request(struct fake *fake, struct peer *peer, uint64_t number,
                       const struct msg_request *request)
{
    struct job *job = calloc(1, sizeof *job);
    job->fake = fake;
    job->peer = peer;
    job->number = number;
    job->moves = request->moves;
    job->window = WINDOW_BYTES;
    job->body_bytes = request->body_bytes;
    copy_text(job->id, sizeof job->id, request->client_request_id); /* how its script was told of it */
    copy_text(job->key_id, sizeof job->key_id, request->key_id);
    copy_text(job->conversation_id, sizeof job->conversation_id, request->conversation_id);
    job->timer.data = job;
    uv_timer_init(service_loop(fake->service), &job->timer);
    DL_APPEND(fake->jobs, job);
    take_body(job, request->body);
}

static void on_frame(void *owner, struct peer *peer, const struct frame *frame, const void *message)
{
    struct fake *fake = owner;
    struct job *job;
    if (frame->type == MESSAGE_REQUEST) {
        on_request(fake, peer, frame->request, message);
        return;
    }
    DL_SEARCH_SCALAR(fake->jobs, job, number, frame->request);
    if (!job)
        return;
    if (frame->type == MESSAGE_BODY) {
        take_body(job, ((const struct msg_body *)message)->body);
    } else if (frame->type == MESSAGE_CANCEL) {
        say("cancel %s %d", job->id, ((const struct msg_cancel *)message)->reason);
        job_end(job);
    } else if (frame->type == MESSAGE_WINDOW) {
        uint32_t bytes = ((const struct msg_window *)message)->bytes;
        say("window %s %" PRIu32, job->id, bytes);
        job->window += bytes;
        if (job->fill_left > 0 && fill(job))
            run(job);
    }
}

static void on_up(void *owner, struct peer *peer, const struct msg_hello *hello)
{
    (void)owner;
    (void)hello;
    send_ready(peer, 1);
    say("up");
}

static void on_down(void *owner, struct peer *peer, enum link_down why)
{
    (void)owner;
    (void)peer;
    (void)why;
    _exit(0); /* the gateway is gone: the test is over */
}

int main(int argc, char **argv)
{
    static const struct link_handlers handlers = {on_up, on_down, on_frame};
    struct settings settings = {0};
    struct fake fake = {0};
    if (argc != 3 || settings_load(&settings, environ, "/dev/null") < 0)
        return EXIT_CONFIG;
    fake.name = argv[2];
    fake.service = service_new("upstream-worker", 0, &settings);
    fake.link = fake.service ? link_connect(fake.service, "gateway", argv[1], &handlers, &fake) : NULL;
    return fake.link ? service_run(fake.service) : EXIT_SYSTEM;
}
