// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "kernel/ring.h"
#include "kernel/wakeup.h"
#include "tapflow/abi/port_state.h"
#include "tapflow/result.h"

#include <cstdint>

namespace tapflow::engine {

/// An Rx queue's interrupt: a file descriptor to sleep on until there are packets, without losing any wake-up.
///
/// Thread safety: as the burst function, one thread at a time; it is the one that polls the queue.
class QueueInterrupt {
  public:
    /// Of a queue that is read from a ring. Ring and doorbell must outlive the interrupt, or be changed.
    static Result<QueueInterrupt> of_ring(const kernel::Ring &ring, tapflow_queue_doorbell &doorbell);
    /// Of a queue that is read from the tap.
    static Result<QueueInterrupt> of_fd(int queue);

    /// Readable when the queue has packets, while the interrupt is enabled; the object's own.
    [[nodiscard]] int fd() const { return wakeup_.fd(); }
    /// Before sleeping. Packets that are there already wake the sleeper as well.
    Result<void> enable();
    /// After waking. A packet that comes later costs its sender nothing.
    Result<void> disable();
    /// The queue has another ring now.
    Result<void> change_ring(const kernel::Ring &ring);

  private:
    QueueInterrupt(kernel::Wakeup wakeup, kernel::RingView ring, tapflow_queue_doorbell *doorbell)
        : wakeup_(std::move(wakeup)), ring_(ring), doorbell_(doorbell), sleep_(doorbell ? doorbell->rung : 0) {}

    kernel::Wakeup wakeup_;
    kernel::RingView ring_;
    tapflow_queue_doorbell *doorbell_; ///< null: by fd
    uint32_t sleep_;                   ///< the last one's number; the doorbell remembers those of a former interrupt
};

} // namespace tapflow::engine
