/* SPDX-License-Identifier: MIT */
#include "gateway/percent.h"

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int percent_decode(struct span encoded, char *text, size_t size)
{
    size_t length = 0;
    for (size_t i = 0; i < encoded.length; i++) {
        char c = encoded.data[i];
        if (c == '%') {
            if (encoded.length - i < 3)
                return -1;
            int high = hex_value(encoded.data[i + 1]), low = hex_value(encoded.data[i + 2]);
            if (high < 0 || low < 0)
                return -1;
            c = (char)(high * 16 + low);
            i += 2;
        }
        if (length == size)
            return -1;
        text[length++] = c;
    }
    return (int)length;
}
