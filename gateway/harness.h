/* SPDX-License-Identifier: MIT */
/* harness - for the system tests: a real gateway process, fake workers, and clients that speak bytes.
 * Everything blocks, with a limit after which the test fails; nothing sleeps. */
#ifndef GATEWAY_HARNESS_H
#define GATEWAY_HARNESS_H

#include "proto/bytes.h"

#include <sys/types.h>

enum { HARNESS_WAIT_MS = 20000, HARNESS_MAX_WORKERS = 4 };

struct fake {
    pid_t pid; /* 0: none */
    int out;
    struct buffer lines;
};

struct harness {
    char directory[64];
    int listen_fd, port, supervisor_fd;
    pid_t gateway;
    struct fake workers[HARNESS_MAX_WORKERS];
};

/* Starts a gateway with `variables` (NAME=VALUE without CODEBUDDY_, NULL-terminated) beside the password
 * `secret`, and waits until it is ready. */
void harness_start(struct harness *harness, const char *const *variables);
/* Starts worker `i`, and waits until gateway and worker know each other. */
void harness_add_worker(struct harness *harness, int i);
void harness_kill_worker(struct harness *harness, int i);
/* Reads the worker's lines until one begins with `text`; returns it in `line` (may be NULL). */
void harness_expect(struct harness *harness, int i, const char *text, char line[256]);
/* True if worker `i` has already said a line that begins with `text`; does not wait. */
bool harness_has_said(struct harness *harness, int i, const char *text);
/* Waits for the gateway's end and returns its exit status (-1: killed by a signal). */
int harness_wait_exit(struct harness *harness);
/* Ends all, and fails unless the gateway ended cleanly. */
void harness_stop(struct harness *harness);

/* ---- clients ---- */

struct answer {
    int status;
    char head[4096];    /* with CRLFs, NUL-terminated */
    struct buffer body; /* decoded, NUL-terminated beyond its length */
    bool is_whole;      /* ended as its framing says */
};

int client_connect(const struct harness *harness);
int client_connect_from(const struct harness *harness, const char *address);
void client_send(int fd, const char *text);
void client_send_bytes(int fd, const char *data, size_t length);
/* Sends POST /v1/chat/completions with that id and script. */
void client_ask(int fd, const char *id, const char *script);
/* Reads one answer. `is_head`: no body follows. */
void client_read(int fd, struct answer *answer, bool is_head);
void client_read_head(int fd, struct answer *answer);
/* Reads raw bytes until `text` was among them. */
void client_read_until(int fd, const char *text);
/* True once the gateway has closed: nothing but the end is left to read. */
bool client_is_closed(int fd);
void answer_clear(struct answer *answer);
/* The value of a header, or NULL. Valid until the next call. */
const char *answer_header(const struct answer *answer, const char *name);

int64_t harness_now_ms(void);

#endif
