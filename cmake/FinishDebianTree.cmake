# SPDX-License-Identifier: BSD-3-Clause
#
# Run by CPack when both packages' files are laid out: what a Debian package has and `cmake --install` does not make.
find_program(STRIP NAMES strip REQUIRED)
find_program(GZIP NAMES gzip REQUIRED)
file(READ ${CPACK_RESOURCE_FILE_LICENSE} license)
foreach(pair "plugin;tapflow" "development;libtapflow-dev")
  list(GET pair 0 component)
  list(GET pair 1 package)
  set(root ${CPACK_TEMPORARY_INSTALL_DIRECTORY}/${component})
  file(WRITE ${root}/usr/share/doc/${package}/copyright "${license}
On Debian systems the text of the GNU General Public License, version 2, is in
/usr/share/common-licenses/GPL-2.
")
  file(GLOB_RECURSE archives ${root}/*.a)
  foreach(archive IN LISTS archives)
    execute_process(COMMAND ${STRIP} --strip-debug --enable-deterministic-archives ${archive} COMMAND_ERROR_IS_FATAL ANY)
  endforeach()
endforeach()

set(share ${CPACK_TEMPORARY_INSTALL_DIRECTORY}/plugin/usr/share)
file(MAKE_DIRECTORY ${share}/zsh/vendor-completions)
file(RENAME ${share}/zsh/site-functions/_tapflowctl ${share}/zsh/vendor-completions/_tapflowctl)
file(REMOVE_RECURSE ${share}/zsh/site-functions)
execute_process(COMMAND ${GZIP} -9n ${share}/man/man1/tapflowctl.1 COMMAND_ERROR_IS_FATAL ANY)
