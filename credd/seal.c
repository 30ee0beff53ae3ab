/* SPDX-License-Identifier: MIT */
#include "credd/seal.h"
#include "proto/error.h"
#include "proto/log.h"
#include "proto/secret.h"

#include <fcntl.h>
#include <jansson.h>
#include <sodium.h>
#include <stdlib.h>
#include <unistd.h>

#define SEALED_BEGINNING "{\"sealed\":1,"

enum { KEY_FILE_MAX_BYTES = 4096 };

struct seal {
    unsigned char key[crypto_secretbox_KEYBYTES];
};

void seal_free(struct seal **seal)
{
    if (*seal)
        sodium_memzero(*seal, sizeof **seal);
    free(*seal);
    *seal = NULL;
}

/* 64 hex digits and white space behind them. */
static bool take_key(struct seal *seal, struct span text)
{
    size_t length = 0;
    const char *end = NULL;
    while (text.length > 0 && strchr(" \r\n\t", text.data[text.length - 1]))
        text.length--;
    return text.length == 2 * sizeof seal->key &&
           sodium_hex2bin(seal->key, sizeof seal->key, text.data, text.length, NULL, &length, &end) == 0 &&
           length == sizeof seal->key && end == text.data + text.length;
}

/* Follows links: that is how secrets are mounted. 0, ERR_IO, ERR_NOMEM. */
static int read_key(const char *path, struct buffer *text)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    int error = fd < 0 ? ERR_IO : buffer_reserve(text, KEY_FILE_MAX_BYTES);
    ssize_t length = error == 0 ? read(fd, text->data, KEY_FILE_MAX_BYTES) : -1;
    if (fd >= 0)
        close(fd);
    if (error == 0 && length < 0)
        error = ERR_IO;
    if (error == 0)
        text->length = (size_t)length;
    return error;
}

struct seal *seal_load(const char *path)
{
    struct buffer text = {0};
    struct seal *seal = calloc(1, sizeof *seal);
    int error = seal && sodium_init() >= 0 ? read_key(path, &text) : ERR_NOMEM;
    if (error == 0 && !take_key(seal, buffer_span(&text)))
        error = ERR_INVALID;
    if (error < 0) {
        log_error(NULL, "secret_key_bad", LOG_STR("file", path), LOG_STR("error", error_text(error)),
                  LOG_STR("do", "name a file of 64 hex digits, e.g. of: openssl rand -hex 32"));
        seal_free(&seal);
    }
    buffer_fini_secret(&text);
    return seal;
}

bool seal_is_sealed(struct span text)
{
    return span_starts_with(text, SPAN(SEALED_BEGINNING));
}

static int append_hex(struct buffer *out, const unsigned char *bytes, size_t length)
{
    int error = buffer_reserve(out, 2 * length + 1);
    if (error < 0)
        return error;
    sodium_bin2hex(out->data + out->length, 2 * length + 1, bytes, length);
    out->length += 2 * length;
    return 0;
}

int seal_wrap(const struct seal *seal, struct span text, struct buffer *sealed)
{
    unsigned char nonce[crypto_secretbox_NONCEBYTES];
    if (!seal)
        return buffer_reserve(sealed, text.length) < 0 ? ERR_NOMEM : buffer_append_span(sealed, text);
    size_t length = text.length + crypto_secretbox_MACBYTES;
    unsigned char *box = malloc(length);
    if (!box)
        return ERR_NOMEM;
    randombytes_buf(nonce, sizeof nonce);
    crypto_secretbox_easy(box, (const unsigned char *)text.data, text.length, nonce, seal->key);
    int error = buffer_append_span(sealed, SPAN(SEALED_BEGINNING "\"nonce\":\""));
    error = error ? error : append_hex(sealed, nonce, sizeof nonce);
    error = error ? error : buffer_append_span(sealed, SPAN("\",\"box\":\""));
    error = error ? error : append_hex(sealed, box, length);
    error = error ? error : buffer_append_span(sealed, SPAN("\"}\n"));
    free(box);
    return error;
}

/* The bytes of a member; false if it is no even number of hex digits, `max` bytes at most. */
static bool member_bytes(const json_t *root, const char *name, unsigned char *bytes, size_t max,
                         size_t *length)
{
    const json_t *value = json_object_get(root, name);
    const char *text = json_string_value(value), *end = NULL;
    size_t text_length = json_string_length(value);
    return text && sodium_hex2bin(bytes, max, text, text_length, NULL, length, &end) == 0 &&
           end == text + text_length;
}

static int open_box(const struct seal *seal, const json_t *root, struct buffer *plain, size_t max_bytes,
                    const char **problem)
{
    unsigned char nonce[crypto_secretbox_NONCEBYTES];
    size_t nonce_length = 0, length = 0;
    unsigned char *box = malloc(max_bytes);
    int error = box ? buffer_reserve(plain, max_bytes) : ERR_NOMEM;
    if (error == 0 &&
        (!member_bytes(root, "nonce", nonce, sizeof nonce, &nonce_length) || nonce_length != sizeof nonce ||
         !member_bytes(root, "box", box, max_bytes, &length) || length < crypto_secretbox_MACBYTES)) {
        *problem = "is not a sealed file as we write them";
        error = ERR_INVALID;
    }
    if (error == 0 && crypto_secretbox_open_easy((unsigned char *)plain->data + plain->length, box, length,
                                                 nonce, seal->key) < 0) {
        *problem = "is sealed with another key, or was changed";
        error = ERR_DENIED;
    }
    if (error == 0)
        plain->length += length - crypto_secretbox_MACBYTES;
    free(box);
    return error;
}

int seal_unwrap(const struct seal *seal, struct span text, struct buffer *plain, const char **problem)
{
    if (!seal_is_sealed(text))
        return buffer_reserve(plain, text.length + 1) < 0 ? ERR_NOMEM : buffer_append_span(plain, text);
    if (!seal) {
        *problem = "is sealed, and there is no CODEBUDDY_SECRET_KEY_FILE";
        return ERR_DENIED;
    }
    json_t *root = json_loadb(text.data, text.length, 0, NULL);
    int error = open_box(seal, root, plain, text.length, problem); /* two digits a byte: there is room */
    json_decref(root);
    return error;
}
