/* SPDX-License-Identifier: MIT */
/* endpoint - an upstream's URL, taken apart and put into one spelling, so that two can be compared. Pure. */
#ifndef CREDD_ENDPOINT_H
#define CREDD_ENDPOINT_H

#include "proto/bytes.h"

struct endpoint {
    char *base_url; /* scheme://host[:port][/path]: lower case up to the path, no trailing slash */
    char *origin;   /* scheme://host[:port], the port only if it is not the scheme's own */
    char *host;     /* host[:port], as a Host header has it */
    bool is_safe;   /* https, or http on loopback: a token may go there */
};

/* 0; ERR_INVALID if `url` is not http or https, or has user info, query or fragment; ERR_NOMEM. Pair with
 * endpoint_fini, on failure too. */
int endpoint_parse(struct endpoint *endpoint, const char *url);
void endpoint_fini(struct endpoint *endpoint);

#endif
