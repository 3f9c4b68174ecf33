// SPDX-License-Identifier: BSD-3-Clause
#include "engine/queue_interrupt.h"

#include <atomic>
#include <utility>

namespace tapflow::engine {

Result<QueueInterrupt> QueueInterrupt::of_ring(const kernel::Ring &ring, tapflow_queue_doorbell &doorbell) {
    auto wakeup = kernel::Wakeup::create(ring.fd());
    if (!wakeup)
        return wakeup.error();
    return QueueInterrupt(*std::move(wakeup), ring.view(), &doorbell);
}

Result<QueueInterrupt> QueueInterrupt::of_fd(int queue) {
    auto wakeup = kernel::Wakeup::create(queue);
    if (!wakeup)
        return wakeup.error();
    return QueueInterrupt(*std::move(wakeup), {}, nullptr);
}

// The producers look at the doorbell behind each packet, and whoever waits looks for packets behind arming it: one of
// the two sees the other.
Result<void> QueueInterrupt::enable() {
    if (doorbell_) {
        ring_.release_all(); // what has been read must not look like something to read
        if (++sleep_ == 0)
            ++sleep_;
        std::atomic_ref<__u32>(doorbell_->armed).store(sleep_, std::memory_order_relaxed);
        std::atomic_thread_fence(std::memory_order_seq_cst);
    }
    return wakeup_.enable();
}

Result<void> QueueInterrupt::disable() {
    if (doorbell_)
        std::atomic_ref<__u32>(doorbell_->armed).store(0, std::memory_order_relaxed);
    return wakeup_.disable();
}

Result<void> QueueInterrupt::change_ring(const kernel::Ring &ring) {
    ring_ = ring.view();
    return wakeup_.change_source(ring.fd());
}

} // namespace tapflow::engine
