/* SPDX-License-Identifier: MIT */
#include "deploy/supervisor/command.h"

#include "deploy/supervisor/control.h"
#include "deploy/supervisor/rundir.h"
#include "deploy/supervisor/status.h"

#include "proto/error.h"
#include "proto/settings.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum { STATUS_TIMEOUT_S = 10, STATUS_MAX_BYTES = 4 << 20 };

static const struct {
    const char *word;
    enum command_verb verb;
} words[] = {
    {"run", COMMAND_RUN},           {"status", COMMAND_STATUS},
    {"reload", COMMAND_RELOAD},     {"stop", COMMAND_STOP},
    {"--check", COMMAND_CHECK},     {"--help", COMMAND_HELP},
    {"-h", COMMAND_HELP},           {"help", COMMAND_HELP},
    {"--version", COMMAND_VERSION}, {"--print-env", COMMAND_PRINT_ENV},
    {"credentials", COMMAND_ADMIN}, {"keys", COMMAND_ADMIN},
    {"settings", COMMAND_ADMIN},    {"keygen", COMMAND_KEYGEN},
};

static void print_usage(FILE *out)
{
    fputs(
        "codebuddy2api " CB_VERSION ": an OpenAI-compatible API in front of CodeBuddy\n"
        "\n"
        "  codebuddy2api [run]            start everything, stay in the foreground; Ctrl-C drains and stops\n"
        "  codebuddy2api status [--json]  the processes of the running one; exit 0: all ready, 1: not all, "
        "3: not "
        "running\n"
        "  codebuddy2api reload           replace one process after another (as SIGHUP does)\n"
        "  codebuddy2api stop             drain and stop, return when it is over\n"
        "  codebuddy2api credentials list|add|delete|login|test|seal|unseal\n"
        "  codebuddy2api keys list|create|revoke\n"
        "  codebuddy2api settings get|set|unset   of the running one; each alone says more\n"
        "  codebuddy2api keygen DIR       make the keys of links between hosts\n"
        "  codebuddy2api --check          check the settings; exit 0 or 78\n"
        "  codebuddy2api --print-env      a sample .env with every setting\n"
        "  codebuddy2api --help | --version\n",
        out);
}

static int refuse(const char *problem, const char *word)
{
    fprintf(stderr, "codebuddy2api: %s: %s\n\n", problem, word);
    print_usage(stderr);
    return ERR_INVALID;
}

int command_parse(struct command *command, int argc, char *const *argv)
{
    size_t i = 0;

    *command = (struct command){.verb = COMMAND_RUN, .argv = argv};
    if (argc < 2)
        return 0;
    while (i < sizeof(words) / sizeof(*words) && strcmp(words[i].word, argv[1]) != 0)
        i++;
    if (i == sizeof(words) / sizeof(*words))
        return refuse("unknown command", argv[1]);
    command->verb = words[i].verb;
    if (command->verb == COMMAND_ADMIN || command->verb == COMMAND_KEYGEN)
        return 0; /* the rest is for the other program to judge */
    for (int j = 2; j < argc; j++) {
        if (command->verb != COMMAND_STATUS || strcmp(argv[j], "--json") != 0)
            return refuse("unexpected argument", argv[j]);
        command->json = true;
    }
    return 0;
}

/* A connection to the supervisor of this run directory, or -1. */
static int dial(const char *run_dir)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int length = snprintf(address.sun_path, sizeof(address.sun_path), "%s/" CONTROL_SOCKET_NAME, run_dir);
    int fd;

    if (length < 0 || (size_t)length >= sizeof(address.sun_path))
        return -1;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/* Appends what the supervisor says up to its end of file. 0, ERR_IO (also on the socket's time limit). */
static int read_answer(int fd, struct buffer *answer)
{
    char part[4096];

    while (answer->length < STATUS_MAX_BYTES) {
        ssize_t length = read(fd, part, sizeof(part));
        if (length == 0)
            return 0;
        if (length < 0 && errno == EINTR)
            continue;
        if (length < 0 || buffer_append(answer, part, (size_t)length) < 0)
            return ERR_IO;
    }
    return ERR_IO;
}

static int print_status(struct span text, bool as_json)
{
    json_t *status = json_loadb(text.data ? text.data : "", text.length, 0, NULL);
    const char *state = json_string_value(json_object_get(status, "state"));
    int exit_code = state && strcmp(state, "ready") == 0 ? EXIT_OK : EXIT_NOT_READY;

    if (!json_is_object(status))
        fputs("codebuddy2api: the supervisor's answer is not understood\n", stderr);
    else if (as_json)
        fwrite(text.data, 1, text.length, stdout);
    else
        status_print(stdout, status);
    json_decref(status);
    return exit_code;
}

static bool ends_with(struct span text, struct span end)
{
    return text.length >= end.length &&
           span_equals(span_of(text.data + text.length - end.length, end.length), end);
}

static int conclude(const struct command *command, struct span answer)
{
    bool good;

    if (command->verb == COMMAND_STATUS)
        return print_status(answer, command->json);
    good = command->verb == COMMAND_STOP ? span_equals(answer, SPAN("stopping\n"))
                                         : ends_with(answer, SPAN("\nreloaded\n"));
    if (command->verb == COMMAND_STOP && good)
        puts("stopped");
    else
        fwrite(answer.data, 1, answer.length, good ? stdout : stderr);
    return good ? EXIT_OK : EXIT_NOT_READY;
}

static int ask_supervisor(const struct command *command, const char *run_dir)
{
    static const char *const questions[] = {
        [COMMAND_STATUS] = "status\n", [COMMAND_RELOAD] = "reload\n", [COMMAND_STOP] = "stop\n"};
    const char *question = questions[command->verb];
    struct timeval limit = {.tv_sec = command->verb == COMMAND_STATUS ? STATUS_TIMEOUT_S : 0}; /* 0: none */
    struct buffer answer;
    int fd = dial(run_dir);
    int exit_code = EXIT_NOT_READY;

    if (fd < 0 && command->verb == COMMAND_STOP && rundir_wait_for_orphans(run_dir)) {
        puts("stopped (the supervisor was gone already)");
        return EXIT_OK;
    }
    if (fd < 0) {
        fprintf(stderr, "codebuddy2api is not running (nobody answers at %s/" CONTROL_SOCKET_NAME ")\n",
                run_dir);
        return EXIT_NOT_RUNNING;
    }
    buffer_init(&answer);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    if (send(fd, question, strlen(question), MSG_NOSIGNAL) < 0 || read_answer(fd, &answer) < 0)
        fputs("codebuddy2api: the supervisor does not answer\n", stderr);
    else
        exit_code = conclude(command, buffer_span(&answer));
    buffer_fini(&answer);
    close(fd);
    return exit_code;
}

static int check_settings(void)
{
    struct settings settings;
    int error = settings_load_with_password(&settings, environ, ".env"); /* says what is wrong */

    settings_fini(&settings);
    if (error == 0)
        puts("the settings are good");
    return error == 0 ? EXIT_OK : EXIT_CONFIG;
}

static int find_and_ask(const struct command *command)
{
    struct settings settings;
    int exit_code = EXIT_SYSTEM;

    if (settings_load_run_dir(&settings, environ, ".env") == 0)
        exit_code = ask_supervisor(command, settings.run_dir);
    settings_fini(&settings);
    return exit_code;
}

/* The program of that name beside this one takes over. Returns only if it cannot. */
static int become(const char *name, char *const *argv)
{
    char path[4096];
    size_t size = strlen(name) + 1;
    ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - size);
    char *slash = length > 0 ? memrchr(path, '/', (size_t)length) : NULL;

    if (slash) {
        memcpy(slash + 1, name, size);
        execv(path, argv);
    }
    fprintf(stderr, "codebuddy2api: %s cannot be run: %s\n", name, strerror(errno));
    return EXIT_SYSTEM;
}

bool command_answer(const struct command *command, int *exit_code)
{
    *exit_code = EXIT_OK;
    switch (command->verb) {
    case COMMAND_RUN:
        return false;
    case COMMAND_STATUS:
    case COMMAND_RELOAD:
    case COMMAND_STOP:
        *exit_code = find_and_ask(command);
        break;
    case COMMAND_CHECK:
        *exit_code = check_settings();
        break;
    case COMMAND_HELP:
        print_usage(stdout);
        fputc('\n', stdout);
        settings_print_help(stdout);
        break;
    case COMMAND_VERSION:
        puts("codebuddy2api " CB_VERSION);
        break;
    case COMMAND_PRINT_ENV:
        settings_print_dotenv(stdout);
        break;
    case COMMAND_ADMIN:
        *exit_code = become("codebuddy2api-admin", command->argv);
        break;
    case COMMAND_KEYGEN:
        *exit_code = become("codebuddy2api-keygen", command->argv);
        break;
    }
    return true;
}
