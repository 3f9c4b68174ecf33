// SPDX-License-Identifier: BSD-3-Clause
#pragma once

namespace tapflow::kernel {

/// Names the calling thread and lets it run on every CPU that the process's cpuset has. A thread inherits its
/// creator's affinity, and the creator is usually an lcore that polls without pause.
void become_control_thread(const char *name);

} // namespace tapflow::kernel
