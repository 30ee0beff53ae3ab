/* SPDX-License-Identifier: MIT */
/* handlers - what answers a route (routes.h says who may call). Each answers its call in full. */
#ifndef GATEWAY_HANDLERS_H
#define GATEWAY_HANDLERS_H

#include "gateway/head.h"

struct call;

void answer_completions(struct call *call, const struct head *head, struct span rest);
void answer_models(struct call *call, const struct head *head, struct span rest);
void answer_model(struct call *call, const struct head *head, struct span rest);
void answer_health(struct call *call, const struct head *head, struct span rest);
void answer_page(struct call *call, const struct head *head, struct span rest);
void answer_stats(struct call *call, const struct head *head, struct span rest);

#endif
