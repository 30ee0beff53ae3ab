/* SPDX-License-Identifier: MIT */
/* worker_bench - what one request costs the worker: CPU time by /proc/PID/stat, and memory per stream.
 *
 *     worker_bench [-s] [-m MODEL] [-c CONCURRENT] [-n REQUESTS] [-u URL]
 *
 * With BENCH_ENVIRONMENT=NAME=VALUE that goes to the worker, with BENCH_WAIT it waits 3 s for a profiler.
 * -s streams (else plain). MODEL is a scenario of the stand-in; URL is another way to
 * reach one (TLS, HTTP/2: through nginx). The fake peers share the machine with the
 * worker, so requests per second say little here; CPU per request does. */
#include "proto/clock.h"
#include "upstream-worker/fake_peers.h"

#include <inttypes.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

static struct bench {
    const char *model, *url;
    bool streams;
    uint64_t concurrent, total, begun, ended, failed, data_frames, data_bytes;
    struct span body;
} bench = {.model = "s:load", .concurrent = 64, .total = 20000};

static struct fake_world world;

static void begin(struct fake_world *of)
{
    char id[32];
    if (bench.begun == bench.total)
        return;
    snprintf(id, sizeof id, "bench-%020" PRIu64, ++bench.begun);
    fake_send_request(of, bench.begun, id, bench.body);
}

static void on_frame(struct fake_world *of, const struct frame *frame, const void *message)
{
    if (frame->type == MESSAGE_DATA) {
        const struct msg_data *data = message;
        const struct msg_window window = {(uint32_t)data->data.length};
        bench.data_frames++;
        bench.data_bytes += data->data.length;
        peer_send(of->worker, MESSAGE_WINDOW, frame->request, &window);
    } else if (frame->type == MESSAGE_END || frame->type == MESSAGE_FAIL) {
        bench.ended++;
        if (frame->type == MESSAGE_FAIL && bench.failed++ == 0)
            fprintf(stderr, "first failure: %s\n",
                    failure_code((enum failure)((const struct msg_fail *)message)->failure));
        begin(of);
    }
}

/* User and system time of the worker, µs. */
static int64_t worker_cpu_us(void)
{
    char path[64], text[1024] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", (int)world.worker_pid);
    FILE *file = fopen(path, "r");
    if (!file)
        return 0;
    size_t length = fread(text, 1, sizeof text - 1, file);
    text[length] = '\0';
    fclose(file);
    char *at = strrchr(text, ')'); /* the name's end; then state and ten numbers, then the two */
    for (int i = 0; at && i < 12; i++)
        at = strchr(at + 1, ' ');
    unsigned long user = at ? strtoul(at, &at, 10) : 0, system = at ? strtoul(at, &at, 10) : 0;
    return (int64_t)(user + system) * 1000000 / sysconf(_SC_CLK_TCK);
}

static void parse(int argc, char **argv)
{
    int option;
    uint64_t number;
    while ((option = getopt(argc, argv, "sm:c:n:u:")) != -1) {
        if (option == 's')
            bench.streams = true;
        else if (option == 'm')
            bench.model = optarg;
        else if (option == 'u')
            bench.url = optarg;
        else if ((option == 'c' || option == 'n') && span_to_u64(span_str(optarg), &number))
            *(option == 'c' ? &bench.concurrent : &bench.total) = number;
        else
            exit(EXIT_FAILURE);
    }
}

int main(int argc, char **argv)
{
    char body[1024];
    const char pad[] = "Tell me, in as many words as it takes and not one more, what a worker does all day.";
    parse(argc, argv);
    snprintf(body, sizeof body,
             "{\"model\":\"%s\",\"stream\":%s,\"messages\":[{\"role\":\"system\",\"content\":\"%s %s\"},"
             "{\"role\":\"user\",\"content\":\"%s %s %s\"}],\"temperature\":0.5}",
             bench.model, bench.streams ? "true" : "false", pad, pad, pad, pad, pad);
    bench.body = span_str(body);
    const char *const environment[] = {getenv("BENCH_ENVIRONMENT"), getenv("BENCH_ENVIRONMENT_2"), NULL};
    fake_world_start_load(&world, environment, on_frame);
    if (bench.url)
        snprintf(world.upstream_url, sizeof world.upstream_url, "%s", bench.url);
    long idle_kib = fake_worker_rss_kib(&world), peak_kib = 0;
    if (getenv("BENCH_WAIT")) {
        fprintf(stderr, "worker %d\n", (int)world.worker_pid);
        for (int64_t until_ms = clock_now_ms() + 3000; clock_now_ms() < until_ms;)
            fake_turn(&world);
    }
    int64_t began_us = clock_now_us(), began_cpu_us = worker_cpu_us();
    for (uint64_t i = 0; i < bench.concurrent; i++)
        begin(&world);
    while (bench.ended < bench.total) {
        fake_turn(&world);
        if (bench.begun == bench.concurrent) {
            long kib = fake_worker_rss_kib(&world);
            peak_kib = kib > peak_kib ? kib : peak_kib;
        }
    }
    double requests = (double)bench.total, taken_us = (double)(clock_now_us() - began_us);
    printf("%s %s c=%" PRIu64 ": %.0f req/s, worker CPU %.1f us/request, %.1f DATA/request, failed %" PRIu64
           ", RSS idle %ld KiB, peak %ld KiB, %.1f KiB per stream\n",
           bench.model, bench.streams ? "stream" : "plain", bench.concurrent, requests * 1e6 / taken_us,
           (double)(worker_cpu_us() - began_cpu_us) / requests, (double)bench.data_frames / requests,
           bench.failed, idle_kib, peak_kib, (double)(peak_kib - idle_kib) / (double)bench.concurrent);
    return fake_world_stop(&world);
}
