/* SPDX-License-Identifier: MIT */
/* codebuddy2api-load - asks a server as fast, or as often and as slowly, as it is told, checks every answer
 * to the last event, and prints what it measured as JSON. One thread. README.md of the folder above. */
#include <getopt.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "tests/upstream/load/client.h"

#define EXIT_USAGE  78
#define EXIT_SYSTEM 71

static const char help[] =
    "usage: codebuddy2api-load --url http://HOST:PORT/PATH [options]\n"
    "  --connections N         connections, each with one request at a time (1)\n"
    "  --requests N            requests in all (as many as connections, without --duration-s)\n"
    "  --duration-s S          no new requests after S seconds\n"
    "  --body-file F           the request's body; makes it a POST\n"
    "  --header 'K: V'         adds a header, may be repeated\n"
    "  --plain                 answers are one JSON body, not an event stream\n"
    "  --slow                  one request per connection, then the connection is over\n"
    "  --streams-ramp-per-s R  opens R connections a second instead of all at once\n"
    "  --expect-events N       each answer has the numbered texts t0 to tN-1, else it is wrong\n"
    "  --gap-ms G              expected time between them, for the jitter\n"
    "  --timeout-s S           per request (60)\n"
    "  --slow-reader           reads nothing after the headers, until --duration-s is over\n"
    "  --abort-after-ms M      leaves M ms after it asked\n"
    "Exit: 0 if every answer was right, 1 if not, 78 on a wrong option, 71 on a system error.\n";

struct options {
    struct client_options client;
    const char *url, *body_file;
    struct buffer headers;
};

static bool take_number(const char *text, int64_t max, int64_t *number)
{
    if (span_to_number(span_of(text), number) && *number <= max)
        return true;
    fprintf(stderr, "not a number up to %lld: %s\n", (long long)max, text);
    return false;
}

/* Numbers of all options that have one; scale turns their unit into ours. */
static const struct number_option {
    int letter;
    size_t offset;
    int64_t scale, max;
} number_options[] = {
    {'c', offsetof(struct client_options, connections), 1, 60000},
    {'n', offsetof(struct client_options, requests), 1, 1000000000},
    {'d', offsetof(struct client_options, duration_us), 1000000, 86400},
    {'r', offsetof(struct client_options, ramp_per_s), 1, 1000000},
    {'e', offsetof(struct client_options, expect_tokens), 1, 1000000000},
    {'g', offsetof(struct client_options, gap_us), 1000, 3600000},
    {'t', offsetof(struct client_options, timeout_us), 1000000, 86400},
    {'a', offsetof(struct client_options, abort_us), 1000, 3600000},
};

/* 1: taken; 0: not an option with a number; -1: wrong. */
static int take_number_option(int letter, struct options *options)
{
    for (size_t i = 0; i < sizeof(number_options) / sizeof(number_options[0]); i++) {
        const struct number_option *option = &number_options[i];
        int64_t number;

        if (option->letter != letter)
            continue;
        if (!take_number(optarg, option->max, &number))
            return -1;
        number *= option->scale;
        memcpy((char *)&options->client + option->offset, &number, sizeof(number));
        return 1;
    }
    return 0;
}

static bool take_option(int letter, struct options *options)
{
    int taken = take_number_option(letter, options);

    if (taken != 0)
        return taken > 0;
    switch (letter) {
    case 'u':
        options->url = optarg;
        return true;
    case 'b':
        options->body_file = optarg;
        return true;
    case 'h':
        buffer_printf(&options->headers, "%s\r\n", optarg);
        return true;
    case 'p':
        options->client.plain = true;
        return true;
    case 's':
        options->client.once = true;
        return true;
    case 'R':
        options->client.slow_reader = true;
        return true;
    default:
        return false;
    }
}

/* Returns -1 to go on, else an exit status. */
static int parse_options(int argc, char **argv, struct options *options)
{
    static const struct option names[] = {
        {"url", required_argument, NULL, 'u'},
        {"connections", required_argument, NULL, 'c'},
        {"requests", required_argument, NULL, 'n'},
        {"duration-s", required_argument, NULL, 'd'},
        {"body-file", required_argument, NULL, 'b'},
        {"header", required_argument, NULL, 'h'},
        {"plain", no_argument, NULL, 'p'},
        {"slow", no_argument, NULL, 's'},
        {"streams-ramp-per-s", required_argument, NULL, 'r'},
        {"expect-events", required_argument, NULL, 'e'},
        {"gap-ms", required_argument, NULL, 'g'},
        {"timeout-s", required_argument, NULL, 't'},
        {"slow-reader", no_argument, NULL, 'R'},
        {"abort-after-ms", required_argument, NULL, 'a'},
        {"help", no_argument, NULL, 'H'},
        {NULL, 0, NULL, 0},
    };
    int letter;

    while ((letter = getopt_long(argc, argv, "", names, NULL)) != -1) {
        if (letter == 'H')
            return fputs(help, stdout) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
        if (!take_option(letter, options))
            return EXIT_USAGE;
    }
    if (options->client.connections < 1 || optind != argc || !options->url) {
        fputs(help, stderr);
        return EXIT_USAGE;
    }
    if (options->client.slow_reader && !options->client.duration_us) {
        fputs("--slow-reader needs --duration-s: it never ends by itself\n", stderr);
        return EXIT_USAGE;
    }
    if (options->client.requests == 0 && (options->client.duration_us == 0 || options->client.once))
        options->client.requests = options->client.connections;
    return -1;
}

/* ---- what to send, and where ---- */

static bool resolve(const char *host, const char *port, struct client_options *client)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    int error = getaddrinfo(host, port, &hints, &found);

    if (error) {
        fprintf(stderr, "%s port %s: %s\n", host, port, gai_strerror(error));
        return false;
    }
    memcpy(&client->address, found->ai_addr, found->ai_addrlen);
    client->address_size = found->ai_addrlen;
    freeaddrinfo(found);
    return true;
}

/* Splits http://HOST[:PORT]/PATH. *path is borrowed from url. */
static bool parse_url(const char *url, char *host, char *port, size_t capacity, const char **path)
{
    const char *start, *slash, *colon;

    if (strncmp(url, "http://", 7) != 0) {
        fputs("the URL does not begin with http://\n", stderr);
        return false;
    }
    start = url + 7;
    slash = strchrnul(start, '/');
    colon = memrchr(start, ':', (size_t)(slash - start));
    if (colon && memchr(colon, ']', (size_t)(slash - colon)))
        colon = NULL;
    span_copy((struct span){start, (size_t)((colon ? colon : slash) - start)}, host, capacity);
    span_copy(colon ? (struct span){colon + 1, (size_t)(slash - colon - 1)} : span_of("80"), port, capacity);
    if (host[0] == '[') { /* an IPv6 address */
        size_t size = strcspn(host + 1, "]");

        memmove(host, host + 1, size);
        host[size] = '\0';
    }
    *path = *slash ? slash : "/";
    return true;
}

static bool read_file(const char *name, struct buffer *out)
{
    FILE *file = fopen(name, "rb");
    size_t size;

    if (!file) {
        perror(name);
        return false;
    }
    do {
        buffer_reserve(out, 65536);
        size = fread(out->data + out->size, 1, 65536, file);
        out->size += size;
    } while (size > 0);
    fclose(file);
    return true;
}

static bool make_request(struct options *options, struct buffer *request)
{
    char host[256], port[256];
    struct buffer body = {0};
    const char *path;

    if (!parse_url(options->url, host, port, sizeof(host), &path) || !resolve(host, port, &options->client))
        return false;
    if (options->body_file && !read_file(options->body_file, &body))
        return false;
    buffer_printf(request, "%s %s HTTP/1.1\r\nHost: %s:%s\r\n", options->body_file ? "POST" : "GET", path,
                  host, port);
    buffer_append(request, options->headers.data, options->headers.size);
    if (options->body_file)
        buffer_printf(request, "Content-Type: application/json\r\nContent-Length: %zu\r\n", body.size);
    buffer_append_text(request, "\r\n");
    buffer_append(request, body.data, body.size);
    buffer_fini(&body);
    options->client.request = (struct span){request->data, request->size};
    return true;
}

/* ---- the report ---- */

static void print_histogram(const char *name, const struct histogram *histogram)
{
    printf(" \"%s_us\": {\"count\": %llu, \"mean\": %lld, \"p50\": %lld, \"p90\": %lld, \"p99\": %lld, "
           "\"p999\": %lld, "
           "\"max\": %lld},\n",
           name, (unsigned long long)histogram->count, (long long)histogram_mean_us(histogram),
           (long long)histogram_permille_us(histogram, 500), (long long)histogram_permille_us(histogram, 900),
           (long long)histogram_permille_us(histogram, 990), (long long)histogram_permille_us(histogram, 999),
           (long long)histogram->max_us);
}

static int64_t print_errors(const struct client_result *result)
{
    const char *comma = "";
    int64_t all = 0;

    printf(" \"error_kinds\": {");
    for (unsigned i = 0; i < CLIENT_ERROR_COUNT; i++) {
        if (result->errors[i] == 0)
            continue;
        printf("%s\"%s\": %lld", comma, client_error_name((enum client_error)i),
               (long long)result->errors[i]);
        comma = ", ";
        all += result->errors[i];
    }
    printf("},\n \"errors\": %lld,\n \"status\": {", (long long)all);
    comma = "";
    for (int i = 0; i < CLIENT_STATUS_MAX; i++) {
        if (result->status[i] == 0)
            continue;
        printf("%s\"%d\": %lld", comma, i, (long long)result->status[i]);
        comma = ", ";
    }
    printf("},\n");
    return all;
}

static int64_t own_cpu_us(void)
{
    struct rusage usage;

    if (getrusage(RUSAGE_SELF, &usage) < 0)
        return 0;
    return ((int64_t)usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 + usage.ru_utime.tv_usec +
           usage.ru_stime.tv_usec;
}

/* Returns how many requests went wrong. */
static int64_t print_report(const struct client_result *result)
{
    double seconds = (double)result->elapsed_us / 1e6;
    int64_t cpu_us = own_cpu_us(), errors;

    printf("{\n \"requests\": %lld,\n \"seconds\": %.3f,\n \"rps\": %.1f,\n", (long long)result->answered,
           seconds, (double)result->answered / seconds);
    errors = print_errors(result);
    print_histogram("latency", &result->latency);
    print_histogram("first_event", &result->first_event);
    print_histogram("gap", &result->gap);
    print_histogram("jitter", &result->jitter);
    printf(" \"events\": %lld,\n \"tokens\": %lld,\n \"events_lost\": %lld,\n \"wrong\": %lld,\n",
           (long long)result->events, (long long)result->tokens, (long long)result->lost,
           (long long)result->wrong);
    printf(" \"aborted\": %lld,\n \"held\": %lld,\n \"connects\": %lld,\n \"streams_peak\": %lld,\n "
           "\"bytes\": %lld,\n",
           (long long)result->aborted, (long long)result->held, (long long)result->connects,
           (long long)result->streams_peak, (long long)result->bytes);
    printf(" \"cpu_us\": %lld,\n \"cpu_us_per_request\": %.2f,\n \"cpu_us_per_event\": %.3f\n}\n",
           (long long)cpu_us, result->answered ? (double)cpu_us / (double)result->answered : 0.0,
           result->events ? (double)cpu_us / (double)result->events : 0.0);
    return errors;
}

static void raise_descriptors(void)
{
    struct rlimit limit, more = {.rlim_cur = 65536, .rlim_max = 65536};

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 ||
        (limit.rlim_max < more.rlim_max && setrlimit(RLIMIT_NOFILE, &more) == 0))
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        perror("cannot raise the limit of descriptors");
}

int main(int argc, char **argv)
{
    static struct client_result result; /* histograms: too large for a stack */
    struct options options = {.client = {.connections = 1,
                                         .timeout_us = 60 * INT64_C(1000000),
                                         .expect_tokens = -1,
                                         .gap_us = -1,
                                         .abort_us = -1}};
    struct buffer request = {0};
    int exit_code = parse_options(argc, argv, &options);

    if (exit_code < 0) {
        raise_descriptors();
        exit_code = EXIT_USAGE;
        if (make_request(&options, &request))
            exit_code = client_run(&options.client, &result) < 0 ? EXIT_SYSTEM : EXIT_SUCCESS;
        if (exit_code == EXIT_SUCCESS && print_report(&result) > 0)
            exit_code = EXIT_FAILURE;
    }
    buffer_fini(&request);
    buffer_fini(&options.headers);
    return exit_code;
}
