/* SPDX-License-Identifier: MIT */
#include "credd/key_pace.h"
#include "proto/error.h"

enum { COUNT_MAX = 1000 * 1000 * 1000 /* of one second; more was never counted */ };

static void add(struct key_pace *pace, int64_t second, int64_t count)
{
    /* Below 0 is before this machine was switched on. */
    size_t i = (size_t)((second % KEY_PACE_S + KEY_PACE_S) % KEY_PACE_S);
    if (pace->begun[i].second != second)
        pace->begun[i].count = 0;
    pace->begun[i].second = second;
    pace->begun[i].count += count;
}

static bool counts(const struct key_pace *pace, size_t i, int64_t now_s)
{
    return pace->begun[i].count > 0 && pace->begun[i].second > now_s - KEY_PACE_S;
}

void key_pace_note(struct key_pace *pace, const struct moment *moment)
{
    add(pace, moment->now_ms / 1000, 1);
}

int64_t key_pace_count(const struct key_pace *pace, const struct moment *moment, int64_t *free_in_s)
{
    int64_t count = 0, now_s = moment->now_ms / 1000, oldest = now_s;
    for (size_t i = 0; i < KEY_PACE_S; i++) {
        if (!counts(pace, i, now_s))
            continue;
        count += pace->begun[i].count;
        if (pace->begun[i].second < oldest)
            oldest = pace->begun[i].second;
    }
    *free_in_s = oldest + KEY_PACE_S - now_s;
    return count;
}

json_t *key_pace_describe(const struct key_pace *pace, const struct moment *moment)
{
    json_t *list = json_array();
    int64_t now_s = moment->now_ms / 1000, wall_ahead_s = moment->wall_ms / 1000 - now_s;
    for (size_t i = 0; list && i < KEY_PACE_S; i++)
        if (counts(pace, i, now_s)) {
            json_int_t wall_s = pace->begun[i].second + wall_ahead_s, count = pace->begun[i].count;
            if (json_array_append_new(list, json_pack("[I, I]", wall_s, count)) == 0)
                continue;
            json_decref(list);
            list = NULL;
        }
    return list;
}

int key_pace_restore(struct key_pace *pace, const json_t *described, const struct moment *moment)
{
    size_t i;
    json_t *pair;
    if (!json_is_array(described))
        return ERR_INVALID;
    json_array_foreach (described, i, pair) {
        const json_t *wall = json_array_get(pair, 0), *count = json_array_get(pair, 1);
        json_int_t begun = json_integer_value(count);
        if (!json_is_integer(wall) || json_integer_value(wall) < 0 || begun < 1 || begun > COUNT_MAX)
            return ERR_INVALID;
        int64_t age_s = moment->wall_ms / 1000 - json_integer_value(wall);
        if (age_s >= 0 && age_s < KEY_PACE_S)
            add(pace, moment->now_ms / 1000 - age_s, begun);
    }
    return 0;
}
