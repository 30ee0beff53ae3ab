/* SPDX-License-Identifier: MIT */
/* A script: one HTTP answer as the bytes to send and when, made once and then played to any number of
 * connections. Everything odd a scenario asks of SSE and HTTP framing (line ends, cuts, comments, chunked
 * or not, early ends) is in the bytes already, so playing is sending: a small answer without delays is
 * one run, one write.
 *
 * Pure: no sockets, no clock. Reference counted, single thread. */
#ifndef UPSTREAM_SSE_SCRIPT_H
#define UPSTREAM_SSE_SCRIPT_H

#include <stddef.h>

#include "tests/upstream/answer.h"

enum script_end {
    SCRIPT_KEEP,  /* the answer is complete; the connection goes on */
    SCRIPT_CLOSE, /* close the connection (in the middle of the body, or because the answer says so) */
    SCRIPT_RESET, /* close it with a RST */
    SCRIPT_HANG   /* do nothing more until the client goes */
};

/* Bytes that go out together, delay_ms after the run before was due. */
struct script_run {
    size_t offset, size;
    int64_t delay_ms;
    uint32_t events; /* data lines that end in this run, [DONE] not counted */
};

struct script {
    char *bytes;
    struct script_run *runs;
    size_t run_count;
    size_t bytes_total;
    size_t loop_from; /* play the runs from here again and again; run_count: do not */
    int64_t end_ms;   /* between the last run and end */
    enum script_end end;
    bool complete; /* the client got what the scenario calls a whole answer, an error answer included */
    int status;
    struct answer_usage usage; /* what the client can know once all is sent */
    unsigned references;
};

struct script_input {
    const struct scenario *scenario; /* borrowed for the call, as the spans are */
    struct span model;               /* as the chunks name it; decoded UTF-8 */
    struct span echo;
    struct span request_id;
    int64_t wall_s;
};

/* Returns owned, with one reference. */
struct script *script_new(const struct script_input *input);
/* A plain answer with Content-Length; headers is "" or lines that each end in CRLF. Returns owned. */
struct script *script_new_reply(int status, const char *type, const char *headers, struct span body);
struct script *script_ref(struct script *script);
/* Gives a reference back; accepts NULL and sets *script to it. */
void script_unref(struct script **script);

#endif
