/* SPDX-License-Identifier: MIT */
/* error - the one list of failures that functions return, as negative values.
 *
 * These are failures between functions. What a client is told is another matter: see proto/failure.h. */
#ifndef PROTO_ERROR_H
#define PROTO_ERROR_H

#include <stdbool.h>

/* E(NAME, value, can a retry of the same call help?, text) */
#define ERROR_LIST(E)                                                                                        \
    E(ERR_NOMEM, 1, true, "out of memory")                                                                   \
    E(ERR_INVALID, 2, false, "malformed input")                                                              \
    E(ERR_TOO_LARGE, 3, false, "over a limit")                                                               \
    E(ERR_TRUNCATED, 4, false, "ends too early")                                                             \
    E(ERR_VERSION, 5, false, "unknown protocol version")                                                     \
    E(ERR_UNKNOWN_TYPE, 6, false, "unknown message type")                                                    \
    E(ERR_IO, 7, true, "input or output failed")                                                             \
    E(ERR_NOT_FOUND, 8, false, "not found")                                                                  \
    E(ERR_EXISTS, 9, false, "exists already")                                                                \
    E(ERR_TIMEOUT, 10, true, "timed out")                                                                    \
    E(ERR_PEER_GONE, 11, true, "the peer is not connected")                                                  \
    E(ERR_DENIED, 12, false, "not permitted")                                                                \
    E(ERR_CONFIG, 13, false, "bad configuration")                                                            \
    E(ERR_BUSY, 14, true, "at its limit for now")                                                            \
    E(ERR_UNSUPPORTED, 15, false, "not supported")

enum error {
#define E(name, value, retry, text) name = -(value),
    ERROR_LIST(E)
#undef E
};

/* The text of a negative enum error, "ok" for 0 and "unknown error" for any other value. Static. */
const char *error_text(int error);
/* Whether the same call may succeed later. */
bool error_can_retry(int error);

/* Exit statuses (sysexits): the supervisor parks a process that ends with EXIT_CONFIG and restarts any other.
 */
enum { EXIT_OK = 0, EXIT_SYSTEM = 71, EXIT_CONFIG = 78 };

#endif
