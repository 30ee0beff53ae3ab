/* SPDX-License-Identifier: MIT */
/* command - the command line of codebuddy2api, and the verbs that talk to a running supervisor. */
#ifndef SUPERVISOR_COMMAND_H
#define SUPERVISOR_COMMAND_H

#include <stdbool.h>

enum { EXIT_USAGE = 64, EXIT_NOT_READY = 1, EXIT_NOT_RUNNING = 3 };

enum command_verb {
    COMMAND_RUN,
    COMMAND_STATUS,
    COMMAND_RELOAD,
    COMMAND_STOP,
    COMMAND_CHECK,
    COMMAND_HELP,
    COMMAND_VERSION,
    COMMAND_PRINT_ENV,
    COMMAND_ADMIN,  /* credentials, keys, settings: another program's */
    COMMAND_KEYGEN, /* another program's too */
};

struct command {
    enum command_verb verb;
    bool json;         /* of status */
    char *const *argv; /* of admin and keygen: all of it */
};

/* 0, or ERR_INVALID: usage and the reason were printed on standard error. */
int command_parse(struct command *command, int argc, char *const *argv);
/* Carries out what starts nothing: all but run. False if it is run. Blocks until it is over. `exit_code`: 0;
 * EXIT_NOT_READY (status: not all ready; reload, stop: failed); EXIT_NOT_RUNNING; EXIT_CONFIG (check);
 * EXIT_SYSTEM (no memory, no program). An admin's command
 * becomes codebuddy2api-admin, which is beside this program. status, reload and stop need no good settings,
 * only where the run directory is. */
bool command_answer(const struct command *command, int *exit_code);

#endif
