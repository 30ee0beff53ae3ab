/* SPDX-License-Identifier: MIT */
/* log - one line per event on standard error, as text or as JSON (log_set_format):
 *
 *     2026-11-23T13:05:59.123Z INFO gateway 4711 req=7f3a… worker_up worker=upstream-worker-0 open=3
 *     {"ts":"2026-11-23T13:05:59.123Z","level":"INFO","service":"gateway","pid":4711,"req":"7f3a…",
 *      "event":"worker_up","worker":"upstream-worker-0","open":3}                        (in one line)
 *
 * timestamp, level, service, pid, request (text: or -; JSON: left out), event word, then the event's own
 * fields, whose keys are none of the former. Text values with spaces, quotes or anything beyond printable
 * ASCII are quoted. In both, control characters are escaped, invalid UTF-8 is replaced, and long values are
 * cut: a line is a line, and JSON is JSON, whatever a peer sends. ERROR: a person must act. WARNING:
 * degraded. INFO: life cycle and the access line. Never a body, never a secret. An event word that repeats
 * more than 20 times in a second (INFO and DEBUG excepted) is cut and counted: the next line that passes
 * carries suppressed=N. How lines get out: log_sink.h. Any thread may log.
 *
 *     log_warning(NULL, "peer_down", LOG_STR("peer", name), LOG_INT("after_ms", ms));
 */
#ifndef PROTO_LOG_H
#define PROTO_LOG_H

#include "proto/bytes.h"

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARNING, LOG_LEVEL_ERROR };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };
enum log_field_kind { LOG_FIELD_TEXT, LOG_FIELD_NUMBER, LOG_FIELD_OPTIONAL /* left out when empty */ };

enum { LOG_VALUE_MAX_BYTES = 1024 /* of one value, before escapes */ };

struct log_field {
    const char *key; /* NULL ends the list */
    struct span text;
    int64_t number;
    enum log_field_kind kind;
};

#define LOG_SPAN(key, span)  ((struct log_field){(key), (span), 0, LOG_FIELD_TEXT})
#define LOG_STR(key, string) ((struct log_field){(key), span_str(string), 0, LOG_FIELD_TEXT})
#define LOG_OPT(key, span)   ((struct log_field){(key), (span), 0, LOG_FIELD_OPTIONAL})
#define LOG_INT(key, value)  ((struct log_field){(key), {NULL, 0}, (int64_t)(value), LOG_FIELD_NUMBER})

/* `request`: the request id, or NULL. `event`: a stable word, lower_snake. */
#define log_debug(request, event, ...)   log_emit(LOG_LEVEL_DEBUG, request, event, LOG_FIELDS(__VA_ARGS__))
#define log_info(request, event, ...)    log_emit(LOG_LEVEL_INFO, request, event, LOG_FIELDS(__VA_ARGS__))
#define log_warning(request, event, ...) log_emit(LOG_LEVEL_WARNING, request, event, LOG_FIELDS(__VA_ARGS__))
#define log_error(request, event, ...)   log_emit(LOG_LEVEL_ERROR, request, event, LOG_FIELDS(__VA_ARGS__))
#ifdef __CPPCHECK__ /* its 2.10 does not know __VA_OPT__ */
#define LOG_FIELDS(...) ((const struct log_field[]){__VA_ARGS__})
#else
#define LOG_FIELDS(...)                                                                                      \
    ((const struct log_field[]){__VA_ARGS__ __VA_OPT__(, ){NULL, {NULL, 0}, 0, LOG_FIELD_TEXT}})
#endif

/* Sets the service's name (borrows: a literal) and the least level written, and opens the sink. Before it:
 * "-" and INFO. */
void log_init(const char *service, enum log_level level);
void log_set_level(enum log_level level);
void log_set_format(enum log_format format);
enum log_level log_present_level(void);
/* "DEBUG", "INFO", "WARNING", "ERROR"; anything else is INFO. */
enum log_level log_level_of(const char *name);
/* "json" is JSON; anything else is text. */
enum log_format log_format_of(const char *name);
/* Whether such a line would be written: for lines whose fields take work. */
bool log_is_on(enum log_level level);
void log_emit(enum log_level level, const char *request, const char *event, const struct log_field *fields);
/* Formats one line without writing it (what log_emit writes, newline included). For tests. 0 or ERR_NOMEM. */
int log_format_line(struct buffer *line, int64_t wall_ms, enum log_level level, const char *request,
                    const char *event, const struct log_field *fields);

#endif
