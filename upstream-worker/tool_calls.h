/* SPDX-License-Identifier: MIT */
/* tool_calls - which call a fragment belongs to, in all three shapes of upstream.md 5, and what of it the
 * client sees.
 *
 * Identity. A fragment with an id belongs to the call with that id; an unknown id opens a call, unless the
 * last call at the fragment's index has no id yet and the fragment does not name another function (a late
 * id). Without an id it belongs to the last call opened at its index, else opens one. With neither, it
 * belongs to the call last spoken of, unless it names another function.
 *
 * What is sent. The first fragment has id, type and name, each further one only arguments. A name may come in
 * pieces, or whole again and again, so a call is held back until its first non-empty arguments, until a later
 * call is sent, or until the end (of the choice or of the answer): the only thing that is ever held back. A
 * piece equal to the name so far is a repetition; any other is appended; after the first fragment was sent,
 * names are ignored. An id that does not begin with "call_" gets it in front; a missing one is "call_" +
 * stream id + "_" + index. */
#ifndef UPSTREAM_WORKER_TOOL_CALLS_H
#define UPSTREAM_WORKER_TOOL_CALLS_H

#include "upstream-worker/chunk.h"
#include "upstream-worker/json_tree.h"

enum { TOOL_CALLS_MAX = 1024 }; /* of one choice; real answers have a handful */

struct tool_call;

/* The calls of one choice. Embedded; all zero is empty. */
struct tool_calls {
    struct tool_call *calls;
    uint32_t count, capacity;
    uint32_t unsent; /* calls before this one are sent */
    uint32_t last;   /* the call last spoken of */
};

void tool_calls_fini(struct tool_calls *calls);
/* Takes one element of `tool_calls` and appends to `chunk` the fragments that may go now: this one, or none,
 * or also earlier ones that waited. `position`: of the element, used as its index if it has none and
 * `is_message` (a whole message lists its calls without indexes). `id_stem` makes missing ids. 0;
 * ERR_INVALID: not a tool call (what is no object, or has arguments that are no string); ERR_TOO_LARGE: more
 * than TOOL_CALLS_MAX; ERR_NOMEM. */
int tool_calls_take(struct tool_calls *calls, const struct json_tree *tree, uint32_t element,
                    uint32_t position, bool is_message, struct span id_stem, struct chunk *chunk);
/* Appends the calls that still wait. 0 or ERR_NOMEM. */
int tool_calls_flush(struct tool_calls *calls, struct span id_stem, struct chunk *chunk);

#endif
