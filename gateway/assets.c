/* SPDX-License-Identifier: MIT */
#include "gateway/assets.h"
#include "proto/error.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MANIFEST_MAX_BYTES = 64 << 10, NAME_MAX_BYTES = 100, TYPE_MAX_BYTES = 100, DIGEST_MAX_BYTES = 64 };

static const struct {
    const char *name, *suffix;
} encodings[ASSET_ENCODINGS] = {{NULL, ""}, {"br", ".br"}, {"gzip", ".gz"}};

struct assets {
    struct asset files[ASSETS_MAX_FILES];
    size_t count, total_bytes;
    const struct asset *page;
};

/* What assets_load works with. */
struct loading {
    struct assets *assets;
    int directory;
    char *reason;
    size_t reason_size;
};

/* ---- reading ---- */

static int fail(struct loading *loading, const char *name, const char *problem)
{
    snprintf(loading->reason, loading->reason_size, "%s: %s", name, problem);
    return ERR_INVALID;
}

static int read_whole(int fd, struct buffer *out, size_t max_bytes)
{
    char piece[16384];
    ssize_t got;
    while ((got = read(fd, piece, sizeof piece)) != 0) {
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return ERR_IO;
        if (out->length + (size_t)got > max_bytes)
            return ERR_TOO_LARGE;
        if (buffer_append(out, piece, (size_t)got) < 0)
            return ERR_NOMEM;
    }
    return 0;
}

/* 0; ERR_NOT_FOUND when it is not there; or another error, told. */
static int read_file(struct loading *loading, const char *name, struct buffer *out, size_t max_bytes)
{
    struct stat about;
    int fd = openat(loading->directory, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return errno == ENOENT ? ERR_NOT_FOUND : fail(loading, name, strerror(errno));
    int error = fstat(fd, &about) == 0 && S_ISREG(about.st_mode) ? read_whole(fd, out, max_bytes) : ERR_IO;
    close(fd);
    return error < 0 ? fail(loading, name, error_text(error)) : 0;
}

/* ---- the manifest ---- */

/* Names are names: no separator, nothing hidden. */
static bool is_name(const char *text)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    size_t length = strlen(text);
    return length > 0 && length <= NAME_MAX_BYTES && text[0] != '.' && strspn(text, allowed) == length;
}

/* For header values. */
static bool is_printable(const char *text, size_t max_bytes)
{
    size_t length = strlen(text);
    bool is_good = length > 0 && length <= max_bytes;
    for (size_t i = 0; is_good && i < length; i++)
        is_good = text[i] >= ' ' && text[i] < 0x7f && text[i] != '"';
    return is_good;
}

static int read_bodies(struct loading *loading, struct asset *asset)
{
    for (int i = 0; i < ASSET_ENCODINGS; i++) {
        char name[NAME_MAX_BYTES + 8];
        snprintf(name, sizeof name, "%s%s", asset->name, encodings[i].suffix);
        int error = read_file(loading, name, &asset->bodies[i],
                              (size_t)ASSETS_MAX_BYTES - loading->assets->total_bytes);
        if (error == ERR_NOT_FOUND && i == ASSET_IDENTITY)
            return fail(loading, name, "is not there");
        if (error < 0 && error != ERR_NOT_FOUND)
            return error;
        loading->assets->total_bytes += asset->bodies[i].length;
    }
    return 0;
}

static int add_file(struct loading *loading, json_t *entry)
{
    struct assets *assets = loading->assets;
    const char *name, *type, *digest;
    if (json_unpack(entry, "{s:s, s:s, s:s}", "name", &name, "type", &type, "digest", &digest) < 0 ||
        !is_name(name) || !is_printable(type, TYPE_MAX_BYTES) || !is_printable(digest, DIGEST_MAX_BYTES))
        return fail(loading, "manifest.json", "an entry is wrong");
    if (assets->count == ASSETS_MAX_FILES || assets_find(assets, span_str(name)))
        return fail(loading, name, "is one too many");
    struct asset *asset = &assets->files[assets->count++];
    asset->name = strdup(name);
    asset->type = strdup(type);
    asset->digest = strdup(digest);
    if (!asset->name || !asset->type || !asset->digest)
        return fail(loading, name, "out of memory");
    if (strcmp(name, "index.html") == 0)
        assets->page = asset;
    return read_bodies(loading, asset);
}

static int read_manifest(struct loading *loading)
{
    struct buffer text = {0};
    size_t i;
    json_t *entry;
    int error = read_file(loading, "manifest.json", &text, MANIFEST_MAX_BYTES);
    if (error == ERR_NOT_FOUND)
        error = fail(loading, "manifest.json", "is not there");
    json_t *root =
        error == 0 ? json_loadb(text.data ? text.data : "", text.length, JSON_REJECT_DUPLICATES, NULL) : NULL;
    const json_t *files = json_object_get(root, "files");
    if (error == 0 && !json_is_array(files))
        error = fail(loading, "manifest.json", "is not a list of files");
    json_array_foreach (files, i, entry) {
        if (error == 0)
            error = add_file(loading, entry);
    }
    if (error == 0 && !loading->assets->page)
        error = fail(loading, "index.html", "is not in the manifest");
    json_decref(root);
    buffer_fini(&text);
    return error;
}

struct assets *assets_load(const char *directory, char *reason, size_t size)
{
    struct loading loading = {.assets = calloc(1, sizeof *loading.assets),
                              .directory = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
                              .reason = reason,
                              .reason_size = size};
    int error = 0;
    if (!loading.assets)
        error = fail(&loading, directory, "out of memory");
    else if (loading.directory < 0)
        error = fail(&loading, directory, strerror(errno));
    else
        error = read_manifest(&loading);
    if (loading.directory >= 0)
        close(loading.directory);
    if (error < 0)
        assets_free(&loading.assets);
    return loading.assets;
}

void assets_free(struct assets **assets_pointer)
{
    struct assets *assets = *assets_pointer;
    *assets_pointer = NULL;
    for (size_t i = 0; assets && i < assets->count; i++) {
        struct asset *asset = &assets->files[i];
        free(asset->name);
        free(asset->type);
        free(asset->digest);
        for (int j = 0; j < ASSET_ENCODINGS; j++)
            buffer_fini(&asset->bodies[j]);
    }
    free(assets);
}

size_t assets_count(const struct assets *assets)
{
    return assets->count;
}

const struct asset *assets_page(const struct assets *assets)
{
    return assets->page;
}

const struct asset *assets_find(const struct assets *assets, struct span name)
{
    for (size_t i = 0; i < assets->count; i++)
        if (span_equals(name, span_str(assets->files[i].name)))
            return &assets->files[i];
    return NULL;
}

/* ---- what a client takes ---- */

static struct span trim(struct span text)
{
    while (text.length > 0 && (text.data[0] == ' ' || text.data[0] == '\t'))
        text = span_of(text.data + 1, text.length - 1);
    while (text.length > 0 && (text.data[text.length - 1] == ' ' || text.data[text.length - 1] == '\t'))
        text.length--;
    return text;
}

/* Cuts the first element off a comma separated list. */
static struct span next_element(struct span *list)
{
    const char *comma = list->length ? memchr(list->data, ',', list->length) : NULL;
    size_t length = comma ? (size_t)(comma - list->data) : list->length;
    struct span element = trim(span_of(list->data, length));
    length += comma ? 1 : 0;
    *list = span_of(list->data + length, list->length - length);
    return element;
}

/* `gzip;q=0` refuses it: a weight is 0 when all its digits are. */
static bool is_refused(struct span parameters)
{
    const char *equals = parameters.length ? memchr(parameters.data, '=', parameters.length) : NULL;
    const char *end = parameters.data + parameters.length;
    bool is_zero = equals && equals + 1 < end;
    for (const char *at = equals ? equals + 1 : end; at < end; at++)
        is_zero = is_zero && (*at == '0' || *at == '.' || *at == ' ' || *at == '\t');
    return is_zero;
}

static bool takes(struct span accept, const char *encoding)
{
    bool takes_any = false;
    while (accept.length > 0) {
        struct span element = next_element(&accept), name = element;
        const char *semicolon = element.length ? memchr(element.data, ';', element.length) : NULL;
        if (semicolon)
            name = trim(span_of(element.data, (size_t)(semicolon - element.data)));
        size_t used = semicolon ? (size_t)(semicolon - element.data) : element.length;
        bool is_taken = !is_refused(span_of(element.data + used, element.length - used));
        if (span_equals_ignoring_case(name, span_str(encoding)))
            return is_taken;
        if (span_equals(name, SPAN("*")))
            takes_any = is_taken;
    }
    return takes_any;
}

enum asset_encoding asset_choose(const struct asset *asset, struct span accept_encoding)
{
    enum asset_encoding best = ASSET_IDENTITY;
    for (enum asset_encoding i = ASSET_BROTLI; i < ASSET_ENCODINGS; i++) {
        const struct buffer *body = &asset->bodies[i];
        if (body->length > 0 && body->length < asset->bodies[best].length &&
            takes(accept_encoding, encodings[i].name))
            best = i;
    }
    return best;
}

const char *asset_encoding_name(enum asset_encoding encoding)
{
    return encodings[encoding].name;
}

void asset_tag(const struct asset *asset, enum asset_encoding encoding, char tag[ASSET_TAG_BYTES])
{
    const char *name = encodings[encoding].name;
    snprintf(tag, ASSET_TAG_BYTES, "\"%s%s%s\"", asset->digest, name ? "-" : "", name ? name : "");
}

bool asset_tag_matches(struct span if_none_match, const char *tag)
{
    while (if_none_match.length > 0) {
        struct span element = next_element(&if_none_match);
        if (span_starts_with(element, SPAN("W/")))
            element = span_of(element.data + 2, element.length - 2);
        if (span_equals(element, span_str(tag)) || span_equals(element, SPAN("*")))
            return true;
    }
    return false;
}
