# SPDX-License-Identifier: MIT
# Compiler policy for every target, and four verbs: cb_library, cb_daemon, cb_test, cb_fuzzer.

find_package(PkgConfig REQUIRED)
find_package(OpenSSL REQUIRED)
pkg_check_modules(UV REQUIRED IMPORTED_TARGET libuv)
pkg_check_modules(ZMQ REQUIRED IMPORTED_TARGET libzmq libczmq)
pkg_check_modules(CURL REQUIRED IMPORTED_TARGET libcurl)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)
pkg_check_modules(SQLITE REQUIRED IMPORTED_TARGET sqlite3)
pkg_check_modules(SODIUM REQUIRED IMPORTED_TARGET libsodium)
pkg_check_modules(SECCOMP REQUIRED IMPORTED_TARGET libseccomp)
pkg_check_modules(H2O REQUIRED IMPORTED_TARGET libh2o)

add_library(cb_flags INTERFACE)
target_compile_options(cb_flags INTERFACE
  -Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2
  -Wcast-qual -Wundef -Wswitch-enum $<$<BOOL:${CB_WERROR}>:-Werror>
  -fno-omit-frame-pointer -fstack-protector-strong)
target_compile_definitions(cb_flags INTERFACE _GNU_SOURCE CB_VERSION="${PROJECT_VERSION}")
# Headers are named from the root: "proto/log.h". Services add nothing of one another.
target_include_directories(cb_flags INTERFACE ${CMAKE_SOURCE_DIR})
target_link_options(cb_flags INTERFACE -Wl,--as-needed -Wl,-z,relro,-z,now)
if(CMAKE_BUILD_TYPE STREQUAL "Release" AND NOT CB_SANITIZE)
  target_compile_options(cb_flags INTERFACE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
endif()
if(CB_SANITIZE)
  target_compile_options(cb_flags INTERFACE -fsanitize=${CB_SANITIZE} -fno-sanitize-recover=undefined)
  target_link_options(cb_flags INTERFACE -fsanitize=${CB_SANITIZE})
endif()
set(CB_PROGRAM_PARTS "") # what every program gets besides its own
if(CB_SANITIZE MATCHES "thread")
  add_library(cb_thread_options OBJECT ${CMAKE_SOURCE_DIR}/tests/thread_options.c)
  target_compile_definitions(cb_thread_options PRIVATE
    CB_THREAD_SUPPRESSIONS="${CMAKE_SOURCE_DIR}/tests/thread.suppressions")
  set(CB_PROGRAM_PARTS $<TARGET_OBJECTS:cb_thread_options>)
  set(CB_TEST_TIMEOUT_S 600) # ends what hangs; TSan makes everything 5 to 15 times slower
else()
  set(CB_TEST_TIMEOUT_S 300) # the longest takes 30 s alone, four times that on a busy machine
endif()
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
include(CheckPIESupported)
check_pie_supported()

# assert() states our own bugs and stays in every build (style.md): CMake would add -DNDEBUG.
string(REPLACE "-DNDEBUG" "" CMAKE_C_FLAGS_RELEASE "${CMAKE_C_FLAGS_RELEASE}")
string(REPLACE "-O3" "-O2" CMAKE_C_FLAGS_RELEASE "${CMAKE_C_FLAGS_RELEASE}")

# cb_library(NAME SOURCES ... LINK ...): a static library that a daemon and its tests link.
function(cb_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE cb_flags PUBLIC ${ARG_LINK})
endfunction()

# cb_daemon(NAME SOURCES ... LINK ...): a program in build/bin.
function(cb_daemon name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
  add_executable(${name} ${ARG_SOURCES} ${CB_PROGRAM_PARTS})
  target_link_libraries(${name} PRIVATE cb_flags ${ARG_LINK})
endfunction()

# cb_test(NAME SOURCES ... LINK ...): a cmocka program, run by ctest from the source root.
function(cb_test name)
  if(NOT CB_TESTS)
    return()
  endif()
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
  add_executable(${name} ${ARG_SOURCES} ${CB_PROGRAM_PARTS})
  target_link_libraries(${name} PRIVATE cb_flags ${ARG_LINK} cmocka)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  set_tests_properties(${name} PROPERTIES TIMEOUT ${CB_TEST_TIMEOUT_S})
endfunction()

# cb_fuzzer(NAME SOURCES ... LINK ...): libFuzzer target; its corpus is tests/fuzz/NAME.
function(cb_fuzzer name)
  if(NOT CB_FUZZ)
    return()
  endif()
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE cb_flags ${ARG_LINK})
  target_compile_options(${name} PRIVATE -fsanitize=fuzzer)
  target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/fuzz)
endfunction()
