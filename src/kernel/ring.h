// SPDX-License-Identifier: BSD-3-Clause
// The reading side of a BPF ring (Documentation/bpf/ringbuf.rst), without libbpf's callbacks.
#pragma once

#include "kernel/bpf.h"
#include "tapflow/abi/record.h"
#include "tapflow/result.h"

#include <linux/bpf.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace tapflow::kernel {

/// Where a reader is in a ring: local to one burst, kept by RingView::release().
struct RingCursor {
    uint64_t position = 0; ///< of the next record, in bytes since the ring was made
    uint64_t producer = 0; ///< where the producers were when the burst began
};

/// The page of a ring that its reader may write. The kernel knows the first word alone (struct bpf_ringbuf).
struct RingConsumerPage {
    std::atomic<uint64_t> released;   ///< the producers may write over everything before it
    std::array<uint64_t, 7> reserved; ///< keeps the next one out of the cache line that the producers look at
    std::atomic<uint64_t> position;   ///< how far the reader is
};

/// The mapped memory of a ring, for reading it in this process. Plain pointers, owned by a Ring.
///
/// One reader at a time. How far it is stands in the ring's own page alone, so whoever reads next, another process
/// too, goes on where the last one stopped.
class RingView {
  public:
    RingView() = default;
    RingView(RingConsumerPage *consumer, const std::atomic<uint64_t> *producer, const std::byte *data, uint64_t mask)
        : consumer_(consumer), producer_(producer), data_(data), mask_(mask) {}

    [[nodiscard]] RingCursor begin() const {
        return {consumer_->position.load(std::memory_order_relaxed), producer_->load(std::memory_order_acquire)};
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

    /// Ends a burst: what lies before the cursor has been read.
    ///
    /// The producers get it back when it is an eighth of the ring, or when the reader is behind by half a ring: they
    /// look at `released` for every packet, and each store there costs them a cache miss. A ring whose reader moves is
    /// thus never full with a `released` at rest.
    void release(const RingCursor &cursor) const {
        consumer_->position.store(cursor.position, std::memory_order_relaxed);
        const uint64_t read = cursor.position - consumer_->released.load(std::memory_order_relaxed);
        if (read > mask_ / 8 || cursor.producer - cursor.position > mask_ / 2)
            consumer_->released.store(cursor.position, std::memory_order_release);
    }

    /// Gives back all that has been read: before sleeping, since the kernel takes what is not for unread.
    void release_all() const {
        consumer_->released.store(consumer_->position.load(std::memory_order_relaxed), std::memory_order_release);
    }

    /// How many records wait, of at most `limit` that are looked at. From any thread.
    [[nodiscard]] uint32_t waiting(uint32_t limit) const {
        RingCursor cursor = begin();
        uint32_t count = 0;
        uint64_t next = 0;
        while (count < limit && peek(cursor, next)) {
            cursor.position = next;
            count++;
        }
        return count;
    }

    /// How many bytes nobody has read yet, and how many the producers cannot have yet. From any thread.
    struct Fill {
        uint64_t unread = 0;
        uint64_t used = 0;
    };
    [[nodiscard]] Fill fill() const {
        // The reader first: what it has passed the producers have passed before.
        const uint64_t released = consumer_->released.load(std::memory_order_acquire);
        const uint64_t position = consumer_->position.load(std::memory_order_acquire);
        const uint64_t producer = producer_->load(std::memory_order_acquire);
        return {producer - position, producer - released};
    }

    /// Throws away what is in the ring. Only while no program writes into it.
    void discard() const {
        const uint64_t end = producer_->load(std::memory_order_acquire);
        consumer_->position.store(end, std::memory_order_relaxed);
        consumer_->released.store(end, std::memory_order_release);
    }

  private:
    RingConsumerPage *consumer_ = nullptr;
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
