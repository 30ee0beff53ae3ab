/* SPDX-License-Identifier: MIT */
/* site_marks - which sites lately said that they do not serve a model. At most SITE_MARKS at a time: of more,
 * those that end first are forgotten. Part of rotation. Pure: time is passed in. */
#ifndef CREDD_SITE_MARKS_H
#define CREDD_SITE_MARKS_H

#include "credd/rotation.h"

enum { SITE_MARKS = 64 };

struct site_marks { /* all zero: none */
    struct site_mark {
        int64_t until_ms;
        uint32_t site;
        char model[ROTATION_MODEL_MAX_BYTES + 1];
    } marks[SITE_MARKS];
    size_t count;
};

/* For ROTATION_NOT_SERVED_MS from now. Of the model's name the first ROTATION_MODEL_MAX_BYTES count. */
void site_marks_add(struct site_marks *marks, uint32_t site, struct span model, int64_t now_ms);
bool site_marks_has(const struct site_marks *marks, uint32_t site, struct span model, int64_t now_ms);

#endif
