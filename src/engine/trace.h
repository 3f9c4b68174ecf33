// SPDX-License-Identifier: BSD-3-Clause
// Tracing the decisions of a port that is looked at from outside.
#pragma once

#include "engine/inspect.h"
#include "kernel/trace_programs.h"
#include "tapflow/result.h"

#include <cstddef>
#include <memory>
#include <optional>

namespace tapflow::engine {

struct TraceOptions {
    tapflow_trace_options options{};
    size_t ring_bytes = size_t{1} << 20U; ///< for each CPU
    std::optional<kernel::TraceMethod> method{};
};

/// Has the port's decisions told from here on, until the object goes. The port is not changed.
/// Errors: ENODEV when none of its programs is attached any more; EPERM; what the kernel says.
Result<std::unique_ptr<kernel::TracePrograms>> trace(const InspectedPort &port, const TraceOptions &options);

/// Whether packets still meet the port's classifier anywhere.
bool is_attached(const InspectedPort &port);

} // namespace tapflow::engine
