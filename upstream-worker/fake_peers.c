/* SPDX-License-Identifier: MIT */
#include "upstream-worker/fake_peers.h"
#include "proto/clock.h"
#include "proto/error.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <curl/curl.h>
#include <jansson.h>

/* For require(): what aborts must not leave processes, which would also keep its output open for ever. */
static pid_t children[2]; /* worker, upstream; 0: none */

static void end_children(void)
{
    for (size_t i = 0; i < sizeof children / sizeof *children; i++)
        if (children[i] > 0)
            kill(children[i], SIGKILL);
}

static void require(bool condition, const char *what)
{
    if (condition)
        return;
    fprintf(stderr, "fake_peers: %s\n", what);
    end_children();
    abort();
}

static void copy_text(char *out, size_t size, struct span text)
{
    require(text.length < size, "a text is too long");
    memcpy(out, text.data ? text.data : "", text.length);
    out[text.length] = '\0';
}

bool fake_is_patient(int64_t since_ms, const char *what)
{
    if (clock_now_ms() - since_ms >= FAKE_PATIENCE_MS)
        require(false, what);
    return true;
}

void fake_turn(struct fake_world *world)
{
    uv_run(service_loop(world->service), UV_RUN_ONCE);
}

/* ---- the gateway ---- */

static struct fake_request *request_find(struct fake_world *world, uint64_t number)
{
    for (size_t i = 0; i < world->request_count; i++)
        if (world->requests[i].number == number)
            return &world->requests[i];
    return NULL;
}

static void gateway_up(void *owner, struct peer *peer, const struct msg_hello *hello)
{
    struct fake_world *world = owner;
    require(span_equals(hello->role, SPAN("upstream-worker")), "a stranger at the gateway");
    world->worker = peer;
    world->worker_accepts = false;
}

static void gateway_down(void *owner, struct peer *peer, enum link_down why)
{
    struct fake_world *world = owner;
    (void)why;
    if (world->worker == peer)
        world->worker = NULL;
    world->worker_accepts = false;
}

static void send_window(struct fake_world *world, struct fake_request *request)
{
    const struct msg_window window = {(uint32_t)request->owed_bytes};
    if (world->worker && request->owed_bytes > 0)
        peer_send(world->worker, MESSAGE_WINDOW, request->number, &window);
    request->owed_bytes = 0;
}

static void take_data(struct fake_world *world, struct fake_request *request, struct span data)
{
    require(request->head_count == 1, "DATA without HEAD");
    require(buffer_append_span(&request->data, data) == 0, "out of memory");
    request->owed_bytes += data.length;
    require(request->owed_bytes <= WINDOW_BYTES, "the worker sent more than the window");
    if (!request->withholds_window)
        send_window(world, request);
}

static void take_fail(struct fake_request *request, const struct msg_fail *fail)
{
    request->fail = *fail;
    copy_text(request->fail_message, sizeof request->fail_message, fail->message);
    copy_text(request->fail_code, sizeof request->fail_code, fail->code);
    copy_text(request->fail_param, sizeof request->fail_param, fail->param);
    request->is_failed = true;
}

static void gateway_frame(void *owner, struct peer *peer, const struct frame *frame, const void *message)
{
    struct fake_world *world = owner;
    (void)peer;
    if (frame->type == MESSAGE_READY) {
        world->worker_accepts = ((const struct msg_ready *)message)->accepting == 1;
        return;
    }
    if (world->intercept) {
        world->intercept(world, frame, message);
        return;
    }
    struct fake_request *request = request_find(world, frame->request);
    require(request != NULL, "an answer to no request");
    require(!request->is_ended && !request->is_failed, "a message after END or FAIL");
    if (frame->type == MESSAGE_HEAD) {
        request->head = *(const struct msg_head *)message;
        request->head_count++;
    } else if (frame->type == MESSAGE_DATA) {
        take_data(world, request, ((const struct msg_data *)message)->data);
    } else if (frame->type == MESSAGE_END) {
        request->end = *(const struct msg_end *)message;
        request->is_ended = true;
    } else {
        require(frame->type == MESSAGE_FAIL, "an unknown answer");
        take_fail(request, message);
    }
}

void fake_send_request(struct fake_world *world, uint64_t number, const char *id, struct span body)
{
    size_t first = body.length < FIRST_BODY_BYTES ? body.length : FIRST_BODY_BYTES;
    const struct msg_request message = {
        .request_id = span_str(id),
        .deadline_ms = 60000,
        .key_id = SPAN("key-1"),
        .body_bytes = (uint32_t)body.length,
        .body = span_of(body.data, first),
    };
    require(peer_send(world->worker, MESSAGE_REQUEST, number, &message) == 0, "cannot send REQUEST");
    for (size_t at = first; at < body.length;) {
        size_t length = body.length - at < BODY_PIECE_BYTES ? body.length - at : BODY_PIECE_BYTES;
        const struct msg_body piece = {span_of(body.data + at, length)};
        require(peer_send(world->worker, MESSAGE_BODY, number, &piece) == 0, "cannot send BODY");
        at += length;
    }
}

struct fake_request *fake_ask_with(struct fake_world *world, struct span body)
{
    require(world->request_count < FAKE_REQUESTS_MAX && world->worker, "no room or no worker");
    struct fake_request *request = &world->requests[world->request_count++];
    request->number = 1000 + world->request_count;
    snprintf(request->id, sizeof request->id, "request-%zu", world->request_count);
    fake_send_request(world, request->number, request->id, body);
    return request;
}

struct fake_request *fake_ask(struct fake_world *world, const char *model, bool stream)
{
    char body[512];
    snprintf(body, sizeof body,
             "{\"model\":\"%s\",\"stream\":%s,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}", model,
             stream ? "true" : "false");
    return fake_ask_with(world, span_str(body));
}

void fake_wait_end(struct fake_world *world, struct fake_request *request)
{
    FAKE_UNTIL(world, request->is_ended || request->is_failed);
}

void fake_cancel(struct fake_world *world, struct fake_request *request)
{
    const struct msg_cancel cancel = {CANCEL_CLIENT_LEFT};
    require(peer_send(world->worker, MESSAGE_CANCEL, request->number, &cancel) == 0, "cannot send CANCEL");
}

void fake_credit(struct fake_world *world, struct fake_request *request)
{
    send_window(world, request);
}

static const struct link_handlers gateway_handlers = {gateway_up, gateway_down, gateway_frame};

/* ---- credd ---- */

static void other_up(void *owner, struct peer *peer, const struct msg_hello *hello)
{
    (void)owner;
    (void)peer;
    (void)hello;
}

static void other_down(void *owner, struct peer *peer, enum link_down why)
{
    (void)owner;
    (void)peer;
    (void)why;
}

static bool is_excluded(const char *exclude, const char *id)
{
    size_t length = strlen(id);
    for (const char *at = exclude; (at = strstr(at, id)) != NULL; at += length)
        if ((at == exclude || at[-1] == ',') && (at[length] == ',' || at[length] == '\0'))
            return true;
    return false;
}

static void answer_lease(struct fake_world *world, struct peer *peer, uint64_t ticket,
                         const struct msg_lease *ask)
{
    static const char headers[] = "X-Requested-With: XMLHttpRequest\nX-Product: SaaS\nX-Agent-Intent: craft\n"
                                  "X-IDE-Type: CLI\nX-IDE-Name: CLI\nX-Domain: 127.0.0.1\nX-User-Id: user-1";
    char id[16], token[32];
    int number = 1;
    copy_text(world->last_exclude, sizeof world->last_exclude, ask->exclude);
    for (; number <= world->credential_count; number++) {
        snprintf(id, sizeof id, "c%d", number);
        if (!is_excluded(world->last_exclude, id))
            break;
    }
    if (number > world->credential_count) {
        const struct msg_refuse refuse = {.failure = (uint16_t)world->refusal, .retry_after_s = 9};
        peer_send(peer, MESSAGE_REFUSE, ticket, &refuse);
        return;
    }
    snprintf(token, sizeof token, "token-%d", number);
    const struct msg_grant grant = {
        .lease = world->last_lease = ((uint64_t)number << 32) + (uint64_t)world->lease_count,
        .ttl_ms = world->ttl_ms,
        .credential_id = span_str(id),
        .base_url = span_str(world->upstream_url),
        .headers = SPAN(headers),
        .token = span_str(token),
    };
    peer_send(peer, MESSAGE_GRANT, ticket, &grant);
}

static void credd_frame(void *owner, struct peer *peer, const struct frame *frame, const void *message)
{
    struct fake_world *world = owner;
    if (frame->type == MESSAGE_LEASE) {
        world->lease_count++;
        if (!world->is_credd_mute)
            answer_lease(world, peer, frame->request, message);
    } else if (frame->type == MESSAGE_RENEW) {
        world->renew_count++;
        world->renewed_leases = ((const struct msg_renew *)message)->leases.length / 8;
    } else if (frame->type == MESSAGE_FOLLOW) {
        world->follower = peer;
    } else {
        require(frame->type == MESSAGE_RELEASE, "an unknown message at credd");
        const struct msg_release *release = message;
        world->release_count++;
        world->last_outcome = release->outcome;
        world->last_retry_after_s = release->retry_after_s;
        copy_text(world->last_released_model, sizeof world->last_released_model, release->model);
    }
}

static void credd_down(void *owner, struct peer *peer, enum link_down why)
{
    struct fake_world *world = owner;
    (void)why;
    if (world->follower == peer)
        world->follower = NULL;
}

static const struct link_handlers credd_handlers = {other_up, credd_down, credd_frame};

void fake_send_state(struct fake_world *world, uint64_t version, const char *body)
{
    const struct msg_state state = {.version = version, .body = span_str(body)};
    FAKE_UNTIL(world, world->follower);
    require(peer_send(world->follower, MESSAGE_STATE, 0, &state) == 0, "cannot send STATE");
}

/* ---- statsd ---- */

static void statsd_frame(void *owner, struct peer *peer, const struct frame *frame, const void *message)
{
    struct fake_world *world = owner;
    if (frame->type != MESSAGE_EVENT)
        return; /* gauges */
    const struct msg_event *event = message;
    const struct msg_ack ack = {frame->request};
    peer_send(peer, MESSAGE_ACK, 0, &ack);
    if (world->intercept) {
        world->event_count++;
        return;
    }
    require(world->event_count < FAKE_REQUESTS_MAX, "too many events");
    struct fake_event *copy = &world->events[world->event_count++];
    copy->event = *event;
    copy_text(copy->request_id, sizeof copy->request_id, event->request_id);
    copy_text(copy->credential_id, sizeof copy->credential_id, event->credential_id);
    copy_text(copy->model, sizeof copy->model, event->model);
    copy_text(copy->code, sizeof copy->code, event->code);
}

static const struct link_handlers statsd_handlers = {other_up, other_down, statsd_frame};

static const struct fake_event *event_find(const struct fake_world *world, const char *id)
{
    for (size_t i = 0; i < world->event_count; i++)
        if (strcmp(world->events[i].request_id, id) == 0)
            return &world->events[i];
    return NULL;
}

const struct fake_event *fake_wait_event(struct fake_world *world, const struct fake_request *request)
{
    FAKE_UNTIL(world, event_find(world, request->id));
    return event_find(world, request->id);
}

/* ---- links ---- */

static struct link *open_link(struct fake_world *world, const char *name,
                              const struct link_handlers *handlers)
{
    char endpoint[128];
    snprintf(endpoint, sizeof endpoint, "ipc://%s/%s", world->dir, name);
    struct link *link = link_bind(world->service, endpoint, handlers, world);
    require(link != NULL, "cannot bind");
    return link;
}

void fake_open_credd(struct fake_world *world)
{
    world->credd = open_link(world, "credd", &credd_handlers);
}

void fake_close_credd(struct fake_world *world)
{
    link_close(&world->credd);
    fake_turn(world); /* the socket closes at the end of a turn */
}

void fake_open_gateway(struct fake_world *world)
{
    world->gateway = open_link(world, "gateway", &gateway_handlers);
}

void fake_close_gateway(struct fake_world *world)
{
    link_close(&world->gateway);
    fake_turn(world);
}

/* ---- the stand-in's control ---- */

struct reply {
    char *out;
    size_t size, length;
};

static size_t on_reply(char *data, size_t size, size_t count, void *context)
{
    struct reply *reply = context;
    size_t length = size * count, room = reply->size - 1 - reply->length;
    memcpy(reply->out + reply->length, data, length < room ? length : room);
    reply->length += length < room ? length : room;
    reply->out[reply->length] = '\0';
    return length;
}

long fake_control(struct fake_world *world, const char *path, char *out, size_t out_size)
{
    char url[256];
    struct reply reply = {out, out_size, 0};
    long status = 0;
    CURL *easy = curl_easy_init();
    snprintf(url, sizeof url, "%s/_control/%s", world->upstream_url, path);
    require(easy != NULL, "no curl");
    out[0] = '\0';
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_reply);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, &reply);
    require(curl_easy_perform(easy) == CURLE_OK, "the stand-in does not answer");
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_cleanup(easy);
    return status;
}

long long fake_upstream_counter(struct fake_world *world, const char *name)
{
    char text[256], path[128];
    snprintf(path, sizeof path, "wait?counter=%s&timeout_ms=0", name);
    fake_control(world, path, text, sizeof text);
    json_t *reply = json_loads(text, 0, NULL);
    require(reply != NULL, "no such counter at the stand-in");
    long long value = json_integer_value(json_object_get(reply, "value"));
    json_decref(reply);
    return value;
}

void fake_wait_upstream(struct fake_world *world, const char *name, long long at_least)
{
    char text[256], path[160];
    snprintf(path, sizeof path, "wait?counter=%s&at_least=%lld&timeout_ms=%d", name, at_least,
             FAKE_PATIENCE_MS);
    require(fake_control(world, path, text, sizeof text) == 200, name);
}

long fake_worker_rss_kib(const struct fake_world *world)
{
    char path[64], line[256];
    long kib = -1;
    snprintf(path, sizeof path, "/proc/%d/status", (int)world->worker_pid);
    FILE *file = fopen(path, "r");
    require(file != NULL, "no status of the worker");
    while (fgets(line, sizeof line, file))
        if (strncmp(line, "VmRSS:", 6) == 0)
            kib = strtol(line + 6, NULL, 10);
    fclose(file);
    return kib;
}

/* ---- processes ---- */

static void start_upstream(struct fake_world *world)
{
    int fds[2];
    char number[16], line[128] = "";
    require(pipe(fds) == 0, "no pipe");
    snprintf(number, sizeof number, "%d", fds[1]);
    char fast[] = "--fast";
    char *arguments[] = {(char[]){STANDIN_PATH}, (char[]){"--ready-fd"}, number, NULL, NULL};
    if (world->intercept)
        arguments[3] = fast;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addclose(&actions, fds[0]);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    require(posix_spawn(&world->upstream_pid, STANDIN_PATH, &actions, NULL, arguments, environ) == 0,
            "cannot start the stand-in");
    children[1] = world->upstream_pid;
    posix_spawn_file_actions_destroy(&actions);
    close(fds[1]);
    ssize_t length = read(fds[0], line, sizeof line - 1);
    close(fds[0]);
    require(length > 0 && sscanf(line, "listening %63s", world->upstream_url) == 1,
            "the stand-in is not there");
}

static void start_worker(struct fake_world *world, const char *const *environment)
{
    enum { OWN = 8, ALL = 32 };
    char texts[OWN][160];
    char *all[ALL];
    size_t count = 0;
    snprintf(texts[0], sizeof texts[0], "CODEBUDDY_PASSWORD=test");
    snprintf(texts[1], sizeof texts[1], "CODEBUDDY_RUN_DIR=%s", world->dir);
    snprintf(texts[2], sizeof texts[2], "CODEBUDDY_GATEWAY_ENDPOINTS=ipc://%s/gateway", world->dir);
    snprintf(texts[3], sizeof texts[3], "CODEBUDDY_CREDD_ENDPOINT=ipc://%s/credd", world->dir);
    snprintf(texts[4], sizeof texts[4], "CODEBUDDY_STATSD_ENDPOINT=ipc://%s/statsd", world->dir);
    snprintf(texts[5], sizeof texts[5], "CODEBUDDY_LOG_LEVEL=ERROR");
    for (; count < 6; count++)
        all[count] = texts[count];
    for (size_t i = 0; environment && environment[i] && count < ALL - 1; i++)
        all[count++] = strdup(environment[i]);
    all[count] = NULL;
    char *arguments[] = {(char[]){WORKER_PATH}, NULL};
    require(posix_spawn(&world->worker_pid, WORKER_PATH, NULL, NULL, arguments, all) == 0,
            "cannot start the worker");
    children[0] = world->worker_pid;
    for (size_t i = 6; i < count; i++)
        free(all[i]);
}

void fake_world_start(struct fake_world *world, const char *const *environment)
{
    fake_world_start_load(world, environment, NULL);
}

void fake_world_start_load(struct fake_world *world, const char *const *environment,
                           void (*intercept)(struct fake_world *world, const struct frame *frame,
                                             const void *message))
{
    char *const own[] = {(char[]){"CODEBUDDY_PASSWORD=test"}, (char[]){"CODEBUDDY_LOG_LEVEL=ERROR"}, NULL};
    *world = (struct fake_world){.credential_count = 2, .refusal = FAILURE_RATE_LIMITED, .ttl_ms = 10000};
    world->intercept = intercept;
    snprintf(world->dir, sizeof world->dir, "/tmp/worker_test.XXXXXX");
    require(mkdtemp(world->dir) != NULL, "no directory");
    require(settings_load(&world->settings, own, "/nonexistent/.env") == 0, "no settings");
    world->service = service_new("gateway", 0, &world->settings);
    require(world->service != NULL, "no service");
    fake_open_gateway(world);
    fake_open_credd(world);
    world->statsd = open_link(world, "statsd", &statsd_handlers);
    start_upstream(world);
    start_worker(world, environment);
    FAKE_UNTIL(world, world->worker_accepts);
}

static void remove_socket(const struct fake_world *world, const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", world->dir, name);
    unlink(path);
}

void fake_drain(struct fake_world *world)
{
    world->is_draining = true;
    kill(world->worker_pid, SIGTERM);
}

int fake_world_stop(struct fake_world *world)
{
    int status = -1;
    pid_t ended = 0;
    if (!world->is_draining)
        fake_drain(world);
    FAKE_UNTIL(world, (ended = waitpid(world->worker_pid, &status, WNOHANG)) != 0);
    require(ended == world->worker_pid, "the worker is lost");
    kill(world->upstream_pid, SIGKILL);
    waitpid(world->upstream_pid, NULL, 0);
    children[0] = children[1] = 0;
    link_close(&world->gateway);
    link_close(&world->credd);
    link_close(&world->statsd);
    service_free(&world->service);
    settings_fini(&world->settings);
    for (size_t i = 0; i < world->request_count; i++)
        buffer_fini(&world->requests[i].data);
    remove_socket(world, "gateway");
    remove_socket(world, "credd");
    remove_socket(world, "statsd");
    rmdir(world->dir);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
