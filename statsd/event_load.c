/* SPDX-License-Identifier: MIT */
/* event_load SECONDS [STATSD_PID [RATE]] - sends a running statsd as many events as it takes, or RATE a
 * second, through the reporter that workers use. Says how many became durable a second, how long they waited
 * for that, and what they cost statsd. For measuring; see README.md. */
#include "proto/clock.h"
#include "proto/error.h"
#include "proto/reporter.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum {
    KEEP_PENDING = 20000, /* ahead of statsd, far below the queue's limit */
    TICK_MS = 1,
    MAX_TICKS = 1 << 22 /* more than an hour of them */
};

/* When so many events had been sent, and how long it took until they were durable. */
struct tick {
    uint64_t sent;
    int64_t at_us;
};

struct load {
    struct service *service;
    struct reporter *reporter;
    int64_t run, began_us;
    uint64_t sent, rate; /* rate 0: as many as it takes */
    struct tick *ticks;  /* those from `durable` on are not durable yet */
    size_t tick_count, durable;
    int64_t *took_us; /* of each tick */
    size_t most_pending;
};

/* CPU time of a process, all threads, ns; 0 if there is none. */
static int64_t read_cpu_ns(uint64_t pid)
{
    clockid_t clock;
    struct timespec cpu = {0};
    if (pid == 0 || clock_getcpuclockid((pid_t)pid, &clock) != 0 || clock_gettime(clock, &cpu) < 0)
        return 0;
    return (int64_t)cpu.tv_sec * 1000000000 + cpu.tv_nsec;
}

static void send_event(struct reporter *reporter, int64_t run, uint64_t number)
{
    char id[64];
    /* As the gateway makes them: time first, which keeps the ledger's index in one place; then chance. */
    snprintf(id, sizeof id, "%012" PRIx64 "%08x%08x", (uint64_t)clock_wall_ms(), (unsigned)random(),
             (unsigned)(run + (int64_t)number));
    struct msg_event event = {.request_id = span_str(id),
                              .started_wall_ms = clock_wall_ms(),
                              .duration_ms = 2345,
                              .first_event_ms = 456,
                              .key_id = SPAN("password"),
                              .credential_id = SPAN("0123456789abcdef"),
                              .model = SPAN("claude-4.0"),
                              .status = 200,
                              .stream = 1,
                              .attempts = 1,
                              .prompt_tokens = 1234,
                              .completion_tokens = 567,
                              .credit_micro = 12345};
    reporter_event(reporter, &event);
}

static void note_durable(struct load *load)
{
    size_t pending = reporter_pending_count(load->reporter);
    load->most_pending = pending > load->most_pending ? pending : load->most_pending;
    while (load->durable < load->tick_count && load->ticks[load->durable].sent <= load->sent - pending) {
        load->took_us[load->durable] = clock_now_us() - load->ticks[load->durable].at_us;
        load->durable++;
    }
}

static void send_what_is_due(struct load *load)
{
    int64_t now_us = clock_now_us();
    uint64_t due = load->rate > 0 ? load->rate * (uint64_t)(now_us - load->began_us) / 1000000
                                  : load->sent + KEEP_PENDING - reporter_pending_count(load->reporter);
    if (load->sent >= due)
        return;
    while (load->sent < due)
        send_event(load->reporter, load->run, ++load->sent);
    if (load->tick_count < MAX_TICKS)
        load->ticks[load->tick_count++] = (struct tick){load->sent, now_us};
}

static void on_tick(uv_timer_t *timer)
{
    (void)timer; /* it wakes the loop, no more */
}

static int compare(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

static void say(struct load *load, uint64_t pid, int64_t cpu_ns)
{
    int64_t took_us = clock_now_us() - load->began_us + 1;
    printf("%" PRIu64 " events durable in %" PRId64 " ms: %" PRId64 " a second; at most %zu waited",
           load->sent, took_us / 1000, (int64_t)load->sent * 1000000 / took_us, load->most_pending);
    qsort(load->took_us, load->durable, sizeof load->took_us[0], compare);
    if (load->durable > 0) {
        size_t half = load->durable / 2, most = load->durable * 99 / 100;
        printf("; durable after %.1f ms (half), %.1f ms (99 %%), %.1f ms (all)",
               (double)load->took_us[half] / 1000, (double)load->took_us[most] / 1000,
               (double)load->took_us[load->durable - 1] / 1000);
    }
    if (pid > 0 && load->sent > 0)
        printf("; statsd used %" PRId64 " ns of CPU an event",
               (read_cpu_ns(pid) - cpu_ns) / (int64_t)load->sent);
    printf("\n");
}

static void measure(struct load *load, int64_t seconds, uint64_t pid)
{
    uv_loop_t *loop = service_loop(load->service);
    uv_timer_t timer;
    int64_t cpu_ns = read_cpu_ns(pid);
    uv_timer_init(loop, &timer);
    uv_timer_start(&timer, on_tick, TICK_MS, TICK_MS);
    load->run = clock_wall_ms();
    load->began_us = clock_now_us();
    while (clock_now_us() - load->began_us < seconds * 1000000) {
        send_what_is_due(load);
        uv_run(loop, UV_RUN_ONCE);
        note_durable(load);
    }
    while (reporter_pending_count(load->reporter) > 0) {
        uv_run(loop, UV_RUN_ONCE);
        note_durable(load);
    }
    say(load, pid, cpu_ns);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(loop, UV_RUN_NOWAIT);
}

int main(int argc, char **argv)
{
    struct settings settings = {0};
    uint64_t seconds = 0, pid = 0;
    struct load load = {.rate = 0};
    int exit_code = EXIT_CONFIG;
    if (argc < 2 || argc > 4 || !span_to_u64(span_str(argv[1]), &seconds) || seconds > 3600 ||
        (argc > 2 && !span_to_u64(span_str(argv[2]), &pid)) ||
        (argc > 3 && (!span_to_u64(span_str(argv[3]), &load.rate) || load.rate > 1000000))) {
        fprintf(stderr, "usage: %s SECONDS [STATSD_PID [RATE]]\n", argv[0]);
        return exit_code;
    }
    if (settings_load(&settings, environ, ".env") == 0) {
        load.service = service_new("upstream-worker", 99, &settings);
        load.reporter = load.service ? reporter_new(load.service) : NULL;
        load.ticks = calloc(MAX_TICKS, sizeof *load.ticks);
        load.took_us = calloc(MAX_TICKS, sizeof *load.took_us);
        exit_code = EXIT_SYSTEM;
        if (load.reporter && load.ticks && load.took_us) {
            measure(&load, (int64_t)seconds, pid);
            exit_code = EXIT_OK;
        }
        free(load.ticks);
        free(load.took_us);
        reporter_free(&load.reporter);
        service_free(&load.service);
    }
    settings_fini(&settings);
    return exit_code;
}
