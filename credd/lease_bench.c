/* SPDX-License-Identifier: MIT */
/* lease_bench - how many leases a second one credd lends, how long askers wait, and what one costs it: LEASE,
 * GRANT and RELEASE over the real link. Starts its own daemon in a temporary directory.
 *
 *     lease_bench [-n leases] [-i in flight] [-c credentials] [-w workers] [-r rate] [-l held] [-t] [-p]
 *
 * -i leases are asked for at a time, or -r begin each second. They come from -w workers, each with a link of
 * its own: the more, the less each message carries. -l leases are held meanwhile and renewed, as running
 * streams do. -t: over tcp with CURVE, as between hosts. -p: credd gets core 0 for itself, we get the others.
 */
#include "proto/clock.h"
#include "proto/link.h"
#include "proto/link_keys.h"

#include <ftw.h>
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    MAX_WORKERS = 512,
    RENEW_EVERY_MS = 3333, /* as workers do */
    RENEW_MAX = 8192,      /* leases in one RENEW, as workers do */
    PATH_BYTES = 128
};

struct bench;
struct worker {
    struct bench *bench;
    struct link *link;
    struct peer *credd;
    uint64_t *held; /* lease numbers */
    uint64_t held_count;
};

struct bench {
    /* what is asked for */
    uint64_t goal, in_flight, credentials, worker_count, rate, hold;
    bool has_curve, is_pinned;
    /* what comes of it */
    struct service *service;
    struct worker workers[MAX_WORKERS];
    uint64_t workers_up, asked, granted, refused, renewals, *asked_us; /* by number of the question */
    uint64_t held_count, held_asked;
    bool is_running; /* the leases to be held are there: now it counts */
    int64_t began_us, ended_us, cpu_before_ns;
    pid_t credd;
    char root[PATH_BYTES / 2];
};

static void ask(struct bench *bench, struct worker *worker)
{
    const struct msg_lease lease = {.request_id = SPAN("0123456789abcdef0123456789abcdef"),
                                    .key_id = SPAN("password"),
                                    .model = SPAN("claude-4.0"),
                                    .wait_ms = 5000};
    uint64_t number = bench->asked;
    if (number == bench->goal)
        return;
    bench->asked++;
    bench->asked_us[number] = (uint64_t)clock_now_us();
    if (peer_send(worker->credd, MESSAGE_LEASE, number + 1, &lease) < 0)
        service_drain(bench->service);
}

static void ask_to_hold(struct bench *bench, struct worker *worker)
{
    const struct msg_lease lease = {.request_id = SPAN("0123456789abcdef0123456789abcdef"),
                                    .key_id = SPAN("password"),
                                    .model = SPAN("claude-4.0"),
                                    .wait_ms = 60000};
    if (bench->held_asked == bench->hold)
        return;
    bench->held_asked++;
    if (peer_send(worker->credd, MESSAGE_LEASE, 0, &lease) < 0)
        service_drain(bench->service);
}

static int64_t cpu_ns_of(pid_t pid)
{
    clockid_t clock;
    struct timespec cpu = {0};
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &cpu) < 0)
        return 0;
    return (int64_t)cpu.tv_sec * 1000000000 + cpu.tv_nsec;
}

static struct worker *worker_of_number(struct bench *bench, uint64_t number)
{
    return &bench->workers[number % bench->worker_count];
}

static void begin(struct bench *bench)
{
    bench->is_running = true;
    bench->cpu_before_ns = cpu_ns_of(bench->credd);
    bench->began_us = clock_now_us();
    for (uint64_t i = 0; bench->rate == 0 && i < bench->in_flight; i++)
        ask(bench, worker_of_number(bench, i));
}

static void on_up(void *owner, struct peer *peer, const struct msg_hello *hello)
{
    struct worker *worker = owner;
    struct bench *bench = worker->bench;
    (void)hello;
    worker->credd = peer;
    if (++bench->workers_up < bench->worker_count)
        return;
    for (uint64_t i = 0; i < bench->in_flight; i++)
        ask_to_hold(bench, worker_of_number(bench, i));
    if (bench->hold == 0)
        begin(bench);
}

static void on_down(void *owner, struct peer *peer, enum link_down why)
{
    struct worker *worker = owner;
    (void)peer;
    worker->credd = NULL;
    if (why != LINK_DOWN_CLOSED)
        fprintf(stderr, "lease_bench: credd %s\n", why == LINK_DOWN_HUNG ? "was silent for 3 s" : "is gone");
    service_drain(worker->bench->service);
}

static void hold(struct worker *worker, uint64_t lease)
{
    struct bench *bench = worker->bench;
    worker->held[worker->held_count++] = lease;
    if (++bench->held_count == bench->hold)
        begin(bench);
    else
        ask_to_hold(bench, worker);
}

static void on_answer(struct worker *worker, uint64_t number)
{
    struct bench *bench = worker->bench;
    bench->asked_us[number] = (uint64_t)clock_now_us() - bench->asked_us[number];
    if (bench->rate == 0)
        ask(bench, worker);
    if (bench->granted + bench->refused == bench->goal) {
        bench->ended_us = clock_now_us();
        bench->cpu_before_ns = cpu_ns_of(bench->credd) - bench->cpu_before_ns;
        service_drain(bench->service);
    }
}

static void on_frame(void *owner, struct peer *peer, const struct frame *frame, const void *message)
{
    struct worker *worker = owner;
    struct bench *bench = worker->bench;
    if (frame->type == MESSAGE_GRANT && frame->request == 0) {
        hold(worker, ((const struct msg_grant *)message)->lease);
        return;
    }
    if (frame->type == MESSAGE_GRANT) {
        const struct msg_grant *grant = message;
        const struct msg_release release = {.lease = grant->lease, .model = SPAN("claude-4.0")};
        bench->granted++;
        peer_send(peer, MESSAGE_RELEASE, 0, &release);
    } else if (frame->type == MESSAGE_REFUSE && frame->request > 0) {
        bench->refused++;
    } else {
        fprintf(stderr, "lease_bench: credd refused a lease to hold: it lends fewer at a time\n");
        service_drain(bench->service);
        return;
    }
    on_answer(worker, frame->request - 1);
}

static const struct link_handlers handlers = {on_up, on_down, on_frame};

/* ---- time ---- */

static void on_tick(uv_timer_t *timer)
{
    struct bench *bench = timer->data;
    uint64_t due = bench->rate * (uint64_t)(clock_now_us() - bench->began_us) / 1000000;
    if (!bench->is_running || service_draining(bench->service))
        return;
    while (bench->asked < due && bench->asked < bench->goal)
        ask(bench, worker_of_number(bench, bench->asked));
}

static void renew(struct worker *worker, uint64_t first, uint64_t count)
{
    static unsigned char numbers[8 * RENEW_MAX], keys[sizeof numbers]; /* no key: 0 */
    for (uint64_t i = 0; i < count; i++)
        for (unsigned byte = 0; byte < 8; byte++)
            numbers[8 * i + byte] = (unsigned char)(worker->held[first + i] >> (56 - 8 * byte));
    const struct msg_renew message = {span_of((const char *)numbers, 8 * count),
                                      span_of((const char *)keys, 8 * count)};
    peer_send(worker->credd, MESSAGE_RENEW, 0, &message);
    worker->bench->renewals += worker->bench->is_running ? count : 0;
}

static void on_renew(uv_timer_t *timer)
{
    struct bench *bench = timer->data;
    for (uint64_t i = 0; i < bench->worker_count; i++) {
        struct worker *worker = &bench->workers[i];
        for (uint64_t at = 0; worker->credd && at < worker->held_count; at += RENEW_MAX)
            renew(worker, at, worker->held_count - at < RENEW_MAX ? worker->held_count - at : RENEW_MAX);
    }
}

/* ---- the daemon ---- */

static void put_credentials(const char *directory, uint64_t count)
{
    char path[2 * PATH_BYTES];
    for (uint64_t i = 0; i < count; i++) {
        snprintf(path, sizeof path, "%s/c%05u.json", directory, (unsigned)i);
        FILE *file = fopen(path, "w");
        if (file) { /* a token of usual size */
            fprintf(file, "{\"bearer_token\":\"%01400d\",\"user_id\":\"u\"}", 7);
            fclose(file);
        }
    }
}

static void pin(pid_t pid, bool to_first)
{
    cpu_set_t cores;
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    CPU_ZERO(&cores);
    for (long core = to_first ? 0 : 1; core < (to_first ? 1 : count); core++)
        CPU_SET((size_t)core, &cores);
    if (sched_setaffinity(pid, sizeof cores, &cores) < 0)
        perror("lease_bench: sched_setaffinity");
}

static pid_t start_credd(char *const *environment, bool is_pinned)
{
    char program[] = CREDD_PROGRAM;
    char *arguments[] = {program, NULL};
    pid_t pid = fork();
    if (pid == 0) {
        if (is_pinned)
            pin(0, true);
        execve(program, arguments, environment);
        _exit(127);
    }
    return pid;
}

static int compare(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

static void print_result(struct bench *bench, const struct rusage *usage)
{
    double seconds = (double)(bench->ended_us - bench->began_us) / 1e6;
    double cpu_us = (double)bench->cpu_before_ns / 1e3;
    qsort(bench->asked_us, bench->goal, sizeof *bench->asked_us, compare);
    printf("leases=%llu refused=%llu seconds=%.3f leases_per_s=%.0f wait_p50_us=%llu wait_p99_us=%llu "
           "held=%llu renewals_per_s=%.0f credd_cores=%.2f credd_cpu_us_per_lease=%.2f credd_rss_kib=%ld\n",
           (unsigned long long)bench->granted, (unsigned long long)bench->refused, seconds,
           (double)bench->goal / seconds, (unsigned long long)bench->asked_us[bench->goal / 2],
           (unsigned long long)bench->asked_us[bench->goal * 99 / 100], (unsigned long long)bench->held_count,
           (double)bench->renewals / seconds, cpu_us / seconds / 1e6, cpu_us / (double)bench->goal,
           usage->ru_maxrss);
}

static bool open_workers(struct bench *bench, const struct settings *settings)
{
    for (uint64_t i = 0; i < bench->worker_count; i++) {
        struct worker *worker = &bench->workers[i];
        worker->bench = bench;
        worker->held = calloc(bench->hold + bench->in_flight + 1, sizeof *worker->held);
        worker->link =
            worker->held ? link_connect(bench->service, "credd", settings->credd_endpoint, &handlers, worker)
                         : NULL;
        if (!worker->link)
            return false;
    }
    return true;
}

static void close_workers(struct bench *bench)
{
    for (uint64_t i = 0; i < bench->worker_count; i++) {
        if (bench->workers[i].link)
            link_close(&bench->workers[i].link);
        free(bench->workers[i].held);
    }
}

static void run(struct bench *bench, const struct settings *settings)
{
    uv_timer_t tick, renewal;
    bench->service = service_new("upstream-worker", 0, settings);
    if (!bench->service)
        return;
    uv_timer_init(service_loop(bench->service), &tick);
    uv_timer_init(service_loop(bench->service), &renewal);
    tick.data = renewal.data = bench;
    if (bench->rate > 0)
        uv_timer_start(&tick, on_tick, 1, 1);
    uv_timer_start(&renewal, on_renew, RENEW_EVERY_MS, RENEW_EVERY_MS);
    if (open_workers(bench, settings))
        service_run(bench->service);
    close_workers(bench);
    uv_close((uv_handle_t *)&tick, NULL);
    uv_close((uv_handle_t *)&renewal, NULL);
    service_free(&bench->service);
}

/* ---- the whole ---- */

static bool read_number(uint64_t *number, uint64_t least, uint64_t most)
{
    return span_to_u64(span_str(optarg), number) && *number >= least && *number <= most;
}

static bool read_arguments(struct bench *bench, int argc, char **argv)
{
    bool is_good = true;
    for (int letter; is_good && (letter = getopt(argc, argv, "n:i:c:w:r:l:tp")) != -1;)
        switch (letter) {
        case 'n':
            is_good = read_number(&bench->goal, 1, 100000000);
            break;
        case 'i':
            is_good = read_number(&bench->in_flight, 1, 100000);
            break;
        case 'c':
            is_good = read_number(&bench->credentials, 1, 4096);
            break;
        case 'w':
            is_good = read_number(&bench->worker_count, 1, MAX_WORKERS);
            break;
        case 'r':
            is_good = read_number(&bench->rate, 1, 10000000);
            break;
        case 'l':
            is_good = read_number(&bench->hold, 0, 10000000);
            break;
        case 't':
            bench->has_curve = true;
            break;
        case 'p':
            bench->is_pinned = true;
            break;
        default:
            is_good = false;
        }
    return is_good && optind == argc;
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *place)
{
    (void)status;
    (void)kind;
    (void)place;
    return remove(path);
}

static void measure(struct bench *bench)
{
    enum { VARIABLES = 9 };
    char texts[VARIABLES][2 * PATH_BYTES], keys[PATH_BYTES], creds[PATH_BYTES];
    char *environment[VARIABLES + 1];
    const char *path;
    struct settings settings = {0};
    struct rusage usage = {0};
    size_t count = 0;
    unsigned port = 20000 + (unsigned)getpid() % 20000;
    snprintf(creds, sizeof creds, "%s/creds", bench->root);
    snprintf(keys, sizeof keys, "%s/keys", bench->root);
    snprintf(texts[count++], sizeof *texts, "CODEBUDDY_LOG_LEVEL=ERROR");
    snprintf(texts[count++], sizeof *texts, "CODEBUDDY_SITES_DIR=" SITES_DIR);
    snprintf(texts[count++], sizeof *texts, "CODEBUDDY_CREDENTIAL_MAX_IN_FLIGHT=1000000");
    snprintf(texts[count++], sizeof *texts, "CODEBUDDY_RUN_DIR=%s", bench->root);
    snprintf(texts[count++], sizeof *texts, "CODEBUDDY_DATA_DIR=%s/data", bench->root);
    snprintf(texts[count++], sizeof *texts, "CODEBUDDY_CREDS_DIR=%s", creds);
    if (bench->has_curve && link_keys_make_set(keys, &path) == 0) {
        snprintf(texts[count++], sizeof *texts, "CODEBUDDY_LINK_KEYS_DIR=%s", keys);
        snprintf(texts[count++], sizeof *texts, "CODEBUDDY_CREDD_BIND=tcp://127.0.0.1:%u", port);
        snprintf(texts[count++], sizeof *texts, "CODEBUDDY_CREDD_ENDPOINT=tcp://127.0.0.1:%u", port);
    }
    for (size_t i = 0; i < count; i++)
        environment[i] = texts[i];
    environment[count] = NULL;
    mkdir(creds, 0700);
    put_credentials(creds, bench->credentials);
    bench->credd = start_credd(environment, bench->is_pinned);
    if (bench->is_pinned)
        pin(0, false);
    if (bench->credd > 0 && settings_load(&settings, environment, "/nonexistent/.env") == 0)
        run(bench, &settings);
    if (bench->credd > 0) {
        kill(bench->credd, SIGTERM);
        wait4(bench->credd, NULL, 0, &usage);
    }
    if (bench->ended_us > 0)
        print_result(bench, &usage);
    settings_fini(&settings);
}

int main(int argc, char **argv)
{
    struct bench bench = {.goal = 500000, .in_flight = 256, .credentials = 20, .worker_count = 1};
    if (!read_arguments(&bench, argc, argv)) {
        fprintf(stderr,
                "usage: %s [-n leases] [-i in flight] [-c credentials] [-w workers] [-r rate] [-l held] "
                "[-t] [-p]\n",
                argv[0]);
        return 64;
    }
    umask(077);
    snprintf(bench.root, sizeof bench.root, "/tmp/lease_bench.XXXXXX");
    bench.asked_us = calloc(bench.goal, sizeof *bench.asked_us);
    if (!bench.asked_us || !mkdtemp(bench.root))
        return 1;
    measure(&bench);
    nftw(bench.root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(bench.asked_us);
    return bench.granted == bench.goal ? 0 : 1;
}
