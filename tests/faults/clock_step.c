/* SPDX-License-Identifier: MIT */
/* clock_step - steps the wall clock of the processes that it is preloaded into (LD_PRELOAD), as ntpd or an
 * operator would: CLOCK_STEP_FILE holds one int64, nanoseconds to add to CLOCK_REALTIME, mapped and read on
 * each call, so that a step takes effect everywhere at once. CLOCK_MONOTONIC stays. What the kernel or libc
 * itself waits for by wall time (none of our processes does) is not stepped.
 *
 * Not libfaketime: it keeps a semaphore that all processes share, and one killed while it holds it stops
 * the others. The system's own clock is not ours to set. */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { NS_PER_S = 1000000000 };

static const volatile int64_t *offset_ns;

__attribute__((constructor)) static void map_offset(void)
{
    const char *path = getenv("CLOCK_STEP_FILE");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *memory = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *offset_ns, PROT_READ, MAP_SHARED, fd, 0);

    if (fd >= 0)
        close(fd);
    if (memory != MAP_FAILED)
        offset_ns = memory;
}

int clock_gettime(clockid_t id, struct timespec *now)
{
    int result = (int)syscall(SYS_clock_gettime, id, now);

    if (result != 0 || !offset_ns || (id != CLOCK_REALTIME && id != CLOCK_REALTIME_COARSE))
        return result;
    int64_t ns = now->tv_sec * (int64_t)NS_PER_S + now->tv_nsec + *offset_ns;
    now->tv_sec = ns / NS_PER_S;
    now->tv_nsec = ns % NS_PER_S;
    return 0;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    struct timespec precise;

    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &precise) != 0)
        return -1;
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *seconds)
{
    struct timespec precise;

    if (clock_gettime(CLOCK_REALTIME, &precise) != 0)
        return (time_t)-1;
    if (seconds)
        *seconds = precise.tv_sec;
    return precise.tv_sec;
}
