/* SPDX-License-Identifier: MIT */
/* failure - why a request failed, as clients see it: the one list of our error codes.
 *
 * Worker and gateway name a failure by this enum; the list gives the HTTP status, the OpenAI `type` and
 * `code`, and the standard message. The body's format is http-api.md's:
 * {"error":{"message","type","param","code"}}. */
#ifndef PROTO_FAILURE_H
#define PROTO_FAILURE_H

#include "proto/bytes.h"

/* F(NAME, status, type, code, message) */
#define FAILURE_LIST(F)                                                                                      \
    F(FAILURE_INVALID_REQUEST, 400, "invalid_request_error", "invalid_request", "The request is not valid.") \
    F(FAILURE_UNAUTHENTICATED, 401, "authentication_error", "missing_api_key",                               \
      "Missing API key: send Authorization: Bearer KEY or x-api-key: KEY.")                                  \
    F(FAILURE_INVALID_API_KEY, 401, "authentication_error", "invalid_api_key",                               \
      "Invalid password or API key.")                                                                        \
    F(FAILURE_FORBIDDEN, 403, "permission_error", "forbidden",                                               \
      "An API key may not do that; it takes the password.")                                                  \
    F(FAILURE_NOT_FOUND, 404, "invalid_request_error", "not_found", "There is nothing at this path.")        \
    F(FAILURE_MODEL_NOT_FOUND, 404, "invalid_request_error", "model_not_found", "The model does not exist.") \
    F(FAILURE_METHOD_NOT_ALLOWED, 405, "invalid_request_error", "method_not_allowed",                        \
      "This path does not take that method.")                                                                \
    F(FAILURE_REQUEST_TIMEOUT, 408, "invalid_request_error", "request_timeout",                              \
      "The request was not sent in time.")                                                                   \
    F(FAILURE_TOO_LARGE, 413, "invalid_request_error", "request_too_large",                                  \
      "The request body is too large.")                                                                      \
    F(FAILURE_UNSUPPORTED_MEDIA_TYPE, 415, "invalid_request_error", "unsupported_media_type",                \
      "The content type must be application/json.")                                                          \
    F(FAILURE_RATE_LIMITED, 429, "rate_limit_error", "rate_limit_exceeded",                                  \
      "Every usable credential is cooling down; try again later.")                                           \
    F(FAILURE_TOO_MANY_ATTEMPTS, 429, "rate_limit_error", "too_many_attempts",                               \
      "Too many wrong passwords from this address; wait a minute.")                                          \
    F(FAILURE_BAD_FIELD, 422, "invalid_request_error", "invalid_field", "A field of the body is not valid.") \
    F(FAILURE_HEADERS_TOO_LARGE, 431, "invalid_request_error", "headers_too_large",                          \
      "The request headers are too large.")                                                                  \
    F(FAILURE_CANCELLED, 499, "cancelled", "client_closed_request", "The client left.")                      \
    F(FAILURE_INTERNAL, 500, "server_error", "internal_error", "Something went wrong here.")                 \
    F(FAILURE_UPSTREAM, 502, "upstream_error", "upstream_error", "The upstream failed.")                     \
    F(FAILURE_UPSTREAM_PROTOCOL, 502, "upstream_error", "upstream_protocol_error",                           \
      "The upstream answered in a way that could not be understood.")                                        \
    F(FAILURE_UPSTREAM_INCOMPLETE, 502, "upstream_error", "upstream_incomplete",                             \
      "The upstream's answer ended before it was complete.")                                                 \
    F(FAILURE_WORKER_LOST, 502, "server_error", "worker_lost",                                               \
      "The process that served this answer ended before it was complete.")                                   \
    F(FAILURE_NO_CREDENTIAL, 503, "server_error", "no_credential", "No usable credential is configured.")    \
    F(FAILURE_OVERLOADED, 503, "server_error", "overloaded",                                                 \
      "Too many requests at once; try again shortly.")                                                       \
    F(FAILURE_UNAVAILABLE, 503, "server_error", "unavailable", "The service is starting or stopping.")       \
    F(FAILURE_UPSTREAM_TIMEOUT, 504, "upstream_error", "upstream_timeout", "The upstream took too long.")    \
    F(FAILURE_CROSS_SITE, 403, "permission_error", "cross_site",                                             \
      "A session serves pages of this server only; this request does not show that it comes from one.")      \
    F(FAILURE_CHANGED_MEANWHILE, 409, "invalid_request_error", "changed_meanwhile",                          \
      "Somebody else changed it meanwhile.")

enum failure {
    FAILURE_NONE = 0, /* no failure */
#define F(name, status, type, code, message) name,
    FAILURE_LIST(F)
#undef F
        FAILURE_COUNT
};

/* Each takes any value; one out of range reads as FAILURE_INTERNAL. Static strings. */
uint16_t failure_status(enum failure failure);
const char *failure_type(enum failure failure);
const char *failure_code(enum failure failure);
const char *failure_message(enum failure failure);

/* Appends the error body. Empty `message`, `type` or `code`: the list's. Empty `param`: null. 0 or ERR_NOMEM.
 */
int failure_append_json(struct buffer *buffer, enum failure failure, struct span message, struct span type,
                        struct span code, struct span param);

#endif
