/* SPDX-License-Identifier: MIT */
#include "deploy/admin/http.h"
#include "proto/error.h"

#include <curl/curl.h>
#include <inttypes.h>
#include <stdlib.h>

enum { CONNECT_TIMEOUT_S = 5, TIMEOUT_S = 120 /* a credential's test may wait for the upstream */ };
enum { REPLY_MAX_BYTES = 4 << 20 };

struct http {
    const struct settings *settings;
    char *url;
    CURL *curl;
    struct curl_slist *headers;
    struct buffer reply;
    char problem[CURL_ERROR_SIZE];
};

/* What listens everywhere is asked on loopback. */
static const char *host_to_ask(const char *host)
{
    return strcmp(host, "0.0.0.0") == 0 ? "127.0.0.1" : strcmp(host, "::") == 0 ? "::1" : host;
}

static char *url_of(const struct settings *settings, const char *url)
{
    struct buffer text = {0};
    char *copy = NULL;
    const char *host = host_to_ask(settings->host), *scheme = *settings->tls_cert_file ? "https" : "http";
    bool is_v6 = strchr(host, ':') != NULL;
    if (url)
        return span_dup(span_str(url));
    if (buffer_printf(&text, "%s://%s%s%s:%" PRId64, scheme, is_v6 ? "[" : "", host, is_v6 ? "]" : "",
                      settings->port) == 0)
        copy = span_dup(buffer_span(&text));
    buffer_fini(&text);
    return copy;
}

static size_t on_bytes(char *data, size_t size, size_t count, void *context)
{
    struct http *http = context;
    if (http->reply.length + size * count > REPLY_MAX_BYTES ||
        buffer_append(&http->reply, data, size * count) < 0)
        return 0;
    return size * count;
}

static int add_headers(struct http *http)
{
    struct buffer proof = {0};
    struct curl_slist *list = NULL;
    if (buffer_append_span(&proof, SPAN("Authorization: Bearer ")) == 0 &&
        buffer_append_span(&proof, secret_span(&http->settings->password)) == 0 &&
        buffer_append_char(&proof, '\0') == 0)
        list = curl_slist_append(NULL, proof.data);
    buffer_fini_secret(&proof);
    http->headers = list ? curl_slist_append(list, "Content-Type: application/json") : NULL;
    return http->headers ? 0 : ERR_NOMEM;
}

static void set_up(struct http *http)
{
    CURL *curl = http->curl;
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, http->headers);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_bytes);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, http);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, http->problem);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_TIMEOUT_S);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)TIMEOUT_S);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_PROXY, ""); /* the password goes to the gateway and nowhere else */
    if (*http->settings->tls_cert_file) {      /* this certificate, whatever name it is for */
        curl_easy_setopt(curl, CURLOPT_CAINFO, http->settings->tls_cert_file);
        curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
    }
}

struct http *http_new(const struct settings *settings, const char *url)
{
    struct http *http = calloc(1, sizeof *http);
    if (!http)
        return NULL;
    http->settings = settings;
    http->url = url_of(settings, url);
    http->curl = curl_easy_init();
    if (!http->url || !http->curl || add_headers(http) < 0)
        http_free(&http);
    else
        set_up(http);
    return http;
}

void http_free(struct http **http_at)
{
    struct http *http = *http_at;
    *http_at = NULL;
    if (!http)
        return;
    curl_easy_cleanup(http->curl);
    curl_slist_free_all(http->headers);
    buffer_fini_secret(&http->reply);
    free(http->url);
    free(http);
}

int http_call(struct http *http, const char *method, const char *path, const json_t *body, json_t **reply)
{
    struct buffer url = {0};
    long status = 0;
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    *reply = NULL;
    buffer_clear(&http->reply);
    snprintf(http->problem, sizeof http->problem, "%s", error_text(ERR_NOMEM));
    if ((body && !text) || buffer_printf(&url, "%s%s", http->url, path) < 0 ||
        buffer_append_char(&url, '\0') < 0) {
        buffer_fini(&url);
        free(text);
        return ERR_NOMEM;
    }
    curl_easy_setopt(http->curl, CURLOPT_URL, url.data);
    curl_easy_setopt(http->curl, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(http->curl, CURLOPT_POSTFIELDS, text);
    if (!text)
        curl_easy_setopt(http->curl, CURLOPT_HTTPGET, 1L);
    CURLcode code = curl_easy_perform(http->curl);
    curl_easy_getinfo(http->curl, CURLINFO_RESPONSE_CODE, &status);
    if (code == CURLE_OK)
        *reply = json_loadb(http->reply.data ? http->reply.data : "", http->reply.length, 0, NULL);
    else if (!http->problem[0])
        snprintf(http->problem, sizeof http->problem, "%s", curl_easy_strerror(code));
    buffer_fini(&url);
    free(text);
    return code == CURLE_OK ? (int)status : ERR_IO;
}

const char *http_problem(const struct http *http)
{
    return http->problem;
}

const char *http_url(const struct http *http)
{
    return http->url;
}
