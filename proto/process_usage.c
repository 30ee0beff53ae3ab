/* SPDX-License-Identifier: MIT */
#include "proto/process_usage.h"
#include "proto/bytes.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    DESCRIPTORS_MAX = 1 << 20 /* some engines allow a billion, which makes programs that walk them crawl */
};

/* /proc/self/statm: sizes in pages, the second is what is resident. */
static int64_t read_resident_bytes(void)
{
    char text[128];
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t length = read(fd, text, sizeof text);
    close(fd);
    if (length <= 0)
        return 0;
    const char *second = memchr(text, ' ', (size_t)length);
    if (!second)
        return 0;
    second++;
    const char *end = memchr(second, ' ', (size_t)(text + length - second));
    uint64_t pages;
    if (!end || !span_to_u64(span_of(second, (size_t)(end - second)), &pages))
        return 0;
    return (int64_t)pages * sysconf(_SC_PAGESIZE);
}

static int64_t count_open_fds(int walk)
{
    struct stat status;
    if (stat("/proc/self/fd", &status) == 0 && status.st_size > 0)
        return status.st_size; /* Linux 6.2 and later say the number */
    DIR *dir = walk ? opendir("/proc/self/fd") : NULL;
    if (!dir)
        return -1;
    int64_t count = -3; /* `.`, `..` and the directory's own descriptor */
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

static int64_t read_max_fds(void)
{
    struct rlimit limit;
    bool is_known = getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
    return is_known && limit.rlim_cur <= INT32_MAX ? (int64_t)limit.rlim_cur : -1;
}

void process_usage_read(struct process_usage *usage, int count_fds)
{
    struct timespec cpu = {0};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    usage->cpu_us = (int64_t)cpu.tv_sec * 1000000 + cpu.tv_nsec / 1000;
    usage->resident_bytes = read_resident_bytes();
    usage->open_fds = count_open_fds(count_fds);
    usage->max_fds = read_max_fds();
}

void process_usage_allow_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= DESCRIPTORS_MAX)
        return;
    limit.rlim_cur = limit.rlim_max < DESCRIPTORS_MAX ? limit.rlim_max : DESCRIPTORS_MAX;
    setrlimit(RLIMIT_NOFILE, &limit);
}
