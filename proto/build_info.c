/* SPDX-License-Identifier: MIT */
#include "proto/build_info.h"

#include "revision.h"

const char *build_revision(void)
{
    return CB_REVISION;
}
