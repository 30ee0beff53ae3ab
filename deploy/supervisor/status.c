/* SPDX-License-Identifier: MIT */
#include "deploy/supervisor/status.h"

#include <string.h>

enum { COLUMNS = 8, CELL_BYTES = 512, ROWS_MAX = 1024 };

void status_format_duration(int64_t duration_ms, char *text, size_t size)
{
    static const struct {
        int64_t unit_ms, part_ms;
        const char *unit, *part;
    } scales[] = {{86400000, 3600000, "d", "h"}, {3600000, 60000, "h", "min"}, {60000, 1000, "min", "s"}};

    for (size_t i = 0; i < sizeof(scales) / sizeof(*scales); i++) {
        if (duration_ms < scales[i].unit_ms)
            continue;
        snprintf(text, size, "%lld %s %lld %s", (long long)(duration_ms / scales[i].unit_ms), scales[i].unit,
                 (long long)(duration_ms % scales[i].unit_ms / scales[i].part_ms), scales[i].part);
        return;
    }
    if (duration_ms < 1000)
        snprintf(text, size, "%lld ms", (long long)duration_ms);
    else
        snprintf(text, size, "%lld s", (long long)(duration_ms / 1000));
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "-";
}

static int64_t number_of(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static void format_numbers(json_t *numbers, char *cell)
{
    const char *key;
    json_t *value;
    size_t used = 0;

    cell[0] = '\0';
    json_object_foreach (numbers, key, value) {
        int length = snprintf(cell + used, CELL_BYTES - used, "%s%s=%lld", used ? " " : "", key,
                              (long long)json_integer_value(value));
        if (length < 0 || (size_t)length >= CELL_BYTES - used)
            return; /* cut: the JSON has them all */
        used += (size_t)length;
    }
}

static void format_row(const json_t *process, char cells[COLUMNS][CELL_BYTES])
{
    const char *state = text_of(process, "state");
    char wait[32];

    snprintf(cells[0], CELL_BYTES, "%s", text_of(process, "name"));
    snprintf(cells[1], CELL_BYTES, "%s", state);
    status_format_duration(number_of(process, "retry_in_ms"), wait, sizeof(wait));
    if (number_of(process, "retry_in_ms") > 0)
        snprintf(cells[1], CELL_BYTES, "%s (%s left)", state, wait);
    snprintf(cells[2], CELL_BYTES, "-");
    if (number_of(process, "pid") > 0)
        snprintf(cells[2], CELL_BYTES, "%lld", (long long)number_of(process, "pid"));
    status_format_duration(number_of(process, "in_state_ms"), cells[3], CELL_BYTES);
    snprintf(cells[4], CELL_BYTES, "%lld", (long long)number_of(process, "restarts"));
    snprintf(cells[5], CELL_BYTES, "%s", text_of(process, "last_exit"));
    snprintf(cells[6], CELL_BYTES, "-");
    if (number_of(process, "rss_bytes") > 0)
        snprintf(cells[6], CELL_BYTES, "%.1f MB", (double)number_of(process, "rss_bytes") / 1e6);
    format_numbers(json_object_get(process, "numbers"), cells[7]);
}

static void widen(size_t widths[COLUMNS], char cells[COLUMNS][CELL_BYTES])
{
    for (size_t i = 0; i < COLUMNS; i++)
        if (strlen(cells[i]) > widths[i])
            widths[i] = strlen(cells[i]);
}

/* The last column is not padded: no spaces at a line's end. */
static void print_row(FILE *out, const size_t widths[COLUMNS], char cells[COLUMNS][CELL_BYTES])
{
    size_t last = COLUMNS - 1;

    while (last > 0 && !*cells[last])
        last--;
    for (size_t i = 0; i < last; i++)
        fprintf(out, "%-*s  ", (int)widths[i], cells[i]);
    fprintf(out, "%s\n", cells[last]);
}

void status_print(FILE *out, const json_t *status)
{
    char heads[COLUMNS][CELL_BYTES] = {"NAME",     "STATE",     "PID",    "SINCE",
                                       "RESTARTS", "LAST EXIT", "MEMORY", "NUMBERS"};
    char cells[COLUMNS][CELL_BYTES], up[32];
    size_t widths[COLUMNS] = {0}, i;
    const json_t *processes = json_object_get(status, "processes");
    const json_t *process;

    status_format_duration(number_of(status, "up_ms"), up, sizeof(up));
    fprintf(out, "codebuddy2api %s: %s, pid %lld, up %s\nAPI %s, metrics %s/metrics\n\n",
            text_of(status, "version"), text_of(status, "state"), (long long)number_of(status, "pid"), up,
            text_of(status, "api"), text_of(status, "ops"));
    widen(widths, heads);
    json_array_foreach (processes, i, process) {
        format_row(process, cells);
        widen(widths, cells);
    }
    print_row(out, widths, heads);
    json_array_foreach (processes, i, process) {
        format_row(process, cells);
        print_row(out, widths, cells);
    }
}
