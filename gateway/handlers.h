/* SPDX-License-Identifier: MIT */
/* handlers - what answers a route (routes.h says who may call). Each answers its call in full. */
#ifndef GATEWAY_HANDLERS_H
#define GATEWAY_HANDLERS_H

#include "gateway/head.h"

struct call;

void answer_completions(struct call *call, const struct head *head, struct span rest);
void answer_models(struct call *call, const struct head *head, struct span rest);
void answer_health(struct call *call, const struct head *head, struct span rest);
void answer_page(struct call *call, const struct head *head, struct span rest);
void answer_callback(struct call *call, const struct head *head, struct span rest);
void answer_login(struct call *call, const struct head *head, struct span rest);
void answer_logout(struct call *call, const struct head *head, struct span rest);
void answer_credential_test(struct call *call, const struct head *head, struct span rest);
/* Hand the route's question on. */
void answer_by_credd(struct call *call, const struct head *head, struct span rest);
void answer_by_statsd(struct call *call, const struct head *head, struct span rest);

#endif
