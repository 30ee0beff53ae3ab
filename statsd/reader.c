/* SPDX-License-Identifier: MIT */
#include "statsd/reader.h"
#include "proto/clock.h"
#include "proto/error.h"
#include "proto/failure.h"
#include "proto/log.h"
#include "statsd/requests.h"
#include "statsd/usage.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

enum {
    MAX_WAITING = 32,
    TIME_LIMIT_MS = 2000,
    BUSY_TIMEOUT_MS = 1000,
    CHECK_EVERY = 2000, /* of SQLite's instructions: some 50 µs */
    LIVE_REQUESTS = 20
};

struct asked {
    enum reader_method method;
    json_t *arguments;
    unsigned ledger_life;
    int64_t now_wall_ms;
    reader_answered *answered;
    void *context;
    uint16_t status;
    struct buffer body;
    char problem[160]; /* for the log; "": none */
    struct asked *prev, *next;
};

struct reader {
    uv_loop_t *loop;
    char *path;
    uv_work_t work;
    bool working, closing;
    struct asked *waiting; /* the first one is being answered while `working` */
    size_t waiting_count;
    /* The thread's alone while it works. */
    sqlite3 *db;
    unsigned ledger_life;
    int64_t give_up_ms;
};

/* ---- on the thread ---- */

static int check_time(void *context)
{
    const struct reader *reader = context;
    return clock_now_ms() > reader->give_up_ms;
}

static void close_database(struct reader *reader)
{
    sqlite3_close(reader->db);
    reader->db = NULL;
}

/* The cache is for a question's own rows: what it reads again and again. query_only for good measure. */
static int open_database(struct reader *reader, unsigned ledger_life)
{
    if (reader->db && reader->ledger_life == ledger_life)
        return SQLITE_OK;
    close_database(reader);
    reader->ledger_life = ledger_life;
    int code = sqlite3_open_v2(reader->path, &reader->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL);
    if (code != SQLITE_OK)
        return code;
    sqlite3_busy_timeout(reader->db, BUSY_TIMEOUT_MS);
    sqlite3_progress_handler(reader->db, CHECK_EVERY, check_time, reader);
    return sqlite3_exec(reader->db,
                        "PRAGMA query_only=1; PRAGMA cache_size=-16384; PRAGMA temp_store=MEMORY; "
                        "PRAGMA trusted_schema=OFF;",
                        NULL, NULL, NULL);
}

static int refuse(struct asked *asked, const struct problem *problem)
{
    asked->status = failure_status(FAILURE_BAD_FIELD);
    return problem_append_json(&asked->body, problem) < 0 ? SQLITE_NOMEM : SQLITE_OK;
}

/* A table has no place to say that something is missing, and is kept. */
static int refuse_table(struct asked *asked, int64_t missing_events)
{
    char message[128];
    snprintf(message, sizeof message,
             "The sums of %" PRId64 " earlier events are still being made; try again shortly.",
             missing_events);
    asked->status = failure_status(FAILURE_UNAVAILABLE);
    int error = failure_append_json(&asked->body, FAILURE_UNAVAILABLE, span_str(message), SPAN(""), SPAN(""),
                                    SPAN(""));
    return error < 0 ? SQLITE_NOMEM : SQLITE_OK;
}

static int answer_usage(sqlite3 *db, const struct tidy_state *state, struct asked *asked)
{
    struct usage_question question;
    struct usage_answer answer;
    struct problem problem;
    if (!usage_read_question(asked->arguments, asked->now_wall_ms, state->minutes_since_s, &question,
                             &problem))
        return refuse(asked, &problem);
    int code = usage_read_answer(db, &question, &answer);
    if (code == SQLITE_OK && question.is_csv && answer.missing_events > 0)
        code = refuse_table(asked, answer.missing_events);
    else if (code == SQLITE_OK && usage_write_answer(&asked->body, &question, &answer) < 0)
        code = SQLITE_NOMEM;
    usage_answer_fini(&answer);
    return code;
}

static int answer_requests(sqlite3 *db, const struct tidy_state *state, struct asked *asked)
{
    struct requests_question question;
    struct problem problem;
    if (!requests_read_question(asked->arguments, &question, &problem))
        return refuse(asked, &problem);
    struct requests_patience patience;
    requests_patience_begin(&patience);
    question.is_over = requests_patience_is_over;
    question.patience = &patience;
    return requests_append_answer(db, &question, state, &asked->body);
}

static int answer_live(sqlite3 *db, const struct tidy_state *state, struct asked *asked)
{
    struct requests_question question;
    struct problem problem;
    if (!requests_read_question(asked->arguments, &question, &problem))
        return refuse(asked, &problem);
    question.limit = LIVE_REQUESTS;
    if (buffer_append_span(&asked->body, SPAN("{\"first_event_ms\":")) < 0)
        return SQLITE_NOMEM;
    int code = usage_append_first_event(db, asked->now_wall_ms, &asked->body);
    if (code == SQLITE_OK && buffer_append_span(&asked->body, SPAN(",\"newest\":")) < 0)
        code = SQLITE_NOMEM;
    if (code == SQLITE_OK)
        code = requests_append_answer(db, &question, state, &asked->body);
    if (code == SQLITE_OK && buffer_append_char(&asked->body, '}') < 0)
        code = SQLITE_NOMEM;
    return code;
}

/* One snapshot for all that a question reads. */
static int answer(sqlite3 *db, struct asked *asked)
{
    static int (*const methods[])(sqlite3 * db, const struct tidy_state *state, struct asked *asked) = {
        [READER_USAGE] = answer_usage, [READER_REQUESTS] = answer_requests, [READER_LIVE] = answer_live};
    struct tidy_state state;
    int code = sqlite3_exec(db, "BEGIN", NULL, NULL, NULL);
    if (code == SQLITE_OK)
        code = tidy_read_state(db, &state);
    if (code == SQLITE_OK)
        code = methods[asked->method](db, &state, asked);
    sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return code;
}

static void say_unavailable(struct asked *asked, int code)
{
    struct span message = code == SQLITE_INTERRUPT
                              ? SPAN("That takes too long: ask for a shorter time, or a longer step.")
                              : SPAN("The usage ledger cannot be read now; try again shortly.");
    buffer_clear(&asked->body);
    asked->status = failure_status(FAILURE_UNAVAILABLE);
    (void)failure_append_json(&asked->body, FAILURE_UNAVAILABLE, message, SPAN(""), SPAN(""), SPAN(""));
}

static void run(uv_work_t *work)
{
    struct reader *reader = work->data;
    struct asked *asked = reader->waiting;
    reader->give_up_ms = clock_now_ms() + TIME_LIMIT_MS;
    asked->status = 200;
    int code = open_database(reader, asked->ledger_life);
    if (code == SQLITE_OK)
        code = answer(reader->db, asked);
    if (code == SQLITE_OK)
        return;
    snprintf(asked->problem, sizeof asked->problem, "%s (SQLite %d)",
             reader->db ? sqlite3_errmsg(reader->db) : sqlite3_errstr(code), code);
    say_unavailable(asked, code);
    if ((code & 0xFF) != SQLITE_INTERRUPT)
        close_database(reader); /* whatever it was, the next one begins anew */
}

/* ---- on the loop ---- */

static void begin(struct reader *reader);

static void asked_free(struct asked *asked)
{
    json_decref(asked->arguments);
    buffer_fini(&asked->body);
    free(asked);
}

static void reader_dispose(struct reader *reader)
{
    struct asked *asked, *next;
    DL_FOREACH_SAFE (reader->waiting, asked, next)
        asked_free(asked);
    close_database(reader);
    free(reader->path);
    free(reader);
}

static void on_done(uv_work_t *work, int status)
{
    struct reader *reader = work->data;
    struct asked *asked = reader->waiting;
    (void)status; /* never cancelled */
    reader->working = false;
    if (reader->closing) {
        reader_dispose(reader);
        return;
    }
    DL_DELETE(reader->waiting, asked);
    reader->waiting_count--;
    begin(reader);
    if (asked->problem[0])
        log_warning(NULL, "question_failed", LOG_STR("path", reader->path),
                    LOG_STR("problem", asked->problem));
    asked->answered(asked->context, asked->status, buffer_span(&asked->body));
    asked_free(asked);
}

static void begin(struct reader *reader)
{
    if (reader->working || !reader->waiting)
        return;
    reader->working = true;
    reader->work.data = reader;
    int queued = uv_queue_work(reader->loop, &reader->work, run, on_done);
    assert(queued == 0); /* it fails for want of a callback only */
}

bool reader_ask(struct reader *reader, enum reader_method method, json_t *arguments, unsigned ledger_life,
                reader_answered *answered, void *context)
{
    struct asked *asked = reader->waiting_count < MAX_WAITING ? calloc(1, sizeof *asked) : NULL;
    if (!asked) {
        json_decref(arguments);
        return false;
    }
    asked->method = method;
    asked->arguments = arguments;
    asked->ledger_life = ledger_life;
    asked->now_wall_ms = clock_wall_ms();
    asked->answered = answered;
    asked->context = context;
    DL_APPEND(reader->waiting, asked);
    reader->waiting_count++;
    begin(reader);
    return true;
}

struct reader *reader_new(uv_loop_t *loop, const char *directory)
{
    struct reader *reader = calloc(1, sizeof *reader);
    if (!reader)
        return NULL;
    reader->loop = loop;
    if (asprintf(&reader->path, "%s/usage.db", directory) >= 0)
        return reader;
    free(reader);
    return NULL;
}

void reader_free(struct reader **reader_pointer)
{
    struct reader *reader = *reader_pointer;
    *reader_pointer = NULL;
    if (!reader)
        return;
    reader->closing = true;
    if (!reader->working)
        reader_dispose(reader);
}
