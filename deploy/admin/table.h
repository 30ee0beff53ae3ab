/* SPDX-License-Identifier: MIT */
/* table - JSON objects as a table for people. */
#ifndef ADMIN_TABLE_H
#define ADMIN_TABLE_H

#include <jansson.h>
#include <stdio.h>

/* Prints a line of headings and one per object of `rows` (an array), for `columns`, space separated names of
 * members. Null is `-`; control characters of a text are `?`. */
void table_print(FILE *out, const json_t *rows, const char *columns);
/* Prints `name: value` lines of the members named. */
void table_print_one(FILE *out, const json_t *object, const char *columns);

#endif
