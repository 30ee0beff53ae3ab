/* SPDX-License-Identifier: MIT */
/* The last requests as they were received, so that tests can assert what the far end saw. Bodies are kept
 * up to 64 KiB, of larger ones the start and a SHA-256 of the whole. Slots are used again and keep their
 * memory, so that recording costs two copies. */
#ifndef UPSTREAM_RECORD_H
#define UPSTREAM_RECORD_H

#include <jansson.h>
#include <stdint.h>

#include "tests/upstream/buffer.h"

#define RECORD_BODY_MAX_BYTES (64 * 1024)
#define RECORD_SHA256_BYTES   32

struct record_request {
    const char *kind; /* "chat", "refresh", …; lives for ever */
    struct span head; /* as received, with the blank line; borrowed */
    struct span body; /* the first RECORD_BODY_MAX_BYTES; borrowed */
    size_t body_bytes;
    const unsigned char *sha256; /* NULL if body is all of it; borrowed */
    int64_t wall_ms;
};

struct record_end {
    const char *outcome; /* lives for ever */
    int status;
    int64_t events, duration_us;
};

struct records;

struct records *records_new(void);
void records_free(struct records **records);
void records_reset(struct records *records);
/* Returns the request's number, from 1. Numbers go on after a reset. */
uint64_t records_add(struct records *records, const struct record_request *request);
/* Notes which scenario it got. */
void records_set_scenario(struct records *records, uint64_t number, const char *scenario);
/* Notes how it went; does nothing if the record is gone. */
void records_end(struct records *records, uint64_t number, const struct record_end *end);
/* Returns owned: the last limit requests of a kind (all kinds if kind is empty), oldest first. */
json_t *records_to_json(const struct records *records, struct span kind, size_t limit);

#endif
