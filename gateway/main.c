/* SPDX-License-Identifier: MIT */
/* gateway - the HTTP front: takes requests from clients and has upstream-workers answer them.
 * One process, one loop, one thread of ours. What it does and when it fails: README.md. */
#include "gateway/gateway.h"
#include "proto/confine.h"
#include "proto/error.h"
#include "proto/health.h"

#include <unistd.h>

/* `--instance N` tells gateways of one host apart (deploy/supervisor); 0 without it, -1 if it is malformed.
 */
static int instance_of(int argc, char **argv)
{
    uint64_t instance = 0;
    if (argc == 1)
        return 0;
    bool is_known = argc == 3 && strcmp(argv[1], "--instance") == 0;
    return is_known && span_to_u64(span_str(argv[2]), &instance) && instance <= INT32_MAX ? (int)instance
                                                                                          : -1;
}

int main(int argc, char **argv)
{
    struct settings settings = {0};
    struct service *service = NULL;
    struct gateway *gateway = NULL;
    int exit_code = EXIT_CONFIG; /* the supervisor does not restart this one */
    int instance;

    if (health_asked(argc, argv, "gateway", &exit_code))
        return exit_code;
    instance = instance_of(argc, argv);
    confine_begin();
    if (instance < 0)
        fprintf(stderr, "usage: %s [--instance N] | --health | --alive\n", argv[0]);
    if (instance < 0 || settings_load_with_password(&settings, environ, ".env") < 0)
        goto out; /* each step logs its own failure */

    exit_code = EXIT_SYSTEM; /* from here on a restart can help */
    service = service_new("gateway", instance, &settings);
    service_prefer_batches();
    if (service) {
        service_confine(service);
        gateway = gateway_new(service);
    }
    if (!gateway)
        goto out;

    exit_code = service_run(service); /* returns once SIGTERM's drain is over */
out:
    gateway_free(&gateway);
    service_free(&service);
    settings_fini(&settings);
    return exit_code;
}
