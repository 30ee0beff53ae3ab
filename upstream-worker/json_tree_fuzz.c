/* SPDX-License-Identifier: MIT */
/* json_tree against jansson: what jansson accepts, we accept with the same structure and values. We also
 * accept what the grammar allows and jansson does not represent: \u0000, lone surrogates, numbers out of its
 * range; and, as a flag, invalid UTF-8. What jansson refuses for any other reason, we refuse. */
#include "upstream-worker/json_string.h"
#include "upstream-worker/json_tree.h"

#include <assert.h>
#include <jansson.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void compare_string(struct span raw, const char *text, size_t length)
{
    struct buffer out = {0};
    assert(json_string_unescape(raw, &out) == 0);
    assert(span_equals(buffer_span(&out), span_of(text, length)));
    assert(json_string_equals(raw, span_of(text, length)));
    buffer_fini(&out);
}

static void compare(const struct json_tree *tree, uint32_t node, const json_t *value)
{
    enum json_kind kind = json_node_kind(tree, node);
    int64_t integer;
    if (json_is_object(value)) {
        assert(kind == JSON_KIND_OBJECT);
        for (uint32_t member = json_node_first(tree, node); member; member = json_node_next(tree, member)) {
            struct buffer key = {0};
            assert(json_string_unescape(json_node_key(tree, member), &key) == 0);
            assert(buffer_append_char(&key, '\0') == 0); /* jansson accepts none in a key */
            key.length--;
            uint32_t found = json_tree_find(tree, node, buffer_span(&key));
            assert(found != JSON_NONE);
            if (found == member)
                compare(tree, member, json_object_get(value, key.data));
            buffer_fini(&key);
        }
    } else if (json_is_array(value)) {
        size_t count = 0;
        assert(kind == JSON_KIND_ARRAY);
        for (uint32_t element = json_node_first(tree, node); element; element = json_node_next(tree, element))
            compare(tree, element, json_array_get(value, count++));
        assert(count == json_array_size(value));
    } else if (json_is_string(value)) {
        assert(kind == JSON_KIND_STRING);
        compare_string(json_node_raw(tree, node), json_string_value(value), json_string_length(value));
    } else if (json_is_integer(value)) {
        assert(json_node_to_int64(tree, node, &integer) && integer == json_integer_value(value));
    } else {
        assert(kind == (json_is_real(value)    ? JSON_KIND_NUMBER
                        : json_is_true(value)  ? JSON_KIND_TRUE
                        : json_is_false(value) ? JSON_KIND_FALSE
                                               : JSON_KIND_NULL));
        assert(value);
    }
}

/* Whether jansson may refuse what we accept: see above. */
static bool is_known_difference(json_error_t *error)
{
    enum json_error_code code = json_error_code(error);
    if (code == json_error_null_character || code == json_error_null_byte_in_key ||
        code == json_error_numeric_overflow || code == json_error_stack_overflow)
        return true;
    /* Lone surrogates have no code of their own. */
    return strstr(error->text, "Unicode") || strstr(error->text, "UTF-8") || strstr(error->text, "\\u0000");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct json_tree tree;
    json_error_t error;
    struct span text = span_of((const char *)data, size);
    json_t *value = json_loadb(text.data, size, JSON_DECODE_ANY, &error);
    json_tree_init(&tree, 1 << 20);
    int result = json_tree_parse(&tree, text);
    if (value && result == 0) {
        assert(!tree.has_bad_utf8);
        compare(&tree, JSON_ROOT, value);
    } else if (value && memchr(text.data, '\0', size)) {
        /* jansson takes a NUL for the end of the text */
    } else if (value) {
        assert(strcmp(tree.reason, "nested too deeply") == 0); /* jansson allows 2048 levels */
    } else if (result == 0) {
        assert(tree.has_bad_utf8 || is_known_difference(&error));
    }
    json_decref(value);
    json_tree_fini(&tree);
    return 0;
}
