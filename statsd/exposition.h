/* SPDX-License-Identifier: MIT */
/* exposition - all numbers as text for Prometheus: text format 0.0.4, or OpenMetrics 1.0 when asked for.
 * Pure.
 *
 * Ours (from totals) come first, then what processes reported, sorted by family; each family once, with HELP,
 * TYPE and, in OpenMetrics, UNIT (families that end in _seconds or _bytes). A reported family with the name
 * of one of ours, or of two kinds, is left out: it would make the whole page invalid. */
#ifndef STATSD_EXPOSITION_H
#define STATSD_EXPOSITION_H

#include "statsd/registry.h"
#include "statsd/totals.h"

enum exposition_format { EXPOSITION_TEXT, EXPOSITION_OPENMETRICS };

/* By an Accept header (may be empty): OpenMetrics 1.0 only if it is named and not ranked below text. */
enum exposition_format exposition_negotiate(struct span accept);
const char *exposition_content_type(enum exposition_format format); /* static */
/* Appends the page. 0 or ERR_NOMEM. */
int exposition_write(struct buffer *out, enum exposition_format format, const struct totals *totals,
                     const struct registry *registry);
/* Appends a number given in millionths as a decimal, exactly: 1500000 is 1.5. 0 or ERR_NOMEM. */
int exposition_append_micro(struct buffer *out, int64_t value_micro);

#endif
