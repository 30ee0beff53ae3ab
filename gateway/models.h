/* SPDX-License-Identifier: MIT */
/* models - the list of models, as OpenAI's API shows it. Pure. */
#ifndef GATEWAY_MODELS_H
#define GATEWAY_MODELS_H

#include "proto/bytes.h"

enum { MODEL_NAME_MAX_BYTES = 128 /* as everywhere (proto/message.h) */ };

/* Appends {"object":"list","data":[…]} of the comma separated `models`, in their order. 0 or ERR_NOMEM. */
int models_append_list(struct buffer *out, const char *models, int64_t created_s);
/* Appends the one of that name. 0, ERR_NOT_FOUND or ERR_NOMEM. */
int models_append_one(struct buffer *out, const char *models, struct span name, int64_t created_s);

#endif
