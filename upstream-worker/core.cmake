# SPDX-License-Identifier: MIT
# upstream_worker_core: what an answer and a request are, as bytes; no sockets, no loop.
set(core_concepts json_lexer json_string json_tree sse_parser usage chunk tool_calls retry_after upstream_error
    normaliser aggregator answer payload keyword_rules request_scan request_edits request_body)
list(TRANSFORM core_concepts APPEND .c OUTPUT_VARIABLE core_sources)
cb_library(upstream_worker_core SOURCES ${core_sources} LINK proto_base)

foreach(concept json_lexer json_string json_tree sse_parser usage chunk tool_calls retry_after upstream_error
    normaliser aggregator answer story payload keyword_rules request_body)
  cb_test(${concept}_test SOURCES ${concept}_test.c LINK upstream_worker_core)
endforeach()
foreach(concept json_tree sse_parser answer request_body)
  cb_fuzzer(${concept}_fuzz SOURCES ${concept}_fuzz.c LINK upstream_worker_core)
endforeach()

# The n-th allocation fails.
cb_test(core_nomem_test SOURCES core_nomem_test.c LINK upstream_worker_core
  -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=reallocarray)

# What the core costs; built on request: ninja core_bench.
add_executable(core_bench EXCLUDE_FROM_ALL core_bench.c)
target_link_libraries(core_bench PRIVATE cb_flags upstream_worker_core)
