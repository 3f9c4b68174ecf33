// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "tapflow/result.h"

#include <rte_log.h>

namespace tapflow::pmd {

extern int log_type;

} // namespace tapflow::pmd

/// One line in DPDK's log, type "pmd.net.tapflow": `TAPFLOW_LOG(ERR, "%s: ...", name)`.
#define TAPFLOW_LOG(level, format, ...)                                                                                \
    rte_log(RTE_LOG_##level, ::tapflow::pmd::log_type, "tapflow: " format "\n" __VA_OPT__(, ) __VA_ARGS__)

namespace tapflow::pmd {

/// Logs a failed operation of a port; returns the error as ethdev operations do: -errno.
inline int log_error(const char *port, const Error &error) {
    TAPFLOW_LOG(ERR, "%s: %s", port, error.message().c_str());
    return -error.code;
}

} // namespace tapflow::pmd
