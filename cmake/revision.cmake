# SPDX-License-Identifier: MIT
cmake_minimum_required(VERSION 3.25)
# cmake -DROOT=… -DHEADER=… [-DREVISION=…] -P revision.cmake: writes the header, if that changes it.
if(NOT REVISION)
  execute_process(COMMAND git -C ${ROOT} describe --always --dirty --abbrev=12 --exclude=*
    OUTPUT_VARIABLE REVISION OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
endif()
if(NOT REVISION MATCHES "^[0-9a-zA-Z._-]+$")
  set(REVISION unknown) # a copy without its history
endif()
file(CONFIGURE OUTPUT ${HEADER} CONTENT "#define CB_REVISION \"${REVISION}\"\n")
