// SPDX-License-Identifier: BSD-3-Clause
// The reading side of a BPF ring (Documentation/bpf/ringbuf.rst), without libbpf's callbacks.
#pragma once

#include "kernel/bpf.h"
#include "tapflow/abi/record.h"
#include "tapflow/result.h"

#include <linux/bpf.h>

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace tapflow::kernel {

/// Where a reader is in a ring: local to one burst, published by RingView::release().
struct RingCursor {
    uint64_t position = 0; ///< of the next record, in bytes since the ring was made
    uint64_t producer = 0; ///< where the producers were when the burst began
};

/// The mapped memory of a ring, for reading it in this process. Plain pointers, owned by a Ring.
///
/// One reader at a time. The consumer position is kept in the ring's own page alone, so whoever reads next, another
/// process too, goes on where the last one stopped.
class RingView {
  public:
    RingView() = default;
    RingView(std::atomic<uint64_t> *consumer, const std::atomic<uint64_t> *producer, const std::byte *data,
             uint64_t mask)
        : consumer_(consumer), producer_(producer), data_(data), mask_(mask) {}

    [[nodiscard]] RingCursor begin() const {
        return {consumer_->load(std::memory_order_relaxed), producer_->load(std::memory_order_acquire)};
    }

    /// The record at the cursor, and in `next` the position behind it; null if none is complete. Discarded records
    /// are stepped over. The record stays valid until a position behind it is released.
    [[nodiscard]] const tapflow_record *peek(RingCursor &cursor, uint64_t &next) const {
        while (cursor.position < cursor.producer) {
            const std::byte *header = data_ + (cursor.position & mask_);
            const uint32_t length =
                reinterpret_cast<const std::atomic<uint32_t> *>(header)->load(std::memory_order_acquire);
            if (length & BPF_RINGBUF_BUSY_BIT)
                return nullptr;
            next = cursor.position +
                   (((length & ~uint32_t{BPF_RINGBUF_DISCARD_BIT}) + BPF_RINGBUF_HDR_SZ + 7) & ~uint64_t{7});
            if (!(length & BPF_RINGBUF_DISCARD_BIT))
                return reinterpret_cast<const tapflow_record *>(header + BPF_RINGBUF_HDR_SZ);
            cursor.position = next;
        }
        return nullptr;
    }

    /// Gives everything before `position` back to the producers.
    void release(uint64_t position) const { consumer_->store(position, std::memory_order_release); }

    /// Throws away what is in the ring. Only while no program writes into it.
    void discard() const { release(producer_->load(std::memory_order_acquire)); }

  private:
    std::atomic<uint64_t> *consumer_ = nullptr;
    const std::atomic<uint64_t> *producer_ = nullptr;
    const std::byte *data_ = nullptr;
    uint64_t mask_ = 0;
};

/// A BPF ring and its mapping in this process.
class Ring {
  public:
    /// `bytes`: capacity, a power of two and at least a page.
    static Result<Ring> create(size_t bytes);

    [[nodiscard]] int fd() const { return map_.get(); }
    [[nodiscard]] size_t bytes() const { return bytes_; }
    [[nodiscard]] const RingView &view() const { return view_; }

  private:
    Ring(Fd map, Mapping consumer, Mapping producer, size_t bytes);

    Fd map_;
    Mapping consumer_;
    Mapping producer_;
    size_t bytes_;
    RingView view_;
};

} // namespace tapflow::kernel
