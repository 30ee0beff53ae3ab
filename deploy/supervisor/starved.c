/* SPDX-License-Identifier: MIT */
#include "deploy/supervisor/starved.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    FIELD_STATE = 3,
    FIELD_USER_TICKS = 14,
    FIELD_SYSTEM_TICKS = 15,
    FIELD_RESIDENT = 24,
    MS_PER_S = 1000
};

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
    for (int field = FIELD_STATE + 1; field <= FIELD_RESIDENT; field++) {
        at = strchr(at, ' ');
        if (!at++)
            break;
        if (field == FIELD_USER_TICKS || field == FIELD_SYSTEM_TICKS)
            ticks += strtoll(at, NULL, 10);
        else if (field == FIELD_RESIDENT)
            sample->resident_bytes = strtoll(at, NULL, 10) * sysconf(_SC_PAGESIZE);
    }
    sample->cpu_ms = ticks * MS_PER_S / ticks_per_s;
}

int starved_open(int pid)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", pid, pid);
    return open(path, O_RDONLY | O_CLOEXEC);
}

void starved_sample_read(int fd, struct starved_sample *sample)
{
    char text[512];
    ssize_t length = fd < 0 ? 0 : pread(fd, text, sizeof(text) - 1, 0);

    text[length > 0 ? length : 0] = '\0';
    starved_sample_parse(text, sysconf(_SC_CLK_TCK), sample);
}

bool starved_judge(const struct starved_sample *then, const struct starved_sample *now, int64_t silent_ms)
{
    if (now->state == 'D')
        return true;
    return now->state == 'R' && now->cpu_ms - then->cpu_ms < silent_ms / 2;
}
