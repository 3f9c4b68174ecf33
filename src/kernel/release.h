// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <sys/utsname.h>

#include <string>

namespace tapflow::kernel {

/// The running kernel's release, as uname -r has it.
inline std::string release() {
    utsname name{};
    return uname(&name) == 0 ? name.release : "unknown";
}

} // namespace tapflow::kernel
