/* SPDX-License-Identifier: MIT */
#include "deploy/admin/credential_actions.h"
#include "deploy/admin/table.h"
#include "proto/error.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

enum { POLL_DEFAULT_S = 5 };

static void print_credentials(const json_t *reply)
{
    table_print(stdout, json_object_get(reply, "credentials"),
                "id filename user_id site state state_reason in_flight uses time_remaining_str");
}

int run_credentials_list(struct run *run)
{
    return asking_call_and_show(run, "GET", "/codebuddy/v1/credentials", NULL, print_credentials);
}

int run_credentials_add(struct run *run)
{
    struct buffer text = {0};
    int exit_code = EXIT_USAGE;
    if (asking_read_input(run->arguments->values[0], &text)) {
        json_t *body = json_loadb(text.data ? text.data : "", text.length, 0, NULL);
        if (json_is_object(body))
            exit_code = asking_call_and_show(run, "POST", "/codebuddy/v1/credentials", json_incref(body),
                                             asking_print_done);
        else
            fputs("codebuddy2api: the credential must be a JSON object with bearer_token\n", stderr);
        json_decref(body);
    }
    buffer_fini_secret(&text);
    return exit_code;
}

int run_credentials_delete(struct run *run)
{
    json_t *body = json_pack("{s:s}", "id", run->arguments->values[0]);
    return asking_call_and_show(run, "POST", "/codebuddy/v1/credentials/delete", body, asking_print_done);
}

static void print_test(const json_t *reply)
{
    const json_t *choice = json_array_get(json_object_get(reply, "choices"), 0);
    const char *text = json_string_value(json_object_get(json_object_get(choice, "message"), "content"));
    printf("it works%s%s\n", text ? ": " : "", text ? text : "");
}

int run_credentials_test(struct run *run)
{
    char path[ASKING_PATH_BYTES];
    asking_path(run, path, "/codebuddy/v1/credentials/", "/test");
    return asking_call_and_show(run, "POST", path, json_object(), print_test);
}

static void print_login(const json_t *reply)
{
    table_print_one(stdout, reply, "saved id user_id");
}

static bool is_pending(const json_t *reply)
{
    const char *error = json_string_value(json_object_get(reply, "error"));
    return error && (strcmp(error, "authorization_pending") == 0 || strcmp(error, "slow_down") == 0);
}

/* Asks until the upstream's login is over, one way or the other. */
static int poll_login(struct run *run, const json_t *body, unsigned interval_s)
{
    for (;;) {
        json_t *reply;
        int status = http_call(run->http, "POST", "/codebuddy/auth/poll", body, &reply);
        if (status == 200)
            return asking_show(run, reply, print_login);
        if (status != 400 || !is_pending(reply)) {
            if (status < 0)
                fprintf(stderr, "codebuddy2api: %s\n", http_problem(run->http));
            else
                asking_say_refused(reply, status);
            json_decref(reply);
            return status < 0 ? EXIT_NOT_RUNNING : EXIT_REFUSED;
        }
        json_decref(reply);
        sleep(interval_s); /* what the upstream asks for between two looks */
    }
}

int run_credentials_login(struct run *run)
{
    json_t *reply, *start = json_object();
    int exit_code = asking_call(run, "POST", "/codebuddy/auth/start", start, &reply);
    json_decref(start);
    if (exit_code != EXIT_OK)
        return exit_code;
    json_int_t interval_s = json_integer_value(json_object_get(reply, "interval"));
    const char *uri = json_string_value(json_object_get(reply, "verification_uri_complete"));
    json_t *body = json_pack("{s:O}", "auth_state", json_object_get(reply, "auth_state"));
    fprintf(stderr, "Open this page and log in; this command waits:\n\n  %s\n\n", uri ? uri : "?");
    exit_code =
        body ? poll_login(run, body, interval_s > 0 ? (unsigned)interval_s : POLL_DEFAULT_S) : EXIT_REFUSED;
    json_decref(body);
    json_decref(reply);
    return exit_code;
}

/* ---- the files themselves ---- */

/* credd reads and writes the credentials directory, and has a command for it: the one that stands beside this
 * program. Returns only if it cannot be run. */
static int become_credd(const char *word)
{
    char path[4096], verb[16];
    char *arguments[] = {path, verb, NULL};
    static const char name[] = "codebuddy2api-credd";
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - sizeof name);
    char *slash = length > 0 ? memrchr(path, '/', (size_t)length) : NULL;
    snprintf(verb, sizeof verb, "%s", word);
    if (slash) {
        memcpy(slash + 1, name, sizeof name);
        execv(path, arguments);
    }
    fprintf(stderr, "codebuddy2api: %s cannot be run: %s\n", name, strerror(errno));
    return EXIT_SYSTEM;
}

int run_credentials_seal(struct run *run)
{
    (void)run;
    return become_credd("seal");
}

int run_credentials_unseal(struct run *run)
{
    (void)run;
    return become_credd("unseal");
}
