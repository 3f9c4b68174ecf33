# SPDX-License-Identifier: BSD-3-Clause
# tapflow_bpf_object(<name> [SOURCE <file>] [CPU v2|v3] [SUFFIX <suffix>])
#
# Compiles bpf/<name>.bpf.c, or the file given (an absolute path), for the given BPF instruction set (default v3) into <name><suffix>.bpf.o and its libbpf
# skeleton <name><suffix>.skel.h. Makes the target bpf_<name><suffix>, which has the skeleton's directory as include
# directory; rebuilds when a header that the program includes has changed.
find_program(TAPFLOW_BPF_CLANG NAMES clang-19 clang-18 clang-17 clang-16 REQUIRED)
find_program(TAPFLOW_BPFTOOL NAMES bpftool PATHS /usr/sbin REQUIRED)

set(TAPFLOW_BPF_FLAGS
    -g -O2 -Wall -Wextra -Werror -target bpf
    -I${CMAKE_SOURCE_DIR}/include -I${CMAKE_SOURCE_DIR}/src -I${CMAKE_SOURCE_DIR}/bpf
    -isystem /usr/include/${CMAKE_LIBRARY_ARCHITECTURE})

function(tapflow_bpf_object name)
  cmake_parse_arguments(ARG "" "SOURCE;CPU;SUFFIX" "" ${ARGN})
  if(NOT ARG_CPU)
    set(ARG_CPU v3)
  endif()
  set(source ${CMAKE_SOURCE_DIR}/bpf/${name}.bpf.c)
  if(ARG_SOURCE)
    set(source ${ARG_SOURCE})
  endif()
  set(directory ${CMAKE_BINARY_DIR}/bpf)
  set(stem ${directory}/${name}${ARG_SUFFIX})
  file(MAKE_DIRECTORY ${directory})
  add_custom_command(
    OUTPUT ${stem}.bpf.o
    COMMAND ${TAPFLOW_BPF_CLANG} ${TAPFLOW_BPF_FLAGS} -mcpu=${ARG_CPU} -MD -MF ${stem}.d -MT ${stem}.bpf.o -c ${source} -o
            ${stem}.bpf.o
    DEPENDS ${source}
    DEPFILE ${stem}.d
    COMMENT "BPF ${name}${ARG_SUFFIX} (${ARG_CPU})"
    VERBATIM)
  string(REPLACE "-" "_" identifier ${name}${ARG_SUFFIX}_bpf)
  add_custom_command(
    OUTPUT ${stem}.skel.h
    # It is not ours to mend: clang's analyzer takes what libbpf frees for lost.
    COMMAND echo "// NOLINTBEGIN(clang-analyzer-unix.Malloc)" > ${stem}.skel.h
    COMMAND ${TAPFLOW_BPFTOOL} gen skeleton ${stem}.bpf.o name ${identifier} >> ${stem}.skel.h
    COMMAND echo "// NOLINTEND(clang-analyzer-unix.Malloc)" >> ${stem}.skel.h
    DEPENDS ${stem}.bpf.o
    VERBATIM)
  add_custom_target(bpf_${name}${ARG_SUFFIX}_files DEPENDS ${stem}.skel.h)
  add_library(bpf_${name}${ARG_SUFFIX} INTERFACE)
  add_dependencies(bpf_${name}${ARG_SUFFIX} bpf_${name}${ARG_SUFFIX}_files)
  target_include_directories(bpf_${name}${ARG_SUFFIX} SYSTEM INTERFACE ${directory})
endfunction()
