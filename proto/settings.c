/* SPDX-License-Identifier: MIT */
#include "proto/settings.h"
#include "proto/error.h"
#include "proto/log.h"
#include "proto/settings_table.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SETTINGS_FILE_MAX_BYTES = 1 << 20, SECRET_MAX_BYTES = 4096 };

static void *field_of(struct settings *settings, const struct setting *row)
{
    return (char *)settings + row->offset;
}

static int replace_text(char **field, struct span value)
{
    char *copy = span_dup(value);
    if (!copy)
        return ERR_NOMEM;
    free(*field);
    *field = copy;
    return 0;
}

static int set_number(int64_t *field, const struct setting *row, struct span value, const char **reason)
{
    uint64_t number;
    *reason = "is not a whole number within its bounds";
    if (!span_to_u64(value, &number) || number > INT64_MAX || (int64_t)number < row->min ||
        (int64_t)number > row->max)
        return ERR_INVALID;
    *field = (int64_t)number;
    return 0;
}

static int set_flag(bool *field, struct span value, const char **reason)
{
    static const char *const words[] = {"false", "true", "0", "1", "no", "yes", "off", "on"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (span_equals_ignoring_case(value, span_str(words[i]))) {
            *field = i % 2 == 1;
            return 0;
        }
    *reason = "is neither true nor false";
    return ERR_INVALID;
}

static bool is_choice(const char *choices, struct span value)
{
    while (*choices) {
        size_t length = strcspn(choices, "|");
        if (span_equals(span_of(choices, length), value))
            return true;
        choices += length + (choices[length] == '|');
    }
    return false;
}

/* What becomes part of a body, as JSON, may have lines; what may get into a header, a log or a path may not.
 */
static bool may_have_lines(const struct setting *row)
{
    return row->offset == offsetof(struct settings, system_message) ||
           row->offset == offsetof(struct settings, replacements);
}

/* `lines`: line ends and tabs are no reason to refuse it. */
static bool is_fit(struct span value, bool lines)
{
    if (!lines)
        return span_is_header_safe(value);
    for (size_t i = 0; i < value.length; i++) {
        unsigned char c = (unsigned char)value.data[i];
        bool is_control = (c < ' ' && c != '\n' && c != '\r' && c != '\t') || c == 0x7f;
        if (is_control)
            return false;
    }
    return span_is_utf8(value);
}

static int set_value(struct settings *settings, const struct setting *row, struct span value,
                     const char **reason)
{
    void *field = field_of(settings, row);
    *reason = "holds a control character";
    if (!is_fit(value, may_have_lines(row)))
        return ERR_INVALID;
    switch (row->kind) {
    case SETTING_TEXT:
        return replace_text(field, value);
    case SETTING_SECRET:
        *reason = "is too long";
        return value.length > SECRET_MAX_BYTES ? ERR_INVALID : secret_set(field, value);
    case SETTING_NUMBER:
        return set_number(field, row, value, reason);
    case SETTING_FLAG:
        return set_flag(field, value, reason);
    case SETTING_CHOICE:
        *reason = "is none of the choices";
        return is_choice(row->choices, value) ? replace_text(field, value) : ERR_INVALID;
    }
    return ERR_INVALID;
}

/* Reads a whole small file; returns owned bytes in `text`. ERR_NOT_FOUND, ERR_IO, ERR_TOO_LARGE, ERR_NOMEM.
 */
static int read_file(const char *path, struct buffer *text)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? ERR_NOT_FOUND : ERR_IO;
    int error = 0;
    for (;;) {
        error = buffer_reserve(text, 4096);
        if (error < 0)
            break;
        ssize_t count = read(fd, text->data + text->length, 4096);
        if (count <= 0) {
            error = count < 0 ? ERR_IO : 0;
            break;
        }
        text->length += (size_t)count;
        if (text->length > SETTINGS_FILE_MAX_BYTES) {
            error = ERR_TOO_LARGE;
            break;
        }
    }
    close(fd);
    return error;
}

static int set_from_file(struct settings *settings, const struct setting *row, struct span path,
                         const char **reason)
{
    struct buffer text;
    buffer_init(&text);
    char *name = span_dup(path);
    int error = name ? read_file(name, &text) : ERR_NOMEM;
    *reason = "names a file that cannot be read";
    if (error == 0) {
        struct span value = buffer_span(&text);
        while (value.length > 0 &&
               (value.data[value.length - 1] == '\n' || value.data[value.length - 1] == '\r'))
            value.length--;
        error = set_value(settings, row, value, reason);
    } else if (error != ERR_NOMEM) {
        error = ERR_INVALID;
    }
    buffer_fini_secret(&text);
    free(name);
    return error;
}

int settings_set(struct settings *settings, struct span name, struct span value, const char **reason)
{
    bool is_file;
    const struct setting *row = setting_find(name, &is_file);
    *reason = "is not a setting";
    if (!row)
        return ERR_NOT_FOUND;
    return is_file ? set_from_file(settings, row, value, reason) : set_value(settings, row, value, reason);
}

static int set_defaults(struct settings *settings)
{
    for (size_t i = 0; i < setting_row_count; i++) {
        const char *reason;
        const struct setting *row = &setting_rows[i];
        if (row->kind == SETTING_SECRET)
            continue;
        int error = set_value(settings, row, span_str(row->default_text), &reason);
        if (error < 0)
            return error;
    }
    return 0;
}

/* Logs the name of what is wrong; the value may be a secret and is never shown. */
static int set_or_log(struct settings *settings, struct span name, struct span value,
                      enum setting_source from, const char *source)
{
    const char *reason;
    bool is_file;
    int error = settings_set(settings, name, value, &reason);
    if (error == 0) {
        settings->sources[setting_find(name, &is_file) - setting_rows] = (unsigned char)from;
        log_set_format(log_format_of(settings->log_format));
    } else {
        log_error(NULL, "bad_setting", LOG_SPAN("name", name), LOG_STR("source", source),
                  LOG_STR("problem", error == ERR_NOMEM ? error_text(error) : reason));
    }
    return error == ERR_NOMEM ? ERR_NOMEM : error < 0 ? ERR_CONFIG : 0;
}

struct dotenv_context {
    struct settings *settings;
    const char *path;
};

static int set_from_dotenv(void *context, struct span name, struct span value)
{
    struct dotenv_context *dotenv = context;
    if (!span_starts_with(name, SPAN(SETTINGS_PREFIX)))
        return 0; /* the file may serve other programs too */
    return set_or_log(dotenv->settings, name, value, SETTING_FROM_DOTENV, dotenv->path);
}

static int load_dotenv(struct settings *settings, const char *path)
{
    struct buffer text;
    int line_number = 0;
    buffer_init(&text);
    int error = read_file(path, &text);
    if (error == ERR_NOT_FOUND) {
        error = 0;
    } else if (error < 0) {
        log_error(NULL, "bad_settings_file", LOG_STR("path", path), LOG_STR("problem", error_text(error)));
        error = ERR_CONFIG;
    } else {
        struct dotenv_context context = {settings, path};
        error = settings_parse_dotenv(buffer_span(&text), set_from_dotenv, &context, &line_number);
        if (error == ERR_INVALID) {
            log_error(NULL, "bad_settings_file", LOG_STR("path", path), LOG_INT("line", line_number),
                      LOG_STR("problem", "is not NAME=VALUE"));
            error = ERR_CONFIG;
        }
    }
    buffer_fini_secret(&text);
    return error;
}

static int load_environment(struct settings *settings, char *const *environment)
{
    for (; *environment; environment++) {
        const char *equals = strchr(*environment, '=');
        if (!equals || strncmp(*environment, SETTINGS_PREFIX, strlen(SETTINGS_PREFIX)) != 0)
            continue;
        int error = set_or_log(settings, span_of(*environment, (size_t)(equals - *environment)),
                               span_str(equals + 1), SETTING_FROM_ENVIRONMENT, "environment");
        if (error < 0)
            return error;
    }
    return 0;
}

static int set_formatted(char **field, struct buffer *text)
{
    int error = **field ? 0 : replace_text(field, buffer_span(text));
    buffer_clear(text);
    return error;
}

static int compute_run_dir(struct settings *settings, struct buffer *text)
{
    const char *xdg = getenv("XDG_RUNTIME_DIR");
    int error = xdg && *xdg ? buffer_printf(text, "%s/codebuddy2api", xdg)
                            : buffer_printf(text, "/tmp/codebuddy2api-%u", (unsigned)getuid());
    return error < 0 ? error : set_formatted(&settings->run_dir, text);
}

/* `relative`, or rather its part `kept_bytes` long, beside the build directory:
 * <root>/build[/preset]/bin/<program>. The first that can be read, else empty. */
static int find_beside(char **field, struct buffer *text, const char *relative, size_t kept_bytes)
{
    char path[4096];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    int error = 0;
    if (length < 0)
        return 0;
    path[length] = '\0';
    for (int levels = 0; levels < 5 && error == 0 && !**field; levels++) {
        char *slash = strrchr(path, '/');
        if (!slash)
            break;
        *slash = '\0';
        error = buffer_printf(text, "%s/%s", path, relative);
        if (error == 0)
            error = buffer_append_char(text, '\0');
        if (error == 0 && access(text->data, R_OK) == 0) {
            text->data[strlen(path) + 1 + kept_bytes] = '\0';
            error = replace_text(field, span_str(text->data));
        }
        buffer_clear(text);
    }
    return error;
}

static int compute_sites_dir(struct settings *settings, struct buffer *text)
{
    return find_beside(&settings->sites_dir, text, "deploy/sites", strlen("deploy/sites"));
}

/* Only where a page was built: other directories are called web, too. */
static int compute_web_dir(struct settings *settings, struct buffer *text)
{
    return find_beside(&settings->web_dir, text, "web/manifest.json", strlen("web"));
}

static int compute_gateway_endpoints(struct settings *settings, struct buffer *text)
{
    int error = 0;
    for (int64_t i = 0; error == 0 && i < settings->gateways; i++)
        error = buffer_printf(text, "%sipc://%s/gateway-%d.sock,ipc://%s/gateway-%d.sock", i ? "," : "",
                              settings->run_dir, (int)i, settings->run_dir, (int)i + SERVICE_SECOND_INSTANCE);
    return error < 0 ? error : set_formatted(&settings->gateway_endpoints, text);
}

static int compute_link(struct settings *settings, struct buffer *text, const char *name, char **bind,
                        char **endpoint)
{
    int error = buffer_printf(text, "ipc://%s/%s.sock", settings->run_dir, name);
    if (error == 0)
        error = set_formatted(bind, text);
    if (error == 0)
        error = buffer_printf(text, "ipc://%s/%s.sock", settings->run_dir, name);
    return error < 0 ? error : set_formatted(endpoint, text);
}

static int compute_empty_ones(struct settings *settings)
{
    struct buffer text;
    buffer_init(&text);
    int error = compute_run_dir(settings, &text);
    if (error == 0)
        error = compute_sites_dir(settings, &text);
    if (error == 0)
        error = compute_web_dir(settings, &text);
    if (error == 0)
        error = compute_gateway_endpoints(settings, &text);
    if (error == 0)
        error = compute_link(settings, &text, "credd", &settings->credd_bind, &settings->credd_endpoint);
    if (error == 0)
        error = compute_link(settings, &text, "statsd", &settings->statsd_bind, &settings->statsd_endpoint);
    if (settings->workers == 0) {
        long cores = sysconf(_SC_NPROCESSORS_ONLN);
        settings->workers = cores < 1 ? 1 : cores > 256 ? 256 : cores;
    }
    buffer_fini(&text);
    return error;
}

/* Before anything else, since anything else may have to be logged. What `.env` says of it comes in time for
 * what follows there. */
static void find_log_format(char *const *environment)
{
    static const char name[] = SETTINGS_PREFIX "LOG_FORMAT=";
    log_set_format(LOG_FORMAT_TEXT);
    for (; *environment; environment++)
        if (strncmp(*environment, name, sizeof name - 1) == 0)
            log_set_format(log_format_of(*environment + sizeof name - 1));
}

int settings_load(struct settings *settings, char *const *environment, const char *dotenv_path)
{
    const char *reason = NULL;
    *settings = (struct settings){0};
    find_log_format(environment);
    int error = set_defaults(settings);
    if (error == 0)
        error = load_dotenv(settings, dotenv_path);
    if (error == 0)
        error = load_environment(settings, environment);
    if (error == 0)
        error = compute_empty_ones(settings);
    if (error == 0) {
        error = settings_check(settings, &reason);
        if (error < 0)
            log_error(NULL, "bad_settings", LOG_STR("problem", reason));
    } else if (error == ERR_NOMEM) {
        log_error(NULL, "bad_settings", LOG_STR("problem", error_text(error)));
    }
    return error;
}

int settings_load_with_password(struct settings *settings, char *const *environment, const char *dotenv_path)
{
    int error = settings_load(settings, environment, dotenv_path);
    if (error == 0 && secret_is_empty(&settings->password)) {
        log_error(NULL, "bad_settings",
                  LOG_STR("problem", "CODEBUDDY_PASSWORD is not set: choose a password, or let deploy/start "
                                     "write one to .env"));
        error = ERR_CONFIG;
    }
    return error;
}

/* For settings_load_run_dir: every other name is passed over. */
static int set_run_dir(void *context, struct span name, struct span value)
{
    const char *reason;
    return span_equals(name, SPAN(SETTINGS_PREFIX "RUN_DIR")) ? settings_set(context, name, value, &reason)
                                                              : 0;
}

int settings_load_run_dir(struct settings *settings, char *const *environment, const char *dotenv_path)
{
    struct buffer text;
    int line_number;
    buffer_init(&text);
    *settings = (struct settings){0};
    int error = set_defaults(settings);
    if (error == 0 && read_file(dotenv_path, &text) == 0)
        error = settings_parse_dotenv(buffer_span(&text), set_run_dir, settings, &line_number);
    buffer_fini_secret(&text);
    for (; error != ERR_NOMEM && *environment; environment++) {
        size_t length = strcspn(*environment, "=");
        if ((*environment)[length] == '=')
            error = set_run_dir(settings, span_of(*environment, length), span_str(*environment + length + 1));
    }
    if (error != ERR_NOMEM) /* mistakes are for settings_load to report */
        error = compute_run_dir(settings, &text);
    buffer_fini(&text);
    return error;
}

int settings_copy(struct settings *to, const struct settings *from)
{
    int error = 0;
    *to = *from;
    for (size_t i = 0; i < setting_row_count; i++) { /* what it must not share with `from` */
        void *field = field_of(to, &setting_rows[i]);
        if (setting_rows[i].kind == SETTING_SECRET)
            *(struct secret *)field = (struct secret){0};
        else if (setting_rows[i].kind == SETTING_TEXT || setting_rows[i].kind == SETTING_CHOICE)
            *(char **)field = NULL;
    }
    for (size_t i = 0; i < setting_row_count && error == 0; i++) {
        const struct setting *row = &setting_rows[i];
        const void *field = (const char *)from + row->offset;
        if (row->kind == SETTING_SECRET)
            error = secret_set(field_of(to, row), secret_span(field));
        else if (row->kind == SETTING_TEXT || row->kind == SETTING_CHOICE)
            error = replace_text(field_of(to, row), span_str(*(char *const *)field));
    }
    return error;
}

void settings_fini(struct settings *settings)
{
    for (size_t i = 0; i < setting_row_count; i++) {
        const struct setting *row = &setting_rows[i];
        char **text = field_of(settings, row);
        if (row->kind == SETTING_SECRET) {
            secret_fini(field_of(settings, row));
        } else if (row->kind == SETTING_TEXT || row->kind == SETTING_CHOICE) {
            free(*text);
            *text = NULL;
        }
    }
}
