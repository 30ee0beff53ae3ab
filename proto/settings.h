/* SPDX-License-Identifier: MIT */
/* settings - what an operator can set: one table that parses, prints --help, the sample .env and the README's
 * list.
 *
 * Order of sources: the environment, then the file `.env` in the working directory, then the default. An
 * unknown CODEBUDDY_* name, a bad value or a missing password is ERR_CONFIG with one log line that names it.
 * Loaded once per process, then passed down as a const struct. Not thread-safe; blocks on reading files. The
 * log has the format they name as soon as it is known, so that what is wrong with the rest is said in it. */
#ifndef PROTO_SETTINGS_H
#define PROTO_SETTINGS_H

#include "proto/bytes.h"
#include "proto/secret.h"

#include <stdio.h>

/* A process is replaced by a second one beside it, whose instance number is this much higher; the next again
 * has the plain one (deploy/supervisor). So a gateway of one host is found at two addresses, one at a time.
 */
enum { SERVICE_SECOND_INSTANCE = 1000 };

#define DEFAULT_MODELS                                                                                       \
    "claude-4.0,claude-3.7,gpt-5,gpt-5-mini,gpt-5-nano,o4-mini,gemini-2.5-flash,gemini-2.5-pro,auto-chat"

/* TEXT    char *, never NULL, "" when unset
 * SECRET  struct secret; NAME_FILE names a file to read it from instead
 * NUMBER  int64_t, from `min` to `max`
 * FLAG    bool: true/false, 1/0, yes/no, on/off
 * CHOICE  char *, one of "A|B|C"
 * `live`: may change at run time through the settings API. The last two: what it is, in English and Chinese.
 * An empty default whose help says "Default: …" is computed. */
#define SETTINGS_LIST(TEXT, SECRET, NUMBER, FLAG, CHOICE)                                                    \
    SECRET(password, "PASSWORD", "Password of clients and of the admin page. Required.",                     \
           "客户端和管理页的密码，必填。")                                                                   \
    TEXT(host, "HOST", "127.0.0.1", false, "Address the API listens on.", "API 监听的地址。")                \
    NUMBER(port, "PORT", 8001, 0, 65535, "", false, "Port the API listens on; 0 takes a free one.",          \
           "API 监听的端口；0 表示任选一个空闲端口。")                                                       \
    TEXT(api_endpoint, "API_ENDPOINT", "https://copilot.tencent.com", false,                                 \
         "Upstream site of credentials that name none: https, or http on loopback.",                         \
         "未写明站点的凭证所属的上游：https，或本机回环上的 http。")                                         \
    TEXT(creds_dir, "CREDS_DIR", ".codebuddy_creds", false, "Directory of credential files.",                \
         "凭证文件目录。")                                                                                   \
    TEXT(data_dir, "DATA_DIR", "data", false, "Directory of the usage ledger and other state.",              \
         "用量账本和其他状态的目录。")                                                                       \
    TEXT(run_dir, "RUN_DIR", "", false,                                                                      \
         "Directory of sockets, private to the user. Default: $XDG_RUNTIME_DIR/codebuddy2api, or one under " \
         "/tmp.",                                                                                            \
         "套接字目录，仅本用户可访问。默认：$XDG_RUNTIME_DIR/codebuddy2api，或 /tmp 下的一个目录。")         \
    TEXT(sites_dir, "SITES_DIR", "", false,                                                                  \
         "Directory of site profiles (*.json). Default: deploy/sites beside the program's build directory.", \
         "站点配置（*.json）目录。默认：程序构建目录旁的 deploy/sites。")                                    \
    TEXT(web_dir, "WEB_DIR", "", false,                                                                      \
         "Directory of the built admin page. Default: web beside the program's directory.",                  \
         "构建好的管理页面目录。默认：程序目录旁的 web。")                                                   \
    CHOICE(log_level, "LOG_LEVEL", "INFO", "DEBUG|INFO|WARNING|ERROR", true,                                 \
           "Least severe log line written.", "写出的最低日志级别。")                                         \
    CHOICE(log_format, "LOG_FORMAT", "text", "text|json", false,                                             \
           "Form of log lines: text, or one JSON object a line.",                                            \
           "日志行的格式：text，或每行一个 JSON 对象（json）。")                                             \
    FLAG(access_log, "ACCESS_LOG", true, true, "Log a line for every finished request.",                     \
         "每个请求结束时写一行日志。")                                                                       \
    TEXT(models, "MODELS", DEFAULT_MODELS, true,                                                             \
         "Models offered, comma separated; the first is the default.",                                       \
         "提供的模型，逗号分隔；第一个为默认模型。")                                                         \
    TEXT(model_prefix, "MODEL_PREFIX", "", true,                                                             \
         "Prefix that clients may put before a model's name, removed before it goes upstream, e.g. "         \
         "codebuddy/.",                                                                                      \
         "客户端可加在模型名前的前缀，发往上游前去掉，例如 codebuddy/。")                                    \
    TEXT(system_message, "SYSTEM_MESSAGE", "You are a helpful assistant.", true,                             \
         "System message put first when a request has none: the upstream wants one. May have lines.",        \
         "请求没有系统消息时放在最前的系统消息：上游要求有一条。可以多行。")                                 \
    TEXT(replacements, "REPLACEMENTS", "", true,                                                             \
         "Replacements in system messages, a JSON list of {\"from\":…,\"to\":…}, applied in order.",         \
         "系统消息中的替换规则，JSON 列表 {\"from\":…,\"to\":…}，依次应用。")                                \
    FLAG(ssl_verify, "SSL_VERIFY", true, false, "Verify the upstream's certificate.", "校验上游的证书。")    \
    TEXT(ca_file, "CA_FILE", "", false,                                                                      \
         "Certificates to trust for the upstream (PEM). Default: the system's.",                             \
         "校验上游时信任的证书（PEM）。默认：系统自带的。")                                                  \
    TEXT(                                                                                                    \
        secret_key_file, "SECRET_KEY_FILE", "", false,                                                       \
        "File of the key that credential files are written sealed with: 64 hex digits. Unset: plain files.", \
        "凭证文件加密所用密钥的文件：64 位十六进制数字。不设则以明文保存。")                                 \
    NUMBER(rotation_count, "ROTATION_COUNT", 10, 0, 1000000, "requests", true,                               \
           "Requests before the next credential; 0 stays with one.",                                         \
           "每个凭证服务多少个请求后换下一个；0 表示不换。")                                                 \
    NUMBER(credential_max_in_flight, "CREDENTIAL_MAX_IN_FLIGHT", 1000, 1, 1000000, "requests", true,         \
           "Requests that one credential serves at a time.", "一个凭证同时服务的请求数上限。")               \
    NUMBER(credential_exhausted_s, "CREDENTIAL_EXHAUSTED_S", 3600, 10, 2592000, "seconds", false,            \
           "How long a credential whose credits are used up is left alone.", "额度用尽的凭证搁置多久。")     \
    NUMBER(workers, "WORKERS", 0, 0, 256, "processes", false,                                                \
           "Upstream-workers on this host; 0: one per core.", "本机的上游工作进程数；0 表示每核一个。")      \
    NUMBER(gateways, "GATEWAYS", 1, 1, 64, "processes", false, "Gateways on this host.",                     \
           "本机的网关进程数。")                                                                             \
    NUMBER(max_body_bytes, "MAX_BODY_BYTES", 33554432, 1024, 1073741824, "bytes", false,                     \
           "Largest request body taken.", "接受的最大请求体。")                                              \
    NUMBER(max_header_bytes, "MAX_HEADER_BYTES", 65536, 1024, 300000, "bytes", false,                        \
           "Largest request head (line and headers) taken.", "接受的最大请求头（含请求行）。")               \
    NUMBER(max_connections, "MAX_CONNECTIONS", 20000, 1, 1000000, "connections", false,                      \
           "Client connections open at a time, per gateway.", "每个网关同时打开的客户端连接数上限。")        \
    NUMBER(max_streams, "MAX_STREAMS", 10000, 1, 1000000, "requests", true,                                  \
           "Completions in flight at a time, per gateway; more get 503.",                                    \
           "每个网关同时进行的补全数上限；超出的得到 503。")                                                 \
    NUMBER(keepalive_s, "KEEPALIVE_S", 15, 1, 3600, "seconds", true,                                         \
           "Silence in a stream after which a comment is sent to the client.",                               \
           "流中静默多久后向客户端发送一条注释。")                                                           \
    NUMBER(drain_s, "DRAIN_S", 30, 0, 3600, "seconds", false, "How long a stop waits for what runs.",        \
           "停止时等待进行中请求的时间。")                                                                   \
    NUMBER(header_timeout_s, "HEADER_TIMEOUT_S", 10, 1, 3600, "seconds", false,                              \
           "Time a client has to send a request's headers.", "客户端发送请求头的时限。")                     \
    NUMBER(body_timeout_s, "BODY_TIMEOUT_S", 30, 1, 3600, "seconds", false,                                  \
           "Longest pause while a client sends a body, or takes an answer.",                                 \
           "客户端发送请求体或接收回答时的最长停顿。")                                                       \
    NUMBER(body_total_timeout_s, "BODY_TOTAL_TIMEOUT_S", 600, 1, 86400, "seconds", false,                    \
           "Time a client has to send a whole request, headers and body.",                                   \
           "客户端发送完整个请求（请求头和请求体）的时限。")                                                 \
    NUMBER(client_idle_timeout_s, "CLIENT_IDLE_TIMEOUT_S", 75, 1, 86400, "seconds", false,                   \
           "How long a kept-alive connection may wait for its next request.",                                \
           "保持的连接等待下一个请求的时限。")                                                               \
    NUMBER(connect_timeout_s, "CONNECT_TIMEOUT_S", 10, 1, 600, "seconds", true, "Upstream: to connect.",     \
           "上游：建立连接的时限。")                                                                         \
    NUMBER(first_byte_timeout_s, "FIRST_BYTE_TIMEOUT_S", 300, 1, 3600, "seconds", true,                      \
           "Upstream: to the first event.", "上游：到第一个事件的时限。")                                    \
    NUMBER(idle_timeout_s, "IDLE_TIMEOUT_S", 120, 1, 3600, "seconds", true, "Upstream: between two events.", \
           "上游：两个事件之间的时限。")                                                                     \
    NUMBER(total_timeout_s, "TOTAL_TIMEOUT_S", 3600, 1, 86400, "seconds", true, "Upstream: a whole answer.", \
           "上游：一个完整回答的时限。")                                                                     \
    TEXT(tls_cert_file, "TLS_CERT_FILE", "", false,                                                          \
         "Certificate chain (PEM) of the API; with it, TLS is on.", "API 的证书链（PEM）；设置后启用 TLS。") \
    TEXT(tls_key_file, "TLS_KEY_FILE", "", false, "Private key (PEM) of that certificate.",                  \
         "该证书的私钥（PEM）。")                                                                            \
    TEXT(cors_origins, "CORS_ORIGINS", "", false,                                                            \
         "Origins that browsers may call the model API from, comma separated, or *.",                        \
         "浏览器可从哪些来源调用模型 API，逗号分隔，或 *。")                                                 \
    TEXT(ops_host, "OPS_HOST", "127.0.0.1", false, "Address of /metrics, /livez and /readyz.",               \
         "/metrics、/livez 和 /readyz 的地址。")                                                             \
    NUMBER(ops_port, "OPS_PORT", 8002, 0, 65535, "", false,                                                  \
           "Port of /metrics, /livez and /readyz; 0 takes a free one.",                                      \
           "/metrics、/livez 和 /readyz 的端口；0 表示任选一个空闲端口。")                                   \
    NUMBER(usage_events_days, "USAGE_EVENTS_DAYS", 365, 0, 36500, "days", false,                             \
           "How long the ledger keeps each request; 0: for ever. Sums by the hour stay.",                    \
           "账本保留每个请求记录多久；0 表示永久。按小时的汇总一直保留。")                                   \
    NUMBER(usage_minutes_days, "USAGE_MINUTES_DAYS", 90, 1, 3650, "days", false,                             \
           "How long the ledger keeps sums by the minute.", "账本保留按分钟汇总多久。")                      \
    FLAG(confine, "CONFINE", true, false,                                                                    \
         "Each process keeps only what it needs of system calls and files (SECURITY.md). 0 is for finding "  \
         "out whether that is in the way of something.",                                                     \
         "每个进程只保留所需的系统调用和文件访问（见 SECURITY.md）。设为 0 仅用于排查它是否妨碍了什么。")    \
    TEXT(gateway_bind, "GATEWAY_BIND", "", false,                                                            \
         "Where this gateway waits for workers (ipc:// or tcp://). Default: in the run directory.",          \
         "本网关等待工作进程的地址（ipc:// 或 tcp://）。默认：在运行目录中。")                               \
    TEXT(gateway_endpoints, "GATEWAY_ENDPOINTS", "", false,                                                  \
         "Gateways that workers serve, comma separated; a name is resolved to all its addresses.",           \
         "工作进程为哪些网关服务，逗号分隔；一个名称会解析为它的所有地址。")                                 \
    TEXT(credd_bind, "CREDD_BIND", "", false, "Where credd waits. Default: in the run directory.",           \
         "credd 等待连接的地址。默认：在运行目录中。")                                                       \
    TEXT(credd_endpoint, "CREDD_ENDPOINT", "", false, "Where the others find credd.",                        \
         "其他进程到哪里找 credd。")                                                                         \
    TEXT(statsd_bind, "STATSD_BIND", "", false, "Where statsd waits. Default: in the run directory.",        \
         "statsd 等待连接的地址。默认：在运行目录中。")                                                      \
    TEXT(statsd_endpoint, "STATSD_ENDPOINT", "", false, "Where the others find statsd.",                     \
         "其他进程到哪里找 statsd。")                                                                        \
    TEXT(link_keys_dir, "LINK_KEYS_DIR", "", false,                                                          \
         "Directory of the links' keys, made by `codebuddy2api keygen`; needed for tcp:// off loopback.",    \
         "链路密钥目录，由 `codebuddy2api keygen` 生成；非回环的 tcp:// 需要它。")

/* Where a value comes from. */
enum setting_source {
    SETTING_FROM_DEFAULT,
    SETTING_FROM_DOTENV,
    SETTING_FROM_ENVIRONMENT,
    SETTING_FROM_RUN_TIME
};

enum setting_index {
#define ROW(field, ...) SETTING_AT_##field,
    SETTINGS_LIST(ROW, ROW, ROW, ROW, ROW)
#undef ROW
        SETTING_COUNT
};

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
    unsigned char sources[SETTING_COUNT]; /* enum setting_source, by enum setting_index */
};

/* Fills `settings` from environment, `.env` (in the working directory) and defaults; computes the empty ones
 * (run directory, endpoints, workers). `environment` is NULL-terminated NAME=VALUE; pass `environ`. Logs its
 * own failure. 0, ERR_CONFIG, ERR_NOMEM. Pair with settings_fini, on failure too. */
int settings_load(struct settings *settings, char *const *environment, const char *dotenv_path);
/* And that there is a password: for those who let clients in, or start who does. The others need not know it.
 */
int settings_load_with_password(struct settings *settings, char *const *environment, const char *dotenv_path);
/* Only `run_dir`, found as settings_load finds it; the rest are defaults. Other settings may be missing or
 * wrong: for commands that must reach a running system whatever has become of its settings. 0 or ERR_NOMEM.
 */
int settings_load_run_dir(struct settings *settings, char *const *environment, const char *dotenv_path);
void settings_fini(struct settings *settings); /* wipes the password */
/* Makes `to` an independent copy. 0 or ERR_NOMEM; pair with settings_fini, on failure too. */
int settings_copy(struct settings *to, const struct settings *from);

/* Parses one `.env` text into NAME, VALUE pairs: comments, `export `, single and double quotes (with \n \"
 * \\ in double ones). Calls `set` for each; stops at its first negative return. `line_number` says where on
 * ERR_INVALID. */
int settings_parse_dotenv(struct span text, int (*set)(void *context, struct span name, struct span value),
                          void *context, int *line_number);
/* Sets one value by its full CODEBUDDY_* name, checked. 0, ERR_NOT_FOUND (unknown name), ERR_INVALID (reason
 * says why; static text), ERR_NOMEM. Used for environment, files and, for live ones, the settings API.
 * Leaves `sources` alone. */
int settings_set(struct settings *settings, struct span name, struct span value, const char **reason);
/* Rules that span several settings (TLS pair, tcp endpoints need CURVE, endpoint is https or loopback). 0 or
 * ERR_CONFIG with `reason` pointing to static text. */
int settings_check(const struct settings *settings, const char **reason);

void settings_print_help(FILE *out);     /* one line or two per setting */
void settings_print_dotenv(FILE *out);   /* the sample .env: every setting, commented out */
void settings_print_markdown(FILE *out); /* README.md's table */
void settings_print_chinese(FILE *out);  /* README.zh-CN.md's table */

/* Calls `each` for every element of a comma separated list, spaces trimmed, empty ones skipped. */
void settings_each_in_list(const char *list, void (*each)(void *context, struct span element), void *context);

#endif
