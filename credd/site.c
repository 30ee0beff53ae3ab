/* SPDX-License-Identifier: MIT */
#include "credd/site.h"
#include "credd/endpoint.h"
#include "proto/error.h"
#include "proto/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <unistd.h>
#include <utlist.h>

#define CUSTOM_SITE "custom"

enum {
    HEADER_VALUE_MAX_BYTES = 1024,
    MAX_PROFILE_HEADERS = 50,     /* workers take 64 lines */
    CLOCK_AHEAD_MINUTES = 8 * 60, /* where the service is at home */
    CLOCK_AHEAD_MAX_MINUTES = 14 * 60,
};

struct site {
    char *name;
    json_t *profile;          /* owns what aliases, domain and headers borrow */
    struct endpoint endpoint; /* all NULL for `custom` while nothing points it anywhere */
    const char *domain;       /* NULL: the endpoint's host */
    bool credential_domain;
    json_t *headers; /* checked: tokens as names, safe strings as values */
    uint32_t number;
    struct site *prev, *next;
};

struct sites {
    struct site *list;
    struct site *fallback; /* of credentials that name no site */
    uint32_t count;
};

struct sites *sites_new(void)
{
    return calloc(1, sizeof(struct sites));
}

static void site_free(struct site *site)
{
    if (!site)
        return;
    free(site->name);
    json_decref(site->profile);
    endpoint_fini(&site->endpoint);
    free(site);
}

void sites_free(struct sites **sites)
{
    struct site *site, *next;
    if (!*sites)
        return;
    DL_FOREACH_SAFE ((*sites)->list, site, next) {
        DL_DELETE((*sites)->list, site);
        site_free(site);
    }
    free(*sites);
    *sites = NULL;
}

/* Names that a profile may not set: the token's, the request's own, and what frames the message. */
static bool header_is_ours(const char *name)
{
    static const char *const ours[] = {
        "Authorization", "Host",    "X-Request-ID", "Content-Length", "Transfer-Encoding", "Connection",
        "Trailer",       "Upgrade", "TE",           "Expect"};
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
        if (strcasecmp(name, ours[i]) == 0)
            return true;
    return strncasecmp(name, "X-Conversation-", strlen("X-Conversation-")) == 0;
}

static bool is_header_name(const char *name)
{
    static const char marks[] = "!#$%&'*+-.^_`|~"; /* RFC 9110, token */
    for (const char *at = name; *at; at++) {
        bool alphanumeric =
            (*at >= '0' && *at <= '9') || (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z');
        if (!alphanumeric && !strchr(marks, *at))
            return false;
    }
    return *name != '\0';
}

static const char *check_headers(json_t *headers)
{
    const char *name;
    json_t *value;
    if (headers && !json_is_object(headers))
        return "headers is not an object";
    if (json_object_size(headers) > MAX_PROFILE_HEADERS)
        return "headers has too many of them";
    json_object_foreach (headers, name, value) {
        struct span text = span_of(json_string_value(value), json_string_length(value));
        if (!is_header_name(name))
            return "headers has a name that is none";
        if (header_is_ours(name))
            return "headers sets a header that is not a profile's to set";
        if (!json_is_string(value) || text.length > HEADER_VALUE_MAX_BYTES || !span_is_header_safe(text))
            return "headers has a value that is not a string fit for a header";
    }
    return NULL;
}

static const char *check_aliases(const json_t *aliases)
{
    size_t i;
    json_t *alias;
    if (aliases && !json_is_array(aliases))
        return "aliases is not a list";
    json_array_foreach (aliases, i, alias) {
        if (!json_is_string(alias) || json_string_length(alias) == 0)
            return "aliases has an element that is not a name";
    }
    return NULL;
}

static bool is_profile_field(const char *name)
{
    static const char *const known[] = {
        "base_url", "aliases", "domain", "credential_domain", "clock_ahead_minutes", "headers"};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(name, known[i]) == 0)
            return true;
    return false;
}

static const char *check_profile(json_t *profile)
{
    const char *name, *problem = NULL;
    json_t *value;
    if (!json_is_object(profile))
        return "not a JSON object";
    json_object_foreach (profile, name, value) {
        if (!is_profile_field(name))
            return "has a field that no profile has";
    }
    json_t *domain = json_object_get(profile, "domain");
    json_t *credential_domain = json_object_get(profile, "credential_domain");
    json_t *base_url = json_object_get(profile, "base_url");
    if (base_url && !json_is_string(base_url))
        return "base_url is not a string";
    if (domain && (!json_is_string(domain) || json_string_length(domain) > 256 ||
                   !span_is_header_safe(span_str(json_string_value(domain)))))
        return "domain is not a string fit for a header";
    if (credential_domain && !json_is_boolean(credential_domain))
        return "credential_domain is not true or false";
    json_t *ahead = json_object_get(profile, "clock_ahead_minutes");
    json_int_t minutes = json_integer_value(ahead);
    if (ahead &&
        (!json_is_integer(ahead) || minutes < -CLOCK_AHEAD_MAX_MINUTES || minutes > CLOCK_AHEAD_MAX_MINUTES))
        return "clock_ahead_minutes is not a whole number from -840 to 840";
    problem = check_aliases(json_object_get(profile, "aliases"));
    return problem ? problem : check_headers(json_object_get(profile, "headers"));
}

static bool site_is_called(const struct site *site, const char *name)
{
    size_t i;
    json_t *alias;
    if (strcasecmp(site->name, name) == 0)
        return true;
    json_array_foreach (json_object_get(site->profile, "aliases"), i, alias) {
        if (strcasecmp(json_string_value(alias), name) == 0)
            return true;
    }
    return false;
}

static struct site *find_origin(const struct sites *sites, const char *origin)
{
    struct site *site;
    DL_FOREACH (sites->list, site) {
        if (site->endpoint.origin && strcmp(site->endpoint.origin, origin) == 0)
            return site;
    }
    return NULL;
}

static struct site *find_name(const struct sites *sites, const char *name)
{
    struct site *site;
    DL_FOREACH (sites->list, site) {
        if (site_is_called(site, name))
            return site;
    }
    return NULL;
}

bool site_is_custom(const struct site *site)
{
    return strcmp(site->name, CUSTOM_SITE) == 0;
}

/* What the profile's base_url says, and that no other profile says it too. */
static int read_endpoint(const struct sites *sites, struct site *site, const char **problem)
{
    const char *base_url = json_string_value(json_object_get(site->profile, "base_url"));
    bool is_custom = site_is_custom(site);
    if (is_custom && base_url)
        *problem = "custom has no base_url of its own: it is CODEBUDDY_API_ENDPOINT";
    else if (!is_custom && !base_url)
        *problem = "base_url is missing";
    if (*problem || is_custom)
        return *problem ? ERR_CONFIG : 0;
    int error = endpoint_parse(&site->endpoint, base_url);
    if (error == ERR_NOMEM)
        return error;
    if (error < 0 || !site->endpoint.is_safe || strlen(base_url) > SITE_BASE_URL_MAX_BYTES)
        *problem = "base_url is not https (or http on loopback) without user name, query and fragment";
    else if (find_origin(sites, site->endpoint.origin))
        *problem = "base_url is another profile's too";
    return *problem ? ERR_CONFIG : 0;
}

static int fill_site(const struct sites *sites, struct site *site, struct span name, const char **problem)
{
    *problem = check_profile(site->profile);
    if (*problem)
        return ERR_CONFIG;
    site->name = span_dup(name);
    if (!site->name)
        return ERR_NOMEM;
    site->domain = json_string_value(json_object_get(site->profile, "domain"));
    site->credential_domain = !json_is_false(json_object_get(site->profile, "credential_domain"));
    site->headers = json_object_get(site->profile, "headers");
    return read_endpoint(sites, site, problem);
}

int sites_add(struct sites *sites, struct span name, struct span text, const char **problem)
{
    struct site *site = calloc(1, sizeof *site);
    if (!site)
        return ERR_NOMEM;
    *problem = NULL;
    site->profile = json_loadb(text.data, text.length, JSON_REJECT_DUPLICATES, NULL);
    int error = fill_site(sites, site, name, problem);
    if (error < 0) {
        site_free(site);
        return error;
    }
    site->number = ++sites->count;
    DL_APPEND(sites->list, site);
    return 0;
}

int sites_set_endpoint(struct sites *sites, const char *api_endpoint, const char **problem)
{
    struct endpoint endpoint;
    *problem = NULL;
    int error = endpoint_parse(&endpoint, api_endpoint);
    if (error == ERR_NOMEM)
        goto out;
    if (error < 0 || strlen(api_endpoint) > SITE_BASE_URL_MAX_BYTES) {
        error = ERR_CONFIG;
        *problem = "CODEBUDDY_API_ENDPOINT is not an http or https URL without user name, query and fragment";
        goto out;
    }
    sites->fallback = find_origin(sites, endpoint.origin);
    if (!sites->fallback && (sites->fallback = find_name(sites, CUSTOM_SITE))) {
        sites->fallback->endpoint = endpoint;
        return 0;
    }
    if (!sites->fallback) {
        error = ERR_CONFIG;
        *problem = "CODEBUDDY_API_ENDPOINT is no profile's base_url, and there is no profile custom.json";
    }
out:
    endpoint_fini(&endpoint);
    return error;
}

static int add_file(struct sites *sites, int directory_fd, const char *filename, const char **problem)
{
    char *text = malloc(SITE_FILE_MAX_BYTES + 1);
    int fd = openat(directory_fd, filename, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t length = text && fd >= 0 ? read(fd, text, SITE_FILE_MAX_BYTES + 1) : -1;
    int error = ERR_IO;
    *problem = "cannot be read";
    if (length > SITE_FILE_MAX_BYTES)
        *problem = "is too large";
    else if (length >= 0)
        error = sites_add(sites, span_of(filename, strlen(filename) - strlen(".json")),
                          span_of(text, (size_t)length), problem);
    if (fd >= 0)
        close(fd);
    free(text);
    return error;
}

static int is_profile(const struct dirent *entry)
{
    size_t length = strlen(entry->d_name);
    return entry->d_name[0] != '.' && length > strlen(".json") &&
           strcmp(entry->d_name + length - strlen(".json"), ".json") == 0;
}

static int load_directory(struct sites *sites, const char *directory)
{
    struct dirent **entries = NULL;
    int directory_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC), error = 0;
    int count = directory_fd < 0 ? -1 : scandirat(directory_fd, ".", &entries, is_profile, alphasort);
    if (count < 0) {
        log_error(NULL, "sites_unreadable", LOG_STR("directory", directory),
                  LOG_STR("error", strerror(errno)),
                  LOG_STR("do", "set CODEBUDDY_SITES_DIR to the directory of site profiles"));
        error = ERR_CONFIG;
    }
    for (int i = 0; i < count; i++) {
        const char *problem = NULL;
        if (error == 0 && (error = add_file(sites, directory_fd, entries[i]->d_name, &problem)) < 0)
            log_error(NULL, "site_bad", LOG_STR("file", entries[i]->d_name),
                      LOG_STR("problem", problem ? problem : error_text(error)));
        free(entries[i]);
    }
    free(entries);
    if (directory_fd >= 0)
        close(directory_fd);
    return error;
}

struct sites *sites_load(const char *directory, const char *api_endpoint)
{
    const char *problem = NULL;
    struct sites *sites = sites_new();
    int error = sites ? load_directory(sites, directory) : ERR_NOMEM;
    if (error == 0) {
        error = sites_set_endpoint(sites, api_endpoint, &problem);
        if (error < 0)
            log_error(NULL, "site_bad", LOG_STR("problem", problem ? problem : error_text(error)));
    }
    if (error < 0)
        sites_free(&sites);
    return sites;
}

const struct site *sites_default(const struct sites *sites)
{
    return sites->fallback;
}

const char *site_name(const struct site *site)
{
    return site->name;
}

const char *site_base_url(const struct site *site)
{
    return site->endpoint.base_url;
}

const char *site_bond(const struct site *site)
{
    return site_is_custom(site) ? site->endpoint.base_url : site->name;
}

bool site_is_named(const struct credential_file *file)
{
    return file->site || file->api_endpoint;
}

int64_t site_clock_ahead_s(const struct site *site)
{
    const json_t *minutes = json_object_get(site->profile, "clock_ahead_minutes");
    return (minutes ? json_integer_value(minutes) : CLOCK_AHEAD_MINUTES) * INT64_C(60);
}

uint32_t site_number(const struct site *site)
{
    return site->number;
}

static const struct site *resolve_endpoint(const struct sites *sites, const char *url, const char **problem)
{
    struct endpoint endpoint;
    const struct site *site = NULL;
    if (endpoint_parse(&endpoint, url) == 0)
        site = find_origin(sites, endpoint.origin);
    endpoint_fini(&endpoint);
    if (!site)
        *problem = "api_endpoint is neither a site profile's nor CODEBUDDY_API_ENDPOINT";
    return site;
}

const struct site *sites_resolve(const struct sites *sites, const struct credential_file *file,
                                 const char **problem)
{
    const struct site *named = NULL, *pointed = NULL;
    *problem = NULL;
    if (file->api_endpoint && !(pointed = resolve_endpoint(sites, file->api_endpoint, problem)))
        return NULL;
    if (file->site) {
        named = find_name(sites, file->site);
        if (!named)
            *problem = "site is not a known site profile";
        else if (pointed && named != pointed)
            *problem = "site and api_endpoint name different sites";
        else if (!named->endpoint.base_url)
            *problem = "site custom is where CODEBUDDY_API_ENDPOINT points, which is another site now";
    }
    if (*problem)
        return NULL;
    return named ? named : pointed ? pointed : sites->fallback;
}

static bool profile_has(const struct site *site, const char *name)
{
    const char *has;
    json_t *value;
    json_object_foreach (site->headers, has, value) {
        if (strcasecmp(has, name) == 0)
            return true;
    }
    return false;
}

static int append_line(struct buffer *lines, size_t start, const char *name, const char *value)
{
    return buffer_printf(lines, "%s%s: %s", lines->length > start ? "\n" : "", name, value);
}

/* What the credential says, unless the profile says otherwise. */
static int append_own(const struct site *site, struct buffer *lines, size_t start, const char *name,
                      const char *value)
{
    return value && !profile_has(site, name) ? append_line(lines, start, name, value) : 0;
}

int site_append_headers(const struct site *site, const struct credential_file *file, struct buffer *lines)
{
    size_t start = lines->length;
    const char *name, *domain = site->domain ? site->domain : site->endpoint.host;
    json_t *value;
    int error = 0;
    json_object_foreach (site->headers, name, value) {
        if (error == 0)
            error = append_line(lines, start, name, json_string_value(value));
    }
    if (file->domain && site->credential_domain)
        domain = file->domain;
    const struct {
        const char *name, *value;
    } own[] = {
        {"X-Domain", domain},
        {"X-User-Id", file->account_uid ? file->account_uid : file->user_id},
        {"X-Enterprise-Id", file->enterprise_id},
        {"X-Tenant-Id", file->tenant_id ? file->tenant_id : file->enterprise_id},
    };
    for (size_t i = 0; error == 0 && i < sizeof own / sizeof own[0]; i++)
        error = append_own(site, lines, start, own[i].name, own[i].value);
    if (error == 0 && lines->length - start > SITE_HEADERS_MAX_BYTES)
        error = ERR_TOO_LARGE;
    if (error < 0)
        lines->length = start;
    return error;
}
