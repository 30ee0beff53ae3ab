/* SPDX-License-Identifier: MIT
 * Linked into every program of the tsan preset. Many are started by others with an environment of their own,
 * so what they must know is built in: where the suppressions are. TSAN_OPTIONS, where it is set, goes before.
 */

const char *__tsan_default_options(void); /* NOLINT(bugprone-reserved-identifier): TSan asks for this name */

const char *__tsan_default_options(void) // NOLINT(bugprone-reserved-identifier)
{
    return "exitcode=66:suppressions=" CB_THREAD_SUPPRESSIONS;
}
