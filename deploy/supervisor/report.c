/* SPDX-License-Identifier: MIT */
#include "deploy/supervisor/report.h"

#include "proto/error.h"

static bool is_key_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

static int parse_value(struct span text, int64_t *value)
{
    bool negative = text.length > 0 && text.data[0] == '-';
    uint64_t magnitude;

    if (negative)
        text = span_of(text.data + 1, text.length - 1);
    if (!span_to_u64(text, &magnitude) || magnitude > INT64_MAX)
        return ERR_INVALID;
    *value = negative ? -(int64_t)magnitude : (int64_t)magnitude;
    return 0;
}

static int parse_number(struct span word, struct report_number *number)
{
    size_t key_length = 0;

    while (key_length < word.length && is_key_char(word.data[key_length]))
        key_length++;
    if (key_length == 0 || key_length >= sizeof(number->key) || key_length == word.length ||
        word.data[key_length] != '=')
        return ERR_INVALID;
    memcpy(number->key, word.data, key_length);
    number->key[key_length] = '\0';
    return parse_value(span_of(word.data + key_length + 1, word.length - key_length - 1), &number->value);
}

/* Takes the next word, separated by single spaces, off the front of `rest`. */
static struct span next_word(struct span *rest)
{
    const char *space = memchr(rest->data, ' ', rest->length);
    struct span word = {rest->data, space ? (size_t)(space - rest->data) : rest->length};
    size_t taken = word.length + (space ? 1 : 0);

    *rest = span_of(rest->data + taken, rest->length - taken);
    return word;
}

int report_parse(struct span line, struct report *report)
{
    struct report parsed = {.type = REPORT_ALIVE};
    struct report_number number;

    if (span_equals(line, SPAN("ready")) || span_equals(line, SPAN("draining"))) {
        parsed.type = line.data[0] == 'r' ? REPORT_READY : REPORT_DRAINING;
        *report = parsed;
        return 0;
    }
    if (line.length == 0 || !span_equals(next_word(&line), SPAN("alive")))
        return ERR_INVALID;
    while (line.length > 0) {
        if (parse_number(next_word(&line), &number) < 0)
            return ERR_INVALID;
        if (parsed.numbers_count < REPORT_NUMBERS_MAX)
            parsed.numbers[parsed.numbers_count++] = number;
    }
    *report = parsed;
    return 0;
}

void report_reader_feed(struct report_reader *reader, struct span bytes,
                        void (*each)(void *context, struct span line), void *context)
{
    for (size_t i = 0; i < bytes.length; i++) {
        if (bytes.data[i] == '\n') {
            each(context, span_of(reader->line, reader->too_long ? 0 : reader->length));
            reader->length = 0;
            reader->too_long = false;
        } else if (reader->length < sizeof(reader->line)) {
            reader->line[reader->length++] = bytes.data[i];
        } else {
            reader->too_long = true;
        }
    }
}
