/* SPDX-License-Identifier: MIT */
#include "credd/leases.h"
#include "credd/broker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void remove_all(struct leases *leases)
{
    while (leases_soonest(leases))
        leases_remove(leases, leases_soonest(leases));
}

static void test_found_by_number(void **state)
{
    struct leases leases = {0};
    (void)state;
    assert_null(leases_find(&leases, 1));
    assert_null(leases_soonest(&leases));
    assert_int_equal(leases_count(&leases), 0);
    struct lease *first = leases_add(&leases, UINT64_C(7) << 32 | 1, 3, 1000);
    struct lease *second = leases_add(&leases, UINT64_C(8) << 32 | 1, 4, 1000);
    assert_ptr_equal(leases_find(&leases, UINT64_C(7) << 32 | 1), first);
    assert_ptr_equal(leases_find(&leases, UINT64_C(8) << 32 | 1), second);
    assert_null(leases_find(&leases, 1));
    assert_int_equal(first->generation, 3);
    assert_int_equal(first->expires_ms, 1000 + LEASE_TTL_MS);
    assert_int_equal(lease_credential(second->number), 8);
    assert_int_equal(leases_count(&leases), 2);
    leases_remove(&leases, first);
    assert_null(leases_find(&leases, UINT64_C(7) << 32 | 1));
    assert_int_equal(leases_count(&leases), 1);
    remove_all(&leases);
    assert_int_equal(leases_count(&leases), 0);
}

static void test_in_the_order_of_their_ends(void **state)
{
    struct leases leases = {0};
    (void)state;
    for (uint64_t number = 1; number <= 4; number++)
        leases_add(&leases, number, 1, (int64_t)number * 10);
    leases_renew(&leases, leases_find(&leases, 1), 50); /* the first, */
    leases_renew(&leases, leases_find(&leases, 3), 60); /* one in the middle, */
    leases_renew(&leases, leases_find(&leases, 3), 70); /* and the last */
    leases_remove(&leases, leases_find(&leases, 2));
    const uint64_t expected[] = {4, 1, 3};
    int64_t before_ms = 0;
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        struct lease *lease = leases_soonest(&leases);
        assert_int_equal(lease->number, expected[i]);
        assert_true(lease->expires_ms > before_ms);
        before_ms = lease->expires_ms;
        leases_remove(&leases, lease);
    }
    assert_int_equal(before_ms, 70 + LEASE_TTL_MS);
    assert_null(leases_soonest(&leases));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_found_by_number),
        cmocka_unit_test(test_in_the_order_of_their_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
