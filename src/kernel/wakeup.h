// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "kernel/fd.h"
#include "tapflow/result.h"

namespace tapflow::kernel {

/// A file descriptor to sleep on, which is readable while its source is, but only between enable() and disable().
///
/// It is an epoll instance with the source in it, so that enabling looks at the source once more: what came before is
/// an event as well, also for a waiter that is told of edges alone (EPOLLET, as EAL's). Between disable() and enable()
/// nobody waits for the source, and waking costs its producers nothing.
///
/// Thread safety: none, but fd() may be waited for in any thread.
class Wakeup {
  public:
    /// `source` is readable when there is something to do, and must outlive this object.
    static Result<Wakeup> create(int source);

    [[nodiscard]] int fd() const { return epoll_.get(); }
    Result<void> enable();
    Result<void> disable();
    /// Waits for another source from now on.
    Result<void> change_source(int source);

  private:
    Wakeup(Fd epoll, int source) : epoll_(std::move(epoll)), source_(source) {}

    Fd epoll_;
    int source_;
    bool enabled_ = false;
};

} // namespace tapflow::kernel
