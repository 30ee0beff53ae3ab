/* SPDX-License-Identifier: MIT */
/* command - the command line of codebuddy2api, and the verbs that talk to a running supervisor. */
#ifndef SUPERVISOR_COMMAND_H
#define SUPERVISOR_COMMAND_H

#include "proto/settings.h"

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
};

struct command {
    enum command_verb verb;
    bool json; /* of status */
};

/* 0, or ERR_INVALID: usage and the reason were printed on standard error. */
int command_parse(struct command *command, int argc, char *const *argv);
/* Carries out what needs no settings (help, version, sample .env). False if it is none of these. */
bool command_answer(const struct command *command);
/* Carries out status, reload, stop or check; blocks until it is over. Returns the exit status: 0;
 * EXIT_NOT_READY (status: not all ready; reload: failed); EXIT_NOT_RUNNING. */
int command_ask(const struct command *command, const struct settings *settings);

#endif
