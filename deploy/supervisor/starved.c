/* SPDX-License-Identifier: MIT */
#include "deploy/supervisor/starved.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FIELD_STATE = 3, FIELD_USER_TICKS = 14, FIELD_SYSTEM_TICKS = 15, MS_PER_S = 1000 };

/* Fields count from 1; the second is the program's name in parentheses, which may hold anything. */
void starved_sample_parse(const char *text, int64_t ticks_per_s, struct starved_sample *sample)
{
    const char *at = strrchr(text, ')');
    int64_t ticks = 0;

    *sample = (struct starved_sample){0};
    if (!at || at[1] != ' ' || at[2] == '\0')
        return;
    sample->state = at[2];
    at += 2;
    for (int field = FIELD_STATE; at && field < FIELD_SYSTEM_TICKS; field++) {
        at = strchr(at, ' ');
        if (at && field + 1 >= FIELD_USER_TICKS)
            ticks += strtoll(at, NULL, 10);
        at = at ? at + 1 : NULL;
    }
    sample->cpu_ms = ticks * MS_PER_S / ticks_per_s;
}

void starved_sample_read(int pid, struct starved_sample *sample)
{
    char path[64], text[512] = "";
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", pid, pid);
    file = fopen(path, "re");
    if (file && !fgets(text, sizeof(text), file))
        text[0] = '\0';
    if (file)
        fclose(file);
    starved_sample_parse(text, sysconf(_SC_CLK_TCK), sample);
}

bool starved_judge(const struct starved_sample *then, const struct starved_sample *now, int64_t silent_ms)
{
    if (now->state == 'D')
        return true;
    return now->state == 'R' && now->cpu_ms - then->cpu_ms < silent_ms / 2;
}
