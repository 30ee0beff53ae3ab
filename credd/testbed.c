/* SPDX-License-Identifier: MIT */
#include "credd/testbed.h"
#include "proto/bytes.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- the daemon ---- */

static void add(char **environment, size_t *count, const char *name, const char *value)
{
    assert_true(asprintf(&environment[(*count)++], "%s=%s", name, value) > 0);
}

void start_credd(struct world *world)
{
    char program[] = CREDD_PROGRAM, word[16];
    char *arguments[] = {program, world->word ? word : NULL, NULL};
    char *environment[24] = {NULL};
    size_t count = 0;
    snprintf(word, sizeof word, "%s", world->word ? world->word : "");
    add(environment, &count, "CODEBUDDY_PASSWORD", "p");
    add(environment, &count, "CODEBUDDY_CREDENTIAL_MAX_IN_FLIGHT", "2");
    add(environment, &count, "CODEBUDDY_SITES_DIR", world->sites_dir);
    add(environment, &count, "CODEBUDDY_RUN_DIR", world->run);
    add(environment, &count, "CODEBUDDY_CREDS_DIR", world->creds);
    add(environment, &count, "CODEBUDDY_DATA_DIR", world->data);
    if (world->endpoint[0])
        add(environment, &count, "CODEBUDDY_API_ENDPOINT", world->endpoint);
    for (size_t i = 0; world->settings[i]; i++)
        environment[count++] = strdup(world->settings[i]);
    world->pid = fork();
    assert_true(world->pid >= 0);
    if (world->pid == 0) {
        int log = open(world->log, O_WRONLY | O_CREAT | O_APPEND, 0600);
        dup2(log, STDERR_FILENO);
        execve(program, arguments, environment);
        _exit(127);
    }
    for (size_t i = 0; i < count; i++)
        free(environment[i]);
}

static int end_process(pid_t *pid, int signal_number)
{
    int status = 0;
    if (signal_number)
        kill(*pid, signal_number);
    assert_int_equal(waitpid(*pid, &status, 0), *pid);
    *pid = 0;
    return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
}

int end_credd(struct world *world, int signal_number)
{
    return end_process(&world->pid, signal_number);
}

const char *creds_path(const struct world *world, const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", world->creds, name);
    return path;
}

void put_file(struct world *world, const char *name, const char *text)
{
    char temporary[192];
    snprintf(temporary, sizeof temporary, "%s/.%s.tmp", world->creds, name);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    assert_int_equal(rename(temporary, creds_path(world, name)), 0);
}

void put_credential(struct world *world, const char *name, const char *token)
{
    char text[256];
    snprintf(text, sizeof text, "{\"bearer_token\":\"%s\",\"user_id\":\"u\"}", token);
    put_file(world, name, text);
}

json_t *read_credential(const struct world *world, const char *name)
{
    json_t *file = json_load_file(creds_path(world, name), 0, NULL);
    assert_non_null(file);
    return file;
}

bool log_has(const struct world *world, const char *text)
{
    static char log[1 << 20];
    int fd = open(world->log, O_RDONLY);
    ssize_t length = fd >= 0 ? read(fd, log, sizeof log) : 0;
    if (fd >= 0)
        close(fd);
    return length > 0 && memmem(log, (size_t)length, text, strlen(text));
}

bool log_gets(const struct world *world, const char *text)
{
    int64_t until_ms = clock_now_ms() + PATIENCE_MS;
    while (!log_has(world, text)) {
        if (clock_now_ms() > until_ms)
            return false;
        poll(NULL, 0, 5); /* nothing announces it */
    }
    return true;
}

/* ---- the stand-in ---- */

void start_upstream(struct world *world)
{
    char program[] = STANDIN_PROGRAM, port[] = "--port", zero[] = "0", ready[] = "--ready-fd", line[128];
    char number[8], *arguments[] = {program, port, zero, ready, number, NULL};
    int pipe_fds[2];
    size_t length = 0;
    ssize_t got;
    assert_int_equal(pipe(pipe_fds), 0);
    snprintf(number, sizeof number, "%d", pipe_fds[1]);
    world->upstream_pid = fork();
    assert_true(world->upstream_pid >= 0);
    if (world->upstream_pid == 0) {
        dup2(open("/dev/null", O_WRONLY), STDOUT_FILENO);
        execv(program, arguments);
        _exit(127);
    }
    close(pipe_fds[1]);
    while ((got = read(pipe_fds[0], line + length, sizeof line - 1 - length)) > 0)
        length += (size_t)got;
    close(pipe_fds[0]);
    line[length] = '\0';
    assert_int_equal(sscanf(line, "listening %79s", world->endpoint), 1);
}

static size_t take_body(char *data, size_t size, size_t count, void *context)
{
    return buffer_append(context, data, size * count) < 0 ? 0 : size * count;
}

/* The JSON of the answer, owned. */
static json_t *http(const struct world *world, const char *path, const char *body)
{
    char url[256];
    long status = 0;
    struct buffer text = {0};
    CURL *easy = curl_easy_init();
    snprintf(url, sizeof url, "%s/_control/%s", world->endpoint, path);
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, &text);
    if (body)
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body);
    assert_int_equal(curl_easy_perform(easy), CURLE_OK);
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_cleanup(easy);
    if (status != 200)
        fail_msg("%s: %ld %.*s", path, status, (int)text.length, text.data);
    json_t *answer = json_loadb(text.data, text.length, 0, NULL);
    assert_non_null(answer);
    buffer_fini(&text);
    return answer;
}

void control(const struct world *world, const char *path, const char *body)
{
    json_decref(http(world, path, body));
}

int64_t counter(const struct world *world, const char *name)
{
    json_t *stats = http(world, "stats", NULL);
    int64_t value = json_integer_value(json_object_get(stats, name));
    json_decref(stats);
    return value;
}

void wait_for_counter(const struct world *world, const char *name, int64_t at_least)
{
    char path[128];
    snprintf(path, sizeof path, "wait?counter=%s&at_least=%d", name, (int)at_least);
    json_decref(http(world, path, NULL));
}

json_t *requests(const struct world *world, const char *kind)
{
    char path[128];
    snprintf(path, sizeof path, "requests?limit=512&kind=%s", kind);
    return http(world, path, NULL);
}

/* ---- the client ---- */

static void on_up(void *owner, struct peer *peer, const struct msg_hello *hello)
{
    struct client *client = owner;
    assert_true(span_equals(hello->role, SPAN("credd")));
    client->credd = peer;
}

static void on_down(void *owner, struct peer *peer, enum link_down why)
{
    struct client *client = owner;
    (void)peer;
    (void)why;
    client->credd = NULL;
}

static void on_frame(void *owner, struct peer *peer, const struct frame *frame, const void *message)
{
    struct client *client = owner;
    (void)peer;
    client->answers++;
    client->grant = (struct msg_grant){0};
    client->refuse = (struct msg_refuse){0};
    if (frame->type == MESSAGE_GRANT) {
        client->grant = *(const struct msg_grant *)message;
        snprintf(client->token, sizeof client->token, "%.*s", (int)client->grant.token.length,
                 client->grant.token.data);
        snprintf(client->granted_id, sizeof client->granted_id, "%.*s",
                 (int)client->grant.credential_id.length, client->grant.credential_id.data);
    } else if (frame->type == MESSAGE_REFUSE) {
        client->refuse = *(const struct msg_refuse *)message;
    } else if (frame->type == MESSAGE_REPLY) {
        const struct msg_reply *reply = message;
        client->reply_status = reply->status;
        json_decref(client->reply);
        client->reply = json_loadb(reply->body.data, reply->body.length, 0, NULL);
        assert_non_null(client->reply);
    }
}

static const struct link_handlers handlers = {on_up, on_down, on_frame};

static void on_beat(uv_timer_t *timer)
{
    (void)timer;
}

void client_open(struct world *world, const char *role)
{
    struct client *client = &world->client;
    char password[] = "CODEBUDDY_PASSWORD=p", level[] = "CODEBUDDY_LOG_LEVEL=ERROR", run[128];
    char *const environment[] = {password, level, run, NULL};
    snprintf(run, sizeof run, "CODEBUDDY_RUN_DIR=%s", world->run);
    assert_int_equal(settings_load(&client->settings, environment, "/nonexistent/.env"), 0);
    client->service = service_new(role, 0, &client->settings);
    assert_non_null(client->service);
    uv_timer_init(service_loop(client->service), &client->beat);
    uv_timer_start(&client->beat, on_beat, 10, 10);
    client->link = link_connect(client->service, "credd", client->settings.credd_endpoint, &handlers, client);
    assert_non_null(client->link);
    TURN_UNTIL(client, client->credd);
}

void client_close(struct client *client)
{
    if (client->link)
        link_close(&client->link);
    if (client->service)
        service_free(&client->service);
    json_decref(client->reply);
    settings_fini(&client->settings);
    *client = (struct client){0};
}

void ask(struct client *client, uint32_t wait_ms)
{
    const struct msg_lease lease = {.request_id = SPAN("r"), .model = SPAN("m"), .wait_ms = wait_ms};
    assert_int_equal(peer_send(client->credd, MESSAGE_LEASE, ++client->next_request, &lease), 0);
}

uint64_t lease(struct client *client, uint32_t wait_ms)
{
    int before = client->answers;
    ask(client, wait_ms);
    TURN_UNTIL(client, client->answers > before);
    return client->grant.lease;
}

void release(struct client *client, uint64_t number, enum outcome outcome)
{
    const struct msg_release release = {.lease = number, .outcome = (uint8_t)outcome, .model = SPAN("m")};
    assert_int_equal(peer_send(client->credd, MESSAGE_RELEASE, 0, &release), 0);
}

void renew(struct client *client, const uint64_t *numbers, size_t count)
{
    char bytes[64];
    for (size_t i = 0; i < count * 8; i++)
        bytes[i] = (char)(numbers[i / 8] >> (56 - 8 * (i % 8)));
    char keys[sizeof bytes] = {0};
    const struct msg_renew message = {.leases = span_of(bytes, count * 8), .keys = span_of(keys, count * 8)};
    assert_int_equal(peer_send(client->credd, MESSAGE_RENEW, 0, &message), 0);
}

void ask_call(struct client *client, const char *method, const char *arguments)
{
    static char body[256 << 10];
    snprintf(body, sizeof body, "{\"actor\":\"tester\",\"arguments\":%s}", arguments);
    const struct msg_call message = {.method = span_str(method), .body = span_str(body)};
    assert_int_equal(peer_send(client->credd, MESSAGE_CALL, ++client->next_request, &message), 0);
}

const json_t *call(struct client *client, const char *method, const char *arguments, int status)
{
    int before = client->answers;
    ask_call(client, method, arguments);
    TURN_UNTIL(client, client->answers > before);
    if (client->reply_status != status) {
        char *text = json_dumps(client->reply, JSON_COMPACT);
        fail_msg("%s %s: %d, not %d: %s", method, arguments, client->reply_status, status, text);
    }
    return client->reply;
}

/* ---- the world ---- */

int world_open(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    snprintf(world->root, sizeof world->root, "/tmp/credd_test.XXXXXX");
    assert_non_null(mkdtemp(world->root));
    snprintf(world->run, sizeof world->run, "%s/run", world->root);
    snprintf(world->creds, sizeof world->creds, "%s/creds", world->root);
    snprintf(world->data, sizeof world->data, "%s/data", world->root);
    snprintf(world->log, sizeof world->log, "%s/log", world->root);
    assert_int_equal(mkdir(world->run, 0700), 0);
    assert_int_equal(mkdir(world->creds, 0700), 0);
    world->sites_dir = "deploy/sites";
    *state = world;
    return 0;
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)status;
    (void)type;
    (void)where;
    return remove(path);
}

int world_close(void **state)
{
    struct world *world = *state;
    client_close(&world->client);
    if (world->pid > 0) /* by itself, so that leaks are looked for and its coverage counts */
        end_credd(world, SIGTERM);
    if (world->upstream_pid > 0)
        end_process(&world->upstream_pid, SIGTERM);
    nftw(world->root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    free(world);
    return 0;
}
