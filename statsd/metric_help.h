/* SPDX-License-Identifier: MIT */
/* metric_help - what the reported families mean, for HELP. A family that is not here is shown all the same.
 */
#ifndef STATSD_METRIC_HELP_H
#define STATSD_METRIC_HELP_H

/* Static text, one line, without a backslash; never NULL. */
const char *metric_help(const char *family);

#endif
