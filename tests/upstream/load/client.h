/* SPDX-License-Identifier: MIT */
/* The load generator's clients: N connections on one epoll, each asks, checks the whole answer, asks again.
 * One thread; blocks in client_run until the work is done. */
#ifndef LOAD_CLIENT_H
#define LOAD_CLIENT_H

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "tests/upstream/buffer.h"
#include "tests/upstream/load/histogram.h"

#define CLIENT_STATUS_MAX 600

enum client_error {
    CLIENT_CONNECT,     /* no connection */
    CLIENT_CLOSED,      /* the connection ended before the answer */
    CLIENT_MALFORMED,   /* what came is not HTTP/1.1 */
    CLIENT_STATUS,      /* not 200 */
    CLIENT_INCOMPLETE,  /* no [DONE], or no whole JSON */
    CLIENT_ERROR_EVENT, /* an error in the answer */
    CLIENT_CONTENT,     /* numbered texts lost, doubled or out of order */
    CLIENT_TIMEOUT,
    CLIENT_ERROR_COUNT
};

struct client_options {
    struct sockaddr_storage address;
    socklen_t address_size;
    struct span request; /* head and body, ready to send; borrowed */
    int64_t connections;
    int64_t requests;      /* in all; 0: until duration_us is over */
    int64_t duration_us;   /* 0: until all requests are done */
    int64_t ramp_per_s;    /* connections opened per second; 0: all at once */
    int64_t timeout_us;    /* per request */
    int64_t expect_tokens; /* numbered texts per answer; -1: any number */
    int64_t gap_us;        /* expected between two of them; -1: not known */
    int64_t abort_us;      /* leaves that long after it asked; -1: never */
    bool plain;            /* the answer is one JSON body */
    bool once;             /* one request per connection */
    bool slow_reader;      /* reads nothing after the headers, until the end */
};

struct client_result {
    int64_t answered; /* answers that came whole and right */
    int64_t errors[CLIENT_ERROR_COUNT];
    int64_t status[CLIENT_STATUS_MAX];
    int64_t aborted, held; /* by abort_us; by slow_reader */
    int64_t events, tokens, lost, wrong, bytes;
    int64_t connects, streams_peak;
    int64_t elapsed_us;
    struct histogram latency, first_event, gap, jitter;
};

/* Fills result. Returns 0, -1 on a system error. */
int client_run(const struct client_options *options, struct client_result *result);
/* "connect", "closed", ... */
const char *client_error_name(enum client_error error);

#endif
