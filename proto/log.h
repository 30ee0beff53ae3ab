/* SPDX-License-Identifier: MIT */
/* log - one line per event on standard error:
 *
 *     2026-11-23T13:05:59.123Z INFO gateway 4711 req=7f3a… worker_up worker=upstream-worker-0 pid=4712
 *
 * timestamp, level, service, pid, request (or -), event word, then key=value. Values with spaces, quotes or
 * control characters are quoted and escaped, so a line is a line whatever a peer sends. ERROR: a person must
 * act. WARNING: degraded. INFO: life cycle and the access line. Never a body, never a secret. Each line is
 * one write(2), which may block on a full pipe. An event word that repeats more than 20 times in a second
 * (INFO and DEBUG excepted) is cut and counted: the next line that passes carries suppressed=N.
 *
 *     log_warning(NULL, "peer_down", LOG_STR("peer", name), LOG_INT("after_ms", ms));
 */
#ifndef PROTO_LOG_H
#define PROTO_LOG_H

#include "proto/bytes.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERROR };

struct log_field {
    const char *key; /* NULL ends the list */
    struct span text;
    int64_t number;
    bool is_number;
};

#define LOG_SPAN(key, span)  ((struct log_field){(key), (span), 0, false})
#define LOG_STR(key, string) ((struct log_field){(key), span_str(string), 0, false})
#define LOG_INT(key, value)  ((struct log_field){(key), {NULL, 0}, (int64_t)(value), true})

/* `request`: the request id, or NULL. `event`: a stable word, lower_snake. */
#define log_debug(request, event, ...)   log_emit(LOG_DEBUG, request, event, LOG_FIELDS(__VA_ARGS__))
#define log_info(request, event, ...)    log_emit(LOG_INFO, request, event, LOG_FIELDS(__VA_ARGS__))
#define log_warning(request, event, ...) log_emit(LOG_WARNING, request, event, LOG_FIELDS(__VA_ARGS__))
#define log_error(request, event, ...)   log_emit(LOG_ERROR, request, event, LOG_FIELDS(__VA_ARGS__))
#ifdef __CPPCHECK__ /* its 2.10 does not know __VA_OPT__ */
#define LOG_FIELDS(...) ((const struct log_field[]){__VA_ARGS__})
#else
#define LOG_FIELDS(...) ((const struct log_field[]){__VA_ARGS__ __VA_OPT__(, ){NULL, {NULL, 0}, 0, false}})
#endif

/* Sets the service's name (borrows: a literal) and the least level written. Before it: "-" and INFO. */
void log_init(const char *service, enum log_level level);
void log_set_level(enum log_level level);
/* "DEBUG", "INFO", "WARNING", "ERROR"; anything else is INFO. */
enum log_level log_level_of(const char *name);
void log_emit(enum log_level level, const char *request, const char *event, const struct log_field *fields);
/* Formats one line without writing it (what log_emit writes, newline included). For tests. 0 or ERR_NOMEM. */
int log_format(struct buffer *line, int64_t wall_ms, enum log_level level, const char *request,
               const char *event, const struct log_field *fields);

#endif
