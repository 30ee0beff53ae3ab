/* SPDX-License-Identifier: MIT */
/* credential_actions - `codebuddy2api credentials VERB`; the table in actions.c says what each takes. Each
 * returns the exit status and has said why it is not 0. Blocks; a login for as long as the person takes. */
#ifndef ADMIN_CREDENTIAL_ACTIONS_H
#define ADMIN_CREDENTIAL_ACTIONS_H

#include "deploy/admin/asking.h"

int run_credentials_list(struct run *run);
int run_credentials_add(struct run *run);
int run_credentials_delete(struct run *run);
int run_credentials_test(struct run *run);
int run_credentials_login(struct run *run);
/* Become `codebuddy2api-credd seal|unseal`, which reads and writes the files itself; return only if it cannot
 * be run. */
int run_credentials_seal(struct run *run);
int run_credentials_unseal(struct run *run);

#endif
