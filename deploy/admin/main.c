/* SPDX-License-Identifier: MIT */
/* codebuddy2api-admin - credentials, keys and settings of the running system, from the command line: what
 * `codebuddy2api credentials|keys|settings` becomes. It asks the gateway's admin API. */
#include "deploy/admin/actions.h"
#include "proto/error.h"

#include <curl/curl.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct settings settings = {0};
    struct arguments arguments;
    int exit_code = EXIT_CONFIG;

    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        actions_print_usage(stdout);
        return EXIT_OK;
    }
    if (arguments_parse(&arguments, argc, argv) < 0)
        return EXIT_USAGE;
    if (settings_load_with_password(&settings, environ, ".env") == 0) {
        curl_global_init(CURL_GLOBAL_DEFAULT);
        exit_code = actions_run(&arguments, &settings);
        curl_global_cleanup();
    }
    settings_fini(&settings);
    return exit_code;
}
