/* SPDX-License-Identifier: MIT */
#include "tests/upstream/chat.h"

#include <stdlib.h>
#include <string.h>

#include "tests/upstream/check.h"

/* The model's name as the chunks show it: the scan kept it as the body spells it. */
static struct span decode_model(const struct body_scan *scan, char *out, size_t capacity)
{
    struct span raw = {scan->model, scan->model_size};
    struct buffer quoted = {0};
    json_t *text;

    if (!scan->model_seen || scan->model_too_long)
        return (struct span){"", 0};
    if (!memchr(raw.data, '\\', raw.size))
        return raw;
    buffer_append(&quoted, "\"", 1);
    buffer_append(&quoted, raw.data, raw.size);
    buffer_append(&quoted, "\"", 1);
    text = json_loadb(quoted.data, quoted.size, JSON_DECODE_ANY, NULL);
    buffer_fini(&quoted);
    span_copy(span_of(text ? json_string_value(text) : ""), out, capacity);
    json_decref(text);
    return span_of(out);
}

/* Appends the text of the last message: a string, or the text parts of a list. */
static void append_last_text(const struct server_request *request, struct buffer *out)
{
    json_t *root = json_loadb(request->body.data, request->body.size, 0, NULL);
    const json_t *messages = json_object_get(root, "messages");
    const json_t *last = json_array_get(messages, json_array_size(messages) - 1);
    const json_t *content = json_object_get(last, "content");
    size_t index;
    json_t *part;

    if (json_is_string(content))
        buffer_append(out, json_string_value(content), json_string_length(content));
    json_array_foreach (content, index, part) {
        const json_t *text = json_object_get(part, "text");

        if (json_is_string(text))
            buffer_append(out, json_string_value(text), json_string_length(text));
    }
    json_decref(root);
}

static struct script *envelope(int status, int code, const char *msg)
{
    return app_reply_json(
        status, json_pack("{s:i,s:s,s:s}", "code", code, "msg", msg, "requestId", "standin-request"));
}

static struct script *unauthorized(void)
{
    static const char html[] =
        "<html>\r\n<head><title>401 Authorization Required</title></head>\r\n<body>\r\n"
        "<center><h1>401 Authorization Required</h1></center>\r\n"
        "<hr><center>openresty</center>\r\n</body>\r\n</html>\r\n";

    return script_new_reply(401, "text/html", "", (struct span){html, sizeof(html) - 1});
}

static struct script *find_script(struct app *app, const struct server_request *request, struct span token,
                                  uint64_t number)
{
    char model_text[BODY_SCAN_MODEL_MAX_BYTES + 1];
    struct span model = decode_model(request->scan, model_text, sizeof(model_text));
    struct catalog_request wanted = {.token = token, .model = model};
    struct buffer echo = {0};
    struct script *script;
    const char *text = "";
    char *why = NULL;

    wanted.wall_s = app_wall_ms() / 1000;
    wanted.request_id = http_request_header(request->http, "X-Request-ID");
    if (catalog_wants_echo(app->catalog, model)) {
        append_last_text(request, &echo);
        wanted.echo = (struct span){echo.data, echo.size};
    }
    script = catalog_find_script(app->catalog, &wanted, &text, &why);
    if (!script) {
        stats_add_failure(app->stats, number, why);
        script = envelope(400, 10000, why);
    }
    if (number)
        records_set_scenario(app->records, number, text);
    free(why);
    buffer_fini(&echo);
    return script;
}

void chat_handle(struct app *app, struct conn *conn, const struct server_request *request)
{
    struct server_exchange *exchange = server_conn_exchange(conn);
    struct check_rules rules = {.intl = app->intl, .fast = app->fast};
    struct span token = http_request_header(request->http, "Authorization");
    struct check_result check;
    struct script *script;

    exchange->is_chat = true;
    check_chat(request, &rules, &check);
    for (unsigned i = 0; i < check.count; i++)
        stats_add_failure(app->stats, exchange->record, check.texts[i]);
    if (span_has_prefix(token, "Bearer "))
        token = (struct span){token.data + 7, token.size - 7};
    if (token.size)
        exchange->credential = stats_find_credential(app->stats, token);
    if (token.size == 0 || !account_knows_token(app->account, token))
        script = unauthorized();
    else if (check.refuse_code)
        script = envelope(400, check.refuse_code, check.refuse_msg);
    else
        script = find_script(app, request, token, exchange->record);
    stats_credential_request(exchange->credential, script->status);
    server_play(conn, script);
}
