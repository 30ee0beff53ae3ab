/* SPDX-License-Identifier: MIT */
#include "deploy/admin/actions.h"
#include "deploy/admin/http.h"
#include "deploy/admin/table.h"
#include "proto/error.h"

#include <curl/curl.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

enum { INPUT_MAX_BYTES = 256 << 10, PATH_BYTES = 512, POLL_DEFAULT_S = 5 };

struct run {
    const struct arguments *arguments;
    struct http *http;
};

struct action {
    const char *noun, *verb, *usage;
    int values;          /* arguments it takes */
    const char *options; /* it takes, space separated */
    int (*run)(struct run *run);
};

/* ---- asking ---- */

static int say_refused(const json_t *reply, int status)
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

/* 0 with `*reply` owned, else the exit status; the reason was printed. */
static int ask(struct run *run, const char *method, const char *path, const json_t *body, json_t **reply)
{
    int status = http_call(run->http, method, path, body, reply), exit_code = EXIT_OK;
    if (status < 0) {
        fprintf(stderr, "codebuddy2api: nobody answers at %s: %s\n", http_url(run->http),
                http_problem(run->http));
        exit_code = EXIT_NOT_RUNNING;
    } else if (status >= 300 || !*reply) {
        exit_code = say_refused(*reply, status);
    }
    if (exit_code != EXIT_OK) {
        json_decref(*reply);
        *reply = NULL;
    }
    return exit_code;
}

/* Takes the reply: as it is with --json, else by `show`. */
static int show(const struct run *run, json_t *reply, void (*print)(const json_t *reply))
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

static int ask_and_show(struct run *run, const char *method, const char *path, json_t *body,
                        void (*print)(const json_t *reply))
{
    json_t *reply;
    int exit_code = ask(run, method, path, body, &reply);
    json_decref(body);
    return exit_code == EXIT_OK ? show(run, reply, print) : exit_code;
}

static void print_message(const json_t *reply)
{
    table_print_one(stdout, reply, "message id filename");
}

/* The path with the first argument in it, escaped. */
static void make_path(const struct run *run, char path[PATH_BYTES], const char *before, const char *after)
{
    char *escaped = curl_easy_escape(NULL, run->arguments->values[0], 0);
    snprintf(path, PATH_BYTES, "%s%s%s", before, escaped ? escaped : "", after);
    curl_free(escaped);
}

/* All of standard input or a file, owned in `text`. False: it was said why not. */
static bool read_input(const char *path, struct buffer *text)
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

/* ---- credentials ---- */

static void print_credentials(const json_t *reply)
{
    table_print(stdout, json_object_get(reply, "credentials"),
                "id filename user_id site state state_reason in_flight uses time_remaining_str");
}

static int run_credentials_list(struct run *run)
{
    return ask_and_show(run, "GET", "/codebuddy/v1/credentials", NULL, print_credentials);
}

static int run_credentials_add(struct run *run)
{
    struct buffer text = {0};
    int exit_code = EXIT_USAGE;
    if (read_input(run->arguments->values[0], &text)) {
        json_t *body = json_loadb(text.data ? text.data : "", text.length, 0, NULL);
        if (json_is_object(body))
            exit_code =
                ask_and_show(run, "POST", "/codebuddy/v1/credentials", json_incref(body), print_message);
        else
            fputs("codebuddy2api: the credential must be a JSON object with bearer_token\n", stderr);
        json_decref(body);
    }
    buffer_fini_secret(&text);
    return exit_code;
}

static int run_credentials_delete(struct run *run)
{
    json_t *body = json_pack("{s:s}", "id", run->arguments->values[0]);
    return ask_and_show(run, "POST", "/codebuddy/v1/credentials/delete", body, print_message);
}

static void print_test(const json_t *reply)
{
    const json_t *choice = json_array_get(json_object_get(reply, "choices"), 0);
    const char *text = json_string_value(json_object_get(json_object_get(choice, "message"), "content"));
    printf("it works%s%s\n", text ? ": " : "", text ? text : "");
}

static int run_credentials_test(struct run *run)
{
    char path[PATH_BYTES];
    make_path(run, path, "/codebuddy/v1/credentials/", "/test");
    return ask_and_show(run, "POST", path, json_object(), print_test);
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
            return show(run, reply, print_login);
        if (status != 400 || !is_pending(reply)) {
            if (status < 0)
                fprintf(stderr, "codebuddy2api: %s\n", http_problem(run->http));
            else
                say_refused(reply, status);
            json_decref(reply);
            return status < 0 ? EXIT_NOT_RUNNING : EXIT_REFUSED;
        }
        json_decref(reply);
        sleep(interval_s); /* what the upstream asks for between two looks */
    }
}

static int run_credentials_login(struct run *run)
{
    json_t *reply, *start = json_object();
    int exit_code = ask(run, "POST", "/codebuddy/auth/start", start, &reply);
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

static int run_credentials_seal(struct run *run)
{
    (void)run;
    return become_credd("seal");
}

static int run_credentials_unseal(struct run *run)
{
    (void)run;
    return become_credd("unseal");
}

/* ---- keys ---- */

static void print_keys(const json_t *reply)
{
    table_print(stdout, json_object_get(reply, "keys"),
                "id name models rpm max_in_flight expires_at last_used_at in_flight is_expired");
}

static void print_key(const json_t *reply)
{
    table_print_one(stdout, reply, "id name key");
    fputs("The key is shown this once.\n", stderr);
}

static int run_keys_list(struct run *run)
{
    return ask_and_show(run, "GET", "/api/keys", NULL, print_keys);
}

static void add_model(void *context, struct span model)
{
    json_array_append_new(context, json_stringn(model.data, model.length));
}

/* The API judges what is wrong with a value; here it only becomes JSON. */
static json_t *value_of(const char *name, const char *text)
{
    uint64_t number;
    if (strcmp(name, "models") == 0) {
        json_t *models = json_array();
        settings_each_in_list(text, add_model, models);
        return models;
    }
    if (span_to_u64(span_str(text), &number) && number <= INT64_MAX)
        return json_integer((json_int_t)number);
    return json_string(text);
}

static int run_keys_create(struct run *run)
{
    const struct arguments *arguments = run->arguments;
    json_t *body = json_pack("{s:s}", "name", arguments->values[0]);
    for (int i = 0; i < arguments->option_count; i++) {
        char name[32] = "";
        for (size_t j = 0; j < sizeof name - 1 && arguments->options[i].name[j]; j++)
            name[j] = arguments->options[i].name[j] == '-' ? '_' : arguments->options[i].name[j];
        if (strcmp(name, "url") != 0)
            json_object_set_new(body, name, value_of(name, arguments->options[i].value));
    }
    return ask_and_show(run, "POST", "/api/keys", body, print_key);
}

static int run_keys_revoke(struct run *run)
{
    char path[PATH_BYTES];
    make_path(run, path, "/api/keys/", "");
    return ask_and_show(run, "DELETE", path, NULL, print_message);
}

/* ---- settings ---- */

static void print_settings(const json_t *reply)
{
    const char *name;
    json_t *setting, *rows = json_array(), *settings = json_object_get(reply, "settings");
    json_object_foreach (settings, name, setting) {
        json_t *row = json_copy(setting);
        json_object_set_new(row, "name", json_string(name));
        json_array_append_new(rows, row);
    }
    table_print(stdout, rows, "name value source needs_restart set_by");
    json_decref(rows);
}

static int run_settings_get(struct run *run)
{
    return ask_and_show(run, "GET", "/api/settings", NULL, print_settings);
}

static int change_setting(struct run *run, json_t *value)
{
    json_t *body = json_pack("{s:{s:o}}", "settings", run->arguments->values[0], value);
    json_t *reply;
    int exit_code = ask(run, "POST", "/api/settings", body, &reply);
    json_decref(body);
    if (exit_code != EXIT_OK)
        return exit_code;
    if (run->arguments->json)
        return show(run, reply, print_settings);
    table_print_one(stdout, json_object_get(json_object_get(reply, "settings"), run->arguments->values[0]),
                    "value source");
    json_decref(reply);
    return EXIT_OK;
}

static int run_settings_set(struct run *run)
{
    struct buffer text = {0};
    const char *value = run->arguments->values[1];
    if (strcmp(value, "-") != 0)
        return change_setting(run, json_string(value));
    if (!read_input("-", &text))
        return EXIT_USAGE;
    while (text.length > 0 && text.data[text.length - 1] == '\n')
        text.length--;
    int exit_code = change_setting(run, json_stringn(text.data ? text.data : "", text.length));
    buffer_fini_secret(&text);
    return exit_code;
}

static int run_settings_unset(struct run *run)
{
    return change_setting(run, json_null());
}

/* ---- the table ---- */

static const struct action actions[] = {
    {"credentials", "list", "", 0, "url", run_credentials_list},
    {"credentials", "add", "FILE|-", 1, "url", run_credentials_add},
    {"credentials", "delete", "ID", 1, "url", run_credentials_delete},
    {"credentials", "login", "", 0, "url", run_credentials_login},
    {"credentials", "test", "ID", 1, "url", run_credentials_test},
    {"credentials", "seal", "", 0, "", run_credentials_seal},
    {"credentials", "unseal", "", 0, "", run_credentials_unseal},
    {"keys", "list", "", 0, "url", run_keys_list},
    {"keys", "create", "NAME [--models A,B] [--rpm N] [--max-in-flight N] [--expires-at SECONDS]", 1,
     "url models rpm max-in-flight expires-at", run_keys_create},
    {"keys", "revoke", "ID", 1, "url", run_keys_revoke},
    {"settings", "get", "", 0, "url", run_settings_get},
    {"settings", "set", "NAME VALUE|-", 2, "url", run_settings_set},
    {"settings", "unset", "NAME", 1, "url", run_settings_unset},
};

enum { ACTION_COUNT = sizeof actions / sizeof actions[0] };

/* What stands under `noun`, or all for NULL; of it only `verb`, unless that is NULL. The number of lines. */
static int print_lines(FILE *out, const char *noun, const char *verb)
{
    int lines = 0;
    for (size_t i = 0; i < ACTION_COUNT; i++) {
        const struct action *action = &actions[i];
        if ((noun && strcmp(noun, action->noun) != 0) || (verb && strcmp(verb, action->verb) != 0))
            continue;
        fprintf(out, "  codebuddy2api %s %s%s%s\n", action->noun, action->verb, *action->usage ? " " : "",
                action->usage);
        lines++;
    }
    return lines;
}

static void print_notes(FILE *out)
{
    fputs(
        "Each takes --json and --url URL (default: where the settings say the API listens). `-` is\n"
        "standard input: secrets are never arguments. seal and unseal convert the files of this host, with\n"
        "the key of CODEBUDDY_SECRET_KEY_FILE; they do not ask the gateway.\n"
        "Exit 0: done, 1: refused, 3: not running, 64: usage, 78: settings.\n",
        out);
}

void actions_print_usage(FILE *out)
{
    print_lines(out, NULL, NULL);
    print_notes(out);
}

static int refuse(const struct action *action, const char *problem, const char *word)
{
    fprintf(stderr, "codebuddy2api: %s%s%s\n\n", problem, *word ? ": " : "", word);
    print_lines(stderr, action->noun, action->verb);
    return ERR_INVALID;
}

static int refuse_command(int argc, char *const *argv)
{
    const char *noun = argc >= 2 ? argv[1] : "", *verb = argc >= 3 ? argv[2] : "";
    if (!*verb)
        fprintf(stderr, "codebuddy2api: %s: one of these:\n\n", *noun ? noun : "a command is missing");
    else
        fprintf(stderr, "codebuddy2api: unknown command: %s %s; there are:\n\n", noun, verb);
    if (print_lines(stderr, noun, NULL) == 0)
        actions_print_usage(stderr);
    return ERR_INVALID;
}

static const struct action *find_action(int argc, char *const *argv)
{
    for (size_t i = 0; argc >= 3 && i < ACTION_COUNT; i++)
        if (strcmp(actions[i].noun, argv[1]) == 0 && strcmp(actions[i].verb, argv[2]) == 0)
            return &actions[i];
    return NULL;
}

static bool takes_option(const struct action *action, const char *name)
{
    size_t length = strlen(name);
    for (const char *at = action->options; *at; at += strcspn(at, " "), at += *at == ' ')
        if (strcspn(at, " ") == length && strncmp(at, name, length) == 0)
            return true;
    return false;
}

int arguments_parse(struct arguments *arguments, int argc, char *const *argv)
{
    *arguments = (struct arguments){.action = find_action(argc, argv)};
    if (!arguments->action)
        return refuse_command(argc, argv);
    for (int i = 3; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            arguments->json = true;
        } else if (strncmp(argv[i], "--", 2) == 0) {
            if (!takes_option(arguments->action, argv[i] + 2) || arguments->option_count == OPTIONS_MAX)
                return refuse(arguments->action, "unknown option", argv[i]);
            if (i + 1 == argc)
                return refuse(arguments->action, "a value is missing after", argv[i]);
            arguments->options[arguments->option_count].name = argv[i] + 2;
            arguments->options[arguments->option_count++].value = argv[i + 1];
            i++;
        } else if (arguments->count < arguments->action->values) {
            arguments->values[arguments->count++] = argv[i];
        } else {
            return refuse(arguments->action, "unexpected argument", argv[i]);
        }
    }
    return arguments->count == arguments->action->values ? 0
                                                         : refuse(arguments->action, "too few arguments", "");
}

int actions_run(const struct arguments *arguments, const struct settings *settings)
{
    struct run run = {.arguments = arguments};
    const char *url = NULL;
    for (int i = 0; i < arguments->option_count; i++)
        if (strcmp(arguments->options[i].name, "url") == 0)
            url = arguments->options[i].value;
    run.http = http_new(settings, url);
    if (!run.http) {
        fputs("codebuddy2api: out of memory\n", stderr);
        return EXIT_SYSTEM;
    }
    int exit_code = arguments->action->run(&run);
    http_free(&run.http);
    return exit_code;
}
