/* SPDX-License-Identifier: MIT */
/* percent - names in a path, percent-encoded (RFC 3986, 2.1). Pure. */
#ifndef GATEWAY_PERCENT_H
#define GATEWAY_PERCENT_H

#include "proto/bytes.h"

/* Decodes into `text` of `size` bytes, without a NUL. Returns the length, -1 if it is malformed or does not
 * fit. */
int percent_decode(struct span encoded, char *text, size_t size);

#endif
