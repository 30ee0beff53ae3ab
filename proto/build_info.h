/* SPDX-License-Identifier: MIT */
/* build_info - which program this is. */
#ifndef PROTO_BUILD_INFO_H
#define PROTO_BUILD_INFO_H

/* The commit it was built from, `-dirty` behind it if files differed; CB_REVISION of CMake if that was given;
 * "unknown" for a copy without history. Of [0-9a-zA-Z._-]. Static. */
const char *build_revision(void);

#endif
