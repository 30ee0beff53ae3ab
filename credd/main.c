/* SPDX-License-Identifier: MIT */
/* credd - lends upstream credentials to workers, and keeps the secrets to itself.
 * One process, one loop, one thread of ours. What it says on the wire: proto/README.md. */
#include "credd/convert.h"
#include "credd/desk.h"
#include "credd/json_wipe.h"
#include "credd/site_bonds.h"
#include "credd/vault_watch.h"
#include "proto/confine.h"
#include "proto/data_directory.h"
#include "proto/error.h"
#include "proto/health.h"

#include <unistd.h>

/* There is one credd: the supervisor's `--instance 0` says nothing new. `seal` and `unseal` convert the
 * credentials directory instead of serving. */
int main(int argc, char **argv)
{
    const char *word = argc > 1 && argv[1][0] != '-' ? argv[1] : NULL;
    struct settings settings = {0};
    struct service *service = NULL;
    struct live *live = NULL;
    struct office *office = NULL;
    struct sites *sites = NULL;
    struct seal *seal = NULL;
    struct site_bonds *bonds = NULL;
    struct vault *vault = NULL;
    struct reporter *reporter = NULL;
    struct desk *desk = NULL;
    struct vault_watch *watch = NULL;
    char directory[PATH_MAX];                       /* its own */
    int error = ERR_NOMEM, exit_code = EXIT_CONFIG; /* the supervisor does not restart this one */

    if (health_asked(argc, argv, "credd", &exit_code))
        return exit_code;
    confine_begin();
    json_wipe_install();
    if (settings_load(&settings, environ, ".env") < 0)
        goto out; /* each step logs its own failure */

    if (*settings.secret_key_file && !(seal = seal_load(settings.secret_key_file)))
        goto out;
    if (word) {
        error = convert_directory(word, settings.creds_dir, seal);
        exit_code = error == 0 ? EXIT_OK : error == ERR_IO ? EXIT_SYSTEM : EXIT_CONFIG;
        goto out;
    }

    exit_code = EXIT_SYSTEM; /* from here on a restart can help … */
    service = service_new("credd", 0, &settings);
    if (!service)
        goto out;
    sites = sites_load(settings.sites_dir, settings.api_endpoint);
    if (!sites) {
        exit_code = EXIT_CONFIG; /* … but not with profiles like these */
        goto out;
    }
    error = data_directory_adopt(directory, settings.data_dir, "credd");
    if (error < 0) {
        exit_code = error == ERR_CONFIG ? EXIT_CONFIG : EXIT_SYSTEM;
        goto out;
    }
    service_confine(service); /* what was to be read once has been read */
    live = live_new(&settings);
    office = live ? office_open(directory, live, &error) : NULL;
    bonds = office ? site_bonds_open(directory, &error) : NULL;
    if (!bonds) {
        exit_code = error == ERR_CONFIG ? EXIT_CONFIG : EXIT_SYSTEM;
        goto out;
    }
    vault = vault_open(&(struct vault_parts){settings.creds_dir, sites, seal, bonds});
    reporter = reporter_new(service);
    if (!vault || !reporter)
        goto out;
    const struct desk_parts parts = {.sites = sites,
                                     .vault = vault,
                                     .office = office,
                                     .directory = directory,
                                     .settings = live_settings(live),
                                     .reporter = reporter};
    desk = desk_open(service, &parts);
    watch = desk ? vault_watch_new(service_loop(service), vault, desk_take_vault, desk) : NULL;
    if (!watch)
        goto out;

    service_ready(service);
    exit_code = service_run(service); /* returns once SIGTERM's drain is over */
out:
    vault_watch_free(&watch);
    desk_close(&desk);
    reporter_free(&reporter);
    vault_close(&vault); /* wipes secrets */
    site_bonds_close(&bonds);
    office_close(&office);
    live_free(&live);
    sites_free(&sites);
    seal_free(&seal);
    service_free(&service);
    settings_fini(&settings);
    return exit_code;
}
