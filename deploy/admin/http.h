/* SPDX-License-Identifier: MIT */
/* http - one call of the running gateway's admin API, with the password as proof. Blocks. */
#ifndef ADMIN_HTTP_H
#define ADMIN_HTTP_H

#include "proto/settings.h"

#include <jansson.h>

struct http;

/* `url`: scheme://host:port of the gateway; NULL: where the settings say it listens. With TLS there, exactly
 * the settings' certificate is trusted. Borrows settings. Returns owned, NULL when out of memory. */
struct http *http_new(const struct settings *settings, const char *url);
void http_free(struct http **http); /* NULL-safe */
/* Sends `body` (NULL: none). `*reply` is owned; NULL if it was no JSON. Returns the HTTP status, or ERR_IO
 * when nobody answers, ERR_NOMEM; http_problem then says why. */
int http_call(struct http *http, const char *method, const char *path, const json_t *body, json_t **reply);
const char *http_problem(const struct http *http); /* valid until the next call */
const char *http_url(const struct http *http);

#endif
