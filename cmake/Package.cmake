# SPDX-License-Identifier: BSD-3-Clause
#
# `cpack -G DEB`: tapflow, for who runs DPDK applications, and libtapflow-dev, for who builds against the library. They
# have nothing in common: the plugin contains the library, and the library needs no DPDK.

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_CONTACT "tapflow authors <nobody@tapflow.invalid>")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_COMPONENTS_ALL plugin development)
set(CPACK_RESOURCE_FILE_LICENSE ${CMAKE_SOURCE_DIR}/LICENSE)
set(CPACK_STRIP_FILES ON)
set(CPACK_PRE_BUILD_SCRIPTS ${CMAKE_SOURCE_DIR}/cmake/FinishDebianTree.cmake)
if(TAPFLOW_INSTALL_DPDK_PLUGIN)
  # Without it an absolute destination is taken for one on this machine.
  set(CPACK_SET_DESTDIR ON)
  set(CPACK_INSTALL_PREFIX /usr)
endif()

set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)

# A driver sees structures that may change with every year.month of DPDK, which the libraries' names do not: 22.11, 23.03
# and 23.07 are all librte-ethdev23. dpkg-shlibdeps knows the libraries and the oldest version of each that will do.
set(pinned "")
if(TAPFLOW_DPDK_PLUGIN_DIR MATCHES "/pmds-([0-9]+)\\.")
  set(package librte-ethdev${CMAKE_MATCH_1})
  string(REGEX MATCH "^([0-9]+)\\.([0-9]+)" release "${tapflow_dpdk_sdk_release}")
  math(EXPR next_month "1${CMAKE_MATCH_2} - 99") # no octal number
  if(next_month LESS 10)
    string(PREPEND next_month 0)
  endif()
  set(pinned "${package} (>= ${release}~), ${package} (<< ${CMAKE_MATCH_1}.${next_month}~)")
endif()

set(CPACK_DEBIAN_PLUGIN_PACKAGE_NAME tapflow)
set(CPACK_DEBIAN_PLUGIN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PLUGIN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PLUGIN_PACKAGE_DEPENDS "${pinned}")
set(CPACK_COMPONENT_PLUGIN_DESCRIPTION "DPDK TAP port with RSS and rte_flow in eBPF
A poll-mode driver for TAP interfaces that hashes packets and chooses their
queues as a hardware NIC does, and takes rte_flow rules, in the kernel.
tapflowctl shows what its ports do, and why.")
file(WRITE ${CMAKE_BINARY_DIR}/debian/triggers "activate-noawait ldconfig\n")
set(CPACK_DEBIAN_PLUGIN_PACKAGE_CONTROL_EXTRA ${CMAKE_BINARY_DIR}/debian/triggers)

set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_NAME libtapflow-dev)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS "libnl-3-dev, libbpf-dev (>= 1:1.1), nlohmann-json3-dev")
set(CPACK_COMPONENT_DEVELOPMENT_DESCRIPTION "RSS and rte_flow for TAP interfaces in eBPF, without DPDK
Headers, static library, pkg-config file and CMake package.")

include(CPack)
