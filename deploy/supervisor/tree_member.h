/* SPDX-License-Identifier: MIT */
/* tree_member - one process of the tree: its table, its live process, what it last said. Private to tree*.c.
 */
#ifndef SUPERVISOR_TREE_MEMBER_H
#define SUPERVISOR_TREE_MEMBER_H

#include "deploy/supervisor/child.h"
#include "deploy/supervisor/starved.h"
#include "deploy/supervisor/tree.h"
#include "proto/settings.h"

/* In the order of start and reload. R(NAME, role, turn in a stop, replaced by a second one?) */
#define TREE_ROLES(R)                                                                                        \
    R(ROLE_STATSD, "statsd", 3, false)                                                                       \
    R(ROLE_CREDD, "credd", 2, false)                                                                         \
    R(ROLE_GATEWAY, "gateway", 0, true)                                                                      \
    R(ROLE_WORKER, "upstream-worker", 1, true)

enum tree_role {
#define R(name, text, turn, overlaps) name,
    TREE_ROLES(R)
#undef R
};

enum { TREE_STOP_TURNS = 4, TREE_INSTANCE_STEP = SERVICE_SECOND_INSTANCE };

struct member {
    struct tree *tree; /* borrows */
    enum tree_role role;
    int instance;
    char name[48];
    struct supervise table;
    struct child *child;     /* NULL while no process lives */
    struct member *replaces; /* the one to stop once this is ready; NULL otherwise */
    bool retiring;           /* it is being replaced: once gone it leaves the tree */
    uint32_t generation;     /* the reload that it has been through */
    uint32_t restarts_count, hangs_count;
    int64_t ready_at_ms; /* when it last became ready */
    bool has_exited;
    int last_exit; /* exit status, or -signal */
    struct report last_report;
    struct starved_sample heard; /* how it was at its last line */
    bool starves;                /* and how we found it since */
    struct member *prev, *next;
};

/* Returns owned, NULL when out of memory. */
struct member *member_new(struct tree *tree, enum tree_role role, int instance);
void member_free(struct member **member);
/* Feeds the table, does what it says and logs the change; the tree draws its conclusions in tree_settle. */
void member_handle(struct member *member, enum supervise_event event, int64_t detail);
/* Time has passed: looks how one fares who is overdue, and tells the table. */
void member_tick(struct member *member);
const char *member_role_name(const struct member *member);
int member_stop_turn(const struct member *member);
bool member_overlaps(const struct member *member);
/* One element of tree_describe. */
json_t *member_describe(const struct member *member, int64_t now_ms);

/* What a member needs of its tree. */
uv_loop_t *tree_loop(struct tree *tree);
const struct tree_options *tree_options(const struct tree *tree);
/* The first of the list. */
const struct member *tree_members(const struct tree *tree);
/* Every callback that begins at a member ends with it: moves reload and stop on, frees who has left, sets the
 * timer. Never called in the midst of a walk over members. */
void tree_settle(struct tree *tree);

#endif
