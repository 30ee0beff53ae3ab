/* SPDX-License-Identifier: MIT */
#include "credd/endpoint.h"
#include "proto/error.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <stdlib.h>

static bool host_is_loopback(const char *host)
{
    struct in_addr v4;
    if (inet_pton(AF_INET, host, &v4) == 1)
        return (ntohl(v4.s_addr) >> 24) == 127;
    return strcmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0;
}

static bool url_has(CURLU *url, CURLUPart part)
{
    char *text = NULL;
    bool has = curl_url_get(url, part, &text, 0) == CURLUE_OK;
    curl_free(text);
    return has;
}

static int set_copy(char **to, const struct buffer *text, size_t from)
{
    *to = span_dup(span_of(text->data + from, text->length - from));
    return *to ? 0 : ERR_NOMEM;
}

/* ASCII only: a host in another script must come as punycode, or it is refused. */
static bool lower_ascii(char *text)
{
    for (; *text; text++) {
        if ((unsigned char)*text <= ' ' || (unsigned char)*text > '~')
            return false;
        if (*text >= 'A' && *text <= 'Z')
            *text = (char)(*text - 'A' + 'a');
    }
    return true;
}

static int put_together(struct endpoint *endpoint, const char *scheme, const char *host, const char *port,
                        const char *path)
{
    struct buffer text = {0};
    size_t path_length = strlen(path);
    while (path_length > 0 && path[path_length - 1] == '/')
        path_length--;
    int error = buffer_printf(&text, "%s://%s", scheme, host);
    if (error == 0 && port)
        error = buffer_printf(&text, ":%s", port);
    if (error == 0)
        error = set_copy(&endpoint->origin, &text, 0);
    if (error == 0)
        error = set_copy(&endpoint->host, &text, strlen(scheme) + strlen("://"));
    if (error == 0)
        error = buffer_append(&text, path, path_length);
    if (error == 0)
        error = set_copy(&endpoint->base_url, &text, 0);
    buffer_fini(&text);
    return error;
}

static int read_parts(struct endpoint *endpoint, CURLU *url)
{
    char *scheme = NULL, *host = NULL, *port = NULL, *path = NULL;
    int error = ERR_INVALID;
    if (url_has(url, CURLUPART_USER) || url_has(url, CURLUPART_PASSWORD) || url_has(url, CURLUPART_QUERY) ||
        url_has(url, CURLUPART_FRAGMENT))
        return error;
    if (curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
        curl_url_get(url, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
        curl_url_get(url, CURLUPART_PATH, &path, 0) == CURLUE_OK && lower_ascii(scheme) &&
        lower_ascii(host) && span_is_header_safe(span_str(path)) &&
        (strcmp(scheme, "https") == 0 || strcmp(scheme, "http") == 0)) {
        curl_url_get(url, CURLUPART_PORT, &port, CURLU_NO_DEFAULT_PORT);
        endpoint->is_safe = strcmp(scheme, "https") == 0 || host_is_loopback(host);
        error = put_together(endpoint, scheme, host, port, path);
    }
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    curl_free(path);
    return error;
}

int endpoint_parse(struct endpoint *endpoint, const char *url)
{
    *endpoint = (struct endpoint){0};
    /* libcurl drops an empty query or fragment silently; what is written must be what is used. */
    if (strpbrk(url, "@?#\\ "))
        return ERR_INVALID;
    CURLU *parsed = curl_url();
    if (!parsed)
        return ERR_NOMEM;
    CURLUcode code = curl_url_set(parsed, CURLUPART_URL, url, CURLU_DISALLOW_USER);
    int error = code == CURLUE_OK              ? read_parts(endpoint, parsed)
                : code == CURLUE_OUT_OF_MEMORY ? ERR_NOMEM
                                               : ERR_INVALID;
    curl_url_cleanup(parsed);
    return error;
}

void endpoint_fini(struct endpoint *endpoint)
{
    free(endpoint->base_url);
    free(endpoint->origin);
    free(endpoint->host);
    *endpoint = (struct endpoint){0};
}
