/* SPDX-License-Identifier: MIT */
/* settings - what an operator can set: one table that parses, prints --help, the sample .env and the README's
 * list.
 *
 * Order of sources: the environment, then the file `.env` in the working directory, then the default. An
 * unknown CODEBUDDY_* name, a bad value or a missing password is ERR_CONFIG with one log line that names it.
 * Loaded once per process, then passed down as a const struct. Not thread-safe; blocks on reading files. */
#ifndef PROTO_SETTINGS_H
#define PROTO_SETTINGS_H

#include "proto/bytes.h"
#include "proto/secret.h"

#include <stdio.h>

#define DEFAULT_MODELS                                                                                       \
    "claude-4.0,claude-3.7,gpt-5,gpt-5-mini,gpt-5-nano,o4-mini,gemini-2.5-flash,gemini-2.5-pro,auto-chat"

/* TEXT(field, NAME, default, live, help)          char *, never NULL, "" when unset
 * SECRET(field, NAME, help)                       struct secret; NAME_FILE names a file to read it from
 * instead NUMBER(field, NAME, default, min, max, unit, live, help)   int64_t FLAG(field, NAME, default, live,
 * help)          bool: true/false, 1/0, yes/no, on/off CHOICE(field, NAME, default, "A|B|C", live, help) char
 * *, one of the choices `live`: may change at run time through the settings API. Defaults of "" that read
 * "(…)" in help are computed. */
#define SETTINGS_LIST(TEXT, SECRET, NUMBER, FLAG, CHOICE)                                                    \
    SECRET(password, "PASSWORD", "Password of clients and of the admin page. Required.")                     \
    TEXT(host, "HOST", "127.0.0.1", false, "Address the API listens on.")                                    \
    NUMBER(port, "PORT", 8001, 0, 65535, "", false, "Port the API listens on; 0 takes a free one.")          \
    TEXT(api_endpoint, "API_ENDPOINT", "https://copilot.tencent.com", false,                                 \
         "Upstream site of credentials that name none: https, or http on loopback.")                         \
    TEXT(creds_dir, "CREDS_DIR", ".codebuddy_creds", false, "Directory of credential files.")                \
    TEXT(data_dir, "DATA_DIR", "data", false, "Directory of the usage ledger and other state.")              \
    TEXT(run_dir, "RUN_DIR", "", false,                                                                      \
         "Directory of sockets, private to the user. Default: $XDG_RUNTIME_DIR/codebuddy2api, or one under " \
         "/tmp.")                                                                                            \
    TEXT(sites_dir, "SITES_DIR", "", false,                                                                  \
         "Directory of site profiles (*.json). Default: deploy/sites beside the program's build directory.") \
    CHOICE(log_level, "LOG_LEVEL", "INFO", "DEBUG|INFO|WARNING|ERROR", true,                                 \
           "Least severe log line written.")                                                                 \
    TEXT(models, "MODELS", DEFAULT_MODELS, true,                                                             \
         "Models offered, comma separated; the first is the default.")                                       \
    TEXT(model_prefix, "MODEL_PREFIX", "", true,                                                             \
         "Prefix that clients may put before a model's name, removed before it goes upstream, e.g. "         \
         "codebuddy/.")                                                                                      \
    TEXT(system_message, "SYSTEM_MESSAGE", "You are a helpful assistant.", true,                             \
         "System message put first when a request has none: the upstream wants one.")                        \
    TEXT(replacements, "REPLACEMENTS", "", true,                                                             \
         "Replacements in system messages, a JSON list of {\"from\":…,\"to\":…}, applied in order.")         \
    FLAG(ssl_verify, "SSL_VERIFY", true, false, "Verify the upstream's certificate.")                        \
    TEXT(ca_file, "CA_FILE", "", false,                                                                      \
         "Certificates to trust for the upstream (PEM). Default: the system's.")                             \
    NUMBER(rotation_count, "ROTATION_COUNT", 10, 0, 1000000, "requests", true,                               \
           "Requests before the next credential; 0 stays with one.")                                         \
    NUMBER(credential_max_in_flight, "CREDENTIAL_MAX_IN_FLIGHT", 1000, 1, 1000000, "requests", true,         \
           "Requests that one credential serves at a time.")                                                 \
    NUMBER(credential_exhausted_s, "CREDENTIAL_EXHAUSTED_S", 3600, 10, 2592000, "seconds", false,            \
           "How long a credential whose credits are used up is left alone.")                                 \
    NUMBER(workers, "WORKERS", 0, 0, 256, "processes", false,                                                \
           "Upstream-workers on this host; 0: one per core.")                                                \
    NUMBER(gateways, "GATEWAYS", 1, 1, 64, "processes", false, "Gateways on this host.")                     \
    NUMBER(max_body_bytes, "MAX_BODY_BYTES", 33554432, 1024, 1073741824, "bytes", false,                     \
           "Largest request body taken.")                                                                    \
    NUMBER(max_header_bytes, "MAX_HEADER_BYTES", 65536, 1024, 300000, "bytes", false,                        \
           "Largest request head (line and headers) taken.")                                                 \
    NUMBER(max_connections, "MAX_CONNECTIONS", 20000, 1, 1000000, "connections", false,                      \
           "Client connections open at a time, per gateway.")                                                \
    NUMBER(max_streams, "MAX_STREAMS", 10000, 1, 1000000, "requests", true,                                  \
           "Completions in flight at a time, per gateway; more get 503.")                                    \
    NUMBER(keepalive_s, "KEEPALIVE_S", 15, 1, 3600, "seconds", true,                                         \
           "Silence in a stream after which a comment is sent to the client.")                               \
    NUMBER(drain_s, "DRAIN_S", 30, 0, 3600, "seconds", false, "How long a stop waits for what runs.")        \
    NUMBER(header_timeout_s, "HEADER_TIMEOUT_S", 10, 1, 3600, "seconds", false,                              \
           "Time a client has to send a request's headers.")                                                 \
    NUMBER(body_timeout_s, "BODY_TIMEOUT_S", 30, 1, 3600, "seconds", false,                                  \
           "Longest pause while a client sends a body, or takes an answer.")                                 \
    NUMBER(client_idle_timeout_s, "CLIENT_IDLE_TIMEOUT_S", 75, 1, 86400, "seconds", false,                   \
           "How long a kept-alive connection may wait for its next request.")                                \
    NUMBER(connect_timeout_s, "CONNECT_TIMEOUT_S", 10, 1, 600, "seconds", true, "Upstream: to connect.")     \
    NUMBER(first_byte_timeout_s, "FIRST_BYTE_TIMEOUT_S", 300, 1, 3600, "seconds", true,                      \
           "Upstream: to the first event.")                                                                  \
    NUMBER(idle_timeout_s, "IDLE_TIMEOUT_S", 120, 1, 3600, "seconds", true, "Upstream: between two events.") \
    NUMBER(total_timeout_s, "TOTAL_TIMEOUT_S", 3600, 1, 86400, "seconds", true, "Upstream: a whole answer.") \
    TEXT(tls_cert_file, "TLS_CERT_FILE", "", false,                                                          \
         "Certificate chain (PEM) of the API; with it, TLS is on.")                                          \
    TEXT(tls_key_file, "TLS_KEY_FILE", "", false, "Private key (PEM) of that certificate.")                  \
    TEXT(cors_origins, "CORS_ORIGINS", "", false,                                                            \
         "Origins that browsers may call the model API from, comma separated, or *.")                        \
    TEXT(ops_host, "OPS_HOST", "127.0.0.1", false, "Address of /metrics, /livez and /readyz.")               \
    NUMBER(ops_port, "OPS_PORT", 8002, 0, 65535, "", false,                                                  \
           "Port of /metrics, /livez and /readyz; 0 takes a free one.")                                      \
    TEXT(gateway_bind, "GATEWAY_BIND", "", false,                                                            \
         "Where this gateway waits for workers (ipc:// or tcp://). Default: in the run directory.")          \
    TEXT(gateway_endpoints, "GATEWAY_ENDPOINTS", "", false,                                                  \
         "Gateways that workers serve, comma separated; a name is resolved to all its addresses.")           \
    TEXT(credd_bind, "CREDD_BIND", "", false, "Where credd waits. Default: in the run directory.")           \
    TEXT(credd_endpoint, "CREDD_ENDPOINT", "", false, "Where the others find credd.")                        \
    TEXT(statsd_bind, "STATSD_BIND", "", false, "Where statsd waits. Default: in the run directory.")        \
    TEXT(statsd_endpoint, "STATSD_ENDPOINT", "", false, "Where the others find statsd.")                     \
    TEXT(link_key_file, "LINK_KEY_FILE", "", false,                                                          \
         "CURVE certificate (secret) of this process; needed for tcp:// off loopback.")                      \
    TEXT(link_server_key_file, "LINK_SERVER_KEY_FILE", "", false,                                            \
         "CURVE certificate (public) of the processes that this one connects to.")                           \
    TEXT(link_allow_dir, "LINK_ALLOW_DIR", "", false,                                                        \
         "Directory of the CURVE public certificates that may connect to this process.")

struct settings {
#define TEXT(field, ...)   char *field;
#define SECRET(field, ...) struct secret field;
#define NUMBER(field, ...) int64_t field;
#define FLAG(field, ...)   bool field;
#define CHOICE(field, ...) char *field;
    SETTINGS_LIST(TEXT, SECRET, NUMBER, FLAG, CHOICE)
#undef TEXT
#undef SECRET
#undef NUMBER
#undef FLAG
#undef CHOICE
};

/* Fills `settings` from environment, `.env` (in the working directory) and defaults; computes the empty ones
 * (run directory, endpoints, workers). `environment` is NULL-terminated NAME=VALUE; pass `environ`. Logs its
 * own failure. 0, ERR_CONFIG, ERR_NOMEM. Pair with settings_fini, on failure too. */
int settings_load(struct settings *settings, char *const *environment, const char *dotenv_path);
/* Only `run_dir`, found as settings_load finds it; the rest are defaults. Other settings may be missing or
 * wrong: for commands that must reach a running system whatever has become of its settings. 0 or ERR_NOMEM.
 */
int settings_load_run_dir(struct settings *settings, char *const *environment, const char *dotenv_path);
void settings_fini(struct settings *settings); /* wipes the password */

/* Parses one `.env` text into NAME, VALUE pairs: comments, `export `, single and double quotes (with \n \"
 * \\ in double ones). Calls `set` for each; stops at its first negative return. `line_number` says where on
 * ERR_INVALID. */
int settings_parse_dotenv(struct span text, int (*set)(void *context, struct span name, struct span value),
                          void *context, int *line_number);
/* Sets one value by its full CODEBUDDY_* name, checked. 0, ERR_NOT_FOUND (unknown name), ERR_INVALID (reason
 * says why; static text), ERR_NOMEM. Used for environment, files and, for live ones, the settings API. */
int settings_set(struct settings *settings, struct span name, struct span value, const char **reason);
/* Rules that span several settings (TLS pair, tcp endpoints need CURVE, endpoint is https or loopback). 0 or
 * ERR_CONFIG with `reason` pointing to static text. */
int settings_check(const struct settings *settings, const char **reason);

void settings_print_help(FILE *out);     /* one line or two per setting */
void settings_print_dotenv(FILE *out);   /* the sample .env: every setting, commented out */
void settings_print_markdown(FILE *out); /* the README's table */

/* Calls `each` for every element of a comma separated list, spaces trimmed, empty ones skipped. */
void settings_each_in_list(const char *list, void (*each)(void *context, struct span element), void *context);

#endif
