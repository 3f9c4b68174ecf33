// SPDX-License-Identifier: BSD-3-Clause
// A process that sends packets when told to, and says what CPU time that took.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace tapflow::bench {

/// What to send. Plain bytes: it goes through shared memory.
struct SendTask {
    enum Kind : uint8_t {
        Udp,         ///< send() on a UDP socket connected to 10.9.0.2, without UDP checksums
        UdpChecksum, ///< the same with them
        Frame, ///< send() of `frame` on an AF_PACKET socket, its source port counting from 4000 to 4000 + flows - 1
        FrameSources, ///< the same, but it is the frame's IPv4 source address that counts
    };
    Kind kind = Udp;
    unsigned size = 60; ///< of the frame, from Ethernet header to payload
    unsigned flows = 1;
    char interface[16] = {};  ///< with frames
    uint8_t frame[1536] = {}; ///< with frames

    [[nodiscard]] bool has_frame() const { return kind == Frame || kind == FrameSources; }
};

/// A child process pinned to kSenderCpu, in the network namespace that the constructing thread is in. It spins while
/// it waits, so sender and reader stay in step within a cache miss. Construct it before any thread or tap is there,
/// as they would be shared. It dies with its parent.
class Sender {
  public:
    struct Batch {
        unsigned sent = 0;
        unsigned refused = 0;
        uint64_t cpu_ns = 0;
    };

    Sender();
    Sender(const Sender &) = delete;
    Sender &operator=(const Sender &) = delete;
    ~Sender();

    /// Takes effect with the next batch. Only between batches.
    void set_task(const SendTask &task);
    /// Starts sending `count` packets. Only when the batch before is finished.
    void start(unsigned count);
    /// Whether the batch is finished. A sender that dies never finishes: callers set themselves a limit (alarm(2)).
    [[nodiscard]] bool finished();
    /// Of the finished batch.
    [[nodiscard]] Batch batch() const;

    struct Shared;

  private:
    Shared *shared_;
    pid_t child_;
};

/// A task that sends frames through an interface.
SendTask frame_task(const std::string &interface, const std::vector<uint8_t> &frame, unsigned flows);

/// A task that sends IPv4 frames from as many source addresses, counting from that of `frame`, whose last 16 bits must
/// not overflow, and whose identification is 0.
SendTask source_task(const std::string &interface, const std::vector<uint8_t> &frame, unsigned sources);

} // namespace tapflow::bench
