/* SPDX-License-Identifier: MIT */
/* enemy - a peer on a link that is out of its mind. `enemy connect|bind ENDPOINT ROLE MESSAGES COUNT SEED`
 * connects like a process of ours, or is what such processes connect to, and sends COUNT trains: random
 * bytes, wrong versions, real messages of every kind (from the file MESSAGES) with flipped bits, out of
 * order, for exchanges that it never began, the same ones again; the first half without a word of who it is,
 * the second half after HELLO. Prints `sent COUNT` once the other side has read it all: ZeroMQ drops what a
 * peer has not read when we go. It keeps back READY alone, which would have it trusted
 * with requests. Bound, it sends to each who ever said a word, one after the other, and begins with the
 * first. */
#include "proto/clock.h"
#include "proto/message.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

enum {
    MESSAGES_MAX = 64,
    VICTIMS_MAX = 64,
    ID_BYTES = 16,
    FILE_MAX_BYTES = 65536,
    NOISE_BYTES = 300,
    SEND_TIMEOUT_MS = 30000,
    ANSWER_TIMEOUT_MS = 60000,
    REQUESTS = 40,
    LAST_PING = REQUESTS + 1
};

struct victim {
    char id[ID_BYTES]; /* ZeroMQ's name for a connection */
    size_t id_length;
};

struct enemy {
    void *socket;
    bool is_bound;
    struct victim victims[VICTIMS_MAX]; /* bound: the last of those who spoke */
    size_t victims_count;               /* that ever were */
    uint64_t random;
    struct span messages[MESSAGES_MAX];
    size_t messages_count;
    struct buffer train; /* the last one, to be sent again */
};

/* xorshift64: the same for the same seed. */
static uint64_t draw(struct enemy *enemy, uint64_t below)
{
    enemy->random ^= enemy->random << 13;
    enemy->random ^= enemy->random >> 7;
    enemy->random ^= enemy->random << 17;
    return enemy->random % below;
}

static void add_noise(struct enemy *enemy)
{
    for (uint64_t left = draw(enemy, NOISE_BYTES); left > 0; left--)
        buffer_append_char(&enemy->train, (char)draw(enemy, 256));
}

/* A real message, for one of a few exchanges. */
static void add_message(struct enemy *enemy)
{
    struct span message = enemy->messages[draw(enemy, enemy->messages_count)];
    size_t at = enemy->train.length;

    buffer_append_span(&enemy->train, message);
    memset(enemy->train.data + at + FRAME_HEADER_BYTES - 8, 0, 7);
    enemy->train.data[at + FRAME_HEADER_BYTES - 1] = (char)draw(enemy, REQUESTS);
}

static void make_train(struct enemy *enemy)
{
    uint64_t kind = draw(enemy, 6);

    if (kind == 0 && enemy->train.length > 0)
        return; /* once more */
    buffer_clear(&enemy->train);
    if (kind == 1) {
        add_noise(enemy);
        return;
    }
    for (uint64_t count = 1 + draw(enemy, 3); count > 0; count--)
        add_message(enemy);
    if (kind == 2)
        enemy->train.data[0] = (char)draw(enemy, 256); /* the version */
    if (kind == 3)
        enemy->train.data[draw(enemy, enemy->train.length)] ^= (char)(1 << draw(enemy, 8));
    if (kind == 4)
        add_noise(enemy);
}

static int read_messages(struct enemy *enemy, const char *path, char *text)
{
    FILE *file = fopen(path, "re");
    struct span rest;
    struct frame frame;

    if (!file)
        return -1;
    rest = span_of(text, fread(text, 1, FILE_MAX_BYTES, file));
    fclose(file);
    while (enemy->messages_count < MESSAGES_MAX) {
        const char *begin = rest.data;
        if (train_next(&rest, &frame) != 1)
            break;
        if (frame.type != MESSAGE_READY && frame.type != MESSAGE_HELLO)
            enemy->messages[enemy->messages_count++] = span_of(begin, (size_t)(rest.data - begin));
    }
    return enemy->messages_count > 10 ? 0 : -1;
}

/* Sends what stands in the train. To somebody who has gone it is lost, which is what he deserves. */
static int send_train(struct enemy *enemy, uint64_t to, bool has_more)
{
    const struct victim *victim = &enemy->victims[to % VICTIMS_MAX];

    if (enemy->is_bound && zmq_send(enemy->socket, victim->id, victim->id_length, ZMQ_SNDMORE) < 0)
        return errno == EHOSTUNREACH ? 0 : -1;
    if (has_more && zmq_send(enemy->socket, "", 0, ZMQ_SNDMORE) < 0)
        return -1;
    return zmq_send(enemy->socket, enemy->train.data, enemy->train.length, 0);
}

static int say_hello(struct enemy *enemy, const char *role, uint64_t to)
{
    const struct msg_hello hello = {.role = span_str(role),
                                    .name = SPAN("enemy-0"),
                                    .host = SPAN("nowhere"),
                                    .pid = (uint32_t)getpid(),
                                    .started_wall_ms = clock_wall_ms(),
                                    .version = SPAN("0")};

    buffer_clear(&enemy->train);
    message_encode(&enemy->train, MESSAGE_HELLO, 0, &hello);
    return send_train(enemy, to, false);
}

/* A sane word, after all: whoever answers it has read what came before. A HELLO makes a fresh peer of us. */
static int say_last_ping(struct enemy *enemy, const char *role, uint64_t to)
{
    const struct msg_ping ping = {.sent_us = 1};

    if (say_hello(enemy, role, to) < 0)
        return -1;
    buffer_clear(&enemy->train);
    message_encode(&enemy->train, MESSAGE_PING, LAST_PING, &ping);
    return send_train(enemy, to, false);
}

static bool answers_last_ping(struct span train)
{
    struct frame frame;

    while (train_next(&train, &frame) == 1)
        if (frame.type == MESSAGE_PONG && frame.request == LAST_PING)
            return true;
    return false;
}

/* Drops what is said to us, but for who said it. Returns 1 if it answers the last PING, 0 for anything else,
 * -1 if nothing came. */
static int listen_once(struct enemy *enemy, int flags)
{
    static char part[FILE_MAX_BYTES];
    int heard = 0;
    int more = 1;
    size_t size = sizeof more;
    int length = zmq_recv(enemy->socket, part, sizeof part, flags);
    bool is_new = enemy->is_bound && length > 0 && length <= ID_BYTES;

    for (size_t i = 0; is_new && i < enemy->victims_count && i < VICTIMS_MAX; i++)
        is_new = enemy->victims[i].id_length != (size_t)length ||
                 memcmp(enemy->victims[i].id, part, (size_t)length) != 0;
    if (is_new) {
        struct victim *victim = &enemy->victims[enemy->victims_count++ % VICTIMS_MAX];
        memcpy(victim->id, part, (size_t)length);
        victim->id_length = (size_t)length;
    }
    if (length < 0)
        return -1;
    while (zmq_getsockopt(enemy->socket, ZMQ_RCVMORE, &more, &size) == 0 && more)
        length = zmq_recv(enemy->socket, part, sizeof part, 0);
    if (length > 0 && (size_t)length <= sizeof part)
        heard = answers_last_ping(span_of(part, (size_t)length));
    return heard;
}

static bool has_mail(struct enemy *enemy)
{
    int events = 0;
    size_t size = sizeof events;

    return zmq_getsockopt(enemy->socket, ZMQ_EVENTS, &events, &size) == 0 && (events & ZMQ_POLLIN);
}

/* Asks the last who spoke, and whoever speaks first after him, until one answers. */
static int await_answer(struct enemy *enemy, const char *role)
{
    int64_t end_ms = clock_now_ms() + ANSWER_TIMEOUT_MS;
    uint64_t asked = 0;

    while (clock_now_ms() < end_ms) {
        uint64_t people = enemy->is_bound ? enemy->victims_count : 1;
        if (asked < people && say_last_ping(enemy, role, (asked = people) - 1) < 0)
            return -1;
        int heard = listen_once(enemy, 0);
        if (heard != 0)
            return heard > 0 ? 0 : -1;
    }
    return -1;
}

static int rage(struct enemy *enemy, const char *role, long count)
{
    uint64_t greeted = 0;

    if (enemy->is_bound)
        listen_once(enemy, 0); /* until somebody comes */
    for (long i = 0; i < count; i++) {
        uint64_t people = enemy->is_bound ? enemy->victims_count : 1;
        uint64_t recent = people < VICTIMS_MAX ? people : VICTIMS_MAX;
        if (people == 0)
            return -1;
        for (; i >= count / 2 && greeted < people; greeted++)
            if (say_hello(enemy, role, greeted) < 0)
                return -1;
        make_train(enemy);
        /* Trains are one part: these are dropped whole. Not from a server: libzmq 4.3.4 may abort the one who
         * is connected to it (SECURITY.md). */
        bool has_more = draw(enemy, 20) == 0 && !enemy->is_bound;
        if (send_train(enemy, people - 1 - draw(enemy, recent), has_more) < 0)
            return -1;
        while (has_mail(enemy))
            listen_once(enemy, 0);
    }
    return await_answer(enemy, role);
}

static bool open_socket(struct enemy *enemy, void *context, const char *endpoint)
{
    int timeout_ms = SEND_TIMEOUT_MS, on = 1;

    enemy->socket = zmq_socket(context, enemy->is_bound ? ZMQ_ROUTER : ZMQ_DEALER);
    zmq_setsockopt(enemy->socket, ZMQ_SNDTIMEO, &timeout_ms, sizeof timeout_ms);
    zmq_setsockopt(enemy->socket, ZMQ_RCVTIMEO, &timeout_ms, sizeof timeout_ms);
    zmq_setsockopt(enemy->socket, ZMQ_LINGER, &timeout_ms, sizeof timeout_ms);
    if (!enemy->is_bound)
        return zmq_connect(enemy->socket, endpoint) == 0;
    zmq_setsockopt(enemy->socket, ZMQ_ROUTER_MANDATORY, &on, sizeof on); /* waits for who is slow */
    return zmq_bind(enemy->socket, endpoint) == 0;
}

int main(int argc, char **argv)
{
    static char text[FILE_MAX_BYTES];
    static struct enemy enemy;

    if (argc != 7)
        return 64;
    buffer_init(&enemy.train);
    enemy.is_bound = strcmp(argv[1], "bind") == 0;
    enemy.random = strtoull(argv[6], NULL, 10) * 2654435761U + 1;
    if (read_messages(&enemy, argv[4], text) < 0)
        return 66;
    void *context = zmq_ctx_new();
    long count = strtol(argv[5], NULL, 10);
    bool is_done = open_socket(&enemy, context, argv[2]) && rage(&enemy, argv[3], count) == 0;
    zmq_close(enemy.socket);
    zmq_ctx_term(context); /* once all is out */
    buffer_fini(&enemy.train);
    if (is_done)
        printf("sent %ld\n", count);
    return is_done ? 0 : 70;
}
