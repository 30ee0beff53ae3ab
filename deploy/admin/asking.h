/* SPDX-License-Identifier: MIT */
/* asking - one run of the command line: what it asks the gateway's API, and how the answer is shown. Blocks.
 * Functions that return an exit status have said on standard error why it is not 0. */
#ifndef ADMIN_ASKING_H
#define ADMIN_ASKING_H

#include "deploy/admin/actions.h"
#include "deploy/admin/http.h"
#include "proto/bytes.h"

enum { ASKING_PATH_BYTES = 512 };

struct run {
    const struct arguments *arguments;
    struct http *http;
};

/* 0 with `*reply` owned, else the exit status. Borrows the body (may be NULL). */
int asking_call(struct run *run, const char *method, const char *path, const json_t *body, json_t **reply);
/* Shows the reply, as it is with --json, else by `print`. Takes it. Returns 0. */
int asking_show(const struct run *run, json_t *reply, void (*print)(const json_t *reply));
/* Both. Takes the body. */
int asking_call_and_show(struct run *run, const char *method, const char *path, json_t *body,
                         void (*print)(const json_t *reply));
/* Prints an API's refusal. Returns EXIT_REFUSED. */
int asking_say_refused(const json_t *reply, int status);
/* For asking_call_and_show: what the API says of a thing done. */
void asking_print_done(const json_t *reply);

/* The path with the first argument in it, escaped. */
void asking_path(const struct run *run, char path[ASKING_PATH_BYTES], const char *before, const char *after);
/* All of a file, or of standard input for `-`, owned in `text`. False: it was said why not. */
bool asking_read_input(const char *path, struct buffer *text);

#endif
