// SPDX-License-Identifier: BSD-3-Clause
// What dpdk-testpmd prints, as values. The formats are those of DPDK's app/test-pmd: util.c dump_pkt_burst(), and
// config.c nic_stats_display() and nic_xstats_display().
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tapflow::test {

/// One packet as `set verbose 1` shows it.
struct TestpmdPacket {
    unsigned port = 0; ///< reliable with one forwarding lcore, as the printing of several interleaves
    unsigned queue = 0;
    std::string src; ///< lower case
    std::string dst;
    uint16_t ethertype = 0;
    unsigned length = 0;
    unsigned nb_segs = 0;
    std::optional<uint32_t> rss_hash;
    std::optional<unsigned> rss_queue;
    std::optional<uint32_t> mark; ///< RTE_MBUF_F_RX_FDIR_ID
    bool flagged = false;         ///< RTE_MBUF_F_RX_FDIR with or without an id
    std::optional<uint16_t> vlan_tci;
    std::optional<uint16_t> vlan_tci_outer;
    std::string hw_ptype; ///< "L2_ETHER L3_IPV4 L4_UDP"; empty: the driver gave none
    std::string sw_ptype;
    std::string ol_flags; ///< names separated by blanks; testpmd cuts them off after 255 characters

    [[nodiscard]] bool has_flag(std::string_view name) const;
};

struct TestpmdPortStats {
    uint64_t rx_packets = 0;
    uint64_t rx_missed = 0;
    uint64_t rx_bytes = 0;
    uint64_t rx_errors = 0;
    uint64_t rx_nombuf = 0;
    uint64_t tx_packets = 0;
    uint64_t tx_errors = 0;
    uint64_t tx_bytes = 0;

    bool operator==(const TestpmdPortStats &) const = default;
};

/// Finds the received packets in output that comes in pieces of any size, among lines of any other kind.
class TestpmdPacketParser {
  public:
    void feed(std::string_view output);
    /// Packets complete by now and not taken yet.
    [[nodiscard]] size_t count() const { return packets_.size(); }
    /// Hands them over.
    [[nodiscard]] std::vector<TestpmdPacket> take() { return std::exchange(packets_, {}); }

  private:
    void feed_line(std::string_view line);

    std::string partial_line_;
    unsigned port_ = 0;
    bool received_ = false;
    std::optional<TestpmdPacket> pending_;
    std::vector<TestpmdPacket> packets_;
};

/// The received packets in a whole output.
[[nodiscard]] std::vector<TestpmdPacket> parse_packets(std::string_view output);
/// `show port stats all`, by port.
[[nodiscard]] std::map<unsigned, TestpmdPortStats> parse_port_stats(std::string_view output);
/// `show port xstats all`, by port and name.
[[nodiscard]] std::map<unsigned, std::map<std::string, uint64_t>> parse_port_xstats(std::string_view output);

} // namespace tapflow::test
