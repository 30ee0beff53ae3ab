/* SPDX-License-Identifier: MIT */
/* enemy - a peer on a link that is out of its mind. `enemy ENDPOINT ROLE MESSAGES COUNT SEED` connects like a
 * process of ours and sends COUNT trains: random bytes, wrong versions, real messages of every kind (from the
 * file MESSAGES) with flipped bits, out of order, for exchanges that it never began, the same ones again; the
 * first half without a word of who it is, the second half after HELLO. Prints `sent COUNT`. It keeps back
 * READY alone, which would have it trusted with requests. */
#include "proto/clock.h"
#include "proto/message.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

enum { MESSAGES_MAX = 64, FILE_MAX_BYTES = 65536, NOISE_BYTES = 300, SEND_TIMEOUT_MS = 30000, REQUESTS = 40 };

struct enemy {
    void *socket;
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

static int say_hello(struct enemy *enemy, const char *role)
{
    const struct msg_hello hello = {.role = span_str(role),
                                    .name = SPAN("enemy-0"),
                                    .host = SPAN("nowhere"),
                                    .pid = (uint32_t)getpid(),
                                    .started_wall_ms = clock_wall_ms(),
                                    .version = SPAN("0")};

    buffer_clear(&enemy->train);
    message_encode(&enemy->train, MESSAGE_HELLO, 0, &hello);
    return zmq_send(enemy->socket, enemy->train.data, enemy->train.length, 0);
}

static int rage(struct enemy *enemy, const char *role, long count)
{
    char answer[4096];

    for (long i = 0; i < count; i++) {
        if (i == count / 2 && say_hello(enemy, role) < 0)
            return -1;
        make_train(enemy);
        bool has_more = draw(enemy, 20) == 0; /* trains are one part: these are dropped whole */
        if ((has_more && zmq_send(enemy->socket, "", 0, ZMQ_SNDMORE) < 0) ||
            zmq_send(enemy->socket, enemy->train.data, enemy->train.length, 0) < 0)
            return -1;
        while (zmq_recv(enemy->socket, answer, sizeof answer, ZMQ_DONTWAIT) >= 0)
            ;
    }
    return 0;
}

int main(int argc, char **argv)
{
    static char text[FILE_MAX_BYTES];
    struct enemy enemy = {0};
    int timeout_ms = SEND_TIMEOUT_MS;

    if (argc != 6)
        return 64;
    buffer_init(&enemy.train);
    enemy.random = strtoull(argv[5], NULL, 10) * 2654435761U + 1;
    if (read_messages(&enemy, argv[3], text) < 0)
        return 66;
    void *context = zmq_ctx_new();
    enemy.socket = zmq_socket(context, ZMQ_DEALER);
    zmq_setsockopt(enemy.socket, ZMQ_SNDTIMEO, &timeout_ms, sizeof timeout_ms);
    zmq_setsockopt(enemy.socket, ZMQ_LINGER, &timeout_ms, sizeof timeout_ms);
    long count = strtol(argv[4], NULL, 10);
    bool is_done = zmq_connect(enemy.socket, argv[1]) == 0 && rage(&enemy, argv[2], count) == 0;
    zmq_close(enemy.socket);
    zmq_ctx_term(context); /* once all is out */
    buffer_fini(&enemy.train);
    if (is_done)
        printf("sent %ld\n", count);
    return is_done ? 0 : 70;
}
