/* SPDX-License-Identifier: MIT */
#include "credd/jwt_claims.h"
#include "credd/json_wipe.h"
#include "proto/error.h"

#include <sodium.h>
#include <stdlib.h>

int jwt_claims_read(struct span token, json_t **claims)
{
    *claims = NULL;
    const char *start = token.length > 0 ? memchr(token.data, '.', token.length) : NULL;
    if (!start)
        return 0;
    start++;
    size_t left = token.length - (size_t)(start - token.data);
    const char *end = memchr(start, '.', left);
    size_t encoded_length = end ? (size_t)(end - start) : left, length = 0;
    unsigned char *text = malloc(encoded_length + 1);
    if (!text)
        return ERR_NOMEM;
    json_wipe_ran_out();
    if (sodium_base642bin(text, encoded_length, start, encoded_length, NULL, &length, NULL,
                          sodium_base64_VARIANT_URLSAFE_NO_PADDING) == 0)
        *claims = json_loadb((const char *)text, length, 0, NULL);
    sodium_memzero(text, encoded_length);
    free(text);
    return json_wipe_ran_out() ? ERR_NOMEM : 0;
}
