/* SPDX-License-Identifier: MIT */
#include "credd/site_bonds.h"
#include "credd/durable_file.h"
#include "credd/vault.h"
#include "proto/error.h"
#include "proto/log.h"

#include <jansson.h>
#include <stdlib.h>

enum { FILE_MAX_BYTES = 16 << 20, BONDS_MAX = 2 * VAULT_MAX_CREDENTIALS };

struct site_bonds {
    const char *directory;
    json_t *table; /* {ID: SITE} */
    bool is_news;
};

json_t *site_bonds_parse(struct span text)
{
    const char *id;
    json_t *site, *root = json_loadb(text.data, text.length, JSON_REJECT_DUPLICATES, NULL);
    json_t *table = json_object_get(root, "credentials");
    bool is_whole = json_integer_value(json_object_get(root, "version")) == 1 && json_is_object(table);
    json_object_foreach (table, id, site) {
        is_whole = is_whole && json_string_length(site) > 0;
    }
    json_incref(is_whole ? table : NULL);
    json_decref(root);
    return is_whole ? table : NULL;
}

static int load(struct site_bonds *bonds)
{
    struct buffer text = {0};
    int error = durable_directory_prepare(bonds->directory);
    error = error ? error : durable_file_read(bonds->directory, SITE_BONDS_FILE, FILE_MAX_BYTES, &text);
    if (error == 0) {
        bonds->table = site_bonds_parse(buffer_span(&text));
        error = bonds->table ? 0 : ERR_INVALID;
    } else if (error == ERR_NOT_FOUND) {
        bonds->table = json_object();
        error = bonds->table ? 0 : ERR_NOMEM;
    }
    buffer_fini(&text);
    return error;
}

struct site_bonds *site_bonds_open(const char *directory, int *error)
{
    struct site_bonds *bonds = calloc(1, sizeof *bonds);
    *error = ERR_NOMEM;
    if (bonds) {
        bonds->directory = directory;
        *error = load(bonds);
    }
    if (*error == 0)
        return bonds;
    log_error(NULL, "cannot_read_sites_of_credentials", LOG_STR("directory", directory),
              LOG_STR("file", SITE_BONDS_FILE), LOG_STR("problem", error_text(*error)));
    site_bonds_close(&bonds);
    if (*error == ERR_INVALID || *error == ERR_TOO_LARGE)
        *error = ERR_CONFIG;
    return NULL;
}

void site_bonds_close(struct site_bonds **bonds)
{
    if (*bonds)
        json_decref((*bonds)->table);
    free(*bonds);
    *bonds = NULL;
}

const char *site_bonds_find(const struct site_bonds *bonds, const char *id)
{
    return json_string_value(json_object_get(bonds->table, id));
}

int site_bonds_set(struct site_bonds *bonds, const char *id, const char *site)
{
    bonds->is_news = true;
    return json_object_set_new(bonds->table, id, json_string(site)) < 0 ? ERR_NOMEM : 0;
}

void site_bonds_trim(struct site_bonds *bonds, bool (*is_there)(const void *context, const char *id),
                     const void *context)
{
    const char *id;
    void *next;
    json_t *site;
    if (json_object_size(bonds->table) <= BONDS_MAX)
        return;
    json_object_foreach_safe(bonds->table, next, id, site)
    {
        if (!is_there(context, id))
            json_object_del(bonds->table, id);
    }
}

int site_bonds_commit(struct site_bonds *bonds)
{
    if (!bonds->is_news)
        return 0;
    json_t *root = json_pack("{s:i, s:O}", "version", 1, "credentials", bonds->table);
    char *text = root ? json_dumps(root, JSON_INDENT(1)) : NULL;
    json_decref(root);
    const struct durable_write write = {.directory = bonds->directory,
                                        .name = SITE_BONDS_FILE,
                                        .content = span_str(text ? text : ""),
                                        .mode = DURABLE_PUT};
    int error = text ? durable_file_write(&write) : ERR_NOMEM;
    free(text);
    bonds->is_news = error < 0;
    if (error < 0)
        log_error(NULL, "not_written", LOG_STR("directory", bonds->directory),
                  LOG_STR("file", SITE_BONDS_FILE), LOG_STR("problem", error_text(error)));
    return error;
}
