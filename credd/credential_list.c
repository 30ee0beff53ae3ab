/* SPDX-License-Identifier: MIT */
#include "credd/credential_list.h"

#include <inttypes.h>
#include <stdio.h>

enum { MICRO = 1000000 };

static json_t *text_or_null(const char *text)
{
    json_t *value = text && *text ? json_string(text) : json_null();
    return value ? value : json_null(); /* a file name that is not UTF-8 */
}

/* Reasons come from the upstream by way of workers: links have checked that they are UTF-8. */
static json_t *span_or_null(struct span text)
{
    json_t *value = text.length > 0 ? json_stringn(text.data, text.length) : json_null();
    return value ? value : json_null();
}

static json_t *seconds_or_null(int64_t ms)
{
    return ms != 0 ? json_integer(ms / 1000) : json_null();
}

static json_t *preview(const struct secret *token)
{
    if (token->length < TOKEN_PREVIEW_LEAST_BYTES)
        return json_null();
    return json_stringn(token->data + token->length - 4, 4);
}

static json_t *remaining_text(int64_t expires_wall_ms, int64_t wall_ms)
{
    char text[64];
    int64_t left_min = (expires_wall_ms - wall_ms) / 60000;
    if (expires_wall_ms == 0)
        return json_string("unknown");
    if (expires_wall_ms <= wall_ms)
        return json_string("expired");
    if (left_min >= 24 * 60)
        snprintf(text, sizeof text, "%" PRId64 "d %" PRId64 "h", left_min / 1440, left_min / 60 % 24);
    else if (left_min >= 60)
        snprintf(text, sizeof text, "%" PRId64 "h %" PRId64 "m", left_min / 60, left_min % 60);
    else
        snprintf(text, sizeof text, "%" PRId64 "m", left_min);
    return json_string(text);
}

static int set_times(json_t *row, const struct credential_file *file, int64_t wall_ms)
{
    int64_t created_ms = file->created_wall_ms, expires_ms = file->expires_wall_ms;
    bool has_life = created_ms != 0 && expires_ms > created_ms;
    int failed = json_object_set_new(row, "created_at", seconds_or_null(created_ms));
    failed |= json_object_set_new(row, "expires_in",
                                  has_life ? seconds_or_null(expires_ms - created_ms) : json_null());
    failed |= json_object_set_new(row, "expires_at", seconds_or_null(expires_ms));
    failed |= json_object_set_new(row, "time_remaining",
                                  expires_ms ? json_integer((expires_ms - wall_ms) / 1000) : json_null());
    failed |= json_object_set_new(row, "time_remaining_str", remaining_text(expires_ms, wall_ms));
    failed |= json_object_set_new(row, "is_expired",
                                  json_boolean(expires_ms && wall_ms + ROTATION_EARLY_MS >= expires_ms));
    return failed;
}

static int set_account(json_t *row, const struct credential *credential)
{
    const struct credential_file *file = &credential->file;
    int failed = json_object_set_new(row, "user_id", text_or_null(file->user_id));
    failed |= json_object_set_new(row, "email", text_or_null(file->email));
    failed |= json_object_set_new(row, "name", text_or_null(file->name));
    failed |=
        json_object_set_new(row, "site", text_or_null(credential->site ? site_name(credential->site) : NULL));
    failed |= json_object_set_new(row, "token_type", text_or_null(file->token_type));
    failed |= json_object_set_new(row, "scope", text_or_null(file->scope));
    failed |= json_object_set_new(row, "domain", text_or_null(file->domain));
    failed |= json_object_set_new(row, "has_token", json_boolean(!secret_is_empty(&file->token)));
    failed |=
        json_object_set_new(row, "has_refresh_token", json_boolean(!secret_is_empty(&file->refresh_token)));
    failed |= json_object_set_new(row, "token_preview", preview(&file->token));
    return failed;
}

static int set_state(json_t *row, const struct credential *credential, const struct rotation_view *view,
                     const struct moment *moment)
{
    int64_t until_wall_ms = view->until_ms ? view->until_ms - moment->now_ms + moment->wall_ms : 0;
    int failed = json_object_set_new(row, "state", json_string(credential_state_word(view->state)));
    failed |= json_object_set_new(row, "state_reason",
                                  credential->problem[0] ? text_or_null(credential->problem)
                                                         : span_or_null(view->reason));
    failed |= json_object_set_new(row, "until", seconds_or_null(until_wall_ms));
    failed |= json_object_set_new(row, "in_flight", json_integer(view->in_flight));
    failed |= json_object_set_new(row, "uses", json_integer((json_int_t)view->uses));
    return failed;
}

/* NULL: not known. */
static int set_quota(json_t *row, const struct quota *quota)
{
    int failed = json_object_set_new(row, "quota_remaining",
                                     quota ? json_real((double)quota->remaining_micro / MICRO) : json_null());
    failed |= json_object_set_new(row, "quota_total",
                                  quota ? json_real((double)quota->total_micro / MICRO) : json_null());
    failed |= json_object_set_new(row, "quota_resets_at", seconds_or_null(quota ? quota->resets_wall_ms : 0));
    return failed;
}

static json_t *row_new(const struct credential *credential, const struct quota *quota, size_t i,
                       const struct rotation_view *view, const struct moment *moment)
{
    json_t *row = json_object();
    int failed = json_object_set_new(row, "id", json_string(credential->id));
    failed |= json_object_set_new(row, "index", json_integer((json_int_t)i));
    failed |= json_object_set_new(row, "filename", text_or_null(credential->filename));
    failed |= set_account(row, credential);
    failed |= set_times(row, &credential->file, moment->wall_ms);
    failed |= set_state(row, credential, view, moment);
    failed |= set_quota(row, quota);
    if (!failed)
        return row;
    json_decref(row);
    return NULL;
}

json_t *credential_list_all(const struct rotation *rotation, const struct quotas *quotas,
                            const struct moment *moment)
{
    json_t *list = json_array(), *answer = json_object();
    int failed = json_object_set_new(answer, "credentials", list); /* takes, and fails for NULL */
    for (size_t i = 0; !failed && i < rotation_size(rotation); i++) {
        struct rotation_view view;
        rotation_look(rotation, i, moment, &view);
        failed = json_array_append_new(
            list, row_new(view.subject, quotas_find(quotas, view.subject), i, &view, moment));
    }
    if (!failed)
        return answer;
    json_decref(answer);
    return NULL;
}

static const char *status_word(const struct rotation *rotation, bool is_pinned, bool is_none,
                               int64_t rotation_count)
{
    if (is_none)
        return "no_credentials";
    if (is_pinned)
        return "manual_selected";
    if (!rotation_is_auto(rotation))
        return "auto_rotation_disabled";
    return rotation_count == 0 ? "rotation_count_zero" : "auto_rotation";
}

json_t *credential_list_current(const struct vault *vault, const struct rotation *rotation,
                                const struct moment *moment, int64_t rotation_count)
{
    int64_t served;
    size_t i = rotation_next(rotation, moment, &served);
    const struct credential *pinned = vault_find(vault, rotation_pinned(rotation));
    const struct credential *next = NULL;
    struct rotation_view view;
    if (i != SIZE_MAX) {
        rotation_look(rotation, i, moment, &view);
        next = view.subject;
    }
    const char *status = status_word(rotation, pinned && pinned == next, !next, rotation_count);
    json_t *answer = json_object();
    int failed = json_object_set_new(answer, "status", json_string(status));
    failed |= json_object_set_new(answer, "id", text_or_null(next ? next->id : NULL));
    failed |= json_object_set_new(answer, "index", next ? json_integer((json_int_t)i) : json_null());
    failed |= json_object_set_new(answer, "filename", text_or_null(next ? next->filename : NULL));
    failed |= json_object_set_new(answer, "user_id", text_or_null(next ? next->file.user_id : NULL));
    failed |= json_object_set_new(answer, "usage_count", json_integer(served));
    failed |= json_object_set_new(answer, "rotation_count", json_integer(rotation_count));
    failed |= json_object_set_new(answer, "auto_rotation_enabled", json_boolean(rotation_is_auto(rotation)));
    failed |= json_object_set_new(answer, "pinned_id", text_or_null(pinned ? pinned->id : NULL));
    if (!failed)
        return answer;
    json_decref(answer);
    return NULL;
}
