# SPDX-License-Identifier: BSD-3-Clause
#
# What `cmake --install` puts where, in two components: "plugin" is the DPDK driver with its guides and tapflowctl,
# "development" the library for programs without DPDK. Private headers (src/pmd, BPF skeletons) and tests stay here.

option(TAPFLOW_INSTALL_DPDK_PLUGIN "Install the plugin where EAL loads it without -d" OFF)

# Debian's loader, pkg-config and CMake look into the multiarch directory below /usr and /usr/local, and DPDK's own
# build installs there; GNUInstallDirs has it for /usr alone.
if(NOT DEFINED CMAKE_INSTALL_LIBDIR AND EXISTS /etc/debian_version AND CMAKE_LIBRARY_ARCHITECTURE)
  set(CMAKE_INSTALL_LIBDIR lib/${CMAKE_LIBRARY_ARCHITECTURE} CACHE PATH "Directory of libraries, below the prefix")
endif()
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

# TAPFLOW_DPDK_PLUGIN_DIR: the directory of which libdpdk's EAL loads every plugin at start.
set(TAPFLOW_DPDK_PLUGIN_DIR "")
find_file(TAPFLOW_RTE_BUILD_CONFIG rte_build_config.h HINTS ${DPDK_INCLUDE_DIRS} NO_CACHE)
if(TAPFLOW_RTE_BUILD_CONFIG)
  file(STRINGS ${TAPFLOW_RTE_BUILD_CONFIG} definition REGEX "^#define RTE_EAL_PMD_PATH ")
  if(definition MATCHES "\"(/[^\"]+)\"")
    set(TAPFLOW_DPDK_PLUGIN_DIR ${CMAKE_MATCH_1})
  endif()
endif()

set(tapflow_plugin_destination ${CMAKE_INSTALL_LIBDIR})
if(TAPFLOW_INSTALL_DPDK_PLUGIN)
  if(NOT TAPFLOW_DPDK_PLUGIN_DIR)
    message(FATAL_ERROR "TAPFLOW_INSTALL_DPDK_PLUGIN: DPDK ${DPDK_VERSION} was built without a plugin directory "
      "(RTE_EAL_PMD_PATH in rte_build_config.h). Leave the option off and load the plugin with -d.")
  endif()
  # Outside the prefix: EAL looks nowhere else.
  set(tapflow_plugin_destination ${TAPFLOW_DPDK_PLUGIN_DIR})
endif()
install(TARGETS rte_net_tapflow LIBRARY DESTINATION ${tapflow_plugin_destination} COMPONENT plugin)
install(FILES LICENSE doc/user-guide.md doc/flow-rules.md doc/performance.md doc/tapflowctl.schema.json
  DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT plugin)
install(DIRECTORY LICENSES DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT plugin)

install(TARGETS tapflowctl RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT plugin)
set(tapflowctl_documents ${CMAKE_BINARY_DIR}/tools/tapflowctl)
install(FILES ${tapflowctl_documents}/tapflowctl.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 COMPONENT plugin)
install(FILES ${tapflowctl_documents}/completion.bash RENAME tapflowctl
  DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions COMPONENT plugin)
install(FILES ${tapflowctl_documents}/completion.zsh RENAME _tapflowctl
  DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions COMPONENT plugin)
install(FILES ${tapflowctl_documents}/completion.fish RENAME tapflowctl.fish
  DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d COMPONENT plugin)

target_include_directories(tapflow INTERFACE
  $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/tapflow>)
install(TARGETS tapflow EXPORT tapflow ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT development)
install(DIRECTORY include/tapflow DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT development
  FILES_MATCHING PATTERN "*.h")
install(DIRECTORY src/packet src/rss src/flow src/kernel src/engine
  DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/tapflow COMPONENT development
  FILES_MATCHING PATTERN "*.h")

set(tapflow_cmake_destination ${CMAKE_INSTALL_LIBDIR}/cmake/tapflow)
configure_package_config_file(cmake/tapflowConfig.cmake.in ${CMAKE_BINARY_DIR}/tapflowConfig.cmake
  INSTALL_DESTINATION ${tapflow_cmake_destination})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/tapflowConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/tapflowConfig.cmake ${CMAKE_BINARY_DIR}/tapflowConfigVersion.cmake
  DESTINATION ${tapflow_cmake_destination} COMPONENT development)
install(EXPORT tapflow NAMESPACE tapflow:: FILE tapflowTargets.cmake
  DESTINATION ${tapflow_cmake_destination} COMPONENT development)

# From where the file lies to the prefix, so that it holds below every --prefix and DESTDIR.
file(RELATIVE_PATH tapflow_pc_to_prefix ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
string(REGEX REPLACE "/$" "" tapflow_pc_to_prefix "${tapflow_pc_to_prefix}")
file(RELATIVE_PATH tapflow_pc_libdir ${CMAKE_INSTALL_PREFIX} ${CMAKE_INSTALL_FULL_LIBDIR})
file(RELATIVE_PATH tapflow_pc_includedir ${CMAKE_INSTALL_PREFIX} ${CMAKE_INSTALL_FULL_INCLUDEDIR})
configure_file(cmake/tapflow.pc.in ${CMAKE_BINARY_DIR}/tapflow.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/tapflow.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT development)
