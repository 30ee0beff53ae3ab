/* SPDX-License-Identifier: MIT */
/* Any bytes as a train: each frame decodes whole or not at all, and what decodes encodes to the same bytes.
 */
#include "proto/error.h"
#include "proto/message.h"

#include <assert.h>

union any_message {
#define M(id, name, value, direction, loss) struct msg_##name name;
    MESSAGE_LIST(M)
#undef M
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span train = span_of((const char *)data, size);
    struct frame frame;
    int got;
    while ((got = train_next(&train, &frame)) != 0) {
        union any_message message;
        struct buffer again = {0};
        if (got == ERR_UNKNOWN_TYPE)
            continue;
        if (got < 0)
            break;
        if (message_decode(&frame, &message) == 0) {
            assert(message_encode(&again, frame.type, frame.request, &message) == 0);
            assert(again.length == FRAME_HEADER_BYTES + frame.payload.length);
            assert(frame.payload.length == 0 ||
                   memcmp(again.data + FRAME_HEADER_BYTES, frame.payload.data, frame.payload.length) == 0);
        }
        buffer_fini(&again);
    }
    return 0;
}
