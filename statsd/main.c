/* SPDX-License-Identifier: MIT */
/* statsd - keeps the durable ledger of usage, adds up what all processes count, and answers operators.
 * One process, one loop, one thread of ours; the disk is waited for on libuv's pool. README.md says the rest.
 */
#include "proto/confine.h"
#include "proto/data_directory.h"
#include "proto/error.h"
#include "proto/health.h"
#include "proto/follow.h"
#include "statsd/hub.h"
#include "statsd/ops.h"

#include <stdio.h>
#include <unistd.h>

/* There is one statsd, so `--instance N`, which the supervisor gives every process, can only be 0. */
static bool arguments_are_known(int argc, char **argv)
{
    return argc == 1 || (argc == 3 && strcmp(argv[1], "--instance") == 0 && strcmp(argv[2], "0") == 0);
}

int main(int argc, char **argv)
{
    struct settings settings = {0};
    struct service *service = NULL;
    struct live *live = NULL;
    struct follow *follow = NULL;
    struct hub *hub = NULL;
    struct ops *ops = NULL;
    char directory[PATH_MAX];           /* its own */
    int error, exit_code = EXIT_CONFIG; /* the supervisor does not restart this one */

    if (health_asked(argc, argv, "statsd", &exit_code))
        return exit_code;
    confine_begin();
    if (!arguments_are_known(argc, argv)) {
        fprintf(stderr, "usage: %s [--instance 0] | --health | --alive\n", argv[0]);
        goto out;
    }
    if (settings_load(&settings, environ, ".env") < 0)
        goto out; /* each step logs its own failure */

    confine_forget_password(&settings);
    exit_code = EXIT_SYSTEM; /* from here on a restart can help */
    service = service_new("statsd", 0, &settings);
    if (!service)
        goto out;
    error = data_directory_adopt(directory, settings.data_dir, "statsd");
    if (error < 0) {
        exit_code = error == ERR_CONFIG ? EXIT_CONFIG : EXIT_SYSTEM;
        goto out;
    }
    service_confine(service);
    hub = hub_open(service, directory, &exit_code);
    if (hub)
        ops = ops_open(service, hub);
    if (!ops)
        goto out;
    live = live_new(&settings);
    if (live) /* for the log's level; without credd's address the ledger does as well */
        follow = follow_new(service, live, NULL, NULL);

    service_ready(service);
    exit_code = service_run(service); /* returns once SIGTERM's drain is over */
out:
    follow_free(&follow);
    live_free(&live);
    ops_close(&ops);
    hub_close(&hub);
    service_free(&service);
    settings_fini(&settings);
    return exit_code;
}
