/* SPDX-License-Identifier: MIT */
/* cors - which web pages may call the model API from a browser (CODEBUDDY_CORS_ORIGINS). Pure. Off when the
 * list is empty; never for the admin API. */
#ifndef GATEWAY_CORS_H
#define GATEWAY_CORS_H

#include "gateway/head.h"

/* The value for Access-Control-Allow-Origin: `*`, or the head's Origin (borrowed) if the comma separated list
 * `origins` has it; empty when this page may not call. */
struct span cors_allow(const char *origins, const struct head *head);

#endif
