/* SPDX-License-Identifier: MIT */
/* routes - the one table of what the front serves: method, path, who may call, who answers. Pure. */
#ifndef GATEWAY_ROUTES_H
#define GATEWAY_ROUTES_H

#include "gateway/auth.h"

struct call;

struct route {
    const char *name; /* in logs and metrics */
    const char *method;
    const char *path; /* exact; with `takes_rest`: a prefix that ends in '/', more must follow */
    bool takes_rest;
    const char *suffix; /* of a path that takes the rest: what follows a single segment; NULL: nothing */
    bool takes_body;    /* JSON */
    bool is_model_api;  /* CORS may open it */
    enum audience audience;
    const char
        *query;      /* names of the parameters it takes, spaces between; NULL: the query is not looked at */
    const char *ask; /* the CALL that answers it; NULL: none */
    /* Answers the call in full, now or later. `rest` is what follows a prefix, as sent. */
    void (*answer)(struct call *call, const struct head *head, struct span rest);
};

struct route_match {
    const struct route *route; /* with METHOD_NOT_ALLOWED: one that has the path */
    struct span rest;          /* between prefix and suffix, as sent */
};

size_t routes_count(void);
const struct route *routes_at(size_t i);
/* FAILURE_NONE, NOT_FOUND (route is NULL) or METHOD_NOT_ALLOWED. HEAD finds the routes of GET. */
enum failure routes_find(struct span method, struct span path, struct route_match *match);
/* Appends the methods of the path of `match`, as in Allow. 0 or ERR_NOMEM. */
int routes_append_allow(struct buffer *out, struct span path);

#endif
