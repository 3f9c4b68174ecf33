// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "tapflow/abi/port_state.h"

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

namespace tapflow::engine {

/// The promise of a remote port's process that it is alive: a thread that writes the time into the shared state.
///
/// When the process has died or hangs, the word gets old and the classifier leaves the remote's packets to the
/// kernel. The thread starts with the object and ends with it.
class Lease {
  public:
    /// `config` must outlive the lease. `alive` is asked before each renewal, in the lease's thread: false leaves it to
    /// run out.
    Lease(tapflow_port_config &config, std::function<bool()> alive);

    /// Renews at once: call it right before the port takes packets.
    void renew();

  private:
    void run(const std::stop_token &stop);

    tapflow_port_config &config_;
    std::function<bool()> alive_;
    std::mutex mutex_;
    std::condition_variable_any wake_;
    std::jthread thread_; // last: stopped and joined before the rest goes
};

} // namespace tapflow::engine
