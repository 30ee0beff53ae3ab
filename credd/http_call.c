/* SPDX-License-Identifier: MIT */
#include "credd/http_call.h"
#include "credd/curl_wipe.h"
#include "proto/curl_loop.h"
#include "proto/error.h"

#include <sodium.h>
#include <stdlib.h>
#include <utlist.h>

enum { IDLE_CONNECTIONS_MAX = 8, FIRST_BYTES = 16 << 10 };

/* RUNNING until libcurl is done, then OVER and in the list of those to tell. */
struct http_call {
    struct http_calls *home;
    CURL *easy;
    struct curl_slist *headers;
    char *url;
    struct buffer body;
    int fd;
    bool is_too_large, has_no_memory, is_over;
    CURLcode code;
    void (*done)(void *context, const struct http_answer *answer);
    void *context;
    struct http_call *prev, *next; /* in `over` */
};

struct http_calls {
    struct curl_loop *curl_loop;
    const struct settings *settings;
    struct http_call *over;
};

/* ---- headers ---- */

static int add_header(struct http_call *call, struct span name, struct span value)
{
    char *line = malloc(name.length + value.length + 1);
    if (!line)
        return ERR_NOMEM;
    memcpy(line, name.data, name.length);
    if (value.length > 0)
        memcpy(line + name.length, value.data, value.length);
    line[name.length + value.length] = '\0';
    struct curl_slist *grown = curl_slist_append(call->headers, line);
    sodium_memzero(line, name.length + value.length);
    free(line);
    if (!grown)
        return ERR_NOMEM;
    call->headers = grown;
    return 0;
}

static int add_lines(struct http_call *call, struct span lines)
{
    int error = 0;
    while (error == 0 && lines.length > 0) {
        const char *end = memchr(lines.data, '\n', lines.length);
        size_t length = end ? (size_t)(end - lines.data) : lines.length;
        error = add_header(call, span_of(lines.data, length), span_of(NULL, 0));
        size_t taken = end ? length + 1 : length;
        lines = span_of(lines.data + taken, lines.length - taken);
    }
    return error;
}

static int add_headers(struct http_call *call, const struct http_question *question)
{
    int error = add_lines(call, question->lines);
    error = error ? error : add_lines(call, span_str(question->more_lines));
    if (error == 0 && question->token.length > 0)
        error = add_header(call, SPAN("Authorization: Bearer "), question->token);
    if (error == 0 && question->refresh_token.length > 0)
        error = add_header(call, SPAN("X-Refresh-Token: "), question->refresh_token);
    return error;
}

/* ---- life ---- */

static void call_free(struct http_call *call)
{
    if (call->is_over)
        DL_DELETE(call->home->over, call);
    if (call->easy)
        curl_easy_cleanup(call->easy);
    for (struct curl_slist *header = call->headers; header; header = header->next)
        sodium_memzero(header->data, strlen(header->data));
    curl_slist_free_all(call->headers);
    buffer_fini_secret(&call->body);
    free(call->url);
    free(call);
}

void http_call_cancel(struct http_call **call)
{
    if (!*call)
        return;
    if (!(*call)->is_over)
        curl_loop_remove((*call)->home->curl_loop, (*call)->easy);
    call_free(*call);
    *call = NULL;
}

static size_t on_write(char *data, size_t size, size_t count, void *context)
{
    struct http_call *call = context;
    size_t length = size * count;
    call->is_too_large = call->body.length + length > HTTP_ANSWER_MAX_BYTES;
    if (call->is_too_large)
        return CURL_WRITEFUNC_ERROR;
    if (call->body.length + length > call->body.capacity) { /* growing would leave a copy of a token behind */
        struct buffer grown = {0};
        if (buffer_reserve(&grown, 2 * (call->body.length + length)) < 0) {
            call->has_no_memory = true;
            return CURL_WRITEFUNC_ERROR;
        }
        buffer_append_span(&grown, buffer_span(&call->body)); /* there is room */
        buffer_fini_secret(&call->body);
        call->body = grown;
    }
    buffer_append(&call->body, data, length);
    return length;
}

static size_t on_header(char *data, size_t size, size_t count, void *context)
{
    struct http_call *call = context;
    (void)data;
    curl_loop_mark_answered(call->home->curl_loop, call->fd);
    return size * count;
}

#define SET(option, value) (code = code ? code : curl_easy_setopt(call->easy, option, value))

static int set_options(struct http_call *call, const struct http_question *question)
{
    const struct settings *settings = call->home->settings;
    bool is_https = span_starts_with(span_str(call->url), SPAN("https://"));
    CURLcode code = CURLE_OK;
    SET(CURLOPT_PRIVATE, call);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_QUICK_EXIT, 1L); /* else giving up while a name is looked up waits for the look-up */
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
    SET(CURLOPT_SSL_VERIFYPEER, settings->ssl_verify ? 1L : 0L);
    SET(CURLOPT_SSL_VERIFYHOST, settings->ssl_verify ? 2L : 0L);
    if (*settings->ca_file)
        SET(CURLOPT_CAINFO, settings->ca_file);
    SET(CURLOPT_PROXY, is_https ? NULL : "");
    SET(CURLOPT_URL, call->url);
    SET(CURLOPT_USERAGENT, "codebuddy2api/" CB_VERSION); /* a profile's header goes before it */
    SET(CURLOPT_HTTPHEADER, call->headers);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, call);
    SET(CURLOPT_WRITEFUNCTION, on_write);
    SET(CURLOPT_WRITEDATA, call);
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)settings->connect_timeout_s * 1000);
    SET(CURLOPT_TIMEOUT_MS, (long)HTTP_CALL_TIMEOUT_MS);
    if (question->body)
        SET(CURLOPT_COPYPOSTFIELDS, question->body);
    return code == CURLE_OK ? curl_loop_prepare(call->home->curl_loop, call->easy) : ERR_NOMEM;
}

static int call_prepare(struct http_call *call, const struct http_question *question)
{
    struct buffer url = {0};
    int error = buffer_append_span(&url, question->base_url);
    error = error ? error : buffer_append(&url, question->path, strlen(question->path) + 1);
    call->url = url.data;
    call->easy = curl_easy_init();
    error = error ? error : buffer_reserve(&call->body, FIRST_BYTES);
    error = error ? error : add_headers(call, question);
    if (error < 0 || !call->easy)
        return ERR_NOMEM;
    error = set_options(call, question);
    return error ? error : curl_loop_add(call->home->curl_loop, call->easy);
}

struct http_call *http_call_start(struct http_calls *calls, const struct http_question *question,
                                  void (*done)(void *context, const struct http_answer *answer),
                                  void *context)
{
    struct http_call *call = calloc(1, sizeof *call);
    if (!call)
        return NULL;
    call->home = calls;
    call->done = done;
    call->context = context;
    call->fd = -1;
    if (call_prepare(call, question) == 0)
        return call;
    call_free(call);
    return NULL;
}

/* ---- the end ---- */

static void on_waits(void *owner, CURL *easy, int fd)
{
    struct http_call *call = NULL;
    (void)owner;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &call);
    if (call)
        call->fd = fd;
}

static void on_done(void *owner, CURL *easy, CURLcode result)
{
    struct http_calls *calls = owner;
    struct http_call *call = NULL;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &call);
    call->code = result;
    call->is_over = true;
    DL_APPEND(calls->over, call);
}

static int error_of(const struct http_call *call)
{
    if (call->is_too_large)
        return ERR_TOO_LARGE;
    if (call->has_no_memory || call->code == CURLE_OUT_OF_MEMORY)
        return ERR_NOMEM;
    return call->code == CURLE_OPERATION_TIMEDOUT ? ERR_TIMEOUT : call->code == CURLE_OK ? 0 : ERR_IO;
}

static void on_settle(void *owner)
{
    struct http_calls *calls = owner;
    while (calls->over) {
        struct http_call *call = calls->over;
        long status = 0;
        curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
        const struct http_answer answer = {.error = error_of(call),
                                           .status = (int)status,
                                           .body = buffer_span(&call->body),
                                           .problem = curl_easy_strerror(call->code)};
        DL_DELETE(calls->over, call);
        call->is_over = false;
        call->done(call->context, &answer);
        call_free(call);
    }
}

static const struct curl_loop_handlers handlers = {on_waits, on_done, on_settle};

struct http_calls *http_calls_new(uv_loop_t *loop, const struct settings *settings)
{
    struct http_calls *calls = calloc(1, sizeof *calls);
    if (!calls || curl_wipe_init() != CURLE_OK) {
        free(calls);
        return NULL;
    }
    calls->settings = settings;
    calls->curl_loop = curl_loop_new(loop, IDLE_CONNECTIONS_MAX, &handlers, calls);
    if (!calls->curl_loop)
        http_calls_free(&calls);
    return calls;
}

void http_calls_free(struct http_calls **calls)
{
    if (!*calls)
        return;
    curl_loop_free(&(*calls)->curl_loop);
    curl_global_cleanup();
    free(*calls);
    *calls = NULL;
}
