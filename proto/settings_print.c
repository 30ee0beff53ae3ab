/* SPDX-License-Identifier: MIT */
#include "proto/settings_table.h"

#include <inttypes.h>

/* A secret has none. */
static const char *default_of(const struct setting *row)
{
    return row->kind == SETTING_SECRET ? "" : row->default_text;
}

/* "(seconds, 1 to 3600)" and the like. */
static void print_bounds(FILE *out, const struct setting *row)
{
    if (row->kind == SETTING_NUMBER)
        fprintf(out, " (%s%s%" PRId64 " to %" PRId64 ")", row->unit, *row->unit ? ", " : "", row->min,
                row->max);
    else if (row->kind == SETTING_CHOICE)
        fprintf(out, " (%s)", row->choices);
    else if (row->kind == SETTING_FLAG)
        fputs(" (true or false)", out);
    else if (row->kind == SETTING_SECRET)
        fprintf(out, " Or %s%s_FILE names a file that holds it.", SETTINGS_PREFIX, row->name);
}

void settings_print_help(FILE *out)
{
    fputs("Settings, from the environment, then from the file .env, then these defaults:\n", out);
    for (size_t i = 0; i < setting_row_count; i++) {
        const struct setting *row = &setting_rows[i];
        fprintf(out, "  %s%s=%s\n      %s", SETTINGS_PREFIX, row->name, default_of(row), row->help);
        print_bounds(out, row);
        fputc('\n', out);
    }
}

void settings_print_dotenv(FILE *out)
{
    fputs("# Settings of codebuddy2api. Remove the # before a line to change its value.\n", out);
    for (size_t i = 0; i < setting_row_count; i++) {
        const struct setting *row = &setting_rows[i];
        fprintf(out, "\n# %s", row->help);
        print_bounds(out, row);
        fprintf(out, "\n#%s%s=%s\n", SETTINGS_PREFIX, row->name, default_of(row));
    }
}

/* A `|` would end a table's cell. */
static void print_cell(FILE *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '|')
            fputc('\\', out);
        fputc(*text, out);
    }
}

static void print_row_start(FILE *out, const struct setting *row, const char *value)
{
    fprintf(out, "| `%s%s` | %s%s%s | ", SETTINGS_PREFIX, row->name, *value ? "`" : "", value,
            *value ? "`" : "");
}

void settings_print_markdown(FILE *out)
{
    fputs("| variable | default | what it is |\n| --- | --- | --- |\n", out);
    for (size_t i = 0; i < setting_row_count; i++) {
        const struct setting *row = &setting_rows[i];
        print_row_start(out, row, default_of(row));
        print_cell(out, row->help);
        if (row->kind == SETTING_CHOICE) {
            fputs(" (", out);
            print_cell(out, row->choices);
            fputc(')', out);
        } else {
            print_bounds(out, row);
        }
        fputs(" |\n", out);
    }
}

/* With the comma that follows it. A unit that is not in the list is shown as it is. */
static void print_chinese_unit(FILE *out, const char *unit)
{
    static const struct {
        const char *unit, *chinese;
    } units[] = {{"seconds", "秒"},      {"days", "天"},      {"bytes", "字节"},
                 {"requests", "个请求"}, {"processes", "个"}, {"connections", "个"}};
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (strcmp(units[i].unit, unit) == 0)
            unit = units[i].chinese;
    fprintf(out, "%s%s", unit, *unit ? "，" : "");
}

static void print_chinese_bounds(FILE *out, const struct setting *row)
{
    if (row->kind == SETTING_NUMBER) {
        fputs("（", out);
        print_chinese_unit(out, row->unit);
        fprintf(out, "%" PRId64 " 到 %" PRId64 "）", row->min, row->max);
    } else if (row->kind == SETTING_CHOICE) {
        fputs("（", out);
        print_cell(out, row->choices);
        fputs("）", out);
    } else if (row->kind == SETTING_FLAG) {
        fputs("（true 或 false）", out);
    } else if (row->kind == SETTING_SECRET) {
        fprintf(out, "也可用 %s%s_FILE 指定存放它的文件。", SETTINGS_PREFIX, row->name);
    }
}

void settings_print_chinese(FILE *out)
{
    fputs("| 变量 | 默认值 | 说明 |\n| --- | --- | --- |\n", out);
    for (size_t i = 0; i < setting_row_count; i++) {
        const struct setting *row = &setting_rows[i];
        print_row_start(out, row, default_of(row));
        print_cell(out, row->help_zh);
        print_chinese_bounds(out, row);
        fputs(" |\n", out);
    }
}
