/* SPDX-License-Identifier: MIT */
#include "proto/follow.h"
#include "proto/error.h"
#include "proto/log.h"

#include <stdlib.h>

struct follow {
    struct link *link;
    struct live *live;
    void (*taken)(void *context, const json_t *state);
    void *context;
    uint64_t version; /* of the STATE that was taken last; 0: none */
};

static void take_settings(struct follow *follow, const json_t *state)
{
    struct live_problem problem = {.text = "out of memory"};
    const json_t *values = json_object_get(state, "settings");
    int error = json_is_object(values) ? live_set(follow->live, values, &problem) : ERR_INVALID;
    if (error < 0)
        log_error(NULL, "state_settings_not_taken", LOG_STR("name", problem.name),
                  LOG_STR("problem", problem.text));
}

static void take_state(struct follow *follow, const struct msg_state *message)
{
    if (message->version == follow->version)
        return;
    json_t *state = json_loadb(message->body.data, message->body.length, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(state)) {
        log_error(NULL, "state_not_taken", LOG_INT("version", message->version));
        json_decref(state);
        return;
    }
    take_settings(follow, state);
    if (follow->taken)
        follow->taken(follow->context, state);
    json_decref(state);
    follow->version = message->version;
    log_info(NULL, "state_taken", LOG_INT("version", message->version));
}

static void on_up(void *owner, struct peer *peer, const struct msg_hello *hello)
{
    struct follow *follow = owner;
    const struct msg_follow message = {.version = follow->version};
    (void)hello;
    peer_send(peer, MESSAGE_FOLLOW, 0, &message); /* it fails only if the peer is gone: then it comes again */
}

static void on_down(void *owner, struct peer *peer, enum link_down why)
{
    (void)owner;
    (void)peer;
    (void)why;
}

static void on_frame(void *owner, struct peer *peer, const struct frame *frame, const void *message)
{
    if (frame->type == MESSAGE_STATE)
        take_state(owner, message);
    else
        peer_refuse_frame(peer, frame);
}

static const struct link_handlers handlers = {on_up, on_down, on_frame};

struct follow *follow_new(struct service *service, struct live *live,
                          void (*taken)(void *context, const json_t *state), void *context)
{
    struct follow *follow = calloc(1, sizeof *follow);
    if (!follow) {
        log_error(NULL, "cannot_start", LOG_STR("problem", error_text(ERR_NOMEM)));
        return NULL;
    }
    follow->live = live;
    follow->taken = taken;
    follow->context = context;
    follow->link =
        link_connect(service, "credd", service_settings(service)->credd_endpoint, &handlers, follow);
    if (!follow->link)
        follow_free(&follow);
    return follow;
}

void follow_free(struct follow **follow)
{
    if (*follow && (*follow)->link)
        link_close(&(*follow)->link);
    free(*follow);
    *follow = NULL;
}

const struct link *follow_link(const struct follow *follow)
{
    return follow->link;
}
