/* SPDX-License-Identifier: MIT */
/* Names that are addresses already: nobody is asked, and the answer is known. */
#include "proto/link_names.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct bed {
    uv_loop_t loop;
    struct link_names *names;
    char told[8][LINK_ENDPOINT_BYTES];
    size_t told_count, complete_count;
    bool ends_in_address;
};

static void on_address(void *owner, const struct link_name *name, const char *endpoint)
{
    struct bed *bed = owner;
    assert_true(bed->told_count < sizeof bed->told / sizeof bed->told[0]);
    assert_true(link_name_text(name)[0] != '\0');
    snprintf(bed->told[bed->told_count++], LINK_ENDPOINT_BYTES, "%s", endpoint);
    if (bed->ends_in_address)
        link_names_free(&bed->names);
}

static void on_complete(void *owner, const struct link_name *name)
{
    struct bed *bed = owner;
    (void)name;
    bed->complete_count++;
}

static int setup(void **state)
{
    static const struct link_names_handlers handlers = {on_address, on_complete};
    static struct bed bed;
    bed = (struct bed){.told_count = 0};
    assert_int_equal(uv_loop_init(&bed.loop), 0);
    bed.names = link_names_new(&bed.loop, &handlers, &bed);
    assert_non_null(bed.names);
    *state = &bed;
    return 0;
}

static int teardown(void **state)
{
    struct bed *bed = *state;
    link_names_free(&bed->names);
    uv_run(&bed->loop, UV_RUN_DEFAULT);
    return uv_loop_close(&bed->loop);
}

static void test_only_a_name_with_a_port_is_kept(void **state)
{
    static const char *const others[] = {"ipc:///run/credd.sock", "ipc://a:1", "tcp://", "tcp://nowhere", ""};
    struct bed *bed = *state;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        assert_false(link_names_add(bed->names, others[i]));
    link_names_look_up(bed->names);
    uv_run(&bed->loop, UV_RUN_DEFAULT);
    assert_int_equal(bed->complete_count, 0);
}

static void test_addresses_are_told_as_endpoints(void **state)
{
    struct bed *bed = *state;
    assert_true(link_names_add(bed->names, "tcp://127.0.0.1:5555"));
    link_names_look_up(bed->names);
    link_names_look_up(bed->names); /* is being asked for: not twice */
    uv_run(&bed->loop, UV_RUN_DEFAULT);
    assert_int_equal(bed->told_count, 1);
    assert_string_equal(bed->told[0], "tcp://127.0.0.1:5555");
    assert_int_equal(bed->complete_count, 1);

    assert_true(link_names_add(bed->names, "tcp://[::1]:6666"));
    link_names_look_up(bed->names);
    uv_run(&bed->loop, UV_RUN_DEFAULT);
    assert_int_equal(bed->told_count, 3);
    assert_int_equal(bed->complete_count, 3);
    bool is_v6_first = bed->told[1][6] == '[';
    assert_string_equal(bed->told[is_v6_first ? 1 : 2], "tcp://[::1]:6666");
}

static void test_nothing_is_told_after_the_end(void **state)
{
    struct bed *bed = *state;
    assert_true(link_names_add(bed->names, "tcp://127.0.0.1:5555"));
    link_names_look_up(bed->names);
    link_names_free(&bed->names);
    uv_run(&bed->loop, UV_RUN_DEFAULT);
    assert_int_equal(bed->told_count + bed->complete_count, 0);
}

static void test_the_end_may_come_within_an_answer(void **state)
{
    struct bed *bed = *state;
    bed->ends_in_address = true;
    assert_true(link_names_add(bed->names, "tcp://127.0.0.1:5555"));
    link_names_look_up(bed->names);
    uv_run(&bed->loop, UV_RUN_DEFAULT);
    assert_int_equal(bed->told_count, 1);
    assert_int_equal(bed->complete_count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_only_a_name_with_a_port_is_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(test_addresses_are_told_as_endpoints, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nothing_is_told_after_the_end, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_end_may_come_within_an_answer, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
