/* SPDX-License-Identifier: MIT */
#include "gateway/cors.h"
#include "proto/settings.h"

struct search {
    struct span origin, allowed;
};

static void look_at(void *context, struct span element)
{
    struct search *search = context;
    if (span_equals(element, SPAN("*")))
        search->allowed = SPAN("*");
    else if (search->allowed.length == 0 && span_equals_ignoring_case(element, search->origin))
        search->allowed = search->origin;
}

struct span cors_allow(const char *origins, const struct head *head)
{
    struct search search = {head_find(head, SPAN("origin")), {NULL, 0}};
    if (search.origin.length > 0 && span_is_header_safe(search.origin))
        settings_each_in_list(origins, look_at, &search);
    return search.allowed;
}
