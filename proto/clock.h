/* SPDX-License-Identifier: MIT */
/* clock - the two times: monotonic milliseconds for all arithmetic, wall milliseconds only for what people or
 * other machines read. Code that decides by time takes it as an argument, so that tests can pass it in. */
#ifndef PROTO_CLOCK_H
#define PROTO_CLOCK_H

#include <stdint.h>

int64_t clock_now_ms(void);  /* CLOCK_MONOTONIC */
int64_t clock_now_us(void);  /* CLOCK_MONOTONIC, microseconds */
int64_t clock_wall_ms(void); /* since 1970-01-01 UTC */

#endif
