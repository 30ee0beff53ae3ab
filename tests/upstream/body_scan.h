/* SPDX-License-Identifier: MIT */
/* What the stand-in must know of a chat body, read while the bytes come in and without a tree: the model,
 * stream, stream_options.include_usage and the roles. A body of 24 MB costs its reads and nothing at its
 * end, so that it cannot delay the other streams. Pure; no allocation. Lenient about scalars: whether a
 * small body is JSON to the letter is jansson's business (check.h). */
#ifndef UPSTREAM_BODY_SCAN_H
#define UPSTREAM_BODY_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BODY_SCAN_MODEL_MAX_BYTES 1024
#define BODY_SCAN_DEPTH_MAX       1024

enum body_truth { BODY_MISSING = 0, BODY_TRUE, BODY_OTHER };

struct body_scan {
    /* results, valid once body_scan_is_whole says so */
    char model[BODY_SCAN_MODEL_MAX_BYTES]; /* still escaped as in the body */
    size_t model_size;
    bool model_seen, model_too_long;
    enum body_truth stream, include_usage;
    unsigned message_count;
    bool first_is_system, has_developer;

    /* where the scan stands */
    unsigned depth;
    uint64_t is_object[BODY_SCAN_DEPTH_MAX / 64];
    bool in_string, escaped, string_is_key, expects_key, at_value, over, bad;
    unsigned char top_key, sub_key; /* enum body_key */
    char text[20];                  /* a key, or a role */
    unsigned char text_size;        /* sizeof(text): too long to matter */
};

void body_scan_init(struct body_scan *scan);
void body_scan_feed(struct body_scan *scan, const char *data, size_t size_bytes);
/* One JSON object, closed, and nothing wrong in how brackets and strings nest. */
bool body_scan_is_whole(const struct body_scan *scan);

#endif
