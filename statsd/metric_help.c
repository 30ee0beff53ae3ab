/* SPDX-License-Identifier: MIT */
#include "statsd/metric_help.h"

#include <stddef.h>
#include <string.h>

static const struct {
    const char *family, *help;
} helps[] = {
    {"codebuddy2api_build", "What each process was built from."},
    {"codebuddy2api_process_up",
     "1 while the process is connected; 0 if its supervisor says that it should be, else absent."},
    {"codebuddy2api_process_state",
     "1 for the state that its supervisor sees it in; other states are absent."},
    {"codebuddy2api_process_restarts", "Times the process was started again after it failed; without a "
                                       "supervisor, all its starts but the first."},
    {"codebuddy2api_process_hangs", "Times its supervisor ended the process since its loop did not turn."},
    {"codebuddy2api_process_max_fds", "How many file descriptors the process may have open."},
    {"codebuddy2api_process_start_time_seconds", "When the process started, seconds since 1970."},
    {"codebuddy2api_process_resident_memory_bytes", "Resident memory of the process."},
    {"codebuddy2api_process_cpu_seconds", "CPU time of the process and those before it in its place."},
    {"codebuddy2api_process_open_fds", "Open file descriptors of the process."},
    {"codebuddy2api_process_loop_lag_seconds",
     "Longest that the event loop kept others waiting in the last 15 to 30 seconds."},
    {"codebuddy2api_link_frames", "Messages between our processes."},
    {"codebuddy2api_link_trains", "ZeroMQ messages (trains of frames) between our processes."},
    {"codebuddy2api_link_bytes", "Bytes of trains between our processes."},
    {"codebuddy2api_link_bad_frames", "Frames that were malformed, unknown or unexpected."},
    {"codebuddy2api_link_strangers", "Frames from a peer that had not said HELLO."},
    {"codebuddy2api_link_refused", "Handshakes refused: no key that is listed, or no peer of ours."},
    {"codebuddy2api_link_peers_lost", "Peers whose connection broke."},
    {"codebuddy2api_link_peers_hung", "Peers that fell silent."},
    {"codebuddy2api_reporter_events_pending", "Usage events that statsd has not acknowledged yet."},
    {"codebuddy2api_reporter_events_dropped", "Usage events lost for good: the sender's queue was full."},
    {"codebuddy2api_ledger_backlog_events",
     "Events of an older version that are not yet in the sums by minute and hour: /api/usage misses them."},
    {"codebuddy2api_ledger_failing", "1 while the ledger cannot be written: nothing is acknowledged."},
    {"codebuddy2api_ledger_failures", "Attempts to open or write the ledger that failed."},
    {"codebuddy2api_ledger_set_aside", "Corrupt ledgers set aside."},
    {"codebuddy2api_ledger_commits", "Transactions written."},
    {"codebuddy2api_ledger_queued_events", "Events received and not yet durable."},
    {"codebuddy2api_ledger_commit_duration_seconds", "How long the last commit took."},
    {"codebuddy2api_ledger_memory_bytes", "Memory of the ledger's caches, which fill as it grows."},
    {"codebuddy2api_ledger_repeated_events", "Events that the ledger had already."},
    {"codebuddy2api_metrics_refused", "Reported numbers that were not accepted."},
    {"codebuddy2api_credentials", "Credentials by state."},
    {"codebuddy2api_credential_state",
     "1 for the state that the credential is in; other states are absent. A disabled one says by whom."},
    {"codebuddy2api_credential_in_flight", "Requests that use the credential at the moment."},
    {"codebuddy2api_credential_uses", "Times the credential was lent."},
    {"codebuddy2api_credential_expires_timestamp_seconds",
     "When the credential's token expires, seconds since 1970; absent if unknown."},
    {"codebuddy2api_credential_refresh_due_timestamp_seconds",
     "When the token is to be refreshed, seconds since 1970; in the past: the refresh is late. Absent if it "
     "cannot be."},
    {"codebuddy2api_credential_until_timestamp_seconds",
     "When a cooling or exhausted credential returns by itself, seconds since 1970; absent otherwise."},
    {"codebuddy2api_credentials_usable", "Credentials that can serve at least some models."},
    {"codebuddy2api_leases", "Credentials lent at the moment."},
    {"codebuddy2api_lease_waiters", "Requests that wait for a credential."},
    {"codebuddy2api_lease_grants", "Leases granted."},
    {"codebuddy2api_lease_refusals", "Leases refused, by the error code the client sees."},
    {"codebuddy2api_lease_outcomes", "Leases given back, by outcome."},
    {"codebuddy2api_lease_unknown_releases",
     "Leases given back that nobody held, such as those that had ended."},
    {"codebuddy2api_key_refusals",
     "Requests refused for the limits of their API key, by the error code the client sees."},
    {"codebuddy2api_refreshes", "Attempts to refresh a credential's token, by result."},
    {"codebuddy2api_leases_expired", "Leases that ended by themselves."},
    {"codebuddy2api_leases_adopted", "Leases learnt from a renewal after a restart."},
    {"codebuddy2api_gateway_requests", "HTTP requests that are over, by route, status and outcome."},
    {"codebuddy2api_gateway_refusals", "Requests refused before they had a route, by error code."},
    {"codebuddy2api_gateway_moves", "Requests moved from a dead worker to another."},
    {"codebuddy2api_gateway_overloaded", "Requests refused by the admission limit."},
    {"codebuddy2api_gateway_clients_left", "Clients that left before their answer was complete."},
    {"codebuddy2api_gateway_bad_frames", "Messages of workers that did not fit the state of their request."},
    {"codebuddy2api_gateway_late_frames", "Messages of workers about requests that were over."},
    {"codebuddy2api_gateway_workers_lost", "Workers that ended while they served requests."},
    {"codebuddy2api_gateway_wrong_proofs", "Wrong passwords and keys."},
    {"codebuddy2api_connections", "Client connections that are open."},
    {"codebuddy2api_waiting", "Requests that wait for a ready worker."},
    {"codebuddy2api_workers_ready", "Workers that take requests."},
    {"codebuddy2api_upstream_connections", "Connections to upstreams that are open."},
    {"codebuddy2api_event_gap_seconds", "Silence between two events of an upstream's answer."},
    {"codebuddy2api_worker_credd_up", "1 while the worker can ask credd for credentials."},
    {"codebuddy2api_worker_attempts", "Upstream calls begun."},
    {"codebuddy2api_worker_retries", "Upstream calls begun again, with the same or another credential."},
    {"codebuddy2api_worker_cancelled", "Requests given up since their client or gateway left."},
    {"codebuddy2api_worker_upstream_events", "Events taken from upstreams."},
    {"codebuddy2api_queued_events", "Usage events received and not yet durable."},
    {"codebuddy2api_streams", "Requests in flight."},
    {"codebuddy2api_streams_paused", "Of these, held back until their client reads on."},
};

const char *metric_help(const char *family)
{
    for (size_t i = 0; i < sizeof helps / sizeof helps[0]; i++)
        if (strcmp(helps[i].family, family) == 0)
            return helps[i].help;
    return "Reported by our processes; see the README of the role.";
}
