/* SPDX-License-Identifier: MIT */
#include "tests/upstream/account.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "tests/upstream/jwt.h"

#define LOGIN_MAX_COUNT 10000
#define TOKEN_MAX_COUNT 100000
#define HTML_401        "<html><body><center><h1>401</h1></center><hr><center>openresty</center></body></html>"

/* Defaults; control changes them by key, keeping the type. */
static const char default_options[] =
    "{\"pending\":1,"          /* polls answered 11217 before a login is done */
    "\"not_ready\":0,"         /* then polls answered 12151 */
    "\"expires_in\":31536000," /* seconds an access token lives */
    "\"refresh_expires_in\":31536000,"
    "\"send_expires_at\":true,"
    "\"expires_at_ms\":true,"     /* the ...At times in milliseconds, else in seconds */
    "\"rotate_refresh\":true,"    /* a refresh gives a new refresh token */
    "\"one_time_refresh\":false," /* and the old one is refused from then on */
    "\"known_only\":false,"       /* only tokens issued here (or in `tokens`) are accepted */
    "\"tokens\":[],"
    "\"email\":\"user@example.com\","
    "\"name\":\"Stand-in User\","
    "\"sub\":\"\"," /* empty: a new one for each login */
    "\"iss\":\"https://www.codebuddy.cn/auth/realms/copilot\","
    "\"domain\":\"www.codebuddy.cn\","
    "\"enterprise_id\":\"\","
    "\"auth_url\":\"https://www.codebuddy.ai/login?platform=CLI&state=\"," /* the state is put behind */
    "\"disabled_models\":[],"
    "\"quota_personal\":{}," /* not empty: the whole answer */
    "\"quota_enterprise\":{},"
    "\"quota_size\":\"1500\",\"quota_used\":\"250.75\",\"quota_remain\":\"1249.25\"}";

static const char *const call_names[] = {
    "start", "poll", "account", "refresh", "models", "quota_personal", "quota_enterprise",
};

_Static_assert(sizeof(call_names) / sizeof(call_names[0]) == CALL_COUNT, "a name for each call");

struct login {
    char state[40];
    int64_t polls;
    UT_hash_handle hh;
};

/* A token issued here; refresh tokens too. */
struct issued {
    char *token;
    bool is_refresh, revoked;
    UT_hash_handle hh;
};

struct account {
    json_t *options;
    json_t *answers[CALL_COUNT]; /* NULL: the usual one */
    struct login *logins;
    struct issued *issued;
    uint64_t serial;
    int64_t *counters;
};

static void forget_logins(struct account *account)
{
    struct login *login = account->logins, *next;

    HASH_CLEAR(hh, account->logins); /* the table goes, the list of its members stays */
    for (; login; login = next) {
        next = login->hh.next;
        free(login);
    }
}

static void forget_issued(struct account *account)
{
    struct issued *issued = account->issued, *next;

    HASH_CLEAR(hh, account->issued);
    for (; issued; issued = next) {
        next = issued->hh.next;
        free(issued->token);
        free(issued);
    }
}

struct account *account_new(void)
{
    struct account *account = memory_new_zero(1, sizeof(*account));

    account_reset(account);
    return account;
}

void account_use_stats(struct account *account, struct stats *stats)
{
    account->counters = stats_counters(stats);
}

void account_reset(struct account *account)
{
    json_error_t error;

    forget_logins(account);
    forget_issued(account);
    for (int call = 0; call < CALL_COUNT; call++) {
        json_decref(account->answers[call]);
        account->answers[call] = NULL;
    }
    json_decref(account->options);
    account->options = json_loads(default_options, 0, &error);
    if (!account->options) {
        fprintf(stderr, "default options: %s\n", error.text);
        abort();
    }
}

void account_free(struct account **account)
{
    if (!*account)
        return;
    account_reset(*account);
    json_decref((*account)->options);
    free(*account);
    *account = NULL;
}

static int64_t option_number(const struct account *account, const char *key)
{
    return json_integer_value(json_object_get(account->options, key));
}

static const char *option_text(const struct account *account, const char *key)
{
    return json_string_value(json_object_get(account->options, key));
}

static bool option_flag(const struct account *account, const char *key)
{
    return json_is_true(json_object_get(account->options, key));
}

/* ---- answers ---- */

/* Takes json. */
static struct script *reply_json(int status, const char *headers, json_t *json)
{
    char *text = json_dumps(json, JSON_COMPACT);
    struct script *script;

    script = script_new_reply(status, "application/json", headers, span_of(text ? text : "{}"));
    free(text);
    json_decref(json);
    return script;
}

static struct script *reply_code(int status, int64_t code, const char *msg)
{
    return reply_json(
        status, "",
        json_pack("{s:I,s:s,s:s}", "code", (json_int_t)code, "msg", msg, "requestId", "standin-request"));
}

/* Takes data. */
static struct script *reply_data(json_t *data)
{
    return reply_json(200, "", json_pack("{s:i,s:s,s:o}", "code", 0, "msg", "OK", "data", data));
}

static struct script *reply_unauthorized(void)
{
    return script_new_reply(401, "text/html", "", span_of(HTML_401));
}

static const char *code_msg(int64_t code)
{
    switch (code) {
    case 11217:
        return "login pending";
    case 12151:
        return "account not ready";
    case 12005:
        return "no seat";
    case 11212:
        return "licence is over";
    case 11216:
        return "trial is over";
    case 10081:
        return "IP not allowed";
    case 12153:
        return "refresh token invalid";
    default:
        return "the stand-in says no";
    }
}

static struct script *set_answer_script(const json_t *answer)
{
    int status = (int)json_integer_value(json_object_get(answer, "status"));
    int64_t code = json_integer_value(json_object_get(answer, "code"));
    const char *html = json_string_value(json_object_get(answer, "html"));
    const char *msg = json_string_value(json_object_get(answer, "msg"));
    json_t *body = json_object_get(answer, "body");
    int64_t retry_after = json_integer_value(json_object_get(answer, "retry_after"));
    char headers[64] = "";

    if (status == 0)
        status = 200;
    if (retry_after > 0)
        snprintf(headers, sizeof(headers), "Retry-After: %lld\r\n", (long long)retry_after);
    if (html)
        return script_new_reply(status, "text/html", headers, span_of(html));
    if (json_is_string(body)) /* a text goes out as it is: also what is not JSON */
        return script_new_reply(status, "application/json", headers, span_of(json_string_value(body)));
    if (body)
        return reply_json(status, headers, json_incref(body));
    if (code == 0 && status == 200)
        return NULL; /* only a delay: the usual answer, later */
    return reply_json(status, headers,
                      json_pack("{s:I,s:s,s:s}", "code", (json_int_t)(code ? code : status), "msg",
                                msg ? msg : code_msg(code), "requestId", "standin-request"));
}

/* ---- login ---- */

static struct script *answer_start(struct account *account)
{
    struct login *login = memory_new_zero(1, sizeof(*login));
    struct buffer url = {0};
    unsigned char random[16];
    json_t *data;

    if (HASH_COUNT(account->logins) >= LOGIN_MAX_COUNT)
        forget_logins(account);
    randombytes_buf(random, sizeof(random));
    sodium_bin2hex(login->state, sizeof(login->state), random, sizeof(random));
    HASH_ADD_STR(account->logins, state, login);
    buffer_printf(&url, "%s%s", option_text(account, "auth_url"), login->state);
    data = json_pack("{s:s,s:s#}", "state", login->state, "authUrl", url.data, (int)url.size);
    buffer_fini(&url);
    return reply_data(data);
}

static void issue(struct account *account, const char *token, bool is_refresh)
{
    struct issued *issued = memory_new_zero(1, sizeof(*issued));

    if (HASH_COUNT(account->issued) >= TOKEN_MAX_COUNT)
        forget_issued(account);
    issued->token = memory_copy_text(token, strlen(token));
    issued->is_refresh = is_refresh;
    HASH_ADD_KEYPTR(hh, account->issued, issued->token, strlen(issued->token), issued);
}

static struct issued *find_issued(const struct account *account, struct span token)
{
    struct issued *issued;

    HASH_FIND(hh, account->issued, token.data, token.size, issued);
    return issued;
}

static void set_times(const struct account *account, json_t *data, int64_t wall_s)
{
    int64_t unit = option_flag(account, "expires_at_ms") ? 1000 : 1;
    int64_t expires_in = option_number(account, "expires_in");
    int64_t refresh_in = option_number(account, "refresh_expires_in");

    json_object_set_new(data, "expiresIn", json_integer(expires_in));
    json_object_set_new(data, "refreshExpiresIn", json_integer(refresh_in));
    if (!option_flag(account, "send_expires_at"))
        return;
    json_object_set_new(data, "expiresAt", json_integer((wall_s + expires_in) * unit));
    json_object_set_new(data, "refreshExpiresAt", json_integer((wall_s + refresh_in) * unit));
}

/* Returns owned: the claims of a new token, with what old had of its own. */
static json_t *make_claims(struct account *account, json_t *old, int64_t wall_s)
{
    json_t *claims = json_object();
    char sub[48];

    snprintf(sub, sizeof(sub), "standin-user-%llu", (unsigned long long)account->serial);
    json_object_set_new(claims, "iss", json_string(option_text(account, "iss")));
    json_object_set_new(claims, "sub",
                        json_string(*option_text(account, "sub") ? option_text(account, "sub") : sub));
    json_object_set_new(claims, "email", json_string(option_text(account, "email")));
    json_object_set_new(claims, "preferred_username", json_string(option_text(account, "email")));
    json_object_set_new(claims, "name", json_string(option_text(account, "name")));
    if (old)
        json_object_update_existing(claims, old);
    json_object_set_new(claims, "iat", json_integer(wall_s));
    json_object_set_new(claims, "exp", json_integer(wall_s + option_number(account, "expires_in")));
    return claims;
}

/* Returns owned: the data of a login or a refresh; claims are taken. */
static json_t *make_tokens(struct account *account, json_t *claims, bool with_refresh, int64_t wall_s)
{
    const char *enterprise = option_text(account, "enterprise_id");
    char *access = jwt_make(claims, ++account->serial);
    json_t *data = json_object();

    issue(account, access, false);
    json_object_set_new(data, "accessToken", json_string(access));
    json_object_set_new(data, "tokenType", json_string("Bearer"));
    set_times(account, data, wall_s);
    json_object_set_new(data, "sessionState", json_string("standin-session"));
    json_object_set_new(data, "scope", json_string("openid profile offline_access email"));
    json_object_set_new(data, "domain", json_string(option_text(account, "domain")));
    if (with_refresh) {
        char *refresh = jwt_make(claims, ++account->serial);

        issue(account, refresh, true);
        json_object_set_new(data, "refreshToken", json_string(refresh));
        free(refresh);
    }
    if (*enterprise) {
        json_object_set_new(data, "enterpriseId", json_string(enterprise));
        json_object_set_new(data, "tenantId", json_string(enterprise));
    }
    free(access);
    json_decref(claims);
    return data;
}

static struct login *find_login(const struct account *account, const struct server_request *request)
{
    struct span state = http_query_value(request->http->query, "state");
    struct login *login = NULL;

    if (state.data)
        HASH_FIND(hh, account->logins, state.data, state.size, login);
    return login;
}

static struct script *answer_poll(struct account *account, const struct account_input *input)
{
    struct login *login = find_login(account, input->request);
    int64_t pending = option_number(account, "pending");

    if (!login)
        return reply_code(400, 11218, "unknown state"); /* nobody knows the real answer to this */
    login->polls++;
    if (login->polls <= pending)
        return reply_code(200, 11217, code_msg(11217));
    if (login->polls <= pending + option_number(account, "not_ready"))
        return reply_code(200, 12151, code_msg(12151));
    account->counters[STATS_login_done]++;
    return reply_data(make_tokens(account, make_claims(account, NULL, input->wall_s), true, input->wall_s));
}

static struct span bearer_of(const struct server_request *request)
{
    struct span value = http_request_header(request->http, "Authorization");

    if (!span_has_prefix(value, "Bearer "))
        return (struct span){"", 0};
    return (struct span){value.data + 7, value.size - 7};
}

static struct script *answer_account(struct account *account, const struct account_input *input)
{
    json_t *claims = jwt_read_payload(bearer_of(input->request));
    const char *sub = json_string_value(json_object_get(claims, "sub"));
    struct script *script;

    script = reply_data(json_pack("{s:s,s:s,s:s,s:s}", "uid", sub ? sub : "standin-user", "nickname",
                                  option_text(account, "name"), "email", option_text(account, "email"),
                                  "enterpriseId", option_text(account, "enterprise_id")));
    json_decref(claims);
    return script;
}

/* A refresh token never issued here is fine unless only known ones are: tests write credential files. */
static bool refresh_is_good(const struct account *account, struct span refresh)
{
    const struct issued *issued = refresh.data ? find_issued(account, refresh) : NULL;

    if (!refresh.data || refresh.size == 0)
        return false;
    if (!issued)
        return !option_flag(account, "known_only");
    return issued->is_refresh && !issued->revoked;
}

static void revoke(struct account *account, struct span token, bool is_refresh)
{
    struct issued *issued = find_issued(account, token);
    char *text;

    if (!issued) { /* from a credential file: from now on it is known, and over */
        text = memory_copy_text(token.data, token.size);
        issue(account, text, is_refresh);
        free(text);
        issued = find_issued(account, token);
    }
    issued->revoked = true;
}

static struct script *answer_refresh(struct account *account, const struct account_input *input)
{
    struct span refresh = http_request_header(input->request->http, "X-Refresh-Token");
    bool rotate = option_flag(account, "rotate_refresh");
    struct span bearer = bearer_of(input->request);
    json_t *old, *claims;

    if (bearer.size == 0)
        return reply_unauthorized();
    if (!refresh_is_good(account, refresh))
        return reply_code(200, 12153, code_msg(12153));
    old = jwt_read_payload(bearer);
    claims = make_claims(account, old, input->wall_s);
    json_decref(old);
    if (option_flag(account, "known_only"))
        revoke(account, bearer, false);
    if (option_flag(account, "one_time_refresh") && rotate)
        revoke(account, refresh, true);
    account->counters[STATS_refresh_done]++;
    return reply_data(make_tokens(account, claims, rotate, input->wall_s));
}

/* ---- models and quota ---- */

static bool is_listed(const json_t *list, const char *name)
{
    size_t index;
    json_t *entry;

    json_array_foreach (list, index, entry) {
        if (json_is_string(entry) && strcmp(json_string_value(entry), name) == 0)
            return true;
    }
    return false;
}

static struct script *answer_models(struct account *account, const struct account_input *input)
{
    static const char *const usual[] = {"glm-4.6", "deepseek-v3.1", "claude-4.5", "auto-chat", NULL};
    const json_t *disabled = json_object_get(account->options, "disabled_models");
    json_t *models = json_array(), *ids = json_array(), *agents;
    size_t count = json_array_size(input->models);

    for (size_t i = 0; count ? i < count : usual[i] != NULL; i++) {
        const char *id = count ? json_string_value(json_array_get(input->models, i)) : usual[i];

        if (!id || strchr(id, '*'))
            continue;
        json_array_append_new(models, json_pack("{s:s,s:b}", "id", id, "disabled", is_listed(disabled, id)));
        json_array_append_new(ids, json_string(id));
    }
    json_array_append_new(models, json_pack("{s:s}", "id", "only-for-the-ide"));
    agents = json_pack("[{s:s,s:[s]},{s:s,s:o}]", "name", "ide", "models", "only-for-the-ide", "name", "cli",
                       "models", ids);
    return reply_data(json_pack("{s:o,s:o}", "models", models, "agents", agents));
}

static struct script *answer_quota_personal(struct account *account)
{
    const json_t *whole = json_object_get(account->options, "quota_personal");
    const char *size = option_text(account, "quota_size"), *used = option_text(account, "quota_used");
    const char *remain = option_text(account, "quota_remain");
    json_t *package;

    if (json_object_size(whole) > 0)
        return reply_json(200, "", json_deep_copy(whole));
    package = json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s}", "PackageName", "Stand-in package",
                        "CapacitySizePrecise", size, "CapacityUsedPrecise", used, "CapacityRemainPrecise",
                        remain, "CycleCapacitySizePrecise", size, "CycleCapacityUsedPrecise", used,
                        "CycleCapacityRemainPrecise", remain, "CycleEndTime", "2099-01-01 00:00:00");
    return reply_data(
        json_pack("{s:{s:{s:[o],s:i}}}", "Response", "Data", "Accounts", package, "TotalCount", 1));
}

static struct script *answer_quota_enterprise(struct account *account)
{
    const json_t *whole = json_object_get(account->options, "quota_enterprise");

    if (json_object_size(whole) > 0)
        return reply_json(200, "", json_deep_copy(whole));
    return reply_data(
        json_pack("{s:f,s:i,s:s,s:s}", "credit", strtod(option_text(account, "quota_used"), NULL), "limitNum",
                  1500, "cycleStartTime", "2025-01-01 00:00:00", "cycleEndTime", "2099-01-01 00:00:00"));
}

bool account_knows_token(const struct account *account, struct span token)
{
    const struct issued *issued = find_issued(account, token);
    const json_t *extra = json_object_get(account->options, "tokens");
    size_t index;
    json_t *entry;

    if (!option_flag(account, "known_only"))
        return true;
    if (issued)
        return !issued->is_refresh && !issued->revoked;
    json_array_foreach (extra, index, entry) {
        if (json_is_string(entry) && span_equal(token, json_string_value(entry)))
            return true;
    }
    return false;
}

static struct script *usual_answer(struct account *account, enum account_call call,
                                   const struct account_input *input)
{
    bool needs_token = call != CALL_START && call != CALL_POLL && call != CALL_REFRESH;

    if (needs_token &&
        (bearer_of(input->request).size == 0 || !account_knows_token(account, bearer_of(input->request))))
        return reply_unauthorized();
    switch (call) {
    case CALL_START:
        return answer_start(account);
    case CALL_POLL:
        return answer_poll(account, input);
    case CALL_ACCOUNT:
        return answer_account(account, input);
    case CALL_REFRESH:
        return answer_refresh(account, input);
    case CALL_MODELS:
        return answer_models(account, input);
    case CALL_QUOTA_PERSONAL:
        return answer_quota_personal(account);
    case CALL_QUOTA_ENTERPRISE:
        return answer_quota_enterprise(account);
    case CALL_COUNT:
        break;
    }
    return reply_code(500, 500, "no such call");
}

struct script *account_answer(struct account *account, enum account_call call,
                              const struct account_input *input)
{
    json_t *answer = account->answers[call];
    json_t *times = json_object_get(answer, "times");
    int64_t delay_ms = json_integer_value(json_object_get(answer, "delay_ms"));
    struct script *script = answer ? set_answer_script(answer) : NULL;

    if (!script)
        script = usual_answer(account, call, input);
    script->runs[0].delay_ms = delay_ms;
    if (times) {
        json_integer_set(times, json_integer_value(times) - 1);
        if (json_integer_value(times) <= 0) {
            json_decref(answer);
            account->answers[call] = NULL;
        }
    }
    return script;
}

/* ---- control ---- */

bool account_set_options(struct account *account, json_t *options, const char **why)
{
    const char *key;
    json_t *value;

    if (!json_is_object(options)) {
        *why = "not an object";
        return false;
    }
    json_object_foreach (options, key, value) {
        const json_t *old = json_object_get(account->options, key);

        if (!old ||
            (json_typeof(old) != json_typeof(value) && !(json_is_boolean(old) && json_is_boolean(value)))) {
            *why = "an unknown option, or a value of another type";
            return false;
        }
    }
    json_object_update(account->options, options);
    return true;
}

static bool is_integer_or_missing(const json_t *answer, const char *key, int64_t min, int64_t max)
{
    const json_t *value = json_object_get(answer, key);

    return !value ||
           (json_is_integer(value) && json_integer_value(value) >= min && json_integer_value(value) <= max);
}

bool account_set_answer(struct account *account, const json_t *answer, const char **why)
{
    const char *name = json_string_value(json_object_get(answer, "call"));

    if (!is_integer_or_missing(answer, "status", 200, 599) ||
        !is_integer_or_missing(answer, "times", 1, INT32_MAX) ||
        !is_integer_or_missing(answer, "code", 0, INT32_MAX) ||
        !is_integer_or_missing(answer, "delay_ms", 0, INT32_MAX)) {
        *why = "status, code, times and delay_ms are numbers";
        return false;
    }
    for (int call = 0; name && call < CALL_COUNT; call++) {
        if (strcmp(name, call_names[call]) != 0)
            continue;
        json_decref(account->answers[call]);
        account->answers[call] = json_object_size(answer) > 1 ? json_deep_copy(answer) : NULL;
        return true;
    }
    *why = "call is one of start, poll, account, refresh, models, quota_personal, quota_enterprise";
    return false;
}

json_t *account_to_json(const struct account *account)
{
    json_t *answers = json_object();

    for (int call = 0; call < CALL_COUNT; call++)
        if (account->answers[call])
            json_object_set(answers, call_names[call], account->answers[call]);
    return json_pack("{s:O,s:o,s:i}", "options", account->options, "answers", answers, "logins",
                     (int)HASH_COUNT(account->logins));
}
