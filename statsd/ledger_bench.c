/* SPDX-License-Identifier: MIT */
/* ledger_bench DIRECTORY [EVENTS [QUESTION]] - makes a ledger of EVENTS (10 million) requests of the last 90
 * days, if DIRECTORY has none, and says how long each question of the admin page takes on it (or only those
 * that have QUESTION in their name). For measuring; see README.md. 20 models, 20 credentials, 50 keys; the
 * n-th of each is used about 1/n as often as the first; one model and one key are used once a day. */
#include "proto/clock.h"
#include "proto/error.h"
#include "proto/outcome.h"
#include "statsd/ledger.h"
#include "statsd/requests.h"
#include "statsd/usage.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { DAYS = 90, BATCH = 2000, RUNS = 21, MODELS = 20, CREDENTIALS = 20, KEYS = 50 };
#define DAY_MS INT64_C(86400000)

static uint64_t state = 88172645463325252u;
static const char *only = ""; /* questions with this in their name */

static uint32_t dice(uint32_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)((state >> 16) % below);
}

/* 1/n: the first few get most. */
static unsigned pick(unsigned count)
{
    return dice(dice(count) + 1);
}

struct names {
    char id[64], key[32], credential[32], model[32];
};

static void make_event(struct msg_event *event, struct names *names, int64_t at_ms, uint64_t number,
                       bool is_rare)
{
    bool failed = dice(100) < 3, left = dice(100) < 2;
    uint32_t first_ms = 200 + dice(400) + (dice(20) == 0 ? dice(20000) : 0);
    snprintf(names->id, sizeof names->id, "%012" PRIx64 "%08x%08x", (uint64_t)at_ms, dice(UINT32_MAX),
             (unsigned)number);
    snprintf(names->key, sizeof names->key, "key-%010x", is_rare ? 777 : pick(KEYS));
    snprintf(names->credential, sizeof names->credential, "%016x", pick(CREDENTIALS));
    snprintf(names->model, sizeof names->model, "model-%u", is_rare ? 777 : pick(MODELS));
    *event = (struct msg_event){.request_id = span_str(names->id),
                                .started_wall_ms = at_ms,
                                .duration_ms = first_ms + dice(30000),
                                .first_event_ms = failed ? 0 : first_ms,
                                .key_id = span_str(names->key),
                                .credential_id = span_str(names->credential),
                                .model = span_str(names->model),
                                .status = failed ? (dice(2) ? 502 : 429)
                                          : left ? 499
                                                 : 200,
                                .outcome = failed ? OUTCOME_TRANSIENT
                                           : left ? OUTCOME_CANCELLED
                                                  : OUTCOME_OK,
                                .code = failed ? SPAN("upstream_error") : SPAN(""),
                                .stream = dice(4) != 0,
                                .attempts = 1,
                                .prompt_tokens = 100 + dice(20000),
                                .completion_tokens = dice(2000),
                                .cached_tokens = dice(5000),
                                .reasoning_tokens = dice(300),
                                .credit_micro = dice(100000)};
}

static int fill(struct ledger *ledger, struct totals *totals, int64_t now_ms, uint64_t events)
{
    struct counter_rows none;
    struct buffer train = {0};
    int64_t begin_ms = now_ms - DAYS * DAY_MS, last_day = 0, started_ms = clock_now_ms();
    int error = 0;
    counter_rows_init(&none);
    for (uint64_t i = 0; i < events && error == 0;) {
        struct totals *delta = totals_new(totals);
        buffer_clear(&train);
        for (unsigned k = 0; k < BATCH && i < events; k++, i++) {
            struct msg_event event;
            struct names names = {.id = ""};
            int64_t at_ms = begin_ms + (int64_t)((double)i * DAYS * (double)DAY_MS / (double)events);
            bool is_rare = at_ms / DAY_MS != last_day;
            last_day = at_ms / DAY_MS;
            make_event(&event, &names, at_ms, i, is_rare);
            error = message_encode(&train, MESSAGE_EVENT, i, &event);
        }
        if (error == 0 && delta)
            error = ledger_commit(ledger, buffer_span(&train), &none, delta);
        if (error == 0 && delta)
            error = totals_merge(totals, delta);
        totals_free(&delta);
        if (i % 1000000 < BATCH)
            fprintf(stderr, "%" PRIu64 " events, %" PRIu64 " a second\n", i,
                    i * 1000 / (uint64_t)(clock_now_ms() - started_ms + 1));
    }
    buffer_fini(&train);
    return error;
}

/* ---- questions ---- */

static int compare(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

/* As the reader does it; returns bytes of the answer, 0 if it failed. `next` gets next_before, if any. */
static size_t answer(sqlite3 *db, const char *method, json_t *arguments, int64_t now_ms, char next[64])
{
    struct tidy_state shape = {0};
    struct problem problem = {"", ""};
    struct buffer out = {0};
    int code = sqlite3_exec(db, "BEGIN", NULL, NULL, NULL);
    if (code == SQLITE_OK)
        code = tidy_read_state(db, &shape);
    if (code == SQLITE_OK && strcmp(method, "usage") == 0) {
        struct usage_question question;
        struct usage_answer series = {.count = 0};
        code = usage_read_question(arguments, now_ms, shape.minutes_since_s, &question, &problem)
                   ? usage_read_answer(db, &question, &series)
                   : SQLITE_ERROR;
        if (code == SQLITE_OK && usage_write_answer(&out, &question, &series) < 0)
            code = SQLITE_NOMEM;
        usage_answer_fini(&series);
    } else if (code == SQLITE_OK) {
        struct requests_question question;
        bool is_good = requests_read_question(arguments, &question, &problem);
        struct requests_patience patience;
        requests_patience_begin(&patience);
        question.is_over = requests_patience_is_over;
        question.patience = &patience;
        code = is_good ? requests_append_answer(db, &question, &shape, &out) : SQLITE_ERROR;
    }
    sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    if (code != SQLITE_OK)
        fprintf(stderr, "%s %s: SQLite %d\n", problem.field, problem.message, code);
    const char *at = out.length ? memmem(out.data, out.length, "\"next_before\":\"", 15) : NULL;
    next[0] = '\0';
    if (at)
        snprintf(next, 64, "%.*s", (int)strcspn(at + 15, "\""), at + 15);
    size_t length = code == SQLITE_OK ? out.length : 0;
    buffer_fini(&out);
    return length;
}

static void measure(sqlite3 *db, const char *what, const char *method, json_t *arguments, int64_t now_ms)
{
    int64_t took_us[RUNS];
    char next[64];
    size_t length = 0;
    for (int i = 0; i < RUNS && strstr(what, only); i++) {
        int64_t begun_us = clock_now_us();
        length = answer(db, method, arguments, now_ms, next);
        took_us[i] = clock_now_us() - begun_us;
    }
    json_decref(arguments);
    if (!strstr(what, only))
        return;
    double first_ms = (double)took_us[0] / 1000;
    qsort(took_us, RUNS, sizeof took_us[0], compare);
    int64_t median_us = took_us[RUNS / 2];
    printf("| %s | %.1f | %.1f | %.1f | %zu |\n", what, first_ms, (double)median_us / 1000,
           (double)took_us[RUNS - 1] / 1000, length);
    fflush(stdout);
}

static void measure_usage(sqlite3 *db, int64_t now_ms)
{
    static const struct {
        const char *name;
        int64_t range_s;
    } ranges[] = {{"1 h", 3600}, {"24 h", 86400}, {"30 d", 30 * 86400}};
    static const char *const dimensions[] = {"", "model", "credential", "key", "status"};
    for (size_t r = 0; r < sizeof ranges / sizeof ranges[0]; r++)
        for (size_t d = 0; d < sizeof dimensions / sizeof dimensions[0]; d++) {
            char what[64], from[32];
            snprintf(what, sizeof what, "usage, %s%s%s", ranges[r].name, d ? ", by " : "", dimensions[d]);
            snprintf(from, sizeof from, "%" PRId64, now_ms / 1000 - ranges[r].range_s);
            json_t *arguments = json_pack("{s:s}", "from", from);
            if (d > 0)
                json_object_set_new(arguments, "by", json_string(dimensions[d]));
            measure(db, what, "usage", arguments, now_ms);
        }
}

/* Pages of 50 up to the end of a rare label's; how the worst one did. */
static void measure_paging(sqlite3 *db, const char *what, const char *name, const char *value, int64_t now_ms)
{
    int64_t worst_us = 0, pages = 0;
    char next[64] = "";
    if (!strstr(what, only))
        return;
    do {
        json_t *arguments = json_object();
        if (name)
            json_object_set_new(arguments, name, json_string(value));
        if (next[0])
            json_object_set_new(arguments, "before", json_string(next));
        int64_t begun_us = clock_now_us();
        answer(db, "requests", arguments, now_ms, next);
        int64_t took_us = clock_now_us() - begun_us;
        worst_us = took_us > worst_us ? took_us : worst_us;
        json_decref(arguments);
    } while (next[0] && ++pages < 200);
    printf("%s: %" PRId64 " pages, the slowest in %.1f ms\n", what, pages + 1, (double)worst_us / 1000);
}

static void measure_requests(sqlite3 *db, int64_t now_ms)
{
    static const struct {
        const char *what, *names[2], *values[2];
    } asked[] = {
        {"requests, newest 50", {NULL}, {NULL}},
        {"requests, newest 500", {"limit"}, {"500"}},
        {"requests, model", {"model"}, {"model-0"}},
        {"requests, model used 1 in 400", {"model"}, {"model-19"}},
        {"requests, model used daily", {"model"}, {"model-777"}},
        {"requests, model never used", {"model"}, {"none"}},
        {"requests, credential", {"credential"}, {"0000000000000013"}},
        {"requests, key used 1 in 2,500", {"key"}, {"key-0000000031"}},
        {"requests, key used daily", {"key"}, {"key-0000000309"}},
        {"requests, status 429", {"status"}, {"429"}},
        {"requests, outcome cancelled", {"outcome"}, {"cancelled"}},
        {"requests, rare model and rare key", {"model", "key"}, {"model-19", "key-0000000031"}},
        {"requests, model and daily key, none both", {"model", "key"}, {"model-0", "key-0000000309"}},
    };
    char deep[32];
    for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++) {
        json_t *arguments = json_object();
        for (size_t k = 0; k < 2 && asked[i].names[k]; k++)
            json_object_set_new(arguments, asked[i].names[k], json_string(asked[i].values[k]));
        measure(db, asked[i].what, "requests", arguments, now_ms);
    }
    snprintf(deep, sizeof deep, "%" PRId64 "-0", now_ms - 85 * DAY_MS);
    measure(db, "requests, 85 days back", "requests", json_pack("{s:s}", "before", deep), now_ms);
    measure(db, "requests, 85 days back, key used daily", "requests",
            json_pack("{s:s, s:s}", "before", deep, "key", "key-0000000309"), now_ms);
    measure_paging(db, "Paging through all", NULL, NULL, now_ms);
    measure_paging(db, "Paging through a model used daily", "model", "model-777", now_ms);
    measure_paging(db, "Paging through status 429", "status", "429", now_ms);
}

/* The newest event's start: the ledger may be an older run's. */
static int64_t newest_ms(sqlite3 *db)
{
    sqlite3_stmt *statement = NULL;
    int64_t newest = 0;
    if (sqlite3_prepare_v2(db, "SELECT max(started_wall_ms) FROM events", -1, &statement, NULL) ==
            SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW)
        newest = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return newest;
}

static int run(const char *directory, uint64_t events)
{
    char path[4096];
    struct counter_rows counters;
    struct stat file;
    sqlite3 *db = NULL;
    struct ledger *ledger = ledger_new(directory);
    struct totals *totals = totals_new(NULL);
    counter_rows_init(&counters);
    int64_t now_ms = clock_wall_ms();
    int error = ledger && totals ? ledger_open(ledger, now_ms, NULL, totals, &counters) : ERR_NOMEM;
    if (error == 0 && totals_sum(totals, TOTAL_REQUESTS) == 0)
        error = fill(ledger, totals, now_ms, events);
    snprintf(path, sizeof path, "%s/usage.db", directory);
    if (error == 0 &&
        sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
        error = ERR_IO;
    if (error == 0) {
        sqlite3_exec(db, "PRAGMA cache_size=-16384", NULL, NULL, NULL);
        if (stat(path, &file) == 0)
            printf("%" PRId64 " events, %" PRId64 " MB\n\n", totals_sum(totals, TOTAL_REQUESTS),
                   (int64_t)file.st_size / 1000000);
        printf("| question | first ms | median ms | slowest ms | bytes |\n| --- | --- | --- | --- | --- |\n");
        now_ms = newest_ms(db);
        measure_usage(db, now_ms);
        measure_requests(db, now_ms);
    }
    sqlite3_close(db);
    counter_rows_fini(&counters);
    totals_free(&totals);
    ledger_free(&ledger);
    return error;
}

int main(int argc, char **argv)
{
    uint64_t events = 10000000;
    if (argc == 4)
        only = argv[3];
    if (argc < 2 || argc > 4 || (argc > 2 && !span_to_u64(span_str(argv[2]), &events))) {
        fprintf(stderr, "usage: %s DIRECTORY [EVENTS [QUESTION]]\n", argv[0]);
        return EXIT_CONFIG;
    }
    int error = run(argv[1], events);
    if (error < 0)
        fprintf(stderr, "%s\n", error_text(error));
    return error < 0 ? EXIT_SYSTEM : EXIT_OK;
}
