/* SPDX-License-Identifier: MIT */
#include "deploy/admin/table.h"

#include <stdlib.h>
#include <string.h>

enum { NAME_BYTES = 32, COLUMNS_MAX = 12 };

struct column {
    char name[NAME_BYTES];
    int width;
};

/* What a terminal must not be told: escapes. */
static void make_harmless(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            *text = '?';
}

/* The value as text, owned; NULL when out of memory. */
static char *text_of(const json_t *value)
{
    char *text = !value || json_is_null(value) ? strdup("-")
                 : json_is_string(value)       ? strdup(json_string_value(value))
                                               : json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    if (text)
        make_harmless(text);
    return text;
}

/* Characters, not bytes: good enough for names and models. */
static int width_of(const char *text)
{
    int width = 0;
    for (; *text; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

static size_t read_columns(struct column *columns, const char *names)
{
    size_t count = 0;
    while (*names && count < COLUMNS_MAX) {
        size_t length = strcspn(names, " ");
        snprintf(columns[count].name, NAME_BYTES, "%.*s", (int)length, names);
        columns[count].width = (int)strlen(columns[count].name);
        count++;
        names += length + (names[length] == ' ');
    }
    return count;
}

static void print_cell(FILE *out, const char *text, int width, const char *end)
{
    int padding = width - width_of(text);
    fprintf(out, "%s%*s%s", text, padding > 0 ? padding : 0, "", end);
}

void table_print(FILE *out, const json_t *rows, const char *names)
{
    struct column columns[COLUMNS_MAX];
    size_t i, count = read_columns(columns, names);
    json_t *row;
    for (int is_printing = 0; is_printing <= 1; is_printing++) { /* measure, then print */
        for (size_t c = 0; is_printing && c < count; c++)
            print_cell(out, columns[c].name, columns[c].width, c + 1 < count ? "  " : "\n");
        json_array_foreach (rows, i, row) {
            for (size_t c = 0; c < count; c++) {
                char *text = text_of(json_object_get(row, columns[c].name));
                int width = text ? width_of(text) : 0;
                if (is_printing)
                    print_cell(out, text ? text : "", columns[c].width, c + 1 < count ? "  " : "\n");
                else if (width > columns[c].width)
                    columns[c].width = width;
                free(text);
            }
        }
    }
}

void table_print_one(FILE *out, const json_t *object, const char *names)
{
    struct column columns[COLUMNS_MAX];
    size_t count = read_columns(columns, names);
    for (size_t c = 0; c < count; c++) {
        const json_t *value = json_object_get(object, columns[c].name);
        char *text = value ? text_of(value) : NULL;
        if (text)
            fprintf(out, "%s: %s\n", columns[c].name, text);
        free(text);
    }
}
