/* SPDX-License-Identifier: MIT */
#include "deploy/admin/actions.h"
#include "deploy/admin/asking.h"
#include "deploy/admin/credential_actions.h"
#include "deploy/admin/table.h"
#include "proto/error.h"

#include <stdlib.h>

struct action {
    const char *noun, *verb, *usage;
    int values;          /* arguments it takes */
    const char *options; /* it takes, space separated */
    int (*run)(struct run *run);
};

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
    return asking_call_and_show(run, "GET", "/api/keys", NULL, print_keys);
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
    return asking_call_and_show(run, "POST", "/api/keys", body, print_key);
}

static int run_keys_revoke(struct run *run)
{
    char path[ASKING_PATH_BYTES];
    asking_path(run, path, "/api/keys/", "");
    return asking_call_and_show(run, "DELETE", path, NULL, asking_print_done);
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
    return asking_call_and_show(run, "GET", "/api/settings", NULL, print_settings);
}

static int change_setting(struct run *run, json_t *value)
{
    json_t *body = json_pack("{s:{s:o}}", "settings", run->arguments->values[0], value);
    json_t *reply;
    int exit_code = asking_call(run, "POST", "/api/settings", body, &reply);
    json_decref(body);
    if (exit_code != EXIT_OK)
        return exit_code;
    if (run->arguments->json)
        return asking_show(run, reply, print_settings);
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
    if (!asking_read_input("-", &text))
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
