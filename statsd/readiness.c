/* SPDX-License-Identifier: MIT */
#include "statsd/readiness.h"

static bool has_positive_gauge(const struct registry *registry, const char *role, const char *name)
{
    int64_t value_micro;
    return registry_read_gauge(registry, role, name, &value_micro) && value_micro > 0;
}

static int put_reason(struct buffer *out, bool *ready, const char *reason)
{
    int error = *ready ? 0 : buffer_append_char(out, ',');
    *ready = false;
    return error < 0 ? error : buffer_append_json_string(out, span_str(reason));
}

int readiness_write(struct buffer *out, const struct registry *registry, bool ledger_failing, bool *ready)
{
    bool has_gateway = registry_connected_count(registry, "gateway") > 0;
    bool has_credd = registry_connected_count(registry, "credd") > 0;
    bool has_worker = registry_connected_count(registry, "upstream-worker") > 0;
    struct buffer reasons = {0};
    int error = 0;
    *ready = true;
    if (!has_gateway)
        error = put_reason(&reasons, ready, "no gateway is connected");
    if (error == 0 && !has_worker)
        error = put_reason(&reasons, ready, "no upstream-worker is connected");
    else if (error == 0 && has_gateway && !has_positive_gauge(registry, "gateway", READINESS_WORKERS_GAUGE))
        error = put_reason(&reasons, ready, "no gateway has a ready upstream-worker");
    if (error == 0 && !has_credd)
        error = put_reason(&reasons, ready, "credd is not connected");
    else if (error == 0 && !has_positive_gauge(registry, "credd", READINESS_CREDENTIALS_GAUGE))
        error = put_reason(&reasons, ready, "no credential is usable");
    if (error == 0 && has_credd && has_worker &&
        !has_positive_gauge(registry, "upstream-worker", READINESS_CREDD_GAUGE))
        error = put_reason(&reasons, ready, "no upstream-worker reaches credd");
    if (error == 0)
        error = buffer_printf(out, "{\"status\":\"%s\",\"reasons\":[%.*s],\"ledger\":\"%s\"}",
                              *ready ? "ready" : "not_ready", (int)reasons.length,
                              reasons.data ? reasons.data : "", ledger_failing ? "failing" : "ok");
    buffer_fini(&reasons);
    return error;
}
