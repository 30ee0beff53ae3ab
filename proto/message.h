/* SPDX-License-Identifier: MIT */
/* message - everything our processes say to one another: one list, its structs and its codec. Pure; never
 * blocks.
 *
 * A ZeroMQ message is a train of one or more frames (train.h). A frame is a header of 16 bytes, big-endian,
 *     version u8 | type u8 | flags u16 (0, ignored) | length u32 | request u64
 * and `length` bytes of payload: the fields of its message in order. On the wire (big-endian):
 *     U8 U16 U32 U64 I64   fixed size
 *     STR                  u16 length, bytes; at most `bound`; no NUL, valid UTF-8
 *     BYTES                u32 length, bytes; at most `bound`; raw
 * `request` joins the messages of one exchange; whoever opens the exchange chooses it, unique on its side of
 * the link. Decoding is total: a whole valid struct, or an error; every byte consumed. Spans of a decoded
 * struct borrow from the received bytes. The table in proto/README.md is printed by `proto_table` from this
 * list. */
#ifndef PROTO_MESSAGE_H
#define PROTO_MESSAGE_H

#include "proto/bytes.h"

#include <stdio.h>

enum {
    WIRE_VERSION = 2, /* up with any change of a message's fields: README.md, "Two versions at once" */
    FRAME_HEADER_BYTES = 16,
    MESSAGE_MAX_BYTES = (1 << 20) + 64, /* payload of any one frame; larger things travel in pieces */
    BODY_PIECE_BYTES = 256 << 10,       /* a request body travels in pieces of at most this */
    WINDOW_BYTES = 256 << 10,           /* DATA a worker may have unacknowledged per request (design.md, 6) */
    DATA_MAX_BYTES = WINDOW_BYTES,      /* so one DATA never exceeds the window */
    FIRST_BODY_BYTES = 64 << 10         /* of the body, what REQUEST itself may carry */
};

/* What each message is for, and what its loss means, is said beside it; `M(ID, name, value, direction, loss)`
 * and its fields `F(kind, field, bound_or_0, "unit or meaning")`. Values are on the wire: only append. */
#define HELLO_FIELDS(F)                                                                                      \
    F(STR, role, 32, "gateway, upstream-worker, credd, statsd")                                              \
    F(STR, name, 128, "role-instance, unique in a deployment with `host` and `pid`")                         \
    F(STR, host, 128, "host name")                                                                           \
    F(U32, pid, 0, "process id")                                                                             \
    F(I64, started_wall_ms, 0, "ms since 1970")                                                              \
    F(STR, version, 32, "of the program")
#define PING_FIELDS(F)    F(U64, sent_us, 0, "sender's monotonic clock, µs")
#define PONG_FIELDS(F)    F(U64, sent_us, 0, "copied from PING")
#define RESET_FIELDS(F)   F(U8, reason, 0, "enum reset_reason")
#define UNKNOWN_FIELDS(F) F(U8, type, 0, "the type or version that was not understood")
#define REQUEST_FIELDS(F)                                                                                    \
    F(STR, request_id, 64, "X-Request-ID of our answer: ours alone, so unique")                              \
    F(U32, deadline_ms, 0, "time left, ms")                                                                  \
    F(U8, moves, 0, "times this request was moved from a dead worker")                                       \
    F(STR, key_id, 64, "API key, or `password`")                                                             \
    F(STR, conversation_id, 256, "X-Conversation-ID of the client")                                          \
    F(STR, conversation_request_id, 256, "X-Conversation-Request-ID of the client")                          \
    F(STR, conversation_message_id, 256, "X-Conversation-Message-ID of the client")                          \
    F(STR, traceparent, 55, "of the client, as trace_context.h has checked it; empty: none")                 \
    F(U32, body_bytes, 0, "size of the whole body, bytes")                                                   \
    F(BYTES, body, FIRST_BODY_BYTES, "its beginning")                                                        \
    F(STR, credential_id, 64, "the one credential to use, for a test of it; empty: any")                     \
    F(STR, client_request_id, 256, "X-Request-ID of the client, for the upstream; empty: request_id")        \
    F(STR, tracestate, 512, "of the client, checked; empty: none")
#define BODY_FIELDS(F)   F(BYTES, body, BODY_PIECE_BYTES, "the next piece")
#define CANCEL_FIELDS(F) F(U8, reason, 0, "enum cancel_reason")
#define WINDOW_FIELDS(F) F(U32, bytes, 0, "DATA bytes that reached the client's socket")
#define READY_FIELDS(F)  F(U8, accepting, 0, "1: send REQUESTs; 0: draining, send no more")
#define HEAD_FIELDS(F)                                                                                       \
    F(U16, status, 0, "HTTP status, 200")                                                                    \
    F(U8, stream, 0, "1: text/event-stream; 0: application/json")                                            \
    F(I64, content_bytes, 0, "size of the whole answer, bytes; -1 for a stream")                             \
    F(STR, model, 128, "as the client named it")                                                             \
    F(STR, credential_id, 64, "that serves it; empty: none yet")
#define DATA_FIELDS(F) F(BYTES, data, DATA_MAX_BYTES, "bytes for the client, as they are")
#define END_FIELDS(F)                                                                                        \
    F(U8, outcome, 0, "enum outcome")                                                                        \
    F(STR, credential_id, 64, "that served it")                                                              \
    F(U64, prompt_tokens, 0, "tokens")                                                                       \
    F(U64, completion_tokens, 0, "tokens")                                                                   \
    F(U8, attempts, 0, "upstream attempts")
#define FAIL_FIELDS(F)                                                                                       \
    F(U16, failure, 0, "enum failure")                                                                       \
    F(U8, movable, 0, "1: nothing was sent and another worker may try")                                      \
    F(U32, retry_after_s, 0, "for Retry-After, s; 0: none")                                                  \
    F(STR, message, 1024, "for the client; empty: the standard one")                                         \
    F(STR, type, 1024, "for the client; empty: the standard one")                                            \
    F(STR, code, 1024, "for the client; empty: the standard one")                                            \
    F(STR, param, 128, "the field of the request at fault; empty: null")                                     \
    F(STR, model, 128, "as the client named it")                                                             \
    F(STR, credential_id, 64, "the last one tried")                                                          \
    F(U8, outcome, 0, "enum outcome")                                                                        \
    F(U64, prompt_tokens, 0, "tokens, as far as the upstream told")                                          \
    F(U64, completion_tokens, 0, "tokens, as far as the upstream told")                                      \
    F(U8, attempts, 0, "upstream attempts")
#define LEASE_FIELDS(F)                                                                                      \
    F(STR, request_id, 64, "X-Request-ID")                                                                   \
    F(STR, key_id, 64, "API key, or `password`")                                                             \
    F(STR, model, 128, "as sent upstream")                                                                   \
    F(STR, conversation_id, 256, "for affinity; may be empty")                                               \
    F(STR, exclude, 2048, "credential ids already tried, comma separated")                                   \
    F(U32, wait_ms, 0, "how long the worker waits for an answer, ms")                                        \
    F(STR, credential_id, 64, "the one that is wanted, in whatever state; empty: any")
#define GRANT_FIELDS(F)                                                                                      \
    F(U64, lease, 0, "lease number: credential's number in the upper 32 bits, a count in the lower")         \
    F(U32, ttl_ms, 0, "lives this long unless renewed, ms")                                                  \
    F(STR, credential_id, 64, "stable and opaque")                                                           \
    F(STR, base_url, 512, "of the credential's site, no trailing slash")                                     \
    F(STR, headers, 8192, "`Name: value` lines, LF between: the site's and the account's; no Authorization") \
    F(STR, token, 16384, "SECRET: the bearer token")
#define REFUSE_FIELDS(F)                                                                                     \
    F(U16, failure, 0, "enum failure: RATE_LIMITED, NO_CREDENTIAL, OVERLOADED, MODEL_NOT_FOUND…")            \
    F(U32, retry_after_s, 0, "s; 0: none")                                                                   \
    F(STR, message, 1024, "for the client")
#define RENEW_FIELDS(F)                                                                                      \
    F(BYTES, leases, 1 << 19, "lease numbers held, u64 big-endian each")                                     \
    F(BYTES, keys, 1 << 19, "in the same order, whose they are: key_number (key_number.h), u64 each")
#define RELEASE_FIELDS(F)                                                                                    \
    F(U64, lease, 0, "lease number")                                                                         \
    F(U8, outcome, 0, "enum outcome")                                                                        \
    F(U32, retry_after_s, 0, "for RATE_LIMITED, s; 0: unknown")                                              \
    F(STR, model, 128, "as sent upstream")                                                                   \
    F(STR, reason, 256, "upstream's code or words, for the state's reason")
#define EVENT_FIELDS(F)                                                                                      \
    F(STR, request_id, 64, "X-Request-ID: with started_wall_ms unique, makes repeats harmless")              \
    F(I64, started_wall_ms, 0, "ms since 1970")                                                              \
    F(U32, duration_ms, 0, "to the end, ms")                                                                 \
    F(U32, first_event_ms, 0, "to the first byte for the client, ms; 0: none")                               \
    F(STR, key_id, 64, "API key, or `password`")                                                             \
    F(STR, credential_id, 64, "that served it; may be empty")                                                \
    F(STR, model, 128, "as the client named it")                                                             \
    F(U16, status, 0, "HTTP status the client saw")                                                          \
    F(U8, outcome, 0, "enum outcome")                                                                        \
    F(STR, code, 64, "error code the client saw; empty: none")                                               \
    F(U8, stream, 0, "1: streamed")                                                                          \
    F(U8, attempts, 0, "upstream attempts")                                                                  \
    F(U8, moves, 0, "moves from dead workers")                                                               \
    F(U64, prompt_tokens, 0, "tokens")                                                                       \
    F(U64, completion_tokens, 0, "tokens")                                                                   \
    F(U64, cached_tokens, 0, "tokens")                                                                       \
    F(U64, reasoning_tokens, 0, "tokens")                                                                    \
    F(I64, credit_micro, 0, "credit, millionths")
#define ACK_FIELDS(F) F(U64, sequence, 0, "every EVENT up to this one is durable")
#define GAUGE_FIELDS(F)                                                                                      \
    F(STR, name, 128, "metric's name, labels included: name{a=\"b\"}")                                       \
    F(U8, kind, 0, "enum gauge_kind")                                                                        \
    F(I64, value_micro, 0, "value, millionths")
#define CALL_FIELDS(F)                                                                                       \
    F(STR, method, 64, "what is asked, e.g. stats, models")                                                  \
    F(BYTES, body, 1 << 19, "JSON argument")
#define REPLY_FIELDS(F)                                                                                      \
    F(U16, status, 0, "HTTP status; 0: the body goes on in the next REPLY")                                  \
    F(BYTES, body, 1 << 20, "JSON answer, or an error body")                                                 \
    F(U32, retry_after_s, 0, "for Retry-After, s; 0: none")
#define FOLLOW_FIELDS(F) F(U64, version, 0, "the version I have; 0: none")
#define STATE_FIELDS(F)                                                                                      \
    F(U64, version, 0, "of this state")                                                                      \
    F(BYTES, body, 1 << 20, "JSON: the whole state that gateways and workers share")

#define MESSAGE_LIST(M)                                                                                      \
    M(HELLO, hello, 1, "both ways, every link", "the link stays down; sent again on reconnect")              \
    M(PING, ping, 2, "both ways", "counts as silence; 3 s of it and the peer is down")                       \
    M(PONG, pong, 3, "both ways", "as PING")                                                                 \
    M(RESET, reset, 4, "bound side to connected side", "the stranger is told again at its next frame")       \
    M(UNKNOWN, unknown, 5, "to the sender of a frame not understood", "nothing: it is counted")              \
    M(REQUEST, request, 16, "gateway to worker", "worker is down: moved to another")                         \
    M(BODY, body, 17, "gateway to worker", "as REQUEST")                                                     \
    M(CANCEL, cancel, 18, "gateway to worker", "worker is down: nothing to cancel")                          \
    M(WINDOW, window, 19, "gateway to worker", "worker is down")                                             \
    M(READY, ready, 24, "worker to gateway", "gateway is down; sent again on reconnect")                     \
    M(HEAD, head, 25, "worker to gateway", "gateway is down: the transfer is cancelled")                     \
    M(DATA, data, 26, "worker to gateway", "as HEAD")                                                        \
    M(END, end, 27, "worker to gateway", "as HEAD")                                                          \
    M(FAIL, fail, 28, "worker to gateway", "as HEAD")                                                        \
    M(LEASE, lease, 32, "worker to credd", "asked again when credd is back, within the deadline")            \
    M(GRANT, grant, 33, "credd to worker", "the lease ends by itself; the worker asks again")                \
    M(REFUSE, refuse, 34, "credd to worker", "as GRANT")                                                     \
    M(RENEW, renew, 35, "worker to credd", "sent again a third of the lease's life later")                   \
    M(RELEASE, release, 36, "worker to credd", "the lease ends by itself; its outcome is lost")              \
    M(EVENT, event, 48, "worker, gateway, credd to statsd; `request` is the sender's sequence number",       \
      "kept and sent again until ACK")                                                                       \
    M(ACK, ack, 49, "statsd to sender", "events are sent again; the ledger knows them")                      \
    M(GAUGE, gauge, 50, "any to statsd", "replaced by the next")                                             \
    M(CALL, call, 64, "gateway to credd or statsd", "the caller's 503 after its timeout")                    \
    M(REPLY, reply, 65, "credd or statsd to gateway", "as CALL")                                             \
    M(FOLLOW, follow, 66, "gateway, worker, statsd to credd", "sent again on reconnect")                     \
    M(STATE, state, 67, "credd to gateway, worker, statsd", "FOLLOW on reconnect fetches it")

enum message_type {
#define M(id, name, value, direction, loss) MESSAGE_##id = (value),
    MESSAGE_LIST(M)
#undef M
};

enum { REPLY_MORE = 0 /* a REPLY's status when its body goes on in the next one */ };
enum reset_reason { RESET_STRANGER = 1 /* say HELLO first */, RESET_VERSION = 2 /* wire version differs */ };
enum cancel_reason { CANCEL_CLIENT_LEFT = 1, CANCEL_TIMEOUT = 2, CANCEL_DRAIN = 3 };
enum gauge_kind {
    GAUGE_NOW = 0 /* a gauge: last value holds */,
    GAUGE_COUNTER = 1 /* total since the sender's start */,
    GAUGE_GONE = 2 /* a gauge that is told no more: what it was about is gone; value_micro says nothing */
};

/* The structs: `struct msg_hello`, `struct msg_request`, … with one member per field. */
#define FIELD_U8(field)             uint8_t field;
#define FIELD_U16(field)            uint16_t field;
#define FIELD_U32(field)            uint32_t field;
#define FIELD_U64(field)            uint64_t field;
#define FIELD_I64(field)            int64_t field;
#define FIELD_STR(field)            struct span field;
#define FIELD_BYTES(field)          struct span field;
#define F(kind, field, bound, unit) FIELD_##kind(field)
#define M(id, name, value, direction, loss)                                                                  \
    struct msg_##name {                                                                                      \
        id##_FIELDS(F)                                                                                       \
    };
MESSAGE_LIST(M)
#undef M
#undef F

struct frame {
    enum message_type type;
    uint64_t request;
    struct span payload; /* borrows from the train */
};

/* "REQUEST" and so on; "?" for a type that is not in the list. Static. */
const char *message_name(unsigned type);
bool message_type_known(unsigned type);
/* Carries tokens, keys or what people type into the admin page: memory that held it is wiped. */
bool message_is_secret(enum message_type type);
/* Appends header and payload of `message` (a struct msg_… that fits `type`). 0, ERR_NOMEM, or ERR_TOO_LARGE
 * when a field is over its bound (then nothing is appended). */
int message_encode(struct buffer *train, enum message_type type, uint64_t request, const void *message);
/* Fills `message` (the struct that fits frame->type). 0, ERR_TRUNCATED, ERR_INVALID, ERR_TOO_LARGE. */
int message_decode(const struct frame *frame, void *message);
/* Takes the next frame off the front of `train`. 1: got one; 0: the train is at its end; ERR_TRUNCATED,
 * ERR_VERSION, ERR_TOO_LARGE; ERR_UNKNOWN_TYPE (the frame is skipped, frame->type holds the raw value). */
int train_next(struct span *train, struct frame *frame);
/* Prints the table of proto/README.md. */
void message_print_table(FILE *out);

#endif
