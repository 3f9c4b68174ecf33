// SPDX-License-Identifier: BSD-3-Clause
// Packets that do not go straight from a record into one mbuf.
#pragma once

#include "pmd/shared.h"
#include "tapflow/abi/record.h"

#include <rte_mbuf.h>

#include <array>

namespace tapflow::pmd {

/// DPDK's packet type by enum tapflow_packet_class.
inline constexpr std::array<uint32_t, 16> kPacketTypes = [] {
    std::array<uint32_t, 16> types{};
    types.fill(RTE_PTYPE_L2_ETHER);
    constexpr uint32_t v4 = RTE_PTYPE_L2_ETHER | RTE_PTYPE_L3_IPV4_EXT_UNKNOWN;
    constexpr uint32_t v6 = RTE_PTYPE_L2_ETHER | RTE_PTYPE_L3_IPV6_EXT_UNKNOWN;
    types[TAPFLOW_CLASS_IPV4_OTHER] = v4;
    types[TAPFLOW_CLASS_IPV4_FRAGMENT] = v4 | RTE_PTYPE_L4_FRAG;
    types[TAPFLOW_CLASS_IPV4_TCP] = v4 | RTE_PTYPE_L4_TCP;
    types[TAPFLOW_CLASS_IPV4_UDP] = v4 | RTE_PTYPE_L4_UDP;
    types[TAPFLOW_CLASS_IPV4_SCTP] = v4 | RTE_PTYPE_L4_SCTP;
    types[TAPFLOW_CLASS_IPV4_ESP] = v4;
    types[TAPFLOW_CLASS_IPV4_AH] = v4;
    types[TAPFLOW_CLASS_IPV6_OTHER] = v6;
    types[TAPFLOW_CLASS_IPV6_FRAGMENT] = v6 | RTE_PTYPE_L4_FRAG;
    types[TAPFLOW_CLASS_IPV6_TCP] = v6 | RTE_PTYPE_L4_TCP;
    types[TAPFLOW_CLASS_IPV6_UDP] = v6 | RTE_PTYPE_L4_UDP;
    types[TAPFLOW_CLASS_IPV6_SCTP] = v6 | RTE_PTYPE_L4_SCTP;
    types[TAPFLOW_CLASS_IPV6_ESP] = v6;
    types[TAPFLOW_CLASS_IPV6_AH] = v6;
    return types;
}();

/// Sets what the record says about the packet: hash, packet type, a rule's mark or flag.
inline void describe(const tapflow_record &record, rte_mbuf &packet) {
    packet.packet_type = kPacketTypes[record.packet_class & 15];
    if (record.flags & TAPFLOW_RECORD_HASH) {
        packet.hash.rss = record.hash;
        packet.ol_flags |= RTE_MBUF_F_RX_RSS_HASH;
    }
    if (record.flags & (TAPFLOW_RECORD_MARK | TAPFLOW_RECORD_FLAG)) [[unlikely]] {
        packet.ol_flags |= RTE_MBUF_F_RX_FDIR;
        if (record.flags & TAPFLOW_RECORD_MARK) {
            packet.hash.fdir.hi = record.mark; // not the word of hash.rss
            packet.ol_flags |= RTE_MBUF_F_RX_FDIR_ID;
        }
    }
}

/// What the checksum flags of a packet are, given Rx checksum offload: the IPv4 header is verified here, the L4
/// checksum where the kernel has not done so. A partial checksum gives RTE_MBUF_F_RX_L4_CKSUM_NONE, as in virtio.
uint64_t checksum_flags(const tapflow_record &record, const uint8_t *frame);

struct SpecialResult {
    uint16_t packets = 0;
    bool finished = false; ///< the record is used up; otherwise the next burst goes on with it
};

/// Delivers any frame: also one with a tag beside it, a partial checksum, more bytes than an mbuf holds, or segments.
SpecialResult receive_special(RxQueue &queue, const tapflow_record &record, const uint8_t *frame, rte_mbuf **packets,
                              uint16_t room);

/// Delivers a frame with TAPFLOW_RECORD_REWRITE. One whose changes cannot be made is malformed. What is left of a
/// super-frame is rewritten again in the next burst.
SpecialResult receive_rewritten(RxQueue &queue, const RingPath &path, const tapflow_record &record,
                                const uint8_t *frame, rte_mbuf **packets, uint16_t room);

} // namespace tapflow::pmd
