/* SPDX-License-Identifier: MIT */
/* state_text - what the rotation remembers over a restart, as JSON. Pure, but for the log.
 *
 *     {"version":1,"auto_rotation_enabled":true,"current":ID,"served":3,"pinned":ID,
 *      "credentials":{ID:{"token":DIGEST,"state":"exhausted","is_off":false,"reason":"…","uses":12,
 *                         "until_wall_ms":…,"cooling":[{"model":"…","until_wall_ms":…}]}}}
 *
 * ID is a credential's id, DIGEST of its token and site (vault.h): a state is put back only if the token is
 * still the one that earned it; that a person switched it off, and its uses, are put back regardless. Never
 * holds a token. Times are wall times: a clock that was set back does not keep a credential away for longer
 * than STATE_MAX_AWAY_MS. */
#ifndef CREDD_STATE_TEXT_H
#define CREDD_STATE_TEXT_H

#include "credd/rotation.h"
#include "credd/vault.h"

#define STATE_MAX_AWAY_MS (30LL * 24 * 3600 * 1000) /* CODEBUDDY_CREDENTIAL_EXHAUSTED_S at most */

/* Appends the text. 0 or ERR_NOMEM. */
int state_text_append(struct buffer *text, const struct vault *vault, const struct rotation *rotation,
                      const struct moment *moment);
/* Puts back what the text says of credentials that there are. 0; ERR_INVALID (nothing was changed), ERR_NOMEM
 * (something may be missing). */
int state_text_apply(struct span text, const struct vault *vault, struct rotation *rotation,
                     const struct moment *moment);
/* The same for the reference implementation's manager_state.json: rotation on or off, the pinned file, whose
 * turn it is. */
int state_text_migrate(struct span text, const struct vault *vault, struct rotation *rotation);

#endif
