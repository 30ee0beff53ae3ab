/* SPDX-License-Identifier: MIT */
/* handlers - what answers a route (routes.h says who may call). Each answers its call in full. */
#ifndef GATEWAY_HANDLERS_H
#define GATEWAY_HANDLERS_H

#include "gateway/head.h"

#include <jansson.h>
#include <stdbool.h>

struct call;

/* For a call that takes no fields: true if its body is empty or {}. Otherwise the call is answered: 400 if it
 * is no JSON object, else 422 with the field's name. */
bool body_has_no_fields(struct call *call);

void answer_completions(struct call *call, const struct head *head, struct span rest);
void answer_models(struct call *call, const struct head *head, struct span rest);
void answer_health(struct call *call, const struct head *head, struct span rest);
void answer_page(struct call *call, const struct head *head, struct span rest);
void answer_asset(struct call *call, const struct head *head, struct span rest);
void answer_callback(struct call *call, const struct head *head, struct span rest);
void answer_login(struct call *call, const struct head *head, struct span rest);
void answer_logout(struct call *call, const struct head *head, struct span rest);
void answer_session(struct call *call, const struct head *head, struct span rest);
void answer_credential_test(struct call *call, const struct head *head, struct span rest);
/* Hand the route's question on. */
void answer_by_credd(struct call *call, const struct head *head, struct span rest);
void answer_by_statsd(struct call *call, const struct head *head, struct span rest);
/* The event stream of the admin page (live_feed.h). */
void answer_live(struct call *call, const struct head *head, struct span rest);

/* Reads the parameters that the route takes into `arguments`. False: the call is answered, 422 with the
 * parameter's name. */
bool read_query(struct call *call, const struct head *head, json_t *arguments);

#endif
