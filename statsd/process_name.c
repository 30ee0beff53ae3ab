/* SPDX-License-Identifier: MIT */
#include "statsd/process_name.h"

#include <stdio.h>
#include <unistd.h>

enum { NAME_BYTES = 65 };

void process_name_clean(char *into, size_t size, struct span word)
{
    size_t length = word.length < size - 1 ? word.length : size - 1;
    for (size_t i = 0; i < length; i++) {
        char c = word.data[i];
        bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                        c == '.' || c == '-' || c == '_';
        into[i] = is_plain ? c : '_';
    }
    into[length] = '\0';
}

void process_name_make(char into[PROCESS_NAME_BYTES], struct span name, struct span host)
{
    char name_text[NAME_BYTES], host_text[PROCESS_HOST_BYTES];
    process_name_clean(name_text, sizeof name_text, name);
    process_name_clean(host_text, sizeof host_text, host);
    snprintf(into, PROCESS_NAME_BYTES, "%s@%s", name_text, host_text);
}

void process_name_own_host(char into[PROCESS_HOST_BYTES])
{
    char host[PROCESS_HOST_BYTES] = "";
    gethostname(host, sizeof host - 1);
    process_name_clean(into, PROCESS_HOST_BYTES, span_str(host));
}
