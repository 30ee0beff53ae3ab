/* SPDX-License-Identifier: MIT */
/* upstream-worker - carries one request after another from a gateway to the upstream and back.
 * One process, one loop, one thread of ours. What it says on the wire: proto/README.md. */
#include "proto/confine.h"
#include "proto/error.h"
#include "proto/health.h"
#include "upstream-worker/worker.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <curl/curl.h>

enum { INSTANCE_MAX = 1000000 };

/* `--instance N`, as the supervisor starts us; without it this is the first. -1: anything else. */
static int instance_of(int argc, char **argv)
{
    uint64_t instance = 0;
    if (argc == 1)
        return 0;
    if (argc != 3 || strcmp(argv[1], "--instance") != 0 || !span_to_u64(span_str(argv[2]), &instance) ||
        instance > INSTANCE_MAX) {
        fprintf(stderr, "usage: %s [--instance N] | --health | --alive\n", argv[0]);
        return -1;
    }
    return (int)instance;
}

int main(int argc, char **argv)
{
    struct settings settings = {0};
    struct service *service = NULL;
    struct live *live = NULL;
    struct reporter *reporter = NULL;
    struct worker *worker = NULL;
    int exit_code = EXIT_CONFIG; /* the supervisor does not restart this one */
    int instance;

    if (health_asked(argc, argv, "upstream-worker", &exit_code))
        return exit_code;
    instance = instance_of(argc, argv);
    confine_begin();
    if (instance < 0 || settings_load(&settings, environ, ".env") < 0)
        goto out; /* each step logs its own failure */

    confine_forget_password(&settings);
    exit_code = EXIT_SYSTEM; /* from here on a restart can help */
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        goto out;
    service = service_new("upstream-worker", instance, &settings);
    service_prefer_batches();
    if (service)
        service_confine(service);
    live = live_new(&settings);
    reporter = service && live ? reporter_new(service) : NULL;
    worker = reporter ? worker_new(service, live, reporter) : NULL;
    if (!worker)
        goto out;

    service_ready(service);
    exit_code = service_run(service); /* returns once SIGTERM's drain is over */
out:
    worker_free(&worker);
    reporter_free(&reporter);
    live_free(&live);
    service_free(&service);
    curl_global_cleanup();
    settings_fini(&settings);
    return exit_code;
}
