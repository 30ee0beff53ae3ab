/* SPDX-License-Identifier: MIT */
/* Tokens in the shape of a JWT, as the upstream issues them. The signature is noise: nobody checks it. */
#ifndef UPSTREAM_JWT_H
#define UPSTREAM_JWT_H

#include <jansson.h>

#include "tests/upstream/buffer.h"

/* Returns owned: a token with this payload; serial makes its signature, and so the token, unlike others. */
char *jwt_make(const json_t *payload, uint64_t serial);
/* Returns owned: the payload of a token, NULL if it has not the shape of one. */
json_t *jwt_read_payload(struct span token);

#endif
