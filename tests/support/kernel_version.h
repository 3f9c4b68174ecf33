// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "kernel/release.h"

#include <cstdio>

namespace tapflow::test {

/// Whether the running kernel is of that version or younger.
inline bool kernel_is_at_least(int major, int minor) {
    int running_major = 0;
    int running_minor = 0;
    std::sscanf(kernel::release().c_str(), "%d.%d", &running_major, &running_minor);
    return running_major > major || (running_major == major && running_minor >= minor);
}

} // namespace tapflow::test
