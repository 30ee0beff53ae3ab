/* SPDX-License-Identifier: MIT */
/* upstream_answer - what the upstream's answer to a login, refresh or models call means (upstream.md, 6 and
 * 7). Pure. */
#ifndef CREDD_UPSTREAM_ANSWER_H
#define CREDD_UPSTREAM_ANSWER_H

#include "credd/http_call.h"

#include <jansson.h>

enum { UPSTREAM_WORDS_BYTES = 200 };

enum upstream_meaning {
    UPSTREAM_OK,           /* code 0, with data */
    UPSTREAM_PENDING,      /* 11217, 12151: poll on */
    UPSTREAM_NEEDS_LOGIN,  /* 12153: the refresh token is over */
    UPSTREAM_REFUSED,      /* 12005, 11212, 11216, 10081 and other codes: it says why */
    UPSTREAM_UNAUTHORIZED, /* 401, 403 with none of the codes above */
    UPSTREAM_TROUBLE       /* no answer, 5xx, 429, or what is no envelope: try again later */
};

struct upstream_answer {
    enum upstream_meaning meaning;
    json_t *data; /* owned, an object; with UPSTREAM_OK only */
    /* Code and message for people, without control characters and never from HTML; or libcurl's words. */
    char words[UPSTREAM_WORDS_BYTES];
};

void upstream_answer_read(const struct http_answer *http, struct upstream_answer *answer);
void upstream_answer_fini(struct upstream_answer *answer);

#endif
