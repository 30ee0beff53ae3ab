/* SPDX-License-Identifier: MIT */
#include "tests/upstream/scenario.h"

#include <stdio.h>
#include <string.h>

#include "tests/upstream/http.h"

#define PREFIX "s:"

enum field_type { FIELD_NUMBER, FIELD_FLAG, FIELD_CHOICE, FIELD_TEXT };

struct choice {
    const char *word;
    int64_t value;
};

struct field {
    const char *key;
    enum field_type type;
    size_t offset;
    size_t size_bytes; /* of an enum */
    int64_t min, max;
    const struct choice *choices; /* of a FIELD_CHOICE; words a FIELD_NUMBER takes as well */
    const char *help;
};

struct preset {
    const char *name, *text, *help;
};

static const struct choice reasoning_key_words[] = {
    {"reasoning_content", REASONING_CONTENT}, {"reasoning", REASONING_PLAIN}, {"both", REASONING_BOTH}, {0}};
static const struct choice reasoning_at_words[] = {{"before", REASONING_BEFORE},
                                                   {"after", REASONING_AFTER},
                                                   {"with", REASONING_WITH},
                                                   {"mixed", REASONING_MIXED},
                                                   {0}};
static const struct choice tool_index_words[] = {
    {"distinct", TOOL_INDEX_DISTINCT}, {"zero", TOOL_INDEX_ZERO}, {"none", TOOL_INDEX_NONE}, {0}};
static const struct choice tool_id_words[] = {{"first", TOOL_ID_FIRST},
                                              {"every", TOOL_ID_EVERY},
                                              {"none", TOOL_ID_NONE},
                                              {"empty", TOOL_ID_EMPTY},
                                              {0}};
static const struct choice tool_name_words[] = {
    {"first", TOOL_NAME_FIRST}, {"every", TOOL_NAME_EVERY}, {"split", TOOL_NAME_SPLIT}, {0}};
static const struct choice tool_order_words[] = {
    {"serial", TOOL_SERIAL}, {"interleaved", TOOL_INTERLEAVED}, {"batch", TOOL_BATCH}, {0}};
static const struct choice usage_words[] = {
    {"chunk", USAGE_CHUNK}, {"finish", USAGE_FINISH}, {"every", USAGE_EVERY}, {"none", USAGE_NONE}, {0}};
static const struct choice role_words[] = {
    {"first", ROLE_FIRST}, {"own", ROLE_OWN}, {"none", ROLE_NONE}, {"every", ROLE_EVERY}, {0}};
static const struct choice finish_words[] = {{"auto", FINISH_AUTO},
                                             {"stop", FINISH_STOP},
                                             {"length", FINISH_LENGTH},
                                             {"tool_calls", FINISH_TOOL_CALLS},
                                             {"content_filter", FINISH_FILTER},
                                             {"none", FINISH_NONE},
                                             {0}};
static const struct choice sep_words[] = {
    {"lf2", SEP_LF2}, {"lf", SEP_LF}, {"crlf2", SEP_CRLF2}, {"crlf", SEP_CRLF}, {0}};
static const struct choice cut_words[] = {{"rand", CUT_RANDOM}, {"utf8", CUT_UTF8}, {0}};
static const struct choice at_words[] = {{"end", AT_END}, {"header", AT_HEADER}, {0}};
static const struct choice transfer_words[] = {
    {"chunked", TRANSFER_CHUNKED}, {"length", TRANSFER_LENGTH}, {"close", TRANSFER_CLOSE}, {0}};
static const struct choice end_words[] = {
    {"done", END_DONE}, {"eof", END_EOF},         {"abort", END_ABORT}, {"reset", END_RESET},
    {"hang", END_HANG}, {"endless", END_ENDLESS}, {"line", END_LINE},   {0}};
static const struct choice bad_words[] = {{"none", BAD_NONE}, {"json", BAD_JSON},   {"utf8", BAD_UTF8},
                                          {"nul", BAD_NUL},   {"shape", BAD_SHAPE}, {0}};
static const struct choice stream_error_words[] = {{"none", STREAM_ERROR_NONE},
                                                   {"object", STREAM_ERROR_OBJECT},
                                                   {"text", STREAM_ERROR_TEXT},
                                                   {"code", STREAM_ERROR_CODE},
                                                   {0}};
static const struct choice body_words[] = {{"stream", BODY_STREAM},
                                           {"envelope", BODY_ENVELOPE},
                                           {"error", BODY_ERROR},
                                           {"error_text", BODY_ERROR_TEXT},
                                           {"html", BODY_HTML},
                                           {"plain", BODY_PLAIN},
                                           {"empty", BODY_EMPTY},
                                           {"completion", BODY_COMPLETION},
                                           {0}};
static const struct choice retry_words[] = {{"none", RETRY_NONE}, {"date", RETRY_DATE}, {0}};
static const struct choice reset_form_words[] = {
    {"text", RESET_TEXT}, {"iso", RESET_ISO}, {"epoch", RESET_EPOCH}, {"in", RESET_IN}, {0}};

/* NUMBER(key, max, words, help), FLAG(key, help), CHOICE(key, words, help), TEXT(key, help):
 * the member of struct scenario is named like the key, and NUMBER2 names it. */
#define FIELD(key, type, member, max, words, help)                                                           \
    {                                                                                                        \
#key, type, offsetof(struct scenario, member), sizeof(((struct scenario *)0)->member), 0, max,       \
            words, help                                                                                      \
    }
#define NUMBER(key, max, words, help)          FIELD(key, FIELD_NUMBER, key, max, words, help)
#define NUMBER2(key, member, max, words, help) FIELD(key, FIELD_NUMBER, member, max, words, help)
#define FLAG(key, help)                        FIELD(key, FIELD_FLAG, key, 1, NULL, help)
#define CHOICE(key, help)                      FIELD(key, FIELD_CHOICE, key, 0, key##_words, help)
#define TEXT(key, help)                        FIELD(key, FIELD_TEXT, key, 0, NULL, help)

#define HOUR_MS (60 * 60 * 1000)

/* clang-format off */
static const struct field fields[] = {
    NUMBER(header_ms, HOUR_MS, NULL, "silence before the status line"),
    NUMBER(first_ms, HOUR_MS, NULL, "silence between the header and the first event"),
    NUMBER(gap_ms, HOUR_MS, NULL, "silence before each further event"),
    NUMBER(end_ms, HOUR_MS, NULL, "silence before the finish chunk, or before what `end` says"),
    NUMBER(n, 2000000, NULL, "content chunks; chunk k carries the text `tK `"),
    NUMBER(size, 16 << 20, NULL, "bytes of text of each content chunk: `tK ` filled up with `x`"),
    NUMBER(total, 128 << 20, NULL, "bytes of text in all; sets `n` from `size` (1024 if that is 0)"),
    NUMBER(pad_event, 16 << 20, NULL, "an unknown field with that many bytes in every chunk"),
    FLAG(utf8, "each content chunk's text also has characters of 2, 3 and 4 bytes: `é世🙂`"),
    FLAG(escape, "the same, and a quote, backslash, tab, newline, all as JSON escapes"),
    TEXT(text, "what to say: a content chunk per word; sets `n`"),
    FLAG(echo, "one content chunk more: the text of the request's last message"),
    FLAG(mark, "each content chunk ends with the request's X-Request-ID and a space: no two answers are alike"),
    NUMBER(reasoning, 100000, NULL, "reasoning chunks; chunk k carries `rK `"),
    CHOICE(reasoning_key, "the field it comes in"),
    CHOICE(reasoning_at, "before content, after tool calls, in the same deltas as content, or taking turns"),
    NUMBER(tools, 64, NULL, "tool calls; call i is named get_weather, get_time, search_web, read_file, tool_4 …"),
    NUMBER(tool_fragments, 10000, NULL, "fragments of each call's arguments after its first one; 0: everything in the first"),
    NUMBER(tool_args_bytes, 16 << 20, NULL, "pads the arguments to at least that many bytes"),
    CHOICE(tool_index, "index: its own per call, 0 on all, or missing"),
    CHOICE(tool_id, "id: on the first fragment, on every one, never, or `\"\"` on the later ones"),
    CHOICE(tool_name, "name: whole on the first fragment, whole on every one, or in two fragments"),
    CHOICE(tool_order, "one call after the other, taking turns, or all calls' fragments in one chunk"),
    TEXT(tool_prefix, "how ids begin; call i has the id PREFIX_s0i"),
    FLAG(tool_args_bad, "the arguments stop half way: not JSON"),
    CHOICE(usage, "its own chunk with `choices: []`, on the finish chunk, on every chunk (cumulative), or never"),
    NUMBER(prompt_tokens, 1000000000, NULL, "in usage"),
    NUMBER(completion_tokens, 1000000000, NULL, "in usage; 0: as many as events"),
    NUMBER(cached_tokens, 1000000000, NULL, "in usage"),
    NUMBER(reasoning_tokens, 1000000000, NULL, "in usage; 0: as many as reasoning chunks"),
    TEXT(credit, "in usage, written exactly so; `none` leaves it out"),
    FLAG(noise, "noise fields in every delta, and deltas of nothing but noise"),
    FLAG(extra, "fields nobody knows, in chunk and delta (they must pass)"),
    CHOICE(role, "role: on the first delta, in a chunk of its own, never, or on every delta"),
    CHOICE(finish, "finish_reason; auto: tool_calls if there are some, else stop; none: no finish chunk"),
    FLAG(finish_on_last, "finish_reason on the last delta, no chunk of its own"),
    FLAG(done, "`data: [DONE]` at the end"),
    CHOICE(sep, "line ends, and whether an empty line ends an event"),
    FLAG(space, "a space after `data:`"),
    FLAG(fields, "`event:`, `id:` and `retry:` lines before each data line"),
    FLAG(bom, "a byte order mark before the first event"),
    NUMBER(comments, 1000, NULL, "comment lines before each event"),
    NUMBER(cut, 1 << 20, cut_words, "bytes per piece the body is cut into, each an HTTP chunk; `rand`: 1 to 64; `utf8`: inside each character"),
    NUMBER(cut_ms, HOUR_MS, NULL, "silence between those pieces: forces separate reads"),
    NUMBER(seed, INT32_MAX, NULL, "of `cut=rand`"),
    CHOICE(transfer, "chunked, Content-Length, or until the connection closes"),
    CHOICE(end, "complete; body ends early but cleanly; connection closed inside the body; reset; silence; events for ever; one line for ever"),
    NUMBER(at, 2000000, at_words, "after how many events `end`, `bad` or `stream_error` strikes; `end`: after all; `header`: before the status line"),
    CHOICE(bad, "an event that is not JSON, has invalid UTF-8, a NUL byte, or is JSON of the wrong shape"),
    CHOICE(stream_error, "an error event in one of the three forms; the body ends there"),
    NUMBER(status, 599, NULL, "HTTP status"),
    CHOICE(body, "events, `{code,msg,requestId}`, `{error:{}}`, `{error:\"\"}`, openresty's HTML, text, nothing, a whole completion"),
    NUMBER(code, 1000000, NULL, "code in envelopes and errors"),
    TEXT(msg, "message in envelopes and errors"),
    NUMBER2(retry_after, retry_after_s, 10000000, retry_words, "Retry-After in seconds; `date`: the date in `reset_s` seconds"),
    NUMBER(reset_s, 10000000, NULL, "adds to `msg` that the limit ends in that many seconds"),
    CHOICE(reset_form, "as local time UTC+8, ISO 8601 in UTC, seconds of the epoch, or a duration"),
    NUMBER(fail_times, 1000000, NULL, "only the first requests with this very text fail (status, end, bad, stream_error, header_ms), later ones are complete"),
    FLAG(close, "the answer says `Connection: close`"),
    TEXT(key, "no effect; makes a text, and so its failure count, its own"),
};

static const struct preset presets[] = {
    {"chunks", "n=5", "a plain answer"},
    {"load", "n=20&size=16", "20 chunks at once: the small answer of the load tests"},
    {"slow", "n=40&gap_ms=50&size=16", "40 events 50 ms apart"},
    {"empty-content", "n=0", "no content at all, then finish"},
    {"say", "text=Hello! I am the stand-in upstream: these words came one by one, and your client put them together.&gap_ms=40",
     "words for people, one after the other"},
    {"echo", "n=0&echo=1", "says the last message back"},
    {"big-events", "n=3&size=1048576", "events of 1 MiB"},
    {"big-body", "total=8388608&size=4096", "8 MiB of text"},
    {"tools-proper", "n=1&tools=3", "distinct indexes, id on the first fragment only"},
    {"tools-one", "n=0&tools=1", "one call, no text"},
    {"tools-whole", "n=0&tools=2&tool_fragments=0", "each call in one fragment"},
    {"tools-index0", "n=0&tools=3&tool_index=zero&tool_id=every", "index 0 on every call, told apart by the id on each fragment"},
    {"tools-index0-cont", "n=0&tools=3&tool_index=zero", "the same, fragments that continue have no id"},
    {"tools-index0-whole", "n=0&tools=3&tool_index=zero&tool_fragments=0", "index 0 on every call, each in one fragment"},
    {"tools-index0-interleaved", "n=0&tools=2&tool_index=zero&tool_id=every&tool_order=interleaved", "index 0 on every call, taking turns, ids on all fragments"},
    {"tools-noid", "n=0&tools=3&tool_id=none", "no ids at all, told apart by index"},
    {"tools-noid-interleaved", "n=0&tools=3&tool_id=none&tool_order=interleaved", "no ids, taking turns"},
    {"tools-emptyid", "n=0&tools=2&tool_id=empty", "`id: \"\"` on fragments that continue"},
    {"tools-noindex", "n=0&tools=2&tool_index=none&tool_id=every", "no index, told apart by id"},
    {"tools-name-split", "n=0&tools=2&tool_name=split", "the name in two fragments"},
    {"tools-name-every", "n=0&tools=2&tool_name=every", "the name repeated whole on each fragment"},
    {"tools-interleaved", "n=0&tools=3&tool_order=interleaved", "parallel calls taking turns"},
    {"tools-batch", "n=0&tools=3&tool_order=batch", "fragments of all calls in each chunk"},
    {"tools-badargs", "n=0&tools=1&tool_args_bad=1", "arguments that are not JSON"},
    {"tools-big", "n=0&tools=2&tool_args_bytes=200000&tool_fragments=50", "long arguments"},
    {"tools-text", "n=3&tools=2&reasoning=2&utf8=1", "reasoning, text and calls"},
    {"reasoning", "n=3&reasoning=3", "`reasoning_content` before content"},
    {"reasoning-plain", "n=3&reasoning=3&reasoning_key=reasoning", "the same as `reasoning`"},
    {"reasoning-both", "n=3&reasoning=3&reasoning_key=both", "both names in each delta"},
    {"reasoning-after", "n=3&reasoning=3&reasoning_at=after", "after content"},
    {"reasoning-with", "n=3&reasoning=3&reasoning_at=with", "in the same deltas as content"},
    {"reasoning-mixed", "n=3&reasoning=3&reasoning_at=mixed", "taking turns with content"},
    {"usage-finish", "n=3&usage=finish", "usage on the finish chunk"},
    {"usage-every", "n=3&usage=every", "usage on every chunk, cumulative"},
    {"usage-none", "n=3&usage=none", "no usage"},
    {"credit", "n=3&credit=0.000123456789", "a credit with many decimals"},
    {"noise", "n=3&noise=1", "noise fields"},
    {"noise-tools", "n=1&tools=2&noise=1", "noise fields around tool calls"},
    {"extra", "n=3&extra=1", "unknown fields"},
    {"no-role", "n=3&role=none", "no role at all"},
    {"role-own", "n=3&role=own", "a first chunk with only the role"},
    {"role-every", "n=3&role=every", "the role on every delta"},
    {"finish-length", "n=3&finish=length", "finish_reason length"},
    {"finish-filter", "n=1&finish=content_filter", "finish_reason content_filter"},
    {"finish-on-last", "n=3&finish_on_last=1", "finish_reason on the last content chunk"},
    {"sep-lf", "n=5&sep=lf", "single newlines between events"},
    {"sep-crlf", "n=5&sep=crlf2", "CRLF"},
    {"sep-crlf1", "n=5&sep=crlf", "CRLF and no empty lines"},
    {"no-space", "n=5&space=0", "`data:` without the space"},
    {"comments", "n=5&comments=2", "comments between events"},
    {"fields", "n=5&fields=1", "other SSE fields"},
    {"bom", "n=3&bom=1", "a byte order mark first"},
    {"cut-1", "n=3&utf8=1&cut=1", "a piece per byte"},
    {"cut-random", "n=20&utf8=1&cut=rand", "pieces of random size"},
    {"cut-utf8", "n=5&utf8=1&cut=utf8&cut_ms=2", "each character beyond ASCII cut in half"},
    {"utf8", "n=5&utf8=1", "characters beyond ASCII, raw"},
    {"escape", "n=5&escape=1", "characters beyond ASCII, escaped"},
    {"length", "n=5&transfer=length", "a stream with Content-Length"},
    {"until-close", "n=5&transfer=close", "a stream that ends with the connection"},
    {"close", "n=5&close=1", "`Connection: close`"},
    {"silent", "end=hang&at=0", "header, then silence"},
    {"silent-header", "end=hang&at=header", "silence before the header"},
    {"silent-middle", "n=5&end=hang&at=2", "silence after two events"},
    {"endless", "n=3&end=endless&gap_ms=1", "events for ever"},
    {"endless-fast", "n=3&end=endless", "events for ever, as fast as they go"},
    {"endless-line", "n=1&end=line", "a line that never ends"},
    {"no-finish", "n=3&finish=none&done=0&usage=none", "end of file without finish"},
    {"no-finish-done", "n=3&finish=none&usage=none", "[DONE] without finish"},
    {"no-done", "n=3&done=0", "end of file after finish, no [DONE]"},
    {"eof-middle", "n=5&end=eof&at=2", "clean end of file after two events"},
    {"eof-first", "n=5&end=eof&at=0", "a 200 with no event at all"},
    {"abort-middle", "n=5&end=abort&at=2", "connection closed inside the body"},
    {"abort-header", "end=abort&at=header", "connection closed before the header"},
    {"reset-middle", "n=5&end=reset&at=2&end_ms=20", "connection reset after two events"},
    {"reset-first", "n=5&end=reset&at=0&end_ms=20", "connection reset after the header"},
    {"reset-header", "end=reset&at=header", "connection reset before the header"},
    {"bad-json", "n=5&bad=json&at=2", "an event that is not JSON, after two good ones"},
    {"bad-json-first", "n=5&bad=json&at=0", "an event that is not JSON first"},
    {"bad-utf8", "n=5&bad=utf8&at=2", "invalid UTF-8 in an event"},
    {"bad-nul", "n=5&bad=nul&at=2", "a NUL byte in an event"},
    {"bad-shape", "n=5&bad=shape&at=2", "JSON of the wrong shape in an event"},
    {"error-object", "n=5&stream_error=object&at=2", "`{\"error\":{…}}` after two events"},
    {"error-text", "n=5&stream_error=text&at=2", "`{\"error\":\"…\"}` after two events"},
    {"error-code", "n=5&stream_error=code&code=14018&at=2&msg=credits used up", "`{\"code\",\"msg\"}` after two events"},
    {"error-object-first", "n=5&stream_error=object&at=0", "the same, as the first event"},
    {"error-text-first", "n=5&stream_error=text&at=0", "the same, as the first event"},
    {"error-code-first", "n=5&stream_error=code&at=0", "the same, as the first event"},
    {"401-html", "status=401&body=html", "a token of another site"},
    {"401-json", "status=401&body=envelope&code=401&msg=token expired", "a token that is bad"},
    {"403-html", "status=403&body=html", ""},
    {"403-11140", "status=403&body=envelope&code=11140&msg=request refused by risk control", "risk control"},
    {"403-json", "status=403&body=error&msg=forbidden", ""},
    {"404", "status=404&body=html", ""},
    {"429", "status=429&body=envelope&code=429&msg=too many requests", "rate limit without Retry-After"},
    {"429-retry", "status=429&body=envelope&code=429&msg=too many requests&retry_after=2", "rate limit with Retry-After"},
    {"429-date", "status=429&body=envelope&code=429&msg=too many requests&retry_after=date&reset_s=5", "Retry-After as a date"},
    {"429-text", "status=429&body=envelope&code=429&msg=usage limit reached,&reset_s=30", "rate limit with its end in the text"},
    {"429-iso", "status=429&body=error&code=429&msg=usage limit reached,&reset_s=30&reset_form=iso", "the same as ISO 8601"},
    {"429-in", "status=429&body=envelope&code=429&msg=usage limit reached,&reset_s=30&reset_form=in", "the same as a duration"},
    {"429-14018", "status=429&body=envelope&code=14018&msg=credits used up", "credits used up"},
    {"500", "status=500&body=envelope&code=500&msg=internal error", ""},
    {"500-empty", "status=500&body=empty", ""},
    {"502", "status=502&body=html", ""},
    {"503", "status=503&body=html&retry_after=1", ""},
    {"504", "status=504&body=plain&msg=gateway timeout", ""},
    {"11101", "status=400&body=envelope&code=11101&msg=stream must be true", "our request is malformed"},
    {"11102", "status=400&body=envelope&code=11102&msg=model not served", "model not served"},
    {"11128", "status=400&body=envelope&code=11128&msg=first message must be system", "our request is malformed"},
    {"400", "status=400&body=error&code=400&msg=bad request", ""},
    {"200-envelope", "body=envelope&code=11102&msg=model not served", "200 with a JSON error"},
    {"200-error", "body=error&code=500&msg=internal error", "200 with `{\"error\":{}}`"},
    {"200-completion", "n=5&body=completion", "200 with a whole completion"},
    {"200-completion-tools", "n=1&tools=2&reasoning=1&body=completion", "the same with tool calls"},
    {"200-html", "body=html", "200 with HTML"},
    {"200-empty", "body=empty", "200 and nothing"},
    {"200-empty-stream", "n=0&finish=none&done=0&usage=none", "an event stream without events"},
};
/* clang-format on */

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

static const struct scenario defaults = {
    .n = 5,
    .tool_fragments = 3,
    .tool_prefix = "call",
    .prompt_tokens = 11,
    .cached_tokens = 4,
    .credit = "0.0125",
    .done = true,
    .space = true,
    .seed = 1,
    .at = AT_END,
    .status = 200,
    .code = 11000,
    .msg = "the stand-in says no",
    .retry_after_s = RETRY_NONE,
};

static char *sentence(const char *format, struct span what)
{
    struct buffer text = {0};
    char word[64];

    span_copy(what, word, sizeof(word));
    buffer_append_text(&text, format);
    buffer_append_text(&text, ": ");
    buffer_append(&text, word, strlen(word) + 1);
    return text.data;
}

static bool find_choice(const struct choice *choices, const char *word, int64_t *value)
{
    for (; choices && choices->word; choices++) {
        if (strcmp(choices->word, word) != 0)
            continue;
        *value = choices->value;
        return true;
    }
    return false;
}

static void store(const struct field *field, struct scenario *scenario, int64_t value)
{
    char *at = (char *)scenario + field->offset;
    int narrow = (int)value;
    bool flag = value != 0;

    if (field->type == FIELD_FLAG)
        memcpy(at, &flag, sizeof(flag));
    else if (field->type == FIELD_NUMBER)
        memcpy(at, &value, sizeof(value));
    else
        memcpy(at, &narrow, sizeof(narrow)); /* an enum: gcc and clang give these the size of int */
}

static bool set_field(const struct field *field, const char *word, struct scenario *scenario)
{
    int64_t value;

    if (field->type == FIELD_TEXT) {
        size_t size = strlen(word) + 1;

        if (size > SCENARIO_WORD_MAX_BYTES)
            return false;
        memcpy((char *)scenario + field->offset, word, size);
        return true;
    }
    if (!find_choice(field->choices, word, &value)) {
        if (field->type == FIELD_CHOICE || !span_to_number(span_of(word), &value))
            return false;
        if (value < field->min || value > field->max)
            return false;
    }
    store(field, scenario, value);
    return true;
}

static bool set_pair(struct span pair, struct scenario *scenario, char **why)
{
    const char *equals = memchr(pair.data, '=', pair.size);
    char word[SCENARIO_TEXT_MAX_BYTES];
    struct span key;

    if (!equals) {
        *why = sentence("not key=value", pair);
        return false;
    }
    key = (struct span){pair.data, (size_t)(equals - pair.data)};
    if (!http_decode_percent((struct span){equals + 1, pair.size - key.size - 1}, false, word,
                             sizeof(word))) {
        *why = sentence("malformed value", pair);
        return false;
    }
    for (size_t i = 0; i < COUNT_OF(fields); i++) {
        if (!span_equal(key, fields[i].key))
            continue;
        if (set_field(&fields[i], word, scenario))
            return true;
        *why = sentence("value not allowed", pair);
        return false;
    }
    *why = sentence("unknown key", key);
    return false;
}

static bool set_pairs(struct span text, struct scenario *scenario, char **why)
{
    while (text.size) {
        const char *amp = memchr(text.data, '&', text.size);
        size_t size = amp ? (size_t)(amp - text.data) : text.size;

        if (size && !set_pair((struct span){text.data, size}, scenario, why))
            return false;
        size += amp ? 1 : 0;
        text = (struct span){text.data + size, text.size - size};
    }
    return true;
}

static const struct preset *find_preset(struct span name)
{
    for (size_t i = 0; i < COUNT_OF(presets); i++)
        if (span_equal(name, presets[i].name))
            return &presets[i];
    return NULL;
}

static bool is_json_number(const char *text)
{
    size_t whole = strspn(text, "0123456789");
    size_t part;

    if (whole == 0 || (whole > 1 && text[0] == '0') || whole > 9)
        return false;
    if (text[whole] == '\0')
        return true;
    part = strspn(text + whole + 1, "0123456789");
    return text[whole] == '.' && part > 0 && part <= 18 && text[whole + 1 + part] == '\0';
}

static int64_t count_words(const char *text)
{
    int64_t count = 1;

    for (; *text; text++)
        count += *text == ' ' && text[1];
    return count;
}

/* What one field cannot see: combinations, and what follows from others. */
static bool settle(struct scenario *scenario, char **why)
{
    bool over_early = scenario->end != END_DONE || scenario->bad || scenario->stream_error;

    if (strcmp(scenario->credit, "none") == 0)
        scenario->credit[0] = '\0';
    if (scenario->credit[0] && !is_json_number(scenario->credit)) {
        *why = sentence("credit is not a decimal number", span_of(scenario->credit));
        return false;
    }
    if (scenario->status < 200) {
        *why = sentence("status is not final", span_of("use 200 to 599"));
        return false;
    }
    if (scenario->status != 200 && scenario->body == BODY_STREAM)
        scenario->body = BODY_ENVELOPE;
    if (scenario->body != BODY_STREAM && scenario->at != AT_HEADER && over_early) {
        *why = sentence("only a stream can end early or go bad", span_of("end, bad, stream_error with body"));
        return false;
    }
    if (scenario->text[0])
        scenario->n = count_words(scenario->text);
    if (scenario->total > 0) {
        if (scenario->size == 0)
            scenario->size = 1024;
        scenario->n = (scenario->total + scenario->size - 1) / scenario->size;
    }
    if (scenario->n > 0 && scenario->n * (scenario->size + scenario->pad_event) > (int64_t)256 << 20) {
        *why = sentence("the answer is too large", span_of("n * (size + pad_event) > 256 MiB"));
        return false;
    }
    if (scenario->tools * scenario->tool_args_bytes * (scenario->tool_fragments + 1) > (int64_t)1 << 30) {
        *why = sentence("too much to make", span_of("tools * tool_args_bytes * tool_fragments"));
        return false;
    }
    if (scenario->at != AT_END && !over_early) {
        *why = sentence("nothing strikes there", span_of("at without end, bad or stream_error"));
        return false;
    }
    if (scenario->at == AT_HEADER && scenario->end != END_HANG && scenario->end != END_RESET &&
        scenario->end != END_ABORT) {
        *why = sentence("not before the header", span_of("only end=hang, reset, abort with at=header"));
        return false;
    }
    if (scenario->transfer == TRANSFER_LENGTH &&
        (scenario->end == END_ENDLESS || scenario->end == END_LINE)) {
        *why = sentence("no length of what never ends", span_of("transfer=length"));
        return false;
    }
    return true;
}

bool scenario_is_text(struct span text)
{
    return span_has_prefix(text, PREFIX);
}

bool scenario_parse(struct span text, struct scenario *scenario, char **why)
{
    const struct preset *preset;
    const char *mark;
    struct span name;

    *scenario = defaults;
    if (!scenario_is_text(text) || text.size >= SCENARIO_TEXT_MAX_BYTES) {
        *why = sentence("not s:NAME?key=value", text);
        return false;
    }
    text = (struct span){text.data + strlen(PREFIX), text.size - strlen(PREFIX)};
    mark = memchr(text.data, '?', text.size);
    name = (struct span){text.data, mark ? (size_t)(mark - text.data) : text.size};
    preset = find_preset(name);
    if (!preset) {
        *why = sentence("unknown scenario", name);
        return false;
    }
    if (!set_pairs(span_of(preset->text), scenario, why))
        return false;
    if (mark && !set_pairs((struct span){mark + 1, text.size - name.size - 1}, scenario, why))
        return false;
    return settle(scenario, why);
}

void scenario_recover(struct scenario *scenario)
{
    scenario->header_ms = 0;
    scenario->status = 200;
    scenario->body = BODY_STREAM;
    scenario->retry_after_s = RETRY_NONE;
    scenario->reset_s = 0;
    scenario->end = END_DONE;
    scenario->bad = BAD_NONE;
    scenario->stream_error = STREAM_ERROR_NONE;
    scenario->at = AT_END;
    scenario->finish = FINISH_AUTO;
    scenario->done = true;
    scenario->fail_times = 0;
}

bool scenario_is_fresh(const struct scenario *scenario)
{
    return scenario->echo || scenario->mark || scenario->reset_s > 0 || scenario->retry_after_s == RETRY_DATE;
}

const char *scenario_preset_name(unsigned index)
{
    return index < COUNT_OF(presets) ? presets[index].name : NULL;
}

static void print_choices(const struct field *field, struct buffer *out)
{
    const struct choice *choice = field->choices;

    if (field->type == FIELD_FLAG)
        buffer_append_text(out, "0, 1");
    else if (field->type == FIELD_TEXT)
        buffer_append_text(out, "text");
    else if (field->type == FIELD_NUMBER)
        buffer_printf(out, "0 to %lld", (long long)field->max);
    for (; choice && choice->word; choice++)
        buffer_printf(out, "%s%s", field->type == FIELD_NUMBER || choice != field->choices ? ", " : "",
                      choice->word);
}

static void print_default(const struct field *field, struct buffer *out)
{
    const char *at = (const char *)&defaults + field->offset;
    int64_t number = 0;

    if (field->type == FIELD_TEXT) {
        buffer_append_text(out, at);
        return;
    }
    if (field->type == FIELD_CHOICE) { /* the first word of a list is the default */
        buffer_append_text(out, field->choices[0].word);
        return;
    }
    if (field->type == FIELD_FLAG)
        number = *(const bool *)at;
    else
        memcpy(&number, at, sizeof(number));
    for (const struct choice *choice = field->choices; choice && choice->word; choice++)
        if (choice->value == number) {
            buffer_append_text(out, choice->word);
            return;
        }
    buffer_printf(out, "%lld", (long long)number);
}

void scenario_print_table(struct buffer *out)
{
    buffer_append_text(out, "| scenario | is short for | what |\n| --- | --- | --- |\n");
    for (size_t i = 0; i < COUNT_OF(presets); i++)
        buffer_printf(out, "| `s:%s` | `%s` | %s |\n", presets[i].name, presets[i].text, presets[i].help);
    buffer_append_text(out, "\n| key | values | default | meaning |\n| --- | --- | --- | --- |\n");
    for (size_t i = 0; i < COUNT_OF(fields); i++) {
        buffer_printf(out, "| `%s` | ", fields[i].key);
        print_choices(&fields[i], out);
        buffer_append_text(out, " | ");
        print_default(&fields[i], out);
        buffer_printf(out, " | %s |\n", fields[i].help);
    }
}
