/* SPDX-License-Identifier: MIT */
#include "gateway/health.h"
#include "gateway/completions.h"
#include "gateway/rpc.h"

void health_gather(const struct gateway *gateway, struct health *health)
{
    struct completions_census census = completions_count(gateway->completions);
    *health = (struct health){
        .workers = census.workers,
        .accepting = census.accepting,
        .has_statsd = rpc_is_up(gateway->statsd),
        .has_credd = rpc_is_up(gateway->credd),
        .is_draining = service_draining(gateway->service),
        .usable_credentials = -1,
    };
}

enum weight { FINE, DEGRADES, FAILS };

/* Something that can be wrong. */
struct reason {
    enum weight weight;
    const char *code, *message;
};

/* The i-th reason there can be; weight FINE: it is not so now. */
static struct reason reason_at(const struct health *health, size_t i)
{
    const struct reason reasons[] = {
        {health->workers == 0 ? FAILS : FINE, "no_worker", "No upstream-worker is connected."},
        {health->workers > 0 && health->accepting == 0 ? FAILS : FINE, "no_ready_worker",
         "No upstream-worker takes requests now."},
        {health->usable_credentials == 0 ? FAILS : FINE, "no_credential", "No credential is ready."},
        {health->has_credd ? FINE : DEGRADES, "credd_away",
         "credd is away: credentials, keys and settings cannot be managed, new requests wait for it."},
        {health->has_statsd ? FINE : DEGRADES, "statsd_away",
         "statsd is away: usage is kept by its senders."},
        {health->is_ledger_failing ? DEGRADES : FINE, "ledger_failing",
         "The usage ledger cannot be written: usage is kept by its senders."},
        {health->is_draining ? DEGRADES : FINE, "draining", "This gateway is stopping."},
    };
    struct reason none = {FINE, NULL, NULL};
    return i < sizeof reasons / sizeof reasons[0] ? reasons[i] : none;
}

const char *health_status(const struct health *health)
{
    static const char *const words[] = {[FINE] = "healthy", [DEGRADES] = "degraded", [FAILS] = "unhealthy"};
    enum weight worst = FINE;
    for (size_t i = 0; reason_at(health, i).code; i++)
        if (reason_at(health, i).weight > worst)
            worst = reason_at(health, i).weight;
    return words[worst];
}

int health_append_json(struct buffer *out, const struct health *health)
{
    const char *separator = "";
    bool is_ready = health->accepting > 0 && health->has_credd && health->usable_credentials != 0;
    int error = buffer_printf(out, "{\"status\":\"%s\",\"reasons\":[", health_status(health));
    for (size_t i = 0; error == 0 && reason_at(health, i).code; i++) {
        struct reason reason = reason_at(health, i);
        if (reason.weight == FINE)
            continue;
        error = buffer_printf(out, "%s{\"code\":\"%s\",\"message\":\"%s\"}", separator, reason.code,
                              reason.message);
        separator = ",";
    }
    return error < 0 ? error : buffer_printf(out, "],\"ready\":%s}", is_ready ? "true" : "false");
}
