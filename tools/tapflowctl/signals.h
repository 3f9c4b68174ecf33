// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "kernel/fd.h"
#include "tapflow/result.h"

#include <initializer_list>

namespace tapflow::ctl {

/// The signals that ask a program to end (SIGINT, SIGTERM, SIGHUP), and more, blocked and to be read from a signalfd(2)
/// that does not block. For the whole program, which has one thread then.
Result<kernel::Fd> signals_as_fd(std::initializer_list<int> more = {});

} // namespace tapflow::ctl
