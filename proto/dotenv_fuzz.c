/* SPDX-License-Identifier: MIT */
/* Any bytes as a .env file and as each setting's value: parsed or refused, never more. */
#include "proto/settings.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int set(void *context, struct span name, struct span value)
{
    const char *reason;
    if (span_equals(name, SPAN("CODEBUDDY_PASSWORD_FILE"))) /* would read whatever file the input names */
        return 0;
    return settings_set(context, name, value, &reason) < 0 ? -1 : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char *const environment[] = {NULL};
    struct settings settings;
    const char *reason;
    int line_number;
    settings_load(&settings, environment, "/nonexistent");
    settings_parse_dotenv(span_of((const char *)data, size), set, &settings, &line_number);
    settings_check(&settings, &reason);
    settings_fini(&settings);
    return 0;
}
