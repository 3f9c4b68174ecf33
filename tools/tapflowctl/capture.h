// SPDX-License-Identifier: BSD-3-Clause
// Packets from files (pcap, pcapng), read by libpcap.
#pragma once

#include "tapflow/result.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

struct pcap;

namespace tapflow::ctl {

/// A capture being read, from its first packet on.
class Capture {
  public:
    /// "-" is stdin. Errors: what the file system or libpcap says; EINVAL for another link type than Ethernet's (or,
    /// with `of_tun`, raw IP).
    static Result<Capture> open(const std::string &path, bool of_tun);
    Capture(Capture &&) noexcept;
    Capture &operator=(Capture &&) noexcept;
    ~Capture();

    struct Packet {
        std::span<const uint8_t> bytes; ///< valid until the next one is read
        uint32_t length = 0;            ///< on the wire; more than `bytes` if the capture has cut it
    };
    /// The next packet; none at the end. Errors: EINVAL for a file that is broken there.
    Result<std::optional<Packet>> next();
    /// Of the packet that was read last, from 1 on.
    [[nodiscard]] uint64_t number() const { return number_; }

  private:
    struct Close {
        void operator()(pcap *capture) const;
    };
    explicit Capture(std::string path) : path_(std::move(path)) {}

    std::string path_;
    std::unique_ptr<pcap, Close> pcap_;
    uint64_t number_ = 0;
};

} // namespace tapflow::ctl
