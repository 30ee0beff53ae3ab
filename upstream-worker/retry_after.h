/* SPDX-License-Identifier: MIT */
/* retry_after - how long an upstream asks us to wait, from a Retry-After header or from a sentence. Nothing
 * blocks. */
#ifndef UPSTREAM_WORKER_RETRY_AFTER_H
#define UPSTREAM_WORKER_RETRY_AFTER_H

#include "proto/bytes.h"

/* Both return seconds from now, 0 if the text says nothing (usable) about it or the time is past; at most a
 * year. `now_wall_s`: seconds since 1970. */

/* A header value: seconds, perhaps with a fraction (rounded up), or an HTTP date (RFC 9110, IMF-fixdate). */
int64_t retry_after_parse_header(struct span value, int64_t now_wall_s);
/* A sentence: a date and time (2025-01-31 08:00:00, with T or a space, a zone or none: then China's, UTC+8),
 * or a number and a unit of time after "in", "after" or "wait", or in front of "后": s, sec, seconds, m, min,
 * minutes, h, hours, 秒, 分钟, 小时. */
int64_t retry_after_parse_text(struct span text, int64_t now_wall_s);

#endif
