/* SPDX-License-Identifier: MIT */
/* curl_wipe - makes libcurl forget: every block it frees is overwritten first. Refresh tokens and access
 * tokens pass through its buffers, both ways. Costs a memset per free, which is why only credd does it. */
#ifndef CREDD_CURL_WIPE_H
#define CREDD_CURL_WIPE_H

#include <curl/curl.h>

/* Instead of curl_global_init; pair with curl_global_cleanup. */
CURLcode curl_wipe_init(void);

#endif
