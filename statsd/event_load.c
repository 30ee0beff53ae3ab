/* SPDX-License-Identifier: MIT */
/* event_load SECONDS [STATSD_PID] - sends a running statsd as many events as it takes, through the reporter
 * that workers use, and says how many became durable a second and what they cost statsd. For measuring; see
 * README.md. */
#include "proto/clock.h"
#include "proto/error.h"
#include "proto/reporter.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { KEEP_PENDING = 20000 /* ahead of statsd, far below the queue's limit */ };

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

static void measure(struct service *service, struct reporter *reporter, int64_t seconds, uint64_t pid)
{
    uint64_t sent = 0;
    int64_t run = clock_wall_ms(), started_ms = clock_now_ms();
    int64_t cpu_ns = read_cpu_ns(pid);
    while (clock_now_ms() - started_ms < seconds * 1000) {
        for (size_t pending = reporter_pending_count(reporter); pending < KEEP_PENDING; pending++)
            send_event(reporter, run, ++sent);
        uv_run(service_loop(service), UV_RUN_ONCE);
    }
    while (reporter_pending_count(reporter) > 0)
        uv_run(service_loop(service), UV_RUN_ONCE);
    int64_t took_ms = clock_now_ms() - started_ms + 1;
    printf("%" PRIu64 " events durable in %" PRId64 " ms: %" PRId64 " a second", sent, took_ms,
           (int64_t)sent * 1000 / took_ms);
    if (pid > 0 && sent > 0)
        printf("; statsd used %" PRId64 " ns of CPU an event", (read_cpu_ns(pid) - cpu_ns) / (int64_t)sent);
    printf("\n");
}

int main(int argc, char **argv)
{
    struct settings settings = {0};
    uint64_t seconds = 0, pid = 0;
    int exit_code = EXIT_CONFIG;
    if (argc < 2 || argc > 3 || !span_to_u64(span_str(argv[1]), &seconds) || seconds > 3600 ||
        (argc == 3 && !span_to_u64(span_str(argv[2]), &pid))) {
        fprintf(stderr, "usage: %s SECONDS [STATSD_PID]\n", argv[0]);
        return exit_code;
    }
    if (settings_load(&settings, environ, ".env") == 0) {
        struct service *service = service_new("upstream-worker", 99, &settings);
        struct reporter *reporter = service ? reporter_new(service) : NULL;
        exit_code = EXIT_SYSTEM;
        if (reporter) {
            measure(service, reporter, (int64_t)seconds, pid);
            exit_code = EXIT_OK;
        }
        reporter_free(&reporter);
        service_free(&service);
    }
    settings_fini(&settings);
    return exit_code;
}
