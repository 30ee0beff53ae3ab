/* SPDX-License-Identifier: MIT */
/* curl_loop - libcurl's multi interface on the process's libuv loop: its sockets, its one timer, its
 * connection cache. For those that talk to an upstream (library proto_http).
 *
 * Callbacks of libcurl only note what happened; whoever is to act on it is told by `settle`, once per batch
 * and outside libcurl, where starting, pausing and cancelling are allowed.
 *
 * A socket stays registered with the loop from one request of its connection to the next (libcurl takes
 * itself off it and on again for each): that saves two epoll_ctl per request. It leaves the loop when libcurl
 * closes it, which it tells us of only for connections that came about; the others leave when libcurl takes
 * itself off. */
#ifndef PROTO_CURL_LOOP_H
#define PROTO_CURL_LOOP_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

struct curl_loop;

struct curl_loop_handlers {
    /* The handle waits on this descriptor now. Inside the pump: only note it. */
    void (*waits)(void *owner, CURL *easy, int fd);
    /* A transfer is over (its handle is off the multi handle already). Outside libcurl, before settle. */
    void (*done)(void *owner, CURL *easy, CURLcode result);
    /* After each batch: act on what was noted. */
    void (*settle)(void *owner);
};

/* `connections_max`: idle connections kept. Borrows loop, handlers and owner. Returns owned; NULL when out of
 * memory. */
struct curl_loop *curl_loop_new(uv_loop_t *loop, long connections_max,
                                const struct curl_loop_handlers *handlers, void *owner);
/* No handle may be left in it. Closes all connections; its loop handles close by themselves. NULL-safe. */
void curl_loop_free(struct curl_loop **curl_loop);

/* Sets on a new handle what ties its sockets to this loop. 0 or ERR_NOMEM. */
int curl_loop_prepare(struct curl_loop *curl_loop, CURL *easy);
/* The next three: outside libcurl's callbacks only. 0 or ERR_NOMEM. */
int curl_loop_add(struct curl_loop *curl_loop, CURL *easy);
void curl_loop_remove(struct curl_loop *curl_loop, CURL *easy);
/* Lets a paused handle go on; may call its write callback at once, then settles. */
void curl_loop_resume(struct curl_loop *curl_loop, CURL *easy);

/* The descriptor last told by `waits` has answered: its connection is one that will be kept. Allowed inside.
 */
void curl_loop_mark_answered(struct curl_loop *curl_loop, int fd);
bool curl_loop_is_inside(const struct curl_loop *curl_loop); /* one of libcurl's callbacks is running */
size_t curl_loop_connection_count(const struct curl_loop *curl_loop);
/* The latest new connection failed for want of a descriptor (or of the kernel's memory): ours, not the far
 * end's. */
bool curl_loop_is_starved(const struct curl_loop *curl_loop);

#endif
