// SPDX-License-Identifier: BSD-3-Clause
// Which CPUs a thread may use.
#pragma once

#include "support/system.h"

#include <sched.h>

#include <vector>

namespace tapflow::test {

/// The CPUs that the calling thread may use.
inline std::vector<int> own_cpus() {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof(set), &set) != 0)
        throw_errno("read the CPU affinity");
    std::vector<int> cpus;
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
        if (CPU_ISSET(cpu, &set))
            cpus.push_back(cpu);
    return cpus;
}

/// The calling thread may run on these only.
inline void pin_to(const std::vector<int> &cpus) {
    cpu_set_t set;
    CPU_ZERO(&set);
    for (const int cpu : cpus)
        CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof(set), &set) != 0)
        throw_errno("pin a thread");
}

} // namespace tapflow::test
