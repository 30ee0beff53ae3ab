/* SPDX-License-Identifier: MIT */
#include "tests/upstream/record.h"

#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/upstream/http.h"

#define RECORD_COUNT 512

_Static_assert(RECORD_SHA256_BYTES == SHA256_DIGEST_LENGTH, "one size of SHA-256");

struct record {
    uint64_t number; /* 0: empty */
    const char *kind, *outcome;
    struct buffer head, body, scenario;
    size_t body_bytes;
    bool has_sha256;
    unsigned char sha256[RECORD_SHA256_BYTES];
    int64_t wall_ms, events, duration_us;
    int status;
};

struct records {
    uint64_t last_number, first_number; /* first since the last reset */
    struct record slots[RECORD_COUNT];
};

struct records *records_new(void)
{
    struct records *records = memory_new_zero(1, sizeof(*records));

    records->first_number = 1;
    return records;
}

void records_free(struct records **records)
{
    if (!*records)
        return;
    for (size_t i = 0; i < RECORD_COUNT; i++) {
        buffer_fini(&(*records)->slots[i].head);
        buffer_fini(&(*records)->slots[i].body);
        buffer_fini(&(*records)->slots[i].scenario);
    }
    free(*records);
    *records = NULL;
}

void records_reset(struct records *records)
{
    records->first_number = records->last_number + 1;
}

uint64_t records_add(struct records *records, const struct record_request *request)
{
    uint64_t number = ++records->last_number;
    struct record *record = &records->slots[number % RECORD_COUNT];

    record->number = number;
    record->kind = request->kind;
    record->outcome = "running";
    buffer_clear(&record->head);
    buffer_append(&record->head, request->head.data, request->head.size);
    buffer_clear(&record->body);
    buffer_append(&record->body, request->body.data, request->body.size);
    record->body_bytes = request->body_bytes;
    record->has_sha256 = request->sha256 != NULL;
    if (request->sha256)
        memcpy(record->sha256, request->sha256, sizeof(record->sha256));
    record->wall_ms = request->wall_ms;
    record->events = record->duration_us = 0;
    record->status = 0;
    buffer_clear(&record->scenario);
    return number;
}

void records_set_scenario(struct records *records, uint64_t number, const char *scenario)
{
    struct record *record = &records->slots[number % RECORD_COUNT];

    if (number == 0 || record->number != number)
        return;
    buffer_clear(&record->scenario);
    buffer_append_text(&record->scenario, scenario);
}

void records_end(struct records *records, uint64_t number, const struct record_end *end)
{
    struct record *record = &records->slots[number % RECORD_COUNT];

    if (number == 0 || record->number != number)
        return;
    record->outcome = end->outcome;
    record->status = end->status;
    record->events = end->events;
    record->duration_us = end->duration_us;
}

static json_t *bytes_to_json(const char *data, size_t size)
{
    json_t *text = json_stringn(data, size);

    return text ? text : json_null(); /* not UTF-8: the digest is what is left */
}

static json_t *sha256_to_json(const struct record *record)
{
    unsigned char digest[RECORD_SHA256_BYTES];
    char hex[2 * RECORD_SHA256_BYTES + 1];

    if (record->has_sha256)
        memcpy(digest, record->sha256, sizeof(digest));
    else
        SHA256((const unsigned char *)record->body.data, record->body.size, digest);
    for (size_t i = 0; i < sizeof(digest); i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    return json_string(hex);
}

/* Names in lower case; a header that comes twice becomes an array. */
static json_t *headers_to_json(const struct http_request *request)
{
    json_t *headers = json_object();

    for (unsigned i = 0; i < request->header_count; i++) {
        struct span name = request->headers[i].name, value = request->headers[i].value;
        char key[128];
        json_t *old, *text = bytes_to_json(value.data, value.size);

        span_copy(name, key, sizeof(key));
        for (char *at = key; *at; at++)
            *at = *at >= 'A' && *at <= 'Z' ? (char)(*at | 0x20) : *at;
        old = json_object_get(headers, key);
        if (json_is_array(old))
            json_array_append_new(old, text);
        else if (old)
            json_object_set_new(headers, key, json_pack("[O,o]", old, text));
        else
            json_object_set_new(headers, key, text);
    }
    return headers;
}

static json_t *record_to_json(const struct record *record)
{
    static const struct http_request none;
    struct http_request request = none;
    const char *why;
    json_t *all = json_object();

    http_head_parse(record->head.data, record->head.size, &request, &why);
    json_object_set_new(all, "number", json_integer((json_int_t)record->number));
    json_object_set_new(all, "kind", json_string(record->kind));
    json_object_set_new(all, "wall_ms", json_integer(record->wall_ms));
    json_object_set_new(all, "method", bytes_to_json(request.method.data, request.method.size));
    json_object_set_new(all, "path", bytes_to_json(request.path.data, request.path.size));
    json_object_set_new(all, "query", bytes_to_json(request.query.data, request.query.size));
    json_object_set_new(all, "headers", headers_to_json(&request));
    json_object_set_new(all, "body", bytes_to_json(record->body.data, record->body.size));
    json_object_set_new(all, "body_bytes", json_integer((json_int_t)record->body_bytes));
    json_object_set_new(all, "body_sha256", sha256_to_json(record));
    json_object_set_new(all, "scenario", bytes_to_json(record->scenario.data, record->scenario.size));
    json_object_set_new(all, "outcome", json_string(record->outcome));
    json_object_set_new(all, "status", json_integer(record->status));
    json_object_set_new(all, "events", json_integer(record->events));
    json_object_set_new(all, "duration_us", json_integer(record->duration_us));
    return all;
}

json_t *records_to_json(const struct records *records, struct span kind, size_t limit)
{
    json_t *all = json_array();
    uint64_t number = records->last_number;
    size_t left = limit;

    for (; left > 0 && number >= records->first_number; number--) {
        const struct record *record = &records->slots[number % RECORD_COUNT];

        if (record->number != number)
            break; /* overwritten */
        if (kind.size && !span_equal(kind, record->kind))
            continue;
        json_array_insert_new(all, 0, record_to_json(record));
        left--;
    }
    return all;
}
