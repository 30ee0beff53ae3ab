/* SPDX-License-Identifier: MIT */
#include "proto/error.h"
#include "proto/settings.h"

#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

/* Loads from up to three NAME=VALUE and a `.env` text (NULL: none). The caller finishes `settings`. */
static int load(struct settings *settings, const char *dotenv, const char *a, const char *b, const char *c)
{
    char path[] = "/tmp/settings_test.XXXXXX";
    char *environment[4] = {NULL};
    const char *given[] = {a, b, c};
    int fd = mkstemp(path), count = 0;
    for (int i = 0; i < 3; i++)
        if (given[i])
            environment[count++] = span_dup(span_str(given[i]));
    if (dotenv)
        assert_int_equal(write(fd, dotenv, strlen(dotenv)), strlen(dotenv));
    close(fd);
    int error = settings_load(settings, environment, dotenv ? path : "/nonexistent/.env");
    unlink(path);
    while (count > 0)
        free(environment[--count]);
    return error;
}

#define PASSWORD "CODEBUDDY_PASSWORD=hunter2"

static void test_defaults(void **state)
{
    struct settings settings;
    (void)state;
    assert_int_equal(load(&settings, NULL, PASSWORD, NULL, NULL), 0);
    assert_string_equal(settings.host, "127.0.0.1");
    assert_int_equal(settings.port, 8001);
    assert_int_equal(settings.ops_port, 8002);
    assert_int_equal(settings.max_body_bytes, 32 << 20);
    assert_int_equal(settings.rotation_count, 10);
    assert_true(settings.ssl_verify);
    assert_true(settings.workers >= 1);
    assert_non_null(strstr(settings.gateway_endpoints, "/gateway-0.sock"));
    assert_non_null(strstr(settings.gateway_endpoints, "/gateway-1000.sock")); /* its replacement's */
    assert_non_null(strstr(settings.models, "auto-chat"));
    settings_fini(&settings);
}

static void test_order_of_sources(void **state)
{
    struct settings settings;
    (void)state;
    assert_int_equal(load(&settings, "CODEBUDDY_PORT=9000\nCODEBUDDY_PASSWORD='from file'\nOTHER=1\n",
                          "CODEBUDDY_PORT=9001", "PATH=/bin", NULL),
                     0);
    assert_int_equal(settings.port, 9001);
    assert_true(secret_equals(&settings.password, SPAN("from file")));
    settings_fini(&settings);
}

static void test_password_from_a_file(void **state)
{
    char path[] = "/tmp/settings_secret.XXXXXX", line[128];
    struct settings settings;
    (void)state;
    int fd = mkstemp(path);
    assert_int_equal(write(fd, "s3cret word\n", 12), 12);
    close(fd);
    snprintf(line, sizeof line, "CODEBUDDY_PASSWORD_FILE=%s", path);
    assert_int_equal(load(&settings, NULL, line, NULL, NULL), 0);
    assert_true(secret_equals(&settings.password, SPAN("s3cret word")));
    settings_fini(&settings);
    unlink(path);
    assert_int_equal(load(&settings, NULL, line, NULL, NULL), ERR_CONFIG);
    settings_fini(&settings);
}

/* What goes into a body may have lines, from wherever it comes. */
static void test_texts_with_lines(void **state)
{
    struct settings settings;
    (void)state;
    assert_int_equal(load(&settings, "CODEBUDDY_SYSTEM_MESSAGE=\"one\\ntwo\"\n", PASSWORD, NULL, NULL), 0);
    assert_string_equal(settings.system_message, "one\ntwo");
    settings_fini(&settings);
    assert_int_equal(load(&settings, NULL, PASSWORD, "CODEBUDDY_SYSTEM_MESSAGE=one\r\n\ttwo",
                          "CODEBUDDY_REPLACEMENTS=[\n  {\"from\": \"a\\nb\", \"to\": \"c\"}\n]"),
                     0);
    assert_string_equal(settings.system_message, "one\r\n\ttwo");
    settings_fini(&settings);
}

static void test_who_needs_a_password(void **state)
{
    char *const nothing[] = {NULL}, *const given[] = {(char[]){PASSWORD}, NULL};
    struct settings settings;
    (void)state;
    assert_int_equal(settings_load(&settings, nothing, "/nonexistent/.env"), 0);
    settings_fini(&settings);
    assert_int_equal(settings_load_with_password(&settings, nothing, "/nonexistent/.env"), ERR_CONFIG);
    settings_fini(&settings);
    assert_int_equal(settings_load_with_password(&settings, given, "/nonexistent/.env"), 0);
    settings_fini(&settings);
}

static void test_what_stops_the_start(void **state)
{
    static const char *const bad[] = {
        "CODEBUDDY_NO_SUCH=1",
        "CODEBUDDY_PORT=http",
        "CODEBUDDY_PORT=65536",
        "CODEBUDDY_PORT=-1",
        "CODEBUDDY_PORT=",
        "CODEBUDDY_SSL_VERIFY=maybe",
        "CODEBUDDY_LOG_LEVEL=LOUD",
        "CODEBUDDY_LOG_LEVEL=INFO|DEBUG",
        "CODEBUDDY_HOST=a\nb",
        "CODEBUDDY_MODELS=a\nb",
        "CODEBUDDY_SYSTEM_MESSAGE=a\x1b[1m",
        "CODEBUDDY_SYSTEM_MESSAGE=a\x7f",
        "CODEBUDDY_SYSTEM_MESSAGE=\xff",
        "CODEBUDDY_HOST=",
        "CODEBUDDY_MODELS= , ",
        "CODEBUDDY_API_ENDPOINT=http://example.com",
        "CODEBUDDY_API_ENDPOINT=http://127.0.0.1.example.com",
        "CODEBUDDY_API_ENDPOINT=http://127.evil.com",
        "CODEBUDDY_API_ENDPOINT=ftp://example.com",
        "CODEBUDDY_API_ENDPOINT=https://user@example.com",
        "CODEBUDDY_API_ENDPOINT=https://example.com/?q",
        "CODEBUDDY_API_ENDPOINT=https://",
        "CODEBUDDY_TLS_CERT_FILE=/x.pem",
        "CODEBUDDY_GATEWAY_BIND=tcp://0.0.0.0:7000",
        "CODEBUDDY_GATEWAY_BIND=udp://127.0.0.1:7000",
        "CODEBUDDY_CREDD_ENDPOINT=tcp://credd:7000",
        "CODEBUDDY_REPLACEMENTS=[{\"from\":\"\",\"to\":\"b\"}]",
        "CODEBUDDY_REPLACEMENTS={}",
        "CODEBUDDY_PASSWORD_FILE=/nonexistent",
        "CODEBUDDY_PORT_FILE=/etc/hostname",
    };
    struct settings settings;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (load(&settings, NULL, PASSWORD, bad[i], NULL) != ERR_CONFIG)
            fail_msg("%s was taken", bad[i]);
        settings_fini(&settings);
    }
    assert_int_equal(load(&settings, "CODEBUDDY_PORT\n", PASSWORD, NULL, NULL), ERR_CONFIG);
    settings_fini(&settings);
}

static void test_what_is_fine(void **state)
{
    static const char *const good[] = {
        "CODEBUDDY_API_ENDPOINT=http://127.0.0.1:99",
        "CODEBUDDY_API_ENDPOINT=http://[::1]:99",
        "CODEBUDDY_API_ENDPOINT=https://www.codebuddy.ai",
        "CODEBUDDY_SSL_VERIFY=Off",
        "CODEBUDDY_GATEWAY_BIND=tcp://127.0.0.1:7000",
        "CODEBUDDY_REPLACEMENTS=[{\"from\":\"a\",\"to\":\"\"}]",
        "CODEBUDDY_MODELS=one, two",
    };
    struct settings settings;
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        if (load(&settings, NULL, PASSWORD, good[i], NULL) != 0)
            fail_msg("%s was refused", good[i]);
        settings_fini(&settings);
    }
}

struct pairs {
    char text[512];
};

static int collect(void *context, struct span name, struct span value)
{
    struct pairs *pairs = context;
    size_t used = strlen(pairs->text);
    snprintf(pairs->text + used, sizeof pairs->text - used, "[%.*s|%.*s]", (int)name.length, name.data,
             (int)value.length, value.data);
    return 0;
}

static void test_dotenv(void **state)
{
    struct pairs pairs = {""};
    int line;
    (void)state;
    struct span text =
        SPAN("# comment\r\n\nA=1\nexport B = two words # tail\nC=\"x\\n\\\"y\\\"\" # z\nD='$a\\n'\nE=\n"
             "F=a#b\nG=\"\"");
    assert_int_equal(settings_parse_dotenv(text, collect, &pairs, &line), 0);
    assert_string_equal(pairs.text, "[A|1][B|two words][C|x\n\"y\"][D|$a\\n][E|][F|a#b][G|]");
    assert_int_equal(settings_parse_dotenv(SPAN("A=1\nB\n"), collect, &pairs, &line), ERR_INVALID);
    assert_int_equal(line, 2);
    assert_int_equal(settings_parse_dotenv(SPAN("A=\"open"), collect, &pairs, &line), ERR_INVALID);
    assert_int_equal(settings_parse_dotenv(SPAN("A='x' y"), collect, &pairs, &line), ERR_INVALID);
    assert_int_equal(settings_parse_dotenv(SPAN("1A=x"), collect, &pairs, &line), ERR_INVALID);
}

static char *printed(void (*print)(FILE *out))
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    print(out);
    fclose(out);
    return text;
}

static int refuse(void *context, struct span name, struct span value)
{
    (void)context;
    (void)name;
    (void)value;
    return ERR_INVALID;
}

static void test_what_is_printed(void **state)
{
    int line;
    (void)state;
    char *help = printed(settings_print_help), *sample = printed(settings_print_dotenv);
    assert_non_null(strstr(help, "CODEBUDDY_PORT=8001"));
    assert_non_null(strstr(help, "(seconds, 1 to 3600)"));
    assert_non_null(strstr(sample, "\n#CODEBUDDY_ROTATION_COUNT=10\n"));
    /* the sample sets nothing as it stands */
    assert_int_equal(settings_parse_dotenv(span_str(sample), refuse, NULL, &line), 0);
    free(help);
    free(sample);
}

static void test_copies_are_independent(void **state)
{
    struct settings settings, copy;
    const char *reason;
    (void)state;
    assert_int_equal(
        load(&settings, "CODEBUDDY_PORT=1\nCODEBUDDY_WORKERS=3\n", PASSWORD, "CODEBUDDY_PORT=9", NULL), 0);
    assert_int_equal(settings_copy(&copy, &settings), 0);
    assert_int_equal(settings_set(&copy, SPAN("CODEBUDDY_MODELS"), SPAN("a,b"), &reason), 0);
    assert_string_equal(settings.models, DEFAULT_MODELS);
    assert_string_equal(copy.models, "a,b");
    assert_int_equal(copy.sources[SETTING_AT_port], SETTING_FROM_ENVIRONMENT);
    assert_int_equal(copy.sources[SETTING_AT_workers], SETTING_FROM_DOTENV);
    assert_int_equal(copy.sources[SETTING_AT_models], SETTING_FROM_DEFAULT);
    assert_int_equal(copy.sources[SETTING_AT_password], SETTING_FROM_ENVIRONMENT);
    settings_fini(&settings);
    assert_true(secret_equals(&copy.password, SPAN("hunter2")));
    settings_fini(&copy);
}

/* The READMEs hold the tables as the program prints them. */
static void check_table(const char *path, void (*print)(FILE *out))
{
    struct buffer readme = {0};
    char *table = printed(print);
    FILE *in = fopen(path, "r");
    assert_non_null(in);
    for (int c = fgetc(in); c != EOF; c = fgetc(in))
        buffer_append_char(&readme, (char)c);
    buffer_append_char(&readme, '\0');
    fclose(in);
    if (!strstr(readme.data, table))
        fail_msg("%s lacks the table that `proto_table` prints", path);
    buffer_fini(&readme);
    free(table);
}

static void test_the_readmes_have_the_present_tables(void **state)
{
    (void)state;
    check_table("README.md", settings_print_markdown);
    check_table("README.zh-CN.md", settings_print_chinese);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_order_of_sources),
        cmocka_unit_test(test_password_from_a_file),
        cmocka_unit_test(test_texts_with_lines),
        cmocka_unit_test(test_who_needs_a_password),
        cmocka_unit_test(test_what_stops_the_start),
        cmocka_unit_test(test_what_is_fine),
        cmocka_unit_test(test_dotenv),
        cmocka_unit_test(test_what_is_printed),
        cmocka_unit_test(test_copies_are_independent),
        cmocka_unit_test(test_the_readmes_have_the_present_tables),
    };
    return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
