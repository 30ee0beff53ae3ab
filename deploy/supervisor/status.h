/* SPDX-License-Identifier: MIT */
/* status - what `codebuddy2api status` prints of the supervisor's JSON. */
#ifndef SUPERVISOR_STATUS_H
#define SUPERVISOR_STATUS_H

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>

/* Prints a line about the whole and a table of the processes. Tolerates missing members. */
void status_print(FILE *out, const json_t *status);
/* "950 ms", "12 s", "3 min 4 s", "2 h 13 min", "5 d 3 h", into `text`. */
void status_format_duration(int64_t duration_ms, char *text, size_t size);

#endif
