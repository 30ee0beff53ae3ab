/* SPDX-License-Identifier: MIT */
#include "proto/health.h"
#include "proto/clock.h"
#include "proto/error.h"
#include "proto/log.h"
#include "proto/settings.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

/* One write of always the same size: a reader sees the old line or the new one. */
enum { LINE_BYTES = 128, EXIT_UNWELL = 1 };

static void path_of(char *path, size_t size, const char *run_dir, const char *name)
{
    snprintf(path, size, "%s/%s.health", run_dir, name);
}

int health_open(const char *run_dir, const char *name)
{
    char path[4096];
    path_of(path, sizeof path, run_dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        log_warning(NULL, "no_health_file", LOG_STR("path", path), LOG_STR("problem", strerror(errno)));
    return fd;
}

void health_write(int fd, const char *state, const char *missing, int64_t now_ms)
{
    char line[LINE_BYTES + 1];
    if (fd < 0)
        return;
    int length = snprintf(line, sizeof line, "%s %" PRId64 " %s", state, now_ms, missing ? missing : "");
    size_t used = length < LINE_BYTES ? (size_t)length : LINE_BYTES - 1;
    memset(line + used, ' ', LINE_BYTES - used);
    line[LINE_BYTES - 1] = '\n';
    ssize_t written = pwrite(fd, line, LINE_BYTES, 0);
    (void)written; /* a check that finds the old line says what is wrong */
}

/* The text up to the next space; `text` goes on behind it. */
static struct span next_word(struct span *text)
{
    size_t length = 0;
    while (length < text->length && text->data[length] != ' ')
        length++;
    struct span word = span_of(text->data, length);
    size_t behind = length < text->length ? length + 1 : length;
    *text = span_of(text->data + behind, text->length - behind);
    return word;
}

enum health_verdict health_judge(struct span text, int64_t now_ms, struct span *says)
{
    uint64_t said_ms;
    *says = span_of(text.data, 0);
    while (text.length > 0 && (text.data[text.length - 1] == ' ' || text.data[text.length - 1] == '\n'))
        text.length--;
    struct span state = next_word(&text);
    if (!span_to_u64(next_word(&text), &said_ms) || said_ms > INT64_MAX)
        return HEALTH_ABSENT;
    if ((int64_t)said_ms > now_ms) /* of a machine that has been started again since */
        return HEALTH_ABSENT;
    if (now_ms - (int64_t)said_ms > HEALTH_SILENCE_MS)
        return HEALTH_HUNG;
    *says = text.length > 0 ? text : state;
    return span_equals(state, SPAN("ready")) && text.length == 0 ? HEALTH_WELL : HEALTH_UNWELL;
}

/* The verdict about the running process, printed. */
static enum health_verdict look(const char *run_dir, const char *name)
{
    static const char *const words[] = {"ready", "not ready: ", "hangs", "is not there, or not ready yet"};
    char path[4096], line[LINE_BYTES];
    struct span says;
    path_of(path, sizeof path, run_dir, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t length = fd < 0 ? 0 : read(fd, line, sizeof line);
    if (fd >= 0)
        close(fd);
    enum health_verdict verdict =
        health_judge(span_of(line, length < 0 ? 0 : (size_t)length), clock_now_ms(), &says);
    if (verdict != HEALTH_UNWELL)
        says.length = 0;
    printf("%s: %s%.*s\n", name, words[verdict], (int)says.length, says.data);
    return verdict;
}

bool health_asked(int argc, char **argv, const char *role, int *exit_code)
{
    struct settings settings;
    char name[64];
    bool asks_alive = argc == 2 && strcmp(argv[1], "--alive") == 0;
    if (!asks_alive && (argc != 2 || strcmp(argv[1], "--health") != 0))
        return false;
    snprintf(name, sizeof name, "%s-0", role);
    *exit_code = EXIT_UNWELL;
    if (settings_load_run_dir(&settings, environ, ".env") == 0) {
        enum health_verdict verdict = look(settings.run_dir, name);
        if (verdict == HEALTH_WELL || (asks_alive && verdict == HEALTH_UNWELL))
            *exit_code = EXIT_OK;
    }
    settings_fini(&settings);
    return true;
}
