/* SPDX-License-Identifier: MIT */
#include "statsd/writer.h"
#include "proto/clock.h"
#include "proto/error.h"
#include "proto/log.h"

#include <assert.h>
#include <stdlib.h>

enum {
    BATCH_MS = 50,           /* design.md: an event waits this long for company */
    BATCH_EVENTS = 1000,     /* so many do not wait */
    COUNTERS_BUSY_MS = 1000, /* counters ride along this often */
    COUNTERS_IDLE_MS = 5000, /* and go alone this often: an idle system writes little */
    BACKOFF_FIRST_MS = 100,  /* a moment's trouble */
    BACKOFF_LAST_MS = 5000,  /* a full disk that somebody clears: back within seconds */
    INBOX_BYTES = 64 << 20,  /* some 400,000 events while a commit is slow or fails */
    TIDY_PAUSE_MS = 20,      /* between two steps: most of the time is the commits' */
    TIDY_REST_MS = 60 * 1000 /* when nothing is left to tidy, or it failed */
};

enum writer_state { WRITER_CLOSED, WRITER_IDLE, WRITER_WORKING, WRITER_WAITING };

enum job_kind { JOB_OPEN, JOB_COMMIT, JOB_TIDY };

/* What the thread works on, and what it found. Nothing else of the writer is touched there. */
struct job {
    enum job_kind kind;
    struct ledger *ledger;
    const struct totals *totals; /* read-only for both threads while the job runs */
    struct span train;
    struct counter_rows counters; /* commit: to write. open: what was loaded */
    struct totals *result;        /* commit: the delta. open: what was loaded */
    struct retention retention;
    int64_t now_wall_ms, took_us;
    bool more; /* tidy: another step is due */
    int error;
};

struct writer {
    uv_loop_t *loop;
    struct registry *registry;
    const struct writer_handlers *handlers;
    void *owner;
    enum writer_state state;
    bool closing, flushing, failing, counters_in_job, tidy_due;
    unsigned parts_left; /* while closing: timers and job, whichever ends last disposes */
    uv_timer_t timer;    /* batch, idle counters, or back-off */
    uv_timer_t tidy_timer;
    struct retention retention;
    uv_work_t work;
    struct job job;
    struct ledger *ledger;
    struct inbox *inbox;
    struct totals *totals;
    int64_t backoff_ms, counters_ms, backlog_count;
    unsigned set_aside_known;
    bool ever_opened;
    struct writer_counters counters;
};

static void begin_job(struct writer *writer);
static void begin_tidying(struct writer *writer);
static void tidy_after(struct writer *writer, int64_t delay_ms);
static void plan(struct writer *writer);

/* ---- on the thread ---- */

static void run_job(uv_work_t *work)
{
    struct writer *writer = work->data;
    struct job *job = &writer->job;
    int64_t started_us = clock_now_us();
    switch (job->kind) {
    case JOB_OPEN:
        job->error = ledger_open(job->ledger, job->now_wall_ms, job->totals, job->result, &job->counters);
        break;
    case JOB_COMMIT:
        job->error = ledger_commit(job->ledger, job->train, &job->counters, job->result);
        break;
    case JOB_TIDY:
        job->error = ledger_tidy(job->ledger, &job->retention, job->now_wall_ms, &job->more);
        break;
    }
    job->took_us = clock_now_us() - started_us;
}

/* ---- how it ended ---- */

static void note_failure(struct writer *writer, int error)
{
    writer->counters.failures++;
    if (writer->failing)
        return;
    writer->failing = true;
    registry_show_unsaved(writer->registry, true);
    log_error(NULL, "ledger_failing", LOG_STR("path", ledger_path(writer->ledger)),
              LOG_STR("error", error_text(error)), LOG_STR("problem", ledger_problem(writer->ledger)),
              LOG_STR("action", "events are kept by their senders; it is tried again"));
}

static void note_success(struct writer *writer)
{
    writer->backoff_ms = 0;
    if (!writer->failing)
        return;
    writer->failing = false;
    registry_show_unsaved(writer->registry, false);
    log_info(NULL, "ledger_recovered", LOG_STR("path", ledger_path(writer->ledger)),
             LOG_INT("failures", writer->counters.failures));
}

/* The ledger is open: its sums are the truth, and the counters it holds join those that came meanwhile. */
static void take_opened(struct writer *writer)
{
    struct job *job = &writer->job;
    totals_free(&writer->totals);
    writer->totals = job->result;
    job->result = NULL;
    if (!writer->ever_opened && registry_load(writer->registry, &job->counters) < 0)
        log_error(NULL, "counters_not_loaded", LOG_STR("problem", error_text(ERR_NOMEM)));
    if (writer->ever_opened) /* a new ledger, after the old one was set aside */
        registry_mark_unsaved(writer->registry);
    writer->ever_opened = true;
    writer->backlog_count = ledger_backlog_count(writer->ledger);
    writer->set_aside_known = ledger_set_aside_count(writer->ledger);
    writer->state = WRITER_IDLE;
    tidy_after(writer, TIDY_PAUSE_MS);
}

static void take_committed(struct writer *writer)
{
    struct job *job = &writer->job;
    size_t sealed_count = inbox_sealed_count(writer->inbox);
    uint64_t new_count = (uint64_t)totals_sum(job->result, TOTAL_REQUESTS);
    writer->counters.commits++;
    writer->counters.last_commit_us = job->took_us;
    writer->counters.events += new_count;
    writer->counters.repeats += sealed_count - new_count;
    writer->state = WRITER_IDLE;
    if (totals_merge(writer->totals, job->result) < 0) {
        ledger_close(writer->ledger); /* memory is short: read the sums anew rather than show wrong ones */
        writer->state = WRITER_CLOSED;
    }
    if (writer->counters_in_job) {
        registry_settle(writer->registry, true);
        writer->counters_ms = clock_now_ms();
    }
    inbox_settle(writer->inbox, writer->handlers->acknowledge, writer->owner);
}

static void take_failed(struct writer *writer)
{
    if (writer->counters_in_job)
        registry_settle(writer->registry, false);
    bool set_aside = writer->job.kind != JOB_OPEN && writer->job.error == ERR_INVALID;
    note_failure(writer, writer->job.error);
    writer->state = set_aside ? WRITER_CLOSED : WRITER_WAITING;
}

static void release_job(struct writer *writer)
{
    counter_rows_fini(&writer->job.counters);
    totals_free(&writer->job.result);
    writer->counters_in_job = false;
}

static void take_tidied(struct writer *writer)
{
    writer->state = WRITER_IDLE;
    writer->backlog_count = ledger_backlog_count(writer->ledger);
    tidy_after(writer, writer->job.more ? TIDY_PAUSE_MS : TIDY_REST_MS);
}

static void take_result(struct writer *writer)
{
    enum job_kind kind = writer->job.kind;
    if (writer->job.error < 0)
        take_failed(writer);
    else if (kind == JOB_OPEN)
        take_opened(writer);
    else if (kind == JOB_COMMIT)
        take_committed(writer);
    else
        take_tidied(writer);
    if (writer->job.error < 0)
        tidy_after(writer, TIDY_REST_MS);
    else if (kind == JOB_COMMIT)
        note_success(writer); /* an open ledger may still be on a full disk */
    release_job(writer);
}

static void writer_dispose(struct writer *writer)
{
    release_job(writer);
    ledger_free(&writer->ledger);
    inbox_free(&writer->inbox);
    totals_free(&writer->totals);
    free(writer);
}

static void dispose_if_last(struct writer *writer)
{
    if (--writer->parts_left == 0)
        writer_dispose(writer);
}

static void on_job_done(uv_work_t *work, int status)
{
    struct writer *writer = work->data;
    (void)status; /* never cancelled */
    if (writer->closing) {
        dispose_if_last(writer);
        return;
    }
    take_result(writer);
    plan(writer);
}

/* ---- when to work ---- */

static bool has_events(const struct writer *writer)
{
    return inbox_gathered_count(writer->inbox) > 0 || inbox_sealed_count(writer->inbox) > 0;
}

static void on_timer(uv_timer_t *timer)
{
    begin_job(timer->data);
}

static void wait_for(struct writer *writer, int64_t delay_ms)
{
    uv_update_time(writer->loop); /* the turn may have been long */
    uv_timer_start(&writer->timer, on_timer, (uint64_t)delay_ms, 0);
}

static void wait_longer(struct writer *writer)
{
    writer->state = WRITER_WAITING;
    writer->backoff_ms = writer->backoff_ms ? writer->backoff_ms * 2 : BACKOFF_FIRST_MS;
    if (writer->backoff_ms > BACKOFF_LAST_MS)
        writer->backoff_ms = BACKOFF_LAST_MS;
    wait_for(writer, writer->backoff_ms);
}

static void on_tidy_timer(uv_timer_t *timer)
{
    struct writer *writer = timer->data;
    writer->tidy_due = true;
    if (writer->state == WRITER_IDLE)
        begin_tidying(writer);
}

static void tidy_after(struct writer *writer, int64_t delay_ms)
{
    writer->tidy_due = false;
    uv_update_time(writer->loop);
    uv_timer_start(&writer->tidy_timer, on_tidy_timer, (uint64_t)delay_ms, 0);
}

/* After a job: the next one, or rest. A step of tidying comes after a commit only, and one with events
 * waiting is followed by a commit: neither starves the other. */
static void plan(struct writer *writer)
{
    bool tidied = writer->job.kind == JOB_TIDY;
    bool has_enough = inbox_sealed_count(writer->inbox) > 0 || /* left by a failure */
                      inbox_gathered_count(writer->inbox) >= BATCH_EVENTS || (tidied && has_events(writer));
    if (writer->state == WRITER_IDLE && writer->tidy_due && !tidied && !writer->flushing) {
        begin_tidying(writer);
        return;
    }
    if (writer->state == WRITER_CLOSED ||
        (writer->state == WRITER_IDLE && (has_enough || writer->flushing))) {
        begin_job(writer);
        return;
    }
    writer->flushing = false;
    if (writer->state == WRITER_WAITING)
        wait_longer(writer);
    else
        wait_for(writer, has_events(writer) ? BATCH_MS : COUNTERS_IDLE_MS);
    writer->handlers->rested(writer->owner);
}

/* Fills in what a commit writes. False if there is nothing. */
static bool prepare_commit(struct writer *writer)
{
    struct job *job = &writer->job;
    int64_t now_ms = clock_now_ms();
    bool due = writer->flushing || now_ms - writer->counters_ms >= COUNTERS_BUSY_MS;
    writer->counters_in_job = due && registry_collect(writer->registry, &job->counters) == 0;
    job->train = inbox_seal(writer->inbox);
    return job->train.length > 0 || job->counters.count > 0;
}

static void queue_job(struct writer *writer)
{
    writer->state = WRITER_WORKING;
    writer->work.data = writer;
    int queued = uv_queue_work(writer->loop, &writer->work, run_job, on_job_done);
    assert(queued == 0); /* it fails for want of a callback only */
}

static void begin_job(struct writer *writer)
{
    struct job *job = &writer->job;
    uv_timer_stop(&writer->timer);
    *job = (struct job){.ledger = writer->ledger, .totals = writer->totals, .now_wall_ms = clock_wall_ms()};
    counter_rows_init(&job->counters);
    job->kind = ledger_is_open(writer->ledger) ? JOB_COMMIT : JOB_OPEN;
    job->result = totals_new(job->kind == JOB_OPEN ? NULL : writer->totals);
    if (!job->result) {
        writer->state = WRITER_WAITING;
        plan(writer);
        return;
    }
    if (job->kind == JOB_COMMIT && !prepare_commit(writer)) { /* nothing changed: write nothing */
        release_job(writer);
        writer->flushing = false;
        writer->state = WRITER_IDLE;
        plan(writer);
        return;
    }
    queue_job(writer);
}

static void begin_tidying(struct writer *writer)
{
    uv_timer_stop(&writer->timer);
    writer->tidy_due = false;
    writer->job = (struct job){.kind = JOB_TIDY,
                               .ledger = writer->ledger,
                               .retention = writer->retention,
                               .now_wall_ms = clock_wall_ms()};
    counter_rows_init(&writer->job.counters);
    queue_job(writer);
}

void writer_wake(struct writer *writer)
{
    if (writer->state != WRITER_IDLE)
        return;
    size_t count = inbox_gathered_count(writer->inbox);
    if (count >= BATCH_EVENTS)
        begin_job(writer);
    else if (count > 0 && uv_timer_get_due_in(&writer->timer) > BATCH_MS)
        wait_for(writer, BATCH_MS);
}

void writer_flush(struct writer *writer)
{
    writer->flushing = true;
    if (writer->state != WRITER_WORKING)
        begin_job(writer);
}

/* ---- life ---- */

struct writer *writer_new(uv_loop_t *loop, const char *directory, const struct retention *retention,
                          struct registry *registry, const struct writer_handlers *handlers, void *owner)
{
    struct writer *writer = calloc(1, sizeof *writer);
    if (!writer)
        return NULL;
    writer->loop = loop;
    writer->retention = *retention;
    writer->registry = registry;
    writer->handlers = handlers;
    writer->owner = owner;
    counter_rows_init(&writer->job.counters);
    writer->ledger = ledger_new(directory);
    writer->inbox = inbox_new(INBOX_BYTES);
    writer->totals = totals_new(NULL);
    if (!writer->ledger || !writer->inbox || !writer->totals) {
        writer_dispose(writer);
        return NULL;
    }
    uv_timer_init(loop, &writer->timer);
    writer->timer.data = writer;
    uv_timer_init(loop, &writer->tidy_timer);
    writer->tidy_timer.data = writer;
    return writer;
}

int writer_open(struct writer *writer)
{
    struct job *job = &writer->job;
    *job = (struct job){
        .kind = JOB_OPEN, .ledger = writer->ledger, .totals = writer->totals, .now_wall_ms = clock_wall_ms()};
    counter_rows_init(&job->counters);
    job->result = totals_new(NULL);
    writer->work.data = writer;
    if (job->result)
        run_job(&writer->work);
    else
        job->error = ERR_NOMEM;
    int error = job->error;
    if (error == ERR_VERSION || error == ERR_BUSY) {
        log_error(NULL, "ledger_refused", LOG_STR("path", ledger_path(writer->ledger)),
                  LOG_STR("problem", error == ERR_VERSION ? "it was made by a newer program"
                                                          : "another statsd is using it"));
        release_job(writer);
        return error;
    }
    take_result(writer);
    if (writer->state == WRITER_WAITING)
        wait_longer(writer);
    else
        wait_for(writer, COUNTERS_IDLE_MS);
    return error;
}

static void on_timer_closed(uv_handle_t *handle)
{
    dispose_if_last(handle->data);
}

void writer_free(struct writer **writer)
{
    if (!*writer)
        return;
    (*writer)->closing = true;
    (*writer)->parts_left = (*writer)->state == WRITER_WORKING ? 3 : 2;
    uv_close((uv_handle_t *)&(*writer)->timer, on_timer_closed);
    uv_close((uv_handle_t *)&(*writer)->tidy_timer, on_timer_closed);
    *writer = NULL;
}

struct inbox *writer_inbox(struct writer *writer)
{
    return writer->inbox;
}

const struct totals *writer_totals(const struct writer *writer)
{
    return writer->totals;
}

bool writer_is_idle(const struct writer *writer)
{
    return writer->state != WRITER_WORKING && !has_events(writer);
}

int64_t writer_backlog_count(const struct writer *writer)
{
    return writer->backlog_count;
}

bool writer_is_failing(const struct writer *writer)
{
    return writer->failing;
}

const struct writer_counters *writer_counters(const struct writer *writer)
{
    return &writer->counters;
}

unsigned writer_set_aside_count(const struct writer *writer)
{
    return writer->set_aside_known;
}
