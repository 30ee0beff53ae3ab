/* SPDX-License-Identifier: MIT */
/* lease_bench - how many leases a second one credd lends, and what one costs it: LEASE, GRANT and RELEASE
 * over the real link, from one worker that keeps `in flight` leases going. Starts its own daemon in a
 * temporary directory.
 *
 *     lease_bench [leases] [in flight] [credentials]      default 500000 256 20
 */
#include "proto/clock.h"
#include "proto/link.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct bench {
    struct service *service;
    uint64_t goal, in_flight, asked, granted, refused;
    int64_t started_us, ended_us;
};

static void ask(struct bench *bench, struct peer *peer)
{
    const struct msg_lease lease = {.request_id = SPAN("0123456789abcdef0123456789abcdef"),
                                    .key_id = SPAN("password"),
                                    .model = SPAN("claude-4.0"),
                                    .wait_ms = 5000};
    if (bench->asked < bench->goal && peer_send(peer, MESSAGE_LEASE, ++bench->asked, &lease) < 0)
        service_drain(bench->service);
}

static void on_up(void *owner, struct peer *peer, const struct msg_hello *hello)
{
    struct bench *bench = owner;
    (void)hello;
    bench->started_us = clock_now_us();
    for (uint64_t i = 0; i < bench->in_flight; i++)
        ask(bench, peer);
}

static void on_down(void *owner, struct peer *peer, enum link_down why)
{
    struct bench *bench = owner;
    (void)peer;
    (void)why;
    service_drain(bench->service);
}

static void on_frame(void *owner, struct peer *peer, const struct frame *frame, const void *message)
{
    struct bench *bench = owner;
    if (frame->type == MESSAGE_GRANT) {
        const struct msg_grant *grant = message;
        const struct msg_release release = {.lease = grant->lease, .model = SPAN("claude-4.0")};
        bench->granted++;
        peer_send(peer, MESSAGE_RELEASE, 0, &release);
    } else if (frame->type == MESSAGE_REFUSE) {
        bench->refused++;
    }
    ask(bench, peer);
    if (bench->granted + bench->refused == bench->goal) {
        bench->ended_us = clock_now_us();
        service_drain(bench->service);
    }
}

static const struct link_handlers handlers = {on_up, on_down, on_frame};

static void put_credentials(const char *directory, uint64_t count, bool remove)
{
    char path[160];
    for (uint64_t i = 0; i < count; i++) {
        snprintf(path, sizeof path, "%s/c%05u.json", directory, (unsigned)i);
        if (remove) {
            unlink(path);
            continue;
        }
        FILE *file = fopen(path, "w");
        if (file) { /* a token of usual size */
            fprintf(file, "{\"bearer_token\":\"%01400d\",\"user_id\":\"u\"}", 7);
            fclose(file);
        }
    }
}

static pid_t start_credd(char *const *environment)
{
    char program[] = CREDD_PROGRAM;
    char *arguments[] = {program, NULL};
    pid_t pid = fork();
    if (pid == 0) {
        execve(program, arguments, environment);
        _exit(127);
    }
    return pid;
}

static void print_result(const struct bench *bench, const struct rusage *usage)
{
    double seconds = (double)(bench->ended_us - bench->started_us) / 1e6;
    double cpu_us = (double)usage->ru_utime.tv_sec * 1e6 + (double)usage->ru_utime.tv_usec +
                    (double)usage->ru_stime.tv_sec * 1e6 + (double)usage->ru_stime.tv_usec;
    printf("leases=%llu refused=%llu seconds=%.3f leases_per_s=%.0f credd_cpu_us_per_lease=%.2f "
           "credd_rss_kib=%ld\n",
           (unsigned long long)bench->granted, (unsigned long long)bench->refused, seconds,
           (double)bench->goal / seconds, cpu_us / (double)bench->goal, usage->ru_maxrss);
}

static uint64_t argument(int argc, char **argv, int i, uint64_t otherwise)
{
    uint64_t value;
    return i < argc && span_to_u64(span_str(argv[i]), &value) && value > 0 ? value : otherwise;
}

static void run(struct bench *bench, const struct settings *settings)
{
    bench->service = service_new("upstream-worker", 0, settings);
    struct link *link =
        bench->service ? link_connect(bench->service, "credd", settings->credd_endpoint, &handlers, bench)
                       : NULL;
    if (link) {
        service_run(bench->service);
        link_close(&link);
    }
    service_free(&bench->service);
}

int main(int argc, char **argv)
{
    struct bench bench = {.goal = argument(argc, argv, 1, 500000), .in_flight = argument(argc, argv, 2, 256)};
    uint64_t credentials = argument(argc, argv, 3, 20);
    char root[] = "/tmp/lease_bench.XXXXXX", creds[64], creds_variable[96], run_variable[96],
         data_variable[96];
    char password[] = "CODEBUDDY_PASSWORD=p", level[] = "CODEBUDDY_LOG_LEVEL=ERROR";
    char sites[] = "CODEBUDDY_SITES_DIR=" SITES_DIR, socket_path[64];
    char *const environment[] = {password, level, sites, run_variable, creds_variable, data_variable, NULL};
    struct settings settings = {0};
    struct rusage usage;
    umask(077);
    if (!mkdtemp(root))
        return 1;
    snprintf(creds, sizeof creds, "%s/creds", root);
    snprintf(data_variable, sizeof data_variable, "CODEBUDDY_DATA_DIR=%s/data", root);
    snprintf(creds_variable, sizeof creds_variable, "CODEBUDDY_CREDS_DIR=%s", creds);
    snprintf(run_variable, sizeof run_variable, "CODEBUDDY_RUN_DIR=%s", root);
    mkdir(creds, 0700);
    put_credentials(creds, credentials, false);
    pid_t pid = start_credd(environment);
    if (pid > 0 && settings_load(&settings, environment, "/nonexistent/.env") == 0)
        run(&bench, &settings);
    if (pid > 0) {
        kill(pid, SIGTERM);
        wait4(pid, NULL, 0, &usage);
        print_result(&bench, &usage);
    }
    settings_fini(&settings);
    put_credentials(creds, credentials, true);
    snprintf(socket_path, sizeof socket_path, "%s/credd.sock", root);
    unlink(socket_path);
    snprintf(socket_path, sizeof socket_path, "%s/data/credentials_state.json", root);
    unlink(socket_path);
    snprintf(socket_path, sizeof socket_path, "%s/data", root);
    rmdir(socket_path);
    rmdir(creds);
    rmdir(root);
    return bench.granted == bench.goal ? 0 : 1;
}
