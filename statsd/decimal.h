/* SPDX-License-Identifier: MIT */
/* decimal - numbers as text, many of them: an answer has up to a million. Pure. 0 or ERR_NOMEM. */
#ifndef STATSD_DECIMAL_H
#define STATSD_DECIMAL_H

#include "proto/bytes.h"

int decimal_append(struct buffer *out, int64_t value);
/* Millionths, exactly: 1500000 is 1.5. */
int decimal_append_micro(struct buffer *out, int64_t value_micro);

#endif
