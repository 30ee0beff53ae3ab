/* SPDX-License-Identifier: MIT */
/* transfer - one POST to an upstream, on libcurl: HTTP/1.1 to http://, HTTP/2 (when offered) to https://, on
 * kept-alive connections.
 *
 * Never follows redirects, never decodes, speaks http and https only. https goes through the proxy of the
 * environment if there is one (https_proxy, all_proxy, no_proxy); http, which settings allow on loopback
 * only, never does. Time limits other than that of connecting are the caller's.
 *
 * Ownership: a transfer is the caller's from transfer_start until transfer_cancel or transfer_let_finish,
 * also after it ended. Callbacks run on the loop. `responded` and `data` run inside libcurl: they only take
 * notes, and call nothing of this module. `settle` runs outside, after each batch of them: there anything may
 * be called. */
#ifndef UPSTREAM_WORKER_TRANSFER_H
#define UPSTREAM_WORKER_TRANSFER_H

#include "upstream-worker/call_headers.h"
#include "upstream-worker/payload.h"
#include "upstream-worker/response_head.h"

#include <uv.h>

/* A payload of one piece and at most this size leaves with the head, in one write; any other is read piece by
 * piece. Below libcurl's 64 KiB. */
enum { TRANSFER_SMALL_BYTES = 60 << 10 };

/* How much a turn of the loop takes in (proto/turn_budget.h): 1,300 events or 2 ms. The least is a buffer of
 * libcurl's. */
enum { TRANSFERS_TURN_BYTES = 256 << 10, TRANSFERS_SHARE_BYTES = 64 << 10, TRANSFERS_LEAST_BYTES = 8 << 10 };

enum transfer_flow { TRANSFER_TAKEN, TRANSFER_PAUSE /* give me these bytes again after transfer_resume */ };

/* How it ended. */
enum transfer_result {
    TRANSFER_COMPLETE,        /* the whole response was read */
    TRANSFER_NOT_CONNECTED,   /* no name, no connection, no TLS */
    TRANSFER_CONNECT_TIMEOUT, /* not connected in time */
    TRANSFER_BROKEN,          /* the connection ended, was reset, or ended early */
    TRANSFER_GARBLED,         /* not HTTP as we know it */
    TRANSFER_NO_DESCRIPTOR,   /* this process has no more of them */
    TRANSFER_NOMEM
};

struct transfer;

struct transfer_handlers {
    /* The final status and headers are there. Inside libcurl. */
    void (*responded)(void *owner, const struct response_head *head);
    /* Bytes of the response's body, borrowed. Inside libcurl. */
    enum transfer_flow (*data)(void *owner, struct span bytes);
    /* Act on the above. Outside libcurl. transfer_is_over says if there is more to come. */
    void (*settle)(void *owner);
};

/* Borrowed until the transfer is given up (url: copied). */
struct transfer_call {
    const char *url;
    const struct call_headers *headers;
    const struct payload *payload;
    int64_t connect_timeout_ms;
    bool is_fresh; /* on a connection of its own: kept ones may be as dead as the one that just failed */
};

struct transfers_options {
    bool verify;         /* the upstream's certificate */
    const char *ca_file; /* "": the system's */
    long connections_max;
};

struct transfers;

/* Borrows the loop. curl_global_init must have been called. Returns owned; NULL when out of memory. */
struct transfers *transfers_new(uv_loop_t *loop, const struct transfers_options *options);
/* Every transfer must have been given up. NULL-safe. */
void transfers_free(struct transfers **transfers);
/* Ends those that did not connect in time, and cuts those that were left to finish by themselves and did not.
 * May settle some. Call every few 100 ms. */
void transfers_tick(struct transfers *transfers);
size_t transfers_connection_count(const struct transfers *transfers);
/* Transfers that wait for transfer_resume. */
size_t transfers_paused_count(const struct transfers *transfers);

/* Starts in the next turn. Borrows handlers and owner. NULL: out of memory. */
struct transfer *transfer_start(struct transfers *transfers, const struct transfer_call *call,
                                const struct transfer_handlers *handlers, void *owner);
bool transfer_is_over(const struct transfer *transfer);
enum transfer_result transfer_result(const struct transfer *transfer); /* once it is over */
const char *transfer_problem(const struct transfer *transfer);         /* of that, for the log; static */
bool transfer_is_multiplexed(const struct transfer *transfer);         /* HTTP/2; known once responded */
/* Lets go of what the call borrowed (headers, payload): true, and the caller may free them, once the upstream
 * has responded and the payload was sent. Outside libcurl. */
bool transfer_drop_call(struct transfer *transfer);
bool transfer_is_paused(const struct transfer *transfer);
/* Delivers what was held back and goes on. `data` and `settle` may be called before it returns. */
void transfer_resume(struct transfer *transfer);
/* Gives it up now: an HTTP/1 connection is closed, an HTTP/2 stream reset. No callback follows. NULL-safe. */
void transfer_cancel(struct transfer **transfer);
/* Gives it up, but lets the response's last bytes come, so that the connection can be used again: for an
 * answer that is known to be whole. Cut after LINGER_MS or LINGER_BYTES, and at once if transfer_drop_call
 * will not let go. No callback follows. NULL-safe. */
void transfer_let_finish(struct transfer **transfer);

#endif
