// SPDX-License-Identifier: BSD-3-Clause
// An RSS configuration as a user gives it, and the tables that the classifier reads.
#pragma once

#include "tapflow/abi/rss.h"
#include "tapflow/result.h"

#include <cstdint>
#include <span>
#include <vector>

namespace tapflow::rss {

/// What packets are hashed by. The values are DPDK's RTE_ETH_RSS_* bits (rte_ethdev.h), which are public ABI there;
/// the PMD asserts that they are equal.
enum Type : uint64_t {
    kIpv4 = 1ull << 2,
    kFragmentIpv4 = 1ull << 3,
    kIpv4Tcp = 1ull << 4,
    kIpv4Udp = 1ull << 5,
    kIpv4Other = 1ull << 7,
    kIpv6 = 1ull << 8,
    kFragmentIpv6 = 1ull << 9,
    kIpv6Tcp = 1ull << 10,
    kIpv6Udp = 1ull << 11,
    kIpv6Other = 1ull << 13,
};
constexpr uint64_t kAllTypes =
    kIpv4 | kFragmentIpv4 | kIpv4Tcp | kIpv4Udp | kIpv4Other | kIpv6 | kFragmentIpv6 | kIpv6Tcp | kIpv6Udp | kIpv6Other;

constexpr size_t kKeySize = 40;
constexpr size_t kDefaultRetaSize = 128;

/// The key of Microsoft's RSS verification suite, the default of most NIC drivers.
std::span<const uint8_t> default_key();

/// Key, types and redirection table. A plain value.
struct RssConfig {
    std::vector<uint8_t> key;   ///< kKeySize bytes
    uint64_t types = 0;         ///< Type bits; 0: nothing is hashed, everything goes to reta[0]
    std::vector<uint16_t> reta; ///< queue of each slot; a power of two of slots, at most TAPFLOW_RETA_MAX

    bool operator==(const RssConfig &) const = default;
};

/// Slots filled round-robin with queues 0 to `queues` - 1.
std::vector<uint16_t> round_robin_reta(unsigned queues, size_t slots = kDefaultRetaSize);

/// Errors: EINVAL naming the member that is wrong: key size, unknown type, RETA size, queue out of range.
Result<void> validate(const RssConfig &config, unsigned queues);

/// Fills the classifier's tables from a valid configuration.
///
/// A packet of a class is hashed over addresses and ports where its own type is set, over addresses where only the
/// type of all packets of its IP version is set, else not at all.
void build_tables(const RssConfig &config, tapflow_rss &tables);

} // namespace tapflow::rss
