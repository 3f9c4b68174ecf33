# SPDX-License-Identifier: BSD-3-Clause
#
# tapflow_dpdk_sdk: what a DPDK driver is compiled and linked with. That is libdpdk, the vdev bus and the driver headers
# (the "driver SDK"), which Debian's libdpdk-dev leaves out.

set(TAPFLOW_DPDK_SDK_DIR "" CACHE PATH "Directory of DPDK's driver headers; empty: find or fetch them")

find_package(PkgConfig REQUIRED)
pkg_check_modules(DPDK REQUIRED IMPORTED_TARGET libdpdk)
# The vdev bus is a driver, which libdpdk.pc does not list.
find_library(TAPFLOW_RTE_BUS_VDEV rte_bus_vdev HINTS ${DPDK_LIBRARY_DIRS} REQUIRED)

# Sets `out` to the directory that holds ethdev_driver.h and its companions.
function(tapflow_find_dpdk_sdk out)
    if(TAPFLOW_DPDK_SDK_DIR)
        if(NOT EXISTS "${TAPFLOW_DPDK_SDK_DIR}/ethdev_driver.h")
            message(FATAL_ERROR "TAPFLOW_DPDK_SDK_DIR=${TAPFLOW_DPDK_SDK_DIR} holds no ethdev_driver.h. "
                "Name the directory of DPDK's driver headers, or leave the variable out.")
        endif()
        set(${out} "${TAPFLOW_DPDK_SDK_DIR}" PARENT_SCOPE)
        return()
    endif()

    foreach(dir IN LISTS DPDK_INCLUDE_DIRS)
        if(EXISTS "${dir}/ethdev_driver.h")
            set(${out} "${dir}" PARENT_SCOPE)
            return()
        endif()
    endforeach()

    # Outside the build directory, so that a fresh build needs no network.
    set(dir "${CMAKE_SOURCE_DIR}/.cache/dpdk-sdk/${DPDK_VERSION}")
    execute_process(COMMAND "${CMAKE_SOURCE_DIR}/tools/fetch-dpdk-sdk" "${dir}"
        RESULT_VARIABLE status ERROR_VARIABLE error ERROR_STRIP_TRAILING_WHITESPACE)
    if(NOT status EQUAL 0)
        message(FATAL_ERROR "DPDK's driver headers are missing and could not be fetched. ${error}\n"
            "Mend that, or configure with -DTAPFLOW_DPDK_SDK_DIR=<driver headers of DPDK ${DPDK_VERSION}>.")
    endif()
    set(${out} "${dir}" PARENT_SCOPE)
endfunction()

# Sets `out` to the year.month of the driver headers in `dir`, or to nothing if they do not tell.
function(tapflow_dpdk_sdk_release dir out)
    set(${out} "" PARENT_SCOPE)
    if(EXISTS "${dir}/VERSION")
        file(READ "${dir}/VERSION" version)
        if(version MATCHES "^([0-9]+\\.[0-9]+)")
            set(${out} "${CMAKE_MATCH_1}" PARENT_SCOPE)
        endif()
        return()
    endif()
    # Headers installed with DPDK's enable_driver_sdk lie beside rte_build_config.h.
    if(EXISTS "${dir}/rte_build_config.h")
        file(READ "${dir}/rte_build_config.h" config)
        if(config MATCHES "RTE_VER_YEAR ([0-9]+)")
            set(year "${CMAKE_MATCH_1}")
        endif()
        if(config MATCHES "RTE_VER_MONTH ([0-9]+)")
            set(month "${CMAKE_MATCH_1}")
        endif()
        if(year AND month)
            if(month LESS 10)
                set(month "0${month}")
            endif()
            set(${out} "${year}.${month}" PARENT_SCOPE)
        endif()
    endif()
endfunction()

tapflow_find_dpdk_sdk(tapflow_dpdk_sdk_dir)
tapflow_dpdk_sdk_release("${tapflow_dpdk_sdk_dir}" tapflow_dpdk_sdk_release)
string(REGEX MATCH "^[0-9]+\\.[0-9]+" tapflow_libdpdk_release "${DPDK_VERSION}")

if(NOT tapflow_dpdk_sdk_release)
    message(FATAL_ERROR "The driver headers in ${tapflow_dpdk_sdk_dir} do not tell which DPDK they belong to: "
        "there is neither a VERSION file nor rte_build_config.h. Copy VERSION from their DPDK source beside them.")
elseif(NOT tapflow_dpdk_sdk_release STREQUAL tapflow_libdpdk_release)
    message(FATAL_ERROR "The driver headers in ${tapflow_dpdk_sdk_dir} are of DPDK ${tapflow_dpdk_sdk_release}, "
        "but libdpdk is ${DPDK_VERSION}. Driver structures change between releases: the driver would corrupt memory. "
        "Give the headers of ${tapflow_libdpdk_release} with -DTAPFLOW_DPDK_SDK_DIR=, or leave the variable empty.")
endif()
message(STATUS "DPDK ${DPDK_VERSION}, driver headers in ${tapflow_dpdk_sdk_dir}")

add_library(tapflow_dpdk_sdk INTERFACE)
target_link_libraries(tapflow_dpdk_sdk INTERFACE PkgConfig::DPDK ${TAPFLOW_RTE_BUS_VDEV})
target_include_directories(tapflow_dpdk_sdk SYSTEM INTERFACE "${tapflow_dpdk_sdk_dir}")
# Drivers use interfaces that DPDK marks experimental or internal.
target_compile_definitions(tapflow_dpdk_sdk INTERFACE ALLOW_EXPERIMENTAL_API ALLOW_INTERNAL_API)
