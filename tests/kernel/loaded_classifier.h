// SPDX-License-Identifier: BSD-3-Clause
// The classifier's programs without an interface, run packet by packet.
#pragma once

#include "kernel/bpf.h"
#include "kernel/ring.h"
#include "packet/build.h"
#include "rss/rss_config.h"
#include "support/system.h"
#include "tapflow/abi/port_state.h"

#include <memory>
#include <optional>
#include <span>
#include <vector>

namespace tapflow::test {

/// A record and its frame, copied out of a ring.
struct Delivered {
    unsigned queue = 0;
    tapflow_record record{};
    packet::Bytes frame;
};

/// Takes everything that is complete out of a ring.
std::vector<Delivered> drain(const kernel::RingView &ring, unsigned queue);

/// Which compilation of bpf/classify.bpf.c: the instruction set of kernels from 5.1 on is v3; v2 has no 32-bit jumps.
enum class Cpu { V2, V3 };

/// Throws std::system_error, or what a Result says as std::runtime_error.
class LoadedClassifier {
  public:
    /// Loads the programs and gives queues 0 to `queues` - 1 a ring. The port is started and promiscuous, without any
    /// RSS type.
    explicit LoadedClassifier(Cpu cpu, unsigned queues = 16, size_t ring_bytes = 64U << 10U);
    LoadedClassifier(const LoadedClassifier &) = delete;
    LoadedClassifier &operator=(const LoadedClassifier &) = delete;
    ~LoadedClassifier();

    void set_rss(const rss::RssConfig &config);
    void add_address(const MacAddress &address);
    [[nodiscard]] tapflow_port_state &state() const;
    [[nodiscard]] const kernel::RingView &ring(unsigned queue) const { return rings_.at(queue).view(); }

    /// Runs a program on the frame (BPF_PROG_TEST_RUN, which takes 15 to about 3,500 bytes) and returns its verdict.
    int run_tap_egress(std::span<const uint8_t> frame);
    int run_remote_ingress(std::span<const uint8_t> frame);
    /// Everything delivered since the last call.
    std::vector<Delivered> drain_all();

    /// What a program is loaded from; one of them for each Cpu.
    struct Object;

  private:
    std::unique_ptr<Object> object_;
    std::vector<kernel::Ring> rings_;
    kernel::Fd rss_;
};

} // namespace tapflow::test
