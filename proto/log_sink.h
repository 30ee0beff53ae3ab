/* SPDX-License-Identifier: MIT */
/* log_sink - how lines of the log get to standard error. Never blocks, never fails, never ends a process:
 * what cannot be written is dropped and counted, and the next line that gets through says how many were lost.
 *
 * A file is written as it is. For a pipe or a terminal we open a description of our own, so that O_NONBLOCK
 * is not set on what others share with us; a socket takes MSG_DONTWAIT. Where neither can be done (a pipe of
 * another user), we ask poll(2) first. Lines go out whole: several processes share the descriptor, and up to
 * PIPE_BUF bytes are not torn.
 *
 * While buffered (a loop turns, and calls log_sink_flush_due at the end of each turn), lines are gathered for
 * a moment; a crash can lose those. Any thread may call any of these. */
#ifndef PROTO_LOG_SINK_H
#define PROTO_LOG_SINK_H

#include "proto/bytes.h"

enum { LOG_SINK_BYTES = 256 << 10 /* that a reader may be behind */ };

/* Looks at what standard error is. Closed descriptors among 0 to 2 become /dev/null, so that no file that is
 * opened later can get the log into it. Idempotent. */
void log_sink_open(void);
/* Whether lines may be gathered. Turning it off writes what is there. */
void log_sink_set_buffered(bool is_buffered);
/* Takes a line with its newline. `at_once`: it does not wait, nor do those before it. */
void log_sink_put(struct span line, bool at_once);
/* Writes what has waited for long, or is much. Returns in how many ms to ask again; -1: nothing waits. */
int64_t log_sink_flush_due(int64_t now_ms);
/* Lines lost since the last call, if a line could be put now; else 0. */
uint64_t log_sink_take_lost(void);
/* Before the process ends: gives a slow reader up to a second for the rest. */
void log_sink_finish(void);

#endif
