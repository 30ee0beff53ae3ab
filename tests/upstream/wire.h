/* SPDX-License-Identifier: MIT */
/* For the tests that run the real program: starts it, talks to it over plain blocking sockets, and keeps
 * every byte of what it says. Each call fails the test (cmocka) when the machinery itself does not work. */
#ifndef UPSTREAM_WIRE_H
#define UPSTREAM_WIRE_H

#include <jansson.h>
#include <stdint.h>
#include <sys/types.h>

#include "tests/upstream/buffer.h"

struct wire {
    pid_t pid;
    uint16_t port;
};

enum wire_end {
    WIRE_KEPT,    /* the answer was complete, the connection is open */
    WIRE_CLOSED,  /* end of file */
    WIRE_RESET,   /* RST */
    WIRE_SILENT,  /* nothing more within the time */
    WIRE_STOPPED, /* as many body bytes as were asked for came */
    WIRE_BAD      /* not HTTP */
};

struct wire_reply {
    int status;               /* 0: no head came */
    struct buffer head, body; /* with a NUL behind their size; body without transfer coding */
    size_t pieces;            /* HTTP chunks, as far as reads did not cut them */
    enum wire_end end;
};

/* Starts the program with one more option (NULL: none) and waits until it listens. */
struct wire wire_start(const char *option);
/* Sends SIGTERM; returns the exit status, -1 if it did not exit by itself. */
int wire_stop(struct wire *wire);

/* Returns a connected socket that gives up reading after 5 seconds. */
int wire_connect(const struct wire *wire);
void wire_send(int fd, struct span bytes);
/* Reads one answer; stops early after stop_bytes of body (0: does not), or once nothing comes for silent_ms
 * after the head (0: 5 seconds), for -silent_ms if that is negative, then also before the head. */
struct wire_reply wire_read(int fd, size_t stop_bytes, int silent_ms);
void wire_reply_fini(struct wire_reply *reply);

/* Appends a chat request with everything upstream.md asks for; model and token are put in as they are. */
void wire_append_chat(struct buffer *out, const char *model, const char *token);
/* The answer to such a request on a connection of its own. */
struct wire_reply wire_chat(const struct wire *wire, const char *model, const char *token);
/* Any request on a connection of its own; headers is "" or lines that end in CRLF, body NULL for none. */
struct wire_reply wire_call(const struct wire *wire, const char *method, const char *path,
                            const char *headers, const char *body);
/* Control: the JSON of a GET or POST, owned by the caller; fails the test unless the status is 200. */
json_t *wire_get(const struct wire *wire, const char *path);
void wire_post(const struct wire *wire, const char *path, const char *body);
/* One counter of /_control/stats. */
int64_t wire_counter(const struct wire *wire, const char *name);
/* Waits until the counter is at least that; fails the test after 5 s. */
void wire_wait(const struct wire *wire, const char *name, int64_t at_least);

#endif
