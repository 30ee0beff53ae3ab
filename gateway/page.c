/* SPDX-License-Identifier: MIT */
/* page - the admin page as a browser gets it: `/`, `/admin` and `/admin/` are its document, `/assets/NAME`
 * its files. Names of files change with their content, so a browser may keep them for good; the document is
 * asked for each time. Nothing may come from elsewhere, nothing inline runs, and nobody may put the page into
 * a frame.
 */
#include "gateway/assets.h"
#include "gateway/call.h"
#include "gateway/handlers.h"

/* `trusted-types 'none'`: the browser itself refuses to make HTML or script of a text. */
#define POLICY                                                                                               \
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "          \
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "                                          \
    "require-trusted-types-for 'script'; trusted-types 'none'"

static void add_guards(struct call *call)
{
    call_add_header(call, "Content-Security-Policy", SPAN(POLICY));
    call_add_header(call, "X-Frame-Options", SPAN("DENY"));
    call_add_header(call, "Referrer-Policy", SPAN("no-referrer"));
    call_add_header(call, "Cross-Origin-Opener-Policy", SPAN("same-origin"));
    call_add_header(call, "Cross-Origin-Resource-Policy", SPAN("same-origin"));
    call_add_header(call, "Permissions-Policy",
                    SPAN("camera=(), geolocation=(), microphone=(), payment=(), usb=()"));
}

static void reply_asset(struct call *call, const struct head *head, const struct asset *asset,
                        struct span cache_control)
{
    char tag[ASSET_TAG_BYTES];
    enum asset_encoding encoding = asset_choose(asset, head_find(head, SPAN("accept-encoding")));
    const char *encoding_name = asset_encoding_name(encoding);
    asset_tag(asset, encoding, tag);
    add_guards(call);
    call_add_header(call, "Cache-Control", cache_control);
    call_add_header(call, "ETag", span_str(tag));
    call_add_header(call, "Vary", SPAN("Accept-Encoding"));
    if (asset_tag_matches(head_find(head, SPAN("if-none-match")), tag)) {
        call_reply(call, 304, NULL, span_of(NULL, 0));
        return;
    }
    if (encoding_name)
        call_add_header(call, "Content-Encoding", span_str(encoding_name));
    call_reply(call, 200, asset->type, buffer_span(&asset->bodies[encoding]));
}

static void reply_without_page(struct call *call)
{
    static const char text[] = "<!doctype html>\n"
                               "<html lang=\"en\">\n"
                               "<meta charset=\"utf-8\">\n"
                               "<meta name=\"viewport\" content=\"width=device-width\">\n"
                               "<title>codebuddy2api</title>\n"
                               "<h1>codebuddy2api</h1>\n"
                               "<p>This gateway is running (version " CB_VERSION
                               "). Point an OpenAI client at <code>/v1</code> of this "
                               "address; <a href=\"/health\">/health</a> tells how it does.</p>\n"
                               "<p>The admin page was not built. To have it, run <code>ninja -C build "
                               "web</code> (it needs Node.js and "
                               "npm) and restart; everything else works without it.</p>\n"
                               "<p lang=\"zh\">网关正在运行，但管理页面尚未构建。运行 <code>ninja -C build "
                               "web</code>（需要 Node.js 和 "
                               "npm）后重启即可；其他功能不受影响。</p>\n"
                               "</html>\n";
    add_guards(call);
    call_add_header(call, "Cache-Control", SPAN("no-cache"));
    call_reply(call, 200, "text/html; charset=utf-8", span_of(text, sizeof text - 1));
}

void answer_page(struct call *call, const struct head *head, struct span rest)
{
    const struct assets *assets = call->gateway->assets;
    (void)rest;
    if (assets)
        reply_asset(call, head, assets_page(assets), SPAN("no-cache"));
    else
        reply_without_page(call);
}

void answer_asset(struct call *call, const struct head *head, struct span rest)
{
    const struct assets *assets = call->gateway->assets;
    const struct asset *asset = assets ? assets_find(assets, rest) : NULL;
    if (asset && asset != assets_page(assets))
        reply_asset(call, head, asset, SPAN("public, max-age=31536000, immutable"));
    else
        call_fail(call, FAILURE_NOT_FOUND, 0);
}
