/* SPDX-License-Identifier: MIT */
/* codebuddy2api-keygen - what `codebuddy2api keygen DIR` becomes: makes the CURVE keys of the links between
 * processes on several hosts. It has libzmq, which the supervisor must not have; it needs no settings. */
#include "proto/error.h"
#include "proto/link_keys.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { EXIT_REFUSED = 1, EXIT_USAGE = 64 };

static void print_usage(FILE *out)
{
    fputs("  codebuddy2api keygen DIR\n"
          "Makes DIR (0700) with one file (0600) for each kind of process: gateway.keys, "
          "upstream-worker.keys,\n"
          "credd.keys, statsd.keys. Give each container its own file and set CODEBUDDY_LINK_KEYS_DIR to "
          "where it\n"
          "is. Never overwrites: for new keys take a new directory. Exit 0: done, 1: refused, 64: usage.\n",
          out);
}

int main(int argc, char **argv)
{
    const char *path;
    bool asks = argc > 1 && (strcmp(argv[argc - 1], "--help") == 0 || strcmp(argv[argc - 1], "-h") == 0);

    if (asks) {
        print_usage(stdout);
        return EXIT_OK;
    }
    if (argc != 3 || argv[2][0] == '-') { /* argv[1] is `keygen` */
        print_usage(stderr);
        return EXIT_USAGE;
    }
    int error = link_keys_make_set(argv[2], &path);
    if (error < 0) {
        fprintf(stderr, "codebuddy2api: %s: %s\n", path,
                error == ERR_EXISTS ? "exists already; nothing was made" : strerror(errno));
        return EXIT_REFUSED;
    }
    printf("keys of gateway, upstream-worker, credd and statsd are in %s\n", argv[2]);
    return EXIT_OK;
}
