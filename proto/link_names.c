/* SPDX-License-Identifier: MIT */
#include "proto/link_names.h"
#include "proto/error.h"
#include "proto/log.h"

#include <netdb.h>
#include <stdlib.h>
#include <utlist.h>

struct link_name {
    struct link_names *names; /* NULL: freed while it was being looked up */
    char text[256], port[16];
    uv_getaddrinfo_t request;
    bool is_asked_for;
    struct link_name *prev, *next;
};

struct link_names {
    uv_loop_t *loop;
    const struct link_names_handlers *handlers;
    void *owner;
    struct link_name *list;
};

struct link_names *link_names_new(uv_loop_t *loop, const struct link_names_handlers *handlers, void *owner)
{
    struct link_names *names = calloc(1, sizeof *names);
    if (names)
        *names = (struct link_names){.loop = loop, .handlers = handlers, .owner = owner};
    return names;
}

void link_names_free(struct link_names **names)
{
    struct link_name *name, *next;
    if (!*names)
        return;
    DL_FOREACH_SAFE ((*names)->list, name, next) {
        name->names = NULL;
        if (!name->is_asked_for)
            free(name); /* the others when their answer comes */
    }
    free(*names);
    *names = NULL;
}

bool link_names_add(struct link_names *names, const char *endpoint)
{
    size_t scheme = strlen("tcp://");
    const char *colon = strrchr(endpoint, ':');
    if (strncmp(endpoint, "tcp://", scheme) != 0 || colon < endpoint + scheme)
        return false;
    struct link_name *name = calloc(1, sizeof *name);
    if (!name) {
        log_error(NULL, "link_failed", LOG_STR("endpoint", endpoint),
                  LOG_STR("problem", error_text(ERR_NOMEM)));
        return true;
    }
    struct span host = span_of(endpoint + scheme, (size_t)(colon - endpoint) - scheme);
    if (host.length > 1 && host.data[0] == '[' && host.data[host.length - 1] == ']')
        host = span_of(host.data + 1, host.length - 2);
    name->names = names;
    snprintf(name->text, sizeof name->text, "%.*s", (int)host.length, host.data);
    snprintf(name->port, sizeof name->port, "%s", colon + 1);
    DL_APPEND(names->list, name);
    return true;
}

const char *link_name_text(const struct link_name *name)
{
    return name->text;
}

static void tell_address(const struct link_name *name, const struct sockaddr *address)
{
    char host[64], endpoint[LINK_ENDPOINT_BYTES];
    bool is_v6 = address->sa_family == AF_INET6;
    socklen_t length = is_v6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    if (getnameinfo(address, length, host, sizeof host, NULL, 0, NI_NUMERICHOST) != 0)
        return;
    snprintf(endpoint, sizeof endpoint, is_v6 ? "tcp://[%s]:%s" : "tcp://%s:%s", host, name->port);
    name->names->handlers->address(name->names->owner, name, endpoint);
}

static void on_answer(uv_getaddrinfo_t *request, int status, struct addrinfo *addresses)
{
    struct link_name *name = request->data;
    if (status == 0) {
        for (const struct addrinfo *address = addresses; address && name->names; address = address->ai_next)
            tell_address(name, address->ai_addr);
        if (name->names)
            name->names->handlers->complete(name->names->owner, name);
    }
    uv_freeaddrinfo(addresses);
    name->is_asked_for = false;
    if (!name->names)
        free(name);
}

void link_names_look_up(struct link_names *names)
{
    static const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_family = AF_UNSPEC};
    struct link_name *name;
    DL_FOREACH (names->list, name) {
        if (name->is_asked_for)
            continue;
        name->request.data = name;
        name->is_asked_for =
            uv_getaddrinfo(names->loop, &name->request, on_answer, name->text, NULL, &hints) == 0;
    }
}
