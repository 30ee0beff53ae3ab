/* SPDX-License-Identifier: MIT */
/* link_keys - the CURVE keys of one process's links: its own pair, the public keys of the servers that it
 * connects to, and the allow-list of those that may connect to it.
 *
 * One file per role, DIR/<role>.keys, so that each container is given exactly one secret. Its format is ZPL
 * (rfc.zeromq.org/spec/4, read with czmq's zconfig); keys are Z85 text of 40 characters (rfc 32):
 *
 *   role = "credd"
 *   curve
 *       public-key = "…"
 *       secret-key = "…"
 *   servers
 *       statsd = "…"
 *   allow
 *       gateway = "…"
 *       upstream-worker = "…"
 *
 * A role may stand under allow several times: the old key and the new one.
 * A key is tied to a role on both ends: who connects trusts only the key of the role that it wants, and who
 * is connected to learns the caller's role from the allow-list, not from what the caller says.
 * `codebuddy2api keygen` makes a set. A file that others on the host can read is warned about. */
#ifndef PROTO_LINK_KEYS_H
#define PROTO_LINK_KEYS_H

struct link_keys;
/* czmq's, named here because czmq.h brings syslog's names along.
 * NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl*) */
struct _zcert_t;
struct _zcertstore_t;
/* NOLINTEND(bugprone-reserved-identifier,cert-dcl*) */

/* Reads DIR/<role>.keys. Returns owned; NULL if it is missing or not as above, which is logged with what is
 * wrong and never with a key. */
struct link_keys *link_keys_load(const char *dir, const char *role);
void link_keys_free(struct link_keys **keys);

/* Own pair, borrowed: not to be changed (czmq takes no const). */
struct _zcert_t *link_keys_own(const struct link_keys *keys);
/* Public key (Z85) of the servers of that role, borrowed; NULL if the file names none. */
const char *link_keys_server(const struct link_keys *keys, const char *role);
/* The allow-list, for zauth. Returns owned. Each certificate has its role as metadata LINK_KEYS_ROLE, which
 * ZeroMQ shows with every message of that peer. NULL when out of memory. */
struct _zcertstore_t *link_keys_allowed(const struct link_keys *keys);
#define LINK_KEYS_ROLE "role"

/* Makes a whole new set: one pair and file (0600, durable) for each role that has links, in a directory that
 * is made (0700) if it is missing. Never touches a file that exists, and leaves none if not all can be made.
 * 0; ERR_EXISTS, ERR_IO (errno), with `path` (borrows from a static buffer) naming the file at fault. */
int link_keys_make_set(const char *dir, const char **path);

#endif
