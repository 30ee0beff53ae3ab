/* SPDX-License-Identifier: MIT */
/* jwt_claims - reads the payload of a JWT. Hints for people, never proof: no signature is looked at. Pure. */
#ifndef CREDD_JWT_CLAIMS_H
#define CREDD_JWT_CLAIMS_H

#include "proto/bytes.h"

#include <jansson.h>

/* Sets `claims` to the owned JSON of the payload, or NULL if the token is of another kind. 0 or ERR_NOMEM. */
int jwt_claims_read(struct span token, json_t **claims);

#endif
