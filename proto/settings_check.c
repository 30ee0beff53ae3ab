/* SPDX-License-Identifier: MIT */
/* settings_check - the rules between settings: what is required, and which endpoints are safe. */
#include "proto/error.h"
#include "proto/settings.h"

#include <ctype.h>

#include <jansson.h>

/* An address, not a name like 127.evil.example: no top level domain is a number. */
static bool is_digits_and_dots(struct span host)
{
    for (size_t i = 0; i < host.length; i++)
        if (host.data[i] != '.' && (host.data[i] < '0' || host.data[i] > '9'))
            return false;
    return true;
}

static bool host_is_loopback(struct span host)
{
    return span_equals(host, SPAN("localhost")) || span_equals(host, SPAN("[::1]")) ||
           (span_starts_with(host, SPAN("127.")) && is_digits_and_dots(host));
}

/* The host part of `host[:port][/…]`, brackets of an IPv6 address included. */
static struct span host_of(struct span authority)
{
    size_t end = 0;
    if (authority.length > 0 && authority.data[0] == '[') {
        while (end < authority.length && authority.data[end] != ']')
            end++;
        return span_of(authority.data, end < authority.length ? end + 1 : end);
    }
    while (end < authority.length && authority.data[end] != ':' && authority.data[end] != '/')
        end++;
    return span_of(authority.data, end);
}

/* https anywhere, http on loopback only; no user info, query or fragment (upstream.md, 1). */
static const char *check_api_endpoint(const char *endpoint)
{
    struct span url = span_str(endpoint);
    bool https = span_starts_with(url, SPAN("https://"));
    if (!https && !span_starts_with(url, SPAN("http://")))
        return "CODEBUDDY_API_ENDPOINT must begin with https:// (or http:// on loopback)";
    const char *behind = endpoint + (https ? strlen("https://") : strlen("http://"));
    struct span rest = span_str(behind);
    if (strpbrk(behind, "@?# "))
        return "CODEBUDDY_API_ENDPOINT must hold no user name, query or fragment";
    if (host_of(rest).length == 0)
        return "CODEBUDDY_API_ENDPOINT names no host";
    if (!https && !host_is_loopback(host_of(rest)))
        return "CODEBUDDY_API_ENDPOINT may be http:// on loopback only: tokens would travel in the clear";
    return NULL;
}

struct endpoint_check {
    bool has_keys;
    const char *problem;
};

static void check_link_endpoint(void *context, struct span endpoint)
{
    struct endpoint_check *check = context;
    if (span_starts_with(endpoint, SPAN("ipc://")))
        return;
    if (!span_starts_with(endpoint, SPAN("tcp://"))) {
        check->problem = "a link endpoint must begin with ipc:// or tcp://";
        return;
    }
    struct span authority = span_of(endpoint.data + strlen("tcp://"), endpoint.length - strlen("tcp://"));
    if (!check->has_keys && !host_is_loopback(host_of(authority)))
        check->problem = "tcp:// links off loopback need CURVE keys: set CODEBUDDY_LINK_KEYS_DIR "
                         "(codebuddy2api keygen makes them)";
}

static const char *check_links(const struct settings *settings)
{
    const char *const endpoints[] = {settings->gateway_bind,   settings->credd_bind,
                                     settings->statsd_bind,    settings->gateway_endpoints,
                                     settings->credd_endpoint, settings->statsd_endpoint};
    struct endpoint_check check = {*settings->link_keys_dir, NULL};
    for (size_t i = 0; i < sizeof endpoints / sizeof *endpoints; i++)
        settings_each_in_list(endpoints[i], check_link_endpoint, &check);
    return check.problem;
}

static bool replacement_is_valid(const json_t *rule)
{
    const char *from = json_string_value(json_object_get(rule, "from"));
    return from && *from && json_is_string(json_object_get(rule, "to")) && json_object_size(rule) == 2;
}

static const char *check_replacements(const char *text)
{
    const char *problem = NULL;
    size_t i;
    json_t *rule, *rules;
    if (!*text)
        return NULL;
    rules = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_array(rules))
        problem = "CODEBUDDY_REPLACEMENTS must be a JSON list of {\"from\":…,\"to\":…}";
    json_array_foreach (rules, i, rule) {
        if (!replacement_is_valid(rule))
            problem = "CODEBUDDY_REPLACEMENTS must be a JSON list of {\"from\":…,\"to\":…}";
    }
    json_decref(rules);
    return problem;
}

static void count_element(void *context, struct span element)
{
    (void)element;
    ++*(size_t *)context;
}

static const char *check_all(const struct settings *settings)
{
    size_t models = 0;
    settings_each_in_list(settings->models, count_element, &models);
    if (!*settings->tls_cert_file != !*settings->tls_key_file)
        return "CODEBUDDY_TLS_CERT_FILE and CODEBUDDY_TLS_KEY_FILE go together";
    if (models == 0)
        return "CODEBUDDY_MODELS names no model";
    if (!*settings->host || !*settings->ops_host)
        return "CODEBUDDY_HOST and CODEBUDDY_OPS_HOST may not be empty";
    if (!*settings->creds_dir || !*settings->data_dir)
        return "CODEBUDDY_CREDS_DIR and CODEBUDDY_DATA_DIR may not be empty";
    const char *problem = check_api_endpoint(settings->api_endpoint);
    if (!problem)
        problem = check_replacements(settings->replacements);
    return problem ? problem : check_links(settings);
}

int settings_check(const struct settings *settings, const char **reason)
{
    *reason = check_all(settings);
    return *reason ? ERR_CONFIG : 0;
}

void settings_each_in_list(const char *list, void (*each)(void *context, struct span element), void *context)
{
    while (*list) {
        size_t length = strcspn(list, ",");
        struct span element = span_of(list, length);
        while (element.length > 0 && isspace((unsigned char)element.data[0]))
            element = span_of(element.data + 1, element.length - 1);
        while (element.length > 0 && isspace((unsigned char)element.data[element.length - 1]))
            element.length--;
        if (element.length > 0)
            each(context, element);
        list += length + (list[length] == ',');
    }
}
