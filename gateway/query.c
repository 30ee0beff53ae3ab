/* SPDX-License-Identifier: MIT */
#include "gateway/query.h"
#include "gateway/percent.h"
#include "proto/error.h"

/* Decodes one side of a pair. Returns the length, -1 if it is malformed, not UTF-8 or too long. */
static int decode(struct span encoded, char *text, size_t size)
{
    char spaced[3 * QUERY_VALUE_MAX_BYTES];
    if (encoded.length > sizeof spaced)
        return -1;
    for (size_t i = 0; i < encoded.length; i++)
        spaced[i] = encoded.data[i];
    for (size_t i = 0; i < encoded.length; i++)
        if (spaced[i] == '+')
            spaced[i] = ' ';
    int length = percent_decode(span_of(spaced, encoded.length), text, size);
    bool is_text = length >= 0 && span_is_utf8(span_of(text, (size_t)length)) &&
                   !(length > 0 && memchr(text, '\0', (size_t)length));
    return is_text ? length : -1;
}

static bool is_among(struct span name, const char *known)
{
    for (size_t length; *known; known += length) {
        known += strspn(known, " ");
        length = strcspn(known, " ");
        if (length > 0 && span_equals(name, span_of(known, length)))
            return true;
    }
    return false;
}

static int fail(struct query_problem *problem, const char *message)
{
    problem->message = message;
    return ERR_INVALID;
}

static int read_pair(struct span pair, const char *known, json_t *into, struct query_problem *problem)
{
    char value[QUERY_VALUE_MAX_BYTES];
    const char *equals = memchr(pair.data, '=', pair.length);
    size_t name_bytes = equals ? (size_t)(equals - pair.data) : pair.length;
    problem->name[0] = '\0';
    int length = decode(span_of(pair.data, name_bytes), problem->name, QUERY_NAME_MAX_BYTES);
    if (length < 0) {
        problem->name[0] = '\0';
        return fail(problem, "A parameter's name is not well formed.");
    }
    problem->name[length] = '\0';
    if (!is_among(span_str(problem->name), known))
        return fail(problem, "There is no such parameter.");
    if (json_object_get(into, problem->name))
        return fail(problem, "It is given twice.");
    struct span encoded = equals ? span_of(equals + 1, pair.length - name_bytes - 1) : span_of("", 0);
    length = decode(encoded, value, sizeof value);
    if (length < 0)
        return fail(problem, "It is not well formed, or too long.");
    return json_object_set_new(into, problem->name, json_stringn(value, (size_t)length)) < 0 ? ERR_NOMEM : 0;
}

int query_read(struct span query, const char *known, json_t *into, struct query_problem *problem)
{
    int error = 0;
    while (query.length > 0 && error == 0) {
        const char *end = memchr(query.data, '&', query.length);
        size_t length = end ? (size_t)(end - query.data) : query.length;
        if (length > 0)
            error = read_pair(span_of(query.data, length), known, into, problem);
        length += end ? 1 : 0;
        query = span_of(query.data + length, query.length - length);
    }
    return error;
}
