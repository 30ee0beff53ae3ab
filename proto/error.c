/* SPDX-License-Identifier: MIT */
#include "proto/error.h"

const char *error_text(int error)
{
    switch (error) {
    case 0:
        return "ok";
#define E(name, value, retry, text)                                                                          \
    case name:                                                                                               \
        return text;
        ERROR_LIST(E)
#undef E
    default:
        return "unknown error";
    }
}

bool error_can_retry(int error)
{
    switch (error) {
#define E(name, value, retry, text)                                                                          \
    case name:                                                                                               \
        return retry;
        ERROR_LIST(E)
#undef E
    default:
        return false;
    }
}
