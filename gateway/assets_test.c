/* SPDX-License-Identifier: MIT */
#include "gateway/assets.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char directory[] = "/tmp/assets_test.XXXXXX";

static void path_of(char path[128], const char *name)
{
    snprintf(path, 128, "%s/%s", directory, name);
}

static void put(const char *name, const char *text)
{
    char path[128];
    path_of(path, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void drop(const char *name)
{
    char path[128];
    path_of(path, name);
    assert_int_equal(unlink(path), 0);
}

#define PAGE "{\"name\":\"index.html\",\"type\":\"text/html\",\"digest\":\"d0\"}"

static int make_directory(void **state)
{
    (void)state;
    if (!mkdtemp(directory))
        return -1;
    put("manifest.json",
        "{\"files\":[" PAGE ",{\"name\":\"main-1.js\",\"type\":\"text/javascript\",\"digest\":\"d1\"}]}");
    put("index.html", "<p>hello, hello, hello");
    put("main-1.js", "let a = 1;");
    put("main-1.js.br", "br");
    put("main-1.js.gz", "gzip");
    put("other.js", "not in the manifest");
    return 0;
}

static int remove_directory(void **state)
{
    static const char *const names[] = {"manifest.json", "index.html",   "main-1.js",
                                        "main-1.js.br",  "main-1.js.gz", "other.js"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        drop(names[i]);
    return rmdir(directory);
}

static struct assets *load(void)
{
    char reason[256] = "";
    struct assets *assets = assets_load(directory, reason, sizeof reason);
    if (!assets)
        fail_msg("%s", reason);
    return assets;
}

static void test_only_what_is_listed(void **state)
{
    static const char *const none[] = {"",           "other.js",      "manifest.json",   "main-1.js.br",
                                       "main-1.js/", "../index.html", "..%2findex.html", "/etc/passwd",
                                       "MAIN-1.JS",  "./main-1.js",   "main-1.js?x",     "main-1.j"};
    struct assets *assets = load();
    (void)state;
    assert_int_equal(assets_count(assets), 2);
    assert_string_equal(assets_page(assets)->type, "text/html");
    const struct asset *main_js = assets_find(assets, SPAN("main-1.js"));
    assert_non_null(main_js);
    assert_memory_equal(main_js->bodies[ASSET_GZIP].data, "gzip", 4);
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        assert_null(assets_find(assets, span_str(none[i])));
    assert_null(assets_find(assets, span_of("main-1.js\0x", 11)));
    assets_free(&assets);
    assert_null(assets);
}

static void test_encodings(void **state)
{
    static const struct {
        const char *accept;
        enum asset_encoding encoding;
    } cases[] = {
        {"", ASSET_IDENTITY},
        {"gzip, deflate, br, zstd", ASSET_BROTLI},
        {"gzip", ASSET_GZIP},
        {"GZIP;q=1.0", ASSET_GZIP},
        {"br;q=0, gzip", ASSET_GZIP},
        {"br ; q=0.000 , gzip;q=0.5", ASSET_GZIP},
        {"br;q=0.001", ASSET_BROTLI},
        {"*", ASSET_BROTLI},
        {"*;q=0", ASSET_IDENTITY},
        {"br;q=0,*", ASSET_GZIP},
        {"gzip;q=0, br;q=0, *;q=1", ASSET_IDENTITY},
        {"identity", ASSET_IDENTITY},
        {"brotli, xgzip, gzi", ASSET_IDENTITY},
        {",,;;=,;q=,", ASSET_IDENTITY},
    };
    struct assets *assets = load();
    const struct asset *main_js = assets_find(assets, SPAN("main-1.js"));
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        enum asset_encoding encoding = asset_choose(main_js, span_str(cases[i].accept));
        if (encoding != cases[i].encoding)
            fail_msg("\"%s\" is answered with %d", cases[i].accept, (int)encoding);
    }
    assert_int_equal(asset_choose(assets_page(assets), SPAN("br, gzip")), ASSET_IDENTITY);
    assert_null(asset_encoding_name(ASSET_IDENTITY));
    assert_string_equal(asset_encoding_name(ASSET_BROTLI), "br");
    assets_free(&assets);
}

static void test_tags(void **state)
{
    char tag[ASSET_TAG_BYTES], other[ASSET_TAG_BYTES];
    struct assets *assets = load();
    const struct asset *main_js = assets_find(assets, SPAN("main-1.js"));
    (void)state;
    asset_tag(main_js, ASSET_IDENTITY, other);
    assert_string_equal(other, "\"d1\"");
    asset_tag(main_js, ASSET_BROTLI, tag);
    assert_string_equal(tag, "\"d1-br\"");
    assert_true(asset_tag_matches(SPAN("\"d1-br\""), tag));
    assert_true(asset_tag_matches(SPAN("\"x\" , W/\"d1-br\""), tag));
    assert_true(asset_tag_matches(SPAN("*"), tag));
    assert_false(asset_tag_matches(SPAN("\"d1\""), tag));
    assert_false(asset_tag_matches(SPAN("d1-br"), tag));
    assert_false(asset_tag_matches(span_of(NULL, 0), tag));
    assets_free(&assets);
}

static void check_refused(const char *manifest, const char *wanted)
{
    char reason[256] = "";
    put("manifest.json", manifest);
    struct assets *assets = assets_load(directory, reason, sizeof reason);
    if (assets || !strstr(reason, wanted))
        fail_msg("%s: \"%s\"", manifest, reason);
}

static void test_wrong_manifests(void **state)
{
    static const char *const wrong[] = {
        "{\"files\":[{}]}",
        "{\"files\":[{\"name\":\"../index.html\",\"type\":\"t\",\"digest\":\"d\"}]}",
        "{\"files\":[{\"name\":\"a/b\",\"type\":\"t\",\"digest\":\"d\"}]}",
        "{\"files\":[{\"name\":\".hidden\",\"type\":\"t\",\"digest\":\"d\"}]}",
        "{\"files\":[{\"name\":\"index.html\",\"type\":\"t\\r\\nx\",\"digest\":\"d\"}]}",
        "{\"files\":[{\"name\":\"index.html\",\"type\":\"t\",\"digest\":\"\\\"\"}]}",
        "{\"files\":[{\"name\":\"index.html\",\"type\":\"\",\"digest\":\"d\"}]}",
    };
    char reason[256] = "";
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        check_refused(wrong[i], "an entry is wrong");
    check_refused("", "not a list");
    check_refused("{\"files\":{}}", "not a list");
    check_refused("{\"files\":[]}", "not in the manifest");
    check_refused("{\"files\":[" PAGE "," PAGE "]}", "one too many");
    check_refused("{\"files\":[" PAGE ",{\"name\":\"gone.js\",\"type\":\"t\",\"digest\":\"d\"}]}",
                  "is not there");
    assert_null(assets_load("/nonexistent", reason, sizeof reason));
    assert_null(assets_load("gateway", reason, sizeof reason));
    assert_string_equal(reason, "manifest.json: is not there");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_what_is_listed),
        cmocka_unit_test(test_encodings),
        cmocka_unit_test(test_tags),
        cmocka_unit_test(test_wrong_manifests),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
