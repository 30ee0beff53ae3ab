/* SPDX-License-Identifier: MIT */
/* tree_view - what is asked about the tree. Changes nothing. */
#include "deploy/supervisor/tree_member.h"

#include "proto/clock.h"

#include <stdio.h>
#include <utlist.h>

/* A replacement that is not ready yet, or who leaves, says nothing about how the tree does. */
static bool counts(const struct member *member)
{
    return !member->retiring && !member->replaces;
}

bool tree_is_ready(const struct tree *tree)
{
    const struct member *member;

    if (tree_is_stopping(tree))
        return false;
    DL_FOREACH (tree_members(tree), member) {
        if (counts(member) && member->table.state != SUPERVISE_READY)
            return false;
    }
    return true;
}

bool tree_is_tended(const struct tree *tree, int64_t slack_ms)
{
    int64_t now_ms = clock_now_ms();
    const struct member *member;

    DL_FOREACH (tree_members(tree), member) {
        if (member->table.deadline_ms != SUPERVISE_NEVER && now_ms - member->table.deadline_ms > slack_ms)
            return false;
    }
    return true;
}

bool tree_has_process(const struct tree *tree, int pid)
{
    const struct member *member;

    DL_FOREACH (tree_members(tree), member) {
        if (member->child && child_pid(member->child) == pid)
            return true;
    }
    return false;
}

void tree_summarize(const struct tree *tree, char *text, size_t size)
{
    const struct member *member, *not_ready = NULL;
    unsigned all_count = 0, ready_count = 0;
    int length;

    DL_FOREACH (tree_members(tree), member) {
        if (!counts(member))
            continue;
        all_count++;
        if (member->table.state == SUPERVISE_READY)
            ready_count++;
        else if (!not_ready || member->table.state == SUPERVISE_PARKED)
            not_ready = member; /* one that is parked needs a person, so it goes before the others */
    }
    length = snprintf(text, size, "%u of %u processes ready", ready_count, all_count);
    if (not_ready && length > 0 && (size_t)length < size)
        snprintf(text + length, size - (size_t)length, "; %s is %s", not_ready->name,
                 supervise_state_name(not_ready->table.state));
}

json_t *tree_describe(const struct tree *tree)
{
    json_t *list = json_array();
    const struct member *member;

    DL_FOREACH (tree_members(tree), member)
        json_array_append_new(list, member_describe(member, clock_now_ms()));
    return list;
}
