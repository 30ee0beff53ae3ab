/* SPDX-License-Identifier: MIT */
/* codebuddy2api - the supervisor, and the command that a person runs.
 * One process, one loop, one thread. What it promises its children: proto/service.h. */
#include "deploy/supervisor/command.h"
#include "deploy/supervisor/process.h"
#include "deploy/supervisor/supervisor.h"

#include "proto/confine.h"
#include "proto/error.h"
#include "proto/log.h"
#include "proto/log_sink.h"

#include <unistd.h>

/* The children of a supervisor that was killed drain for as long as they may; a moment more, and we take
 * over. */
enum { TAKE_OVER_GRACE_S = 10 };

int main(int argc, char **argv)
{
    struct command command;
    struct settings settings = {0};
    struct rundir *rundir = NULL;
    struct supervisor *supervisor = NULL;
    struct confine_needs needs;
    int exit_code = EXIT_USAGE;

    log_init("supervisor", LOG_LEVEL_INFO);
    if (command_parse(&command, argc, argv) < 0 || command_answer(&command, &exit_code))
        return exit_code;

    exit_code = EXIT_CONFIG; /* whoever started us need not try again */
    if (settings_load_with_password(&settings, environ, ".env") < 0)
        goto out;
    log_init("supervisor", log_level_of(settings.log_level));
    process_prepare();
    process_ends_on_signals();
    confine_forbid_dumps();
    int error = rundir_acquire(settings.run_dir, settings.drain_s + TAKE_OVER_GRACE_S, &rundir);
    if (error == 0)
        error = supervisor_new(&settings, rundir, &supervisor);
    confine_needs_of(&needs, "supervisor", &settings, CONFINE_HAS_SOCKETS | CONFINE_HAS_SUPERVISOR);
    confine_apply(&needs, &settings);
    if (error != ERR_CONFIG)
        exit_code = EXIT_SYSTEM; /* another try can help */
    if (error == 0)
        exit_code = supervisor_run(supervisor);
out:
    supervisor_free(&supervisor);
    settings_fini(&settings);
    log_sink_finish();
    return exit_code;
}
