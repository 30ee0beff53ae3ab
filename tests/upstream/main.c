/* SPDX-License-Identifier: MIT */
/* codebuddy2api-upstream - plays CodeBuddy for tests, demo and load. One thread, one epoll. README.md. */
#include <getopt.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/upstream/app.h"

#define EXIT_USAGE  78 /* as the services: a restart will not help */
#define EXIT_SYSTEM 71

static const char help[] =
    "usage: codebuddy2api-upstream [options]\n"
    "Plays CodeBuddy's chat, login, refresh, models and quota calls over plain HTTP.\n"
    "  --host H        address to listen at (127.0.0.1)\n"
    "  --port P        port, 0 for any (0); the line `listening http://H:P` on standard output names it\n"
    "  --fast          for load: no checks of headers and JSON, no record of requests\n"
    "  --strict        the opposite, the default\n"
    "  --default TEXT  the scenario of requests whose model names none (s:chunks)\n"
    "  --ready-fd N    writes the same line to descriptor N, too, and closes it\n"
    "  --scenarios     prints the scenarios and their keys as markdown, and ends\n"
    "  --help          prints this, and ends\n";

struct options {
    struct server_options server;
    bool fast;
    const char *default_text;
    int ready_fd; /* -1: none */
};

/* Returns -1 to go on, else an exit status. */
static int print_scenarios(void)
{
    struct buffer text = {0};

    scenario_print_table(&text);
    fwrite(text.data, 1, text.size, stdout);
    buffer_fini(&text);
    return EXIT_SUCCESS;
}

static bool parse_number(const char *text, int64_t max, int64_t *number)
{
    if (span_to_number(span_of(text), number) && *number <= max)
        return true;
    fprintf(stderr, "not a number up to %lld: %s\n", (long long)max, text);
    return false;
}

static int parse_options(int argc, char **argv, struct options *options)
{
    static const struct option names[] = {
        {"host", required_argument, NULL, 'h'},
        {"port", required_argument, NULL, 'p'},
        {"fast", no_argument, NULL, 'f'},
        {"strict", no_argument, NULL, 's'},
        {"default", required_argument, NULL, 'd'},
        {"ready-fd", required_argument, NULL, 'r'},
        {"scenarios", no_argument, NULL, 'S'},
        {"help", no_argument, NULL, 'H'},
        {NULL, 0, NULL, 0},
    };
    int64_t number = 0;
    int option;

    while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
        if (option == 'h')
            options->server.host = optarg;
        else if (option == 'p' && parse_number(optarg, 65535, &number))
            options->server.port = (uint16_t)number;
        else if (option == 'f' || option == 's')
            options->fast = option == 'f';
        else if (option == 'd')
            options->default_text = optarg;
        else if (option == 'r' && parse_number(optarg, 1 << 20, &number))
            options->ready_fd = (int)number;
        else if (option == 'S')
            return print_scenarios();
        else if (option == 'H')
            return fputs(help, stdout) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
        else
            return EXIT_USAGE;
    }
    if (optind == argc)
        return -1;
    fprintf(stderr, "not an option: %s\n", argv[optind]);
    return EXIT_USAGE;
}

/* 10,000 streams need as many descriptors; a process with the right to may go over its hard limit. */
static void raise_descriptors(void)
{
    struct rlimit limit, more = {.rlim_cur = 65536, .rlim_max = 65536};

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    if (limit.rlim_max < more.rlim_max && setrlimit(RLIMIT_NOFILE, &more) == 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        perror("cannot raise the limit of descriptors");
}

static void say_listening(const struct options *options, uint16_t port)
{
    bool v6 = strchr(options->server.host, ':') != NULL;
    char line[300];
    int size = snprintf(line, sizeof(line), "listening http://%s%.200s%s:%u\n", v6 ? "[" : "",
                        options->server.host, v6 ? "]" : "", port);

    fputs(line, stdout);
    fflush(stdout);
    if (options->ready_fd < 0)
        return;
    if (write(options->ready_fd, line, (size_t)size) < 0)
        perror("--ready-fd");
    close(options->ready_fd);
}

static int serve(const struct options *options, struct app *app)
{
    struct server_handler handler = app_handler(app);
    struct server *server = server_new(&options->server, &handler, app->stats);
    int result;

    if (!server)
        return EXIT_SYSTEM;
    app->server = server;
    say_listening(options, server_port(server));
    result = server_run(server);
    server_free(&server);
    return result < 0 ? EXIT_SYSTEM : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    struct options options = {.server = {.host = "127.0.0.1"}, .ready_fd = -1};
    int exit_code = parse_options(argc, argv, &options);
    struct app *app = NULL;
    char *why = NULL;

    if (exit_code >= 0)
        return exit_code;
    if (sodium_init() < 0)
        return EXIT_SYSTEM;
    options.server.keep_bodies = !options.fast;
    raise_descriptors();
    app = app_new(options.fast);
    exit_code = EXIT_USAGE;
    if (options.default_text && !catalog_set_default(app->catalog, span_of(options.default_text), &why))
        fprintf(stderr, "--default: %s\n", why);
    else
        exit_code = serve(&options, app);
    free(why);
    app_free(&app);
    return exit_code;
}
