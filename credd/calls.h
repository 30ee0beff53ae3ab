/* SPDX-License-Identifier: MIT */
/* calls - the questions of the admin API: a CALL names a method and is answered by one REPLY, at once or
 * later. Holds the table of methods and the questions that are open; knows what README.md says of the form of
 * both. Owned by desk; never blocks.
 *
 * A method is a function that gets the question, its JSON arguments and its owner, and sees to it that
 * exactly one of call_reply, call_reply_text or call_fail… is called on it, in the function or later. A
 * question whose asker went is answered to nobody: methods need not know. */
#ifndef CREDD_CALLS_H
#define CREDD_CALLS_H

#include "proto/failure.h"
#include "proto/message.h"

#include <jansson.h>

enum { CALLS_MAX_OPEN = 1000, CALL_ACTOR_MAX_BYTES = 128 };

struct call;
struct calls;

struct call_method {
    const char *name; /* NULL ends a table */
    /* `arguments` is an object, borrowed for the call. */
    void (*answer)(void *owner, struct call *call, const json_t *arguments);
    /* The arguments there are, space separated; others are refused before `answer` is called. */
    const char *arguments;
};

/* `send` brings an answer to the peer that asked. Borrows owner. Returns owned, NULL when out of memory. */
struct calls *calls_new(void (*send)(void *owner, void *peer, uint64_t request,
                                     const struct msg_reply *reply),
                        void *owner);
/* Answers nobody any more; who still holds a question must not use it after. NULL-safe. */
void calls_free(struct calls **calls);
/* Adds a table of methods (static); `owner` is handed to them. 0 or ERR_NOMEM. */
int calls_add(struct calls *calls, const struct call_method *methods, void *owner);
void calls_take(struct calls *calls, void *peer, uint64_t request, const struct msg_call *call);
void calls_forget_peer(struct calls *calls, const void *peer);

/* Who asks, for the audit line. Static words or the asker's; valid until the answer. */
const char *call_actor(const struct call *call);

/* Each ends the question. Takes `body` (NULL, as json_pack returns it out of memory, is a failure). */
void call_reply(struct call *call, int status, json_t *body);
/* `param` NULL: none; `message` NULL: the standard one. Borrow. */
void call_fail(struct call *call, enum failure failure, const char *param, const char *message);
/* With a `code` of its own. */
void call_fail_as(struct call *call, enum failure failure, const char *code, const char *message);
/* The same, with Retry-After. */
void call_fail_until(struct call *call, enum failure failure, const char *code, const char *message,
                     uint32_t retry_after_s);
/* For a negative enum error: 503 for what may pass, else 500. */
void call_fail_error(struct call *call, int error);

/* One log line `audit` of what a person changed: `what` is a word, `subject` names what it was done to. Never
 * a secret. */
void call_audit(const struct call *call, const char *what, const char *subject, const char *detail);
/* The same when the question may be over: `actor` is what call_actor said. */
void calls_audit(const char *actor, const char *what, const char *subject, const char *detail);

#endif
