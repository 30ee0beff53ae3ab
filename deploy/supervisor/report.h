/* SPDX-License-Identifier: MIT */
/* report - the lines that a child writes to its supervisor (format: proto/service.h, "Supervision contract").
 * Parsing is total: any bytes give a report or an error, nothing is allocated. */
#ifndef SUPERVISOR_REPORT_H
#define SUPERVISOR_REPORT_H

#include "proto/bytes.h"

enum { REPORT_NUMBERS_MAX = 24, REPORT_KEY_MAX_BYTES = 32, REPORT_LINE_MAX_BYTES = 2048 };

enum report_type { REPORT_READY, REPORT_ALIVE, REPORT_DRAINING };

struct report_number {
    char key[REPORT_KEY_MAX_BYTES]; /* NUL-terminated, of [a-z0-9_] */
    int64_t value;
};

struct report {
    enum report_type type;
    size_t numbers_count; /* of `alive`; more than REPORT_NUMBERS_MAX are dropped */
    struct report_number numbers[REPORT_NUMBERS_MAX];
};

/* Parses one line without its newline. 0, or ERR_INVALID and `report` is unchanged. */
int report_parse(struct span line, struct report *report);

/* Cuts a byte stream into lines. Embedded; all zero is the start. A line over the limit arrives empty, which
 * is no report. */
struct report_reader {
    bool too_long; /* what comes up to the next newline is dropped */
    size_t length;
    char line[REPORT_LINE_MAX_BYTES];
};
/* Calls `each` for every line that `bytes` complete, without its newline; the line is valid for the call. */
void report_reader_feed(struct report_reader *reader, struct span bytes,
                        void (*each)(void *context, struct span line), void *context);

#endif
