/* SPDX-License-Identifier: MIT */
#include "statsd/supervisor_watch.h"
#include "proto/clock.h"
#include "proto/error.h"
#include "proto/log.h"
#include "statsd/process_name.h"
#include "statsd/supervised.h"

#include <stdlib.h>

enum { ASK_MS = 1000, PATIENCE_MS = 3000, ANSWER_MAX_BYTES = 4 << 20 };

/* One question on a connection of its own: connecting → asked → closing. */
struct question {
    uv_pipe_t pipe;
    uv_connect_t connect;
    uv_write_t write;
    struct supervisor_watch *watch; /* NULL: given up */
    int64_t asked_ms;
    struct buffer answer;
    char scratch[4096];
};

struct supervisor_watch {
    uv_timer_t timer;
    struct supervised *supervised;
    struct question *question; /* NULL: none is open */
    bool is_missing;           /* said in the log */
    char host[PROCESS_HOST_BYTES];
    char path[];
};

static void on_question_closed(uv_handle_t *handle)
{
    struct question *question = handle->data;
    buffer_fini(&question->answer);
    free(question);
}

/* Ends the question; nothing of it comes any more. */
static void give_up(struct question *question)
{
    if (!question->watch)
        return;
    question->watch->question = NULL;
    question->watch = NULL;
    uv_close((uv_handle_t *)&question->pipe, on_question_closed);
}

static void miss(struct supervisor_watch *watch, const char *problem)
{
    supervised_miss(watch->supervised, clock_wall_ms());
    if (!watch->is_missing)
        log_warning(NULL, "supervisor_silent", LOG_STR("path", watch->path), LOG_STR("problem", problem));
    watch->is_missing = true;
}

static void fail(struct question *question, const char *problem)
{
    struct supervisor_watch *watch = question->watch;
    if (!watch)
        return;
    give_up(question);
    miss(watch, problem);
}

static void take_answer(struct question *question)
{
    struct supervisor_watch *watch = question->watch;
    int error = supervised_take(watch->supervised, buffer_span(&question->answer), clock_wall_ms());
    if (error == ERR_INVALID) {
        fail(question, error_text(error));
        return;
    }
    give_up(question);
    watch->is_missing = false;
}

static void on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    struct question *question = handle->data;
    (void)suggested;
    *buffer = uv_buf_init(question->scratch, sizeof question->scratch);
}

static void on_read(uv_stream_t *stream, ssize_t length, const uv_buf_t *buffer)
{
    struct question *question = stream->data;
    if (!question->watch || length == 0)
        return;
    if (length == UV_EOF) {
        take_answer(question);
        return;
    }
    if (length < 0)
        fail(question, uv_strerror((int)length));
    else if (question->answer.length > ANSWER_MAX_BYTES)
        fail(question, error_text(ERR_TOO_LARGE));
    else if (buffer_append(&question->answer, buffer->base, (size_t)length) < 0)
        fail(question, error_text(ERR_NOMEM));
}

static void on_written(uv_write_t *request, int status)
{
    if (status < 0)
        fail(request->data, uv_strerror(status));
}

static void on_connected(uv_connect_t *request, int status)
{
    static char command[] = "status\n";
    struct question *question = request->data;
    uv_stream_t *stream = (uv_stream_t *)&question->pipe;
    uv_buf_t buffer = uv_buf_init(command, sizeof command - 1);
    if (!question->watch)
        return;
    if (status == 0)
        status = uv_write(&question->write, stream, &buffer, 1, on_written);
    if (status == 0)
        status = uv_read_start(stream, on_allocate, on_read);
    if (status < 0)
        fail(question, uv_strerror(status));
}

static void ask(struct supervisor_watch *watch)
{
    struct question *question = calloc(1, sizeof *question);
    if (!question || uv_pipe_init(watch->timer.loop, &question->pipe, 0) < 0) {
        free(question); /* with the next tick */
        return;
    }
    question->pipe.data = question->connect.data = question->write.data = question;
    question->watch = watch;
    question->asked_ms = clock_now_ms();
    watch->question = question;
    uv_pipe_connect(&question->connect, &question->pipe, watch->path, on_connected);
}

static void on_tick(uv_timer_t *timer)
{
    struct supervisor_watch *watch = timer->data;
    if (watch->question && clock_now_ms() - watch->question->asked_ms >= PATIENCE_MS)
        fail(watch->question, "no answer in time");
    if (!watch->question)
        ask(watch);
}

struct supervisor_watch *supervisor_watch_new(uv_loop_t *loop, const char *run_dir, struct registry *registry)
{
    size_t path_bytes = strlen(run_dir) + sizeof "/supervisor.sock";
    struct supervisor_watch *watch = calloc(1, sizeof *watch + path_bytes);
    if (!watch)
        return NULL;
    process_name_own_host(watch->host);
    watch->supervised = supervised_new(registry, watch->host);
    if (!watch->supervised) {
        free(watch);
        return NULL;
    }
    snprintf(watch->path, path_bytes, "%s/supervisor.sock", run_dir);
    uv_timer_init(loop, &watch->timer);
    watch->timer.data = watch;
    uv_timer_start(&watch->timer, on_tick, 0, ASK_MS);
    uv_unref((uv_handle_t *)&watch->timer);
    return watch;
}

static void on_timer_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void supervisor_watch_free(struct supervisor_watch **watch_pointer)
{
    struct supervisor_watch *watch = *watch_pointer;
    *watch_pointer = NULL;
    if (!watch)
        return;
    if (watch->question)
        give_up(watch->question);
    supervised_free(&watch->supervised);
    uv_close((uv_handle_t *)&watch->timer, on_timer_closed);
}
