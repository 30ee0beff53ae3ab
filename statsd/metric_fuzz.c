/* SPDX-License-Identifier: MIT */
/* What peers and HTTP clients may send as text: names of metrics, and Accept. */
#include "statsd/exposition.h"
#include "statsd/metric.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span text = span_of((const char *)data, size);
    exposition_negotiate(text);
    for (int kind = GAUGE_NOW; kind <= GAUGE_COUNTER; kind++) {
        struct metric *metric = metric_parse(text, (enum gauge_kind)kind);
        if (!metric)
            continue;
        /* What is accepted goes onto the page as it is: it must not break a line. */
        assert(!strchr(metric->labels, '\n') && !strchr(metric->le_text, '\n'));
        assert(strlen(metric->family) + strlen(metric->labels) + strlen(metric->le_text) <= size);
        assert((metric->part == METRIC_BUCKET) == (metric->le_text[0] != '\0'));
        free(metric);
    }
    return 0;
}
