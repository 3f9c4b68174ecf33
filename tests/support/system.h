// SPDX-License-Identifier: BSD-3-Clause
// System calls in tests: what fails throws.
#pragma once

#include "kernel/fd.h"

#include <cerrno>
#include <string>
#include <system_error>

namespace tapflow::test {

using kernel::Fd;

/// std::system_error with errno: call it right after the failing system call.
[[noreturn]] inline void throw_errno(const std::string &what) {
    throw std::system_error(errno, std::generic_category(), what);
}

/// The result of an fd-returning system call: owned, or an exception naming `what`.
inline Fd owned(int fd, const std::string &what) {
    if (fd < 0)
        throw_errno(what);
    return Fd(fd);
}

} // namespace tapflow::test
