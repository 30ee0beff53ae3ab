/* SPDX-License-Identifier: MIT */
/* HTTP/1.1 responses, read piece by piece: status line, headers that matter for framing, and the body by
 * Content-Length, chunked or until the connection closes. Pure but for the bytes of an unfinished head. */
#ifndef LOAD_RESPONSE_H
#define LOAD_RESPONSE_H

#include "tests/upstream/chunked.h"

struct response {
    bool head_done, chunked, keep_alive, until_close;
    int status;
    int64_t left_bytes; /* of a Content-Length */
    struct chunked chunks;
    struct buffer head; /* what came of a head that is not whole yet */
};

enum response_result {
    RESPONSE_MORE = 0, /* all consumed */
    RESPONSE_PIECE,    /* *piece holds body bytes; call again with the rest */
    RESPONSE_END,      /* complete; the rest belongs to the next one */
    RESPONSE_BAD
};

/* Ready for the next response; keeps memory. */
void response_init(struct response *response);
void response_fini(struct response *response);
enum response_result response_read(struct response *response, const char *data, size_t size_bytes,
                                   size_t *consumed, struct span *piece);
/* True if the connection may end now without a loss. */
bool response_may_close(const struct response *response);

#endif
