/* SPDX-License-Identifier: MIT */
#include "gateway/tls.h"
#include "proto/log.h"

#include <openssl/err.h>

static int select_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_length,
                           const unsigned char *in, unsigned in_length, void *argument)
{
    static const unsigned char offered[] = "\x08http/1.1";
    unsigned char *chosen;
    (void)ssl;
    (void)argument;
    if (SSL_select_next_proto(&chosen, out_length, offered, sizeof offered - 1, in, in_length) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL; /* a client that only speaks HTTP/2 is told so */
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static SSL_CTX *fail(SSL_CTX *context, const char *file)
{
    char problem[256];
    ERR_error_string_n(ERR_get_error(), problem, sizeof problem);
    log_error(NULL, "tls_failed", LOG_STR("file", file), LOG_STR("problem", problem));
    SSL_CTX_free(context);
    return NULL;
}

SSL_CTX *tls_context_new(const char *cert_file, const char *key_file)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    if (!context)
        return fail(NULL, "");
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS); /* 34 KB less per idle connection */
    SSL_CTX_set_alpn_select_cb(context, select_protocol, NULL);
    if (SSL_CTX_use_certificate_chain_file(context, cert_file) != 1)
        return fail(context, cert_file);
    if (SSL_CTX_use_PrivateKey_file(context, key_file, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(context) != 1)
        return fail(context, key_file);
    return context;
}
