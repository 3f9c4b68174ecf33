// SPDX-License-Identifier: BSD-3-Clause
// A name that one process at a time holds.
#pragma once

#include "kernel/fd.h"
#include "tapflow/result.h"

#include <string>

namespace tapflow::kernel {

/// A name in the calling thread's network namespace (an abstract Unix socket, unix(7)), freed with its owner and with
/// the process, however that ends.
class NameLock {
  public:
    /// Errors: EADDRINUSE when somebody has it.
    static Result<NameLock> take(const std::string &name);

  private:
    explicit NameLock(Fd socket) : socket_(std::move(socket)) {}
    Fd socket_;
};

} // namespace tapflow::kernel
