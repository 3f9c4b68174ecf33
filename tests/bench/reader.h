// SPDX-License-Identifier: BSD-3-Clause
// The ways of taking packets out of a tap.
#pragma once

#include "bench/dpdk_port.h"

#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <sys/uio.h>

#include <array>
#include <cstdint>
#include <vector>

namespace tapflow::bench {

/// One attempt after the other, never blocking.
class Reader {
  public:
    Reader() = default;
    Reader(const Reader &) = delete;
    Reader &operator=(const Reader &) = delete;
    virtual ~Reader() = default;

    /// How many packets one attempt got.
    virtual unsigned poll() = 0;
};

/// One readv() for each packet, into the same buffer.
class ReadvReader : public Reader {
  public:
    explicit ReadvReader(int fd) : fd_(fd) {}

    unsigned poll() override {
        const iovec piece{buffer_.data(), buffer_.size()};
        return readv(fd_, &piece, 1) > 0 ? 1 : 0;
    }

  private:
    int fd_;
    std::array<uint8_t, 2048> buffer_{};
};

/// rte_eth_rx_burst() of 32, all queues in turn; the mbufs are freed at once, which counts as reading.
class PortReader : public Reader {
  public:
    PortReader(uint16_t port, uint16_t queues) : port_(port), queues_(queues) {}

    unsigned poll() override {
        unsigned received = 0;
        for (uint16_t queue = 0; queue < queues_; queue++) {
            const uint16_t burst = rte_eth_rx_burst(port_, queue, packets_.data(), kBurst);
            if (burst > 0)
                rte_pktmbuf_free_bulk(packets_.data(), burst);
            received += burst;
        }
        return received;
    }

  private:
    static constexpr uint16_t kBurst = 32;

    uint16_t port_;
    uint16_t queues_;
    std::array<rte_mbuf *, kBurst> packets_{};
};

} // namespace tapflow::bench
