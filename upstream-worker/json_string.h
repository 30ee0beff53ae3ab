/* SPDX-License-Identifier: MIT */
/* json_string - the inside of JSON strings as they stand in a text ("raw": still escaped, without the quotes;
 * valid, that is, as json_lexer accepted it). Nothing blocks, nothing is kept. */
#ifndef UPSTREAM_WORKER_JSON_STRING_H
#define UPSTREAM_WORKER_JSON_STRING_H

#include "proto/bytes.h"

/* Appends the text that `raw` stands for, as UTF-8. A lone surrogate escape becomes U+FFFD. 0 or ERR_NOMEM.
 */
int json_string_unescape(struct span raw, struct buffer *out);
/* Writes the text that `raw` stands for to out[capacity], with a NUL. False if it does not fit or holds a NUL
 * itself: then `out` is empty. Allocates nothing. */
bool json_string_copy(struct span raw, char *out, size_t capacity);
/* Whether `raw` stands for `text`. Allocates nothing. */
bool json_string_equals(struct span raw, struct span text);
/* Appends `text` with every byte that is not part of valid UTF-8 replaced by U+FFFD. 0 or ERR_NOMEM. */
int json_string_repair_utf8(struct span text, struct buffer *out);

#endif
