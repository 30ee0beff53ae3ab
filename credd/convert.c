/* SPDX-License-Identifier: MIT */
#include "credd/convert.h"
#include "credd/credential_file.h"
#include "credd/durable_file.h"
#include "credd/vault.h"
#include "proto/error.h"
#include "proto/log.h"
#include "proto/secret.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>

struct conversion {
    const char *directory;
    const struct seal *seal;
    bool to_sealed;
    size_t converted, unchanged, failed;
};

/* 0 (converted), 1 (is that way already) or a negative error with `problem`. */
static int convert_text(const struct conversion *conversion, struct span text, struct buffer *plain,
                        struct buffer *out, const char **problem)
{
    struct credential_file file = {0};
    char words[CREDENTIAL_PROBLEM_BYTES];
    if (seal_is_sealed(text) == conversion->to_sealed)
        return 1;
    int error = seal_unwrap(conversion->seal, text, plain, problem);
    if (error < 0)
        return error;
    error = credential_file_parse(&file, buffer_span(plain), words);
    credential_file_fini(&file);
    if (error < 0) { /* not ours to touch */
        *problem = "is no credential file";
        return error;
    }
    error = seal_wrap(conversion->to_sealed ? conversion->seal : NULL, buffer_span(plain), out);
    return error == 0 && out->length > CREDENTIAL_FILE_MAX_BYTES ? ERR_TOO_LARGE : error;
}

static int convert_file(const struct conversion *conversion, const char *name, const char **problem)
{
    struct buffer text = {0}, plain = {0}, out = {0};
    struct durable_write write = {.directory = conversion->directory, .name = name, .mode = DURABLE_UPDATE};
    int result = durable_file_read(conversion->directory, name, CREDENTIAL_FILE_MAX_BYTES, &text);
    result = result ? result : convert_text(conversion, buffer_span(&text), &plain, &out, problem);
    if (result == 0) {
        durable_digest(buffer_span(&text), write.read_digest);
        write.content = buffer_span(&out);
        result = durable_file_write(&write);
    }
    buffer_fini_secret(&text);
    buffer_fini_secret(&plain);
    buffer_fini_secret(&out);
    return result;
}

static void convert_one(struct conversion *conversion, const char *name)
{
    const char *problem = NULL;
    int result = convert_file(conversion, name, &problem);
    if (result == 0) {
        conversion->converted++;
        log_info(NULL, "credential_converted", LOG_STR("file", name));
    } else if (result > 0) {
        conversion->unchanged++;
    } else {
        conversion->failed++;
        log_error(NULL, "credential_not_converted", LOG_STR("file", name),
                  LOG_STR("problem", problem ? problem : error_text(result)));
    }
}

int convert_directory(const char *word, const char *directory, const struct seal *seal)
{
    struct conversion conversion = {
        .directory = directory, .seal = seal, .to_sealed = strcmp(word, "seal") == 0};
    if (!conversion.to_sealed && strcmp(word, "unseal") != 0) {
        log_error(NULL, "unknown_command", LOG_STR("word", word), LOG_STR("do", "seal, unseal, or nothing"));
        return ERR_UNSUPPORTED;
    }
    if (!seal) {
        log_error(NULL, "secret_key_missing", LOG_STR("do", "set CODEBUDDY_SECRET_KEY_FILE"));
        return ERR_CONFIG;
    }
    struct dirent **names = NULL;
    int count = scandir(directory, &names, vault_is_candidate, alphasort);
    if (count < 0)
        log_error(NULL, "credentials_unreadable", LOG_STR("directory", directory),
                  LOG_STR("error", strerror(errno)));
    for (int i = 0; i < count; i++) {
        convert_one(&conversion, names[i]->d_name);
        free(names[i]);
    }
    free(names);
    log_info(NULL, "credentials_converted", LOG_INT("converted", conversion.converted),
             LOG_INT("unchanged", conversion.unchanged), LOG_INT("failed", conversion.failed));
    return count < 0 || conversion.failed > 0 ? ERR_IO : 0;
}
