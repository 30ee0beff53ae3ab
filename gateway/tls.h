/* SPDX-License-Identifier: MIT */
/* tls - the front's certificate: TLS 1.2 and later, ALPN `http/1.1` and nothing else (h2o's HTTP/2 has no
 * answer to rapid resets). Blocks on reading two files. */
#ifndef GATEWAY_TLS_H
#define GATEWAY_TLS_H

#include <openssl/ssl.h>

/* Returns owned (SSL_CTX_free); NULL on failure, logged. */
SSL_CTX *tls_context_new(const char *cert_file, const char *key_file);

#endif
