// SPDX-License-Identifier: BSD-3-Clause
// The reading side of a tap's queue.
#pragma once

#include "kernel/tun.h"
#include "tapflow/abi/record.h"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>

namespace tapflow::kernel {

/// Reads a queue of a tap frame by frame into a buffer of its own, without blocking.
///
/// Thread safety: one reader at a time; polls() and waiting() from any thread.
class TunReader {
  public:
    /// `queue` is the fd of a queue, which must outlive the reader.
    explicit TunReader(int queue) : queue_(queue), buffer_(new uint8_t[kHeaderPlace + kFrameMax]) {}

    /// The next frame's bytes, as the kernel would put them on a wire, tags included. 0: there is none, or the tap is
    /// gone. header() and frame() are of the last frame, and valid until the next call.
    size_t read() {
        polls_.store(polls_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
        // One contiguous buffer: read() costs less than readv().
        const ssize_t length =
            ::read(queue_, buffer_.get() + kHeaderPlace - sizeof(VnetHeader), sizeof(VnetHeader) + kFrameMax);
        if (length <= static_cast<ssize_t>(sizeof(VnetHeader)))
            return 0;
        std::memcpy(&header_, buffer_.get() + kHeaderPlace - sizeof(VnetHeader), sizeof(header_));
        return static_cast<size_t>(length) - sizeof(VnetHeader);
    }
    [[nodiscard]] const VnetHeader &header() const { return header_; }
    [[nodiscard]] const uint8_t *frame() const { return buffer_.get() + kHeaderPlace; }

    /// How often read() has been called.
    [[nodiscard]] uint64_t polls() const { return polls_.load(std::memory_order_relaxed); }
    enum class Waiting : uint8_t { Nothing, Frame, Gone };
    /// Whether a frame waits to be read, or the tap has been deleted.
    [[nodiscard]] Waiting waiting() const;

  private:
    static constexpr size_t kHeaderPlace = 64; ///< the frame begins in a cache line of its own
    static constexpr size_t kFrameMax = TAPFLOW_FRAME_MAX + 64;

    int queue_;
    std::atomic<uint64_t> polls_{0};
    VnetHeader header_{};
    std::unique_ptr<uint8_t[]> buffer_;
};

} // namespace tapflow::kernel
