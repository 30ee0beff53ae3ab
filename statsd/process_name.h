/* SPDX-License-Identifier: MIT */
/* process_name - what processes are called in labels: name@host, such as credd-0@host. Pure. */
#ifndef STATSD_PROCESS_NAME_H
#define STATSD_PROCESS_NAME_H

#include "proto/bytes.h"

enum { PROCESS_NAME_BYTES = 140, PROCESS_HOST_BYTES = 65 };

/* Copies a word for use in a label: letters, digits and `.-_`; anything else becomes `_`. */
void process_name_clean(char *into, size_t size, struct span word);
void process_name_make(char into[PROCESS_NAME_BYTES], struct span name, struct span host);
/* The name of this host, cleaned. */
void process_name_own_host(char into[PROCESS_HOST_BYTES]);

#endif
