/* SPDX-License-Identifier: MIT */
/* health - whether a process that no supervisor watches is well, for the health checks of container engines:
 * they run `<program> --health` or `--alive` beside it, where there is no shell and perhaps no open port.
 *
 * The process writes a line to RUN_DIR/<name>.health once a second from its loop, so that a loop that hangs
 * falls silent; the checks read it: `<state> <CLOCK_MONOTONIC in ms> <what is missing>`.
 *     --alive   its loop turns: for those who restart what hangs
 *     --health  and it is ready, and nothing that it needs is missing: for those who wait for it, or send
 * work Both exit 0, or 1 with the reason on standard output. */
#ifndef PROTO_HEALTH_H
#define PROTO_HEALTH_H

#include "proto/bytes.h"

enum { HEALTH_SILENCE_MS = 10000 /* as long as the supervisor waits for a heartbeat */ };

/* True if argv asks for a check of `role`'s instance 0; then `exit_code` is the answer, which was printed. */
bool health_asked(int argc, char **argv, const char *role, int *exit_code);

/* Opens the file, without what an earlier process said in it. -1 on failure (logged): the checks then fail,
 * all else goes on. The caller closes it. */
int health_open(const char *run_dir, const char *name);
/* `state` is ready or draining; `missing` NULL: nothing. `fd` may be -1. */
void health_write(int fd, const char *state, const char *missing, int64_t now_ms);

enum health_verdict { HEALTH_WELL, HEALTH_UNWELL /* alive */, HEALTH_HUNG, HEALTH_ABSENT };
/* What a file's text means at `now_ms`. Pure. `says` is the part of the text behind the time, or empty. */
enum health_verdict health_judge(struct span text, int64_t now_ms, struct span *says);

#endif
