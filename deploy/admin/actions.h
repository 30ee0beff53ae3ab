/* SPDX-License-Identifier: MIT */
/* actions - what the command line can ask for: one table of noun, verb and what it does. Blocks.
 *
 * Secrets are never arguments: a credential is read from a file or standard input, a value `-` from standard
 * input. Tables for people, with --json the API's own answer. */
#ifndef ADMIN_ACTIONS_H
#define ADMIN_ACTIONS_H

#include "proto/settings.h"

enum { EXIT_REFUSED = 1, EXIT_NOT_RUNNING = 3, EXIT_USAGE = 64, ARGUMENTS_MAX = 4, OPTIONS_MAX = 8 };

struct action;

struct arguments {
    const struct action *action;
    const char *values[ARGUMENTS_MAX]; /* after noun and verb, without options */
    int count;
    struct {
        const char *name, *value;
    } options[OPTIONS_MAX]; /* --name value */
    int option_count;
    bool json;
};

/* 0, or ERR_INVALID: usage and the reason were printed on standard error. */
int arguments_parse(struct arguments *arguments, int argc, char *const *argv);
/* The exit status: 0; EXIT_REFUSED, with the API's reason on standard error; EXIT_NOT_RUNNING; EXIT_USAGE. */
int actions_run(const struct arguments *arguments, const struct settings *settings);
void actions_print_usage(FILE *out);

#endif
