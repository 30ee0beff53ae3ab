/* SPDX-License-Identifier: MIT */
#include "credd/credential_file.h"
#include "credd/json_wipe.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct credential_file file;
    char problem[CREDENTIAL_PROBLEM_BYTES];
    json_wipe_install();
    int error = credential_file_parse(&file, span_of((const char *)data, size), problem);
    assert((error == 0) == (problem[0] == '\0'));
    if (error == 0) {
        /* what the rest of credd relies on */
        assert(!secret_is_empty(&file.token) && file.token.length <= CREDENTIAL_TOKEN_MAX_BYTES);
        assert(span_is_header_safe(secret_span(&file.token)));
        const char *const headers[] = {file.user_id, file.account_uid, file.enterprise_id, file.tenant_id,
                                       file.domain};
        for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++)
            assert(span_is_header_safe(span_str(headers[i])) && span_str(headers[i]).length <= 256);
        assert(file.expires_wall_ms >= 0 && file.created_wall_ms >= 0);
    }
    credential_file_fini(&file);
    return 0;
}
