/* SPDX-License-Identifier: MIT */
/* JSON strings, written by hand: the answers need exact control of how a character is spelled. */
#ifndef UPSTREAM_JSON_TEXT_H
#define UPSTREAM_JSON_TEXT_H

#include "tests/upstream/buffer.h"

/* Appends text (UTF-8) with quotes. ascii: characters beyond ASCII become \uXXXX, a pair where needed;
 * else they stay as they are. */
void json_text_append(struct buffer *out, struct span text, bool ascii);
/* The largest size <= limit at which text can be cut without cutting a character. */
size_t json_text_cut(struct span text, size_t limit);

#endif
