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
    kIpv4Sctp = 1ull << 6,
    kIpv4Other = 1ull << 7,
    kIpv6 = 1ull << 8,
    kFragmentIpv6 = 1ull << 9,
    kIpv6Tcp = 1ull << 10,
    kIpv6Udp = 1ull << 11,
    kIpv6Sctp = 1ull << 12,
    kIpv6Other = 1ull << 13,
    kL2Payload = 1ull << 14,
    kIpv6Ex = 1ull << 15,
    kIpv6TcpEx = 1ull << 16,
    kIpv6UdpEx = 1ull << 17,
    kEsp = 1ull << 27,
    kAh = 1ull << 28,
};
constexpr uint64_t kAllTypes = kIpv4 | kFragmentIpv4 | kIpv4Tcp | kIpv4Udp | kIpv4Sctp | kIpv4Other | kIpv6 |
                               kFragmentIpv6 | kIpv6Tcp | kIpv6Udp | kIpv6Sctp | kIpv6Other | kL2Payload | kIpv6Ex |
                               kIpv6TcpEx | kIpv6UdpEx | kEsp | kAh;

/// What narrows the types, in the same word. Both of a pair are as none of it.
enum Modifier : uint64_t {
    kL2SourceOnly = 1ull << 59,
    kL2DestinationOnly = 1ull << 58,
    kL3SourceOnly = 1ull << 63,
    kL3DestinationOnly = 1ull << 62,
    kL4SourceOnly = 1ull << 61,
    kL4DestinationOnly = 1ull << 60,
    kOutermost = 1ull << 50, ///< of a tunnel packet, the outer headers; so is neither of the two, and both
    kInnermost = 2ull << 50, ///< of a tunnel packet, the inner headers
};
constexpr uint64_t kAllModifiers = kL2SourceOnly | kL2DestinationOnly | kL3SourceOnly | kL3DestinationOnly |
                                   kL4SourceOnly | kL4DestinationOnly | kOutermost | kInnermost;

/// How fields become a hash; DPDK's enum rte_eth_hash_function.
enum class Function : uint8_t {
    Toeplitz,
    SimpleXor,             ///< exclusive-or of the input's 32-bit words, in network byte order
    SymmetricToeplitz,     ///< Toeplitz with source and destination both replaced by source ^ destination
    SymmetricToeplitzSort, ///< Toeplitz with the lower address and the lower port first
};

/// Only the first 40 bytes of a key meet input (36 bytes of it); a key of 52 is kept whole for who asks for it.
constexpr size_t kKeySize = 40;
constexpr size_t kLongKeySize = 52;
constexpr size_t kDefaultRetaSize = 128;

/// The key of Microsoft's RSS verification suite, the default of most NIC drivers.
std::span<const uint8_t> default_key();

/// Key, types, function and redirection table. A plain value.
struct RssConfig {
    std::vector<uint8_t> key;   ///< kKeySize or kLongKeySize bytes
    uint64_t types = 0;         ///< Type and Modifier bits; no Type: nothing is hashed, everything goes to reta[0]
    std::vector<uint16_t> reta; ///< queue of each slot; a power of two of slots, at most TAPFLOW_RETA_MAX
    Function function = Function::Toeplitz;

    bool operator==(const RssConfig &) const = default;
};

/// Slots filled round-robin with queues 0 to `queues` - 1.
std::vector<uint16_t> round_robin_reta(unsigned queues, size_t slots = kDefaultRetaSize);

/// Errors: EINVAL naming the member that is wrong: key size, unknown type, RETA size, queue out of range.
Result<void> validate(const RssConfig &config, unsigned queues);

/// Fills the classifier's tables from a valid configuration.
///
/// A packet is hashed over addresses and ports (or SPI) where the type of its protocol is set, else over addresses
/// where a type of its kind (fragment, other) or of all packets of its IP version is set, else not at all. kIpv6TcpEx
/// and kIpv6UdpEx are like kIpv6Tcp and kIpv6Udp, kIpv6Ex like kIpv6, with the addresses of a mobile node (home address
/// option, type 2 routing header) in the header's place. Where both are set, the plain one decides for ports, kIpv6Ex
/// for addresses, as in Intel's 82576. kL2Payload: what is not IP, over MAC addresses and EtherType. Fields that a
/// Modifier leaves out count as zero; what is left of the pair is hashed as it is, whatever the function's symmetry.
void build_tables(const RssConfig &config, tapflow_rss &tables);
/// What such tables were made from. What is not a configuration (memory of another's) gives one that is not valid.
RssConfig config_of(const tapflow_rss &tables);

} // namespace tapflow::rss
