/* SPDX-License-Identifier: MIT */
#include "deploy/admin/asking.h"
#include "deploy/admin/table.h"
#include "proto/error.h"

#include <curl/curl.h>
#include <unistd.h>

enum { INPUT_MAX_BYTES = 256 << 10 };

int asking_say_refused(const json_t *reply, int status)
{
    const json_t *error = json_object_get(reply, "error");
    const char *message = json_string_value(json_object_get(error, "message"));
    const char *param = json_string_value(json_object_get(error, "param"));
    if (!message) /* RFC 8628's form */
        message = json_string_value(json_object_get(reply, "error_description"));
    fprintf(stderr, "codebuddy2api: %s%s%s (%d)\n", param ? param : "", param ? ": " : "",
            message ? message : "the gateway refuses", status);
    return EXIT_REFUSED;
}

int asking_call(struct run *run, const char *method, const char *path, const json_t *body, json_t **reply)
{
    int status = http_call(run->http, method, path, body, reply), exit_code = EXIT_OK;
    if (status < 0) {
        fprintf(stderr, "codebuddy2api: nobody answers at %s: %s\n", http_url(run->http),
                http_problem(run->http));
        exit_code = EXIT_NOT_RUNNING;
    } else if (status >= 300 || !*reply) {
        exit_code = asking_say_refused(*reply, status);
    }
    if (exit_code != EXIT_OK) {
        json_decref(*reply);
        *reply = NULL;
    }
    return exit_code;
}

int asking_show(const struct run *run, json_t *reply, void (*print)(const json_t *reply))
{
    if (run->arguments->json) {
        json_dumpf(reply, stdout, JSON_INDENT(2));
        putchar('\n');
    } else {
        print(reply);
    }
    json_decref(reply);
    return EXIT_OK;
}

int asking_call_and_show(struct run *run, const char *method, const char *path, json_t *body,
                         void (*print)(const json_t *reply))
{
    json_t *reply;
    int exit_code = asking_call(run, method, path, body, &reply);
    json_decref(body);
    return exit_code == EXIT_OK ? asking_show(run, reply, print) : exit_code;
}

void asking_print_done(const json_t *reply)
{
    table_print_one(stdout, reply, "message id filename");
}

void asking_path(const struct run *run, char path[ASKING_PATH_BYTES], const char *before, const char *after)
{
    char *escaped = curl_easy_escape(NULL, run->arguments->values[0], 0);
    snprintf(path, ASKING_PATH_BYTES, "%s%s%s", before, escaped ? escaped : "", after);
    curl_free(escaped);
}

bool asking_read_input(const char *path, struct buffer *text)
{
    FILE *in = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    bool is_whole = in != NULL;
    if (in && in == stdin && isatty(STDIN_FILENO))
        fputs("(reading standard input up to Ctrl-D)\n", stderr);
    for (int c; is_whole && (c = fgetc(in)) != EOF;)
        is_whole = text->length < INPUT_MAX_BYTES && buffer_append_char(text, (char)c) == 0;
    if (!is_whole || ferror(in))
        fprintf(stderr, "codebuddy2api: %s cannot be read, or is too large\n", path);
    if (in && in != stdin)
        fclose(in);
    return is_whole;
}
