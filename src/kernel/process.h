// SPDX-License-Identifier: BSD-3-Clause
// Processes, as proc(5) shows them.
#pragma once

#include "tapflow/result.h"

#include <cstdint>
#include <string>

namespace tapflow::kernel {

/// What tells a process from any other, also from a later one of the same number.
struct ProcessId {
    uint32_t pid = 0;           ///< in its pid namespace
    uint64_t pid_namespace = 0; ///< inode
    uint64_t start = 0;         ///< clock ticks since boot

    bool operator==(const ProcessId &) const = default;
};

Result<ProcessId> this_process();
/// The calling process's name (comm): at most 15 bytes.
std::string this_process_name();
/// Whether there is still such a process. Errors: EXDEV when its pid namespace is not the caller's.
Result<bool> is_running(const ProcessId &process);

} // namespace tapflow::kernel
