// SPDX-License-Identifier: BSD-3-Clause
#include "pmd/rx.h"

#include "pmd/rx_special.h"

#include <rte_memcpy.h>

#include <algorithm>
#include <array>
#include <bit>
#include <span>

namespace tapflow::pmd {
namespace {

constexpr uint16_t kBatch = 32;

constexpr uint16_t kSpecialFlags =
    TAPFLOW_RECORD_VLAN | TAPFLOW_RECORD_CSUM_PARTIAL | TAPFLOW_RECORD_GSO | TAPFLOW_RECORD_REWRITE;

inline const uint8_t *frame_of(const tapflow_record *record) { return reinterpret_cast<const uint8_t *>(record + 1); }

/// True for a tag in the frame itself, which only a local sender can leave there.
inline bool has_inline_tag(const uint8_t *frame) { return frame[12] == 0x81 && frame[13] == 0x00; }

/// Copies a frame that the smallest size class holds by constant-size moves; the class's slot is 64 bytes long.
inline void copy_frame(uint8_t *out, const uint8_t *frame, uint32_t length) {
    if (length <= 64)
        rte_mov64(out, frame);
    else
        rte_memcpy(out, frame, length);
}

/// Takes `wanted` mbufs, or half as many, and so on down to none.
inline uint16_t allocate(rte_mempool *pool, rte_mbuf **packets, uint16_t wanted) {
    while (wanted > 0 && rte_pktmbuf_alloc_bulk(pool, packets, wanted) != 0)
        wanted /= 2;
    return wanted;
}

/// The receive function. `Checksum` says whether that offload is on for any queue of the port.
template <bool Checksum> uint16_t rx_burst(void *opaque, rte_mbuf **packets, uint16_t wanted) {
    auto &queue = *static_cast<RxQueue *>(opaque);
    const auto &local = *static_cast<const ProcessPrivate *>(rte_eth_devices[queue.port].process_private);
    const RingPath &path = local.rx[queue.id];
    const kernel::RingView &ring = path.ring;
    const uint16_t room = queue.room;
    kernel::RingCursor cursor = ring.begin();
    if (cursor.position == cursor.producer)
        return 0;
    // Behind begin(): a packet sent after the offload was switched finds it so.
    const bool strip = queue.strip.load(std::memory_order_relaxed);
    auto is_plain = [room, strip](const tapflow_record *record) {
        return !(record->flags & kSpecialFlags) && record->length <= room &&
               !(strip && has_inline_tag(frame_of(record)));
    };
    std::array<const tapflow_record *, kBatch> batch;
    uint16_t received = 0;
    uint64_t bytes = 0;
    bool more = true;
    while (more && received < wanted) {
        const kernel::RingCursor start = cursor;
        const auto limit = std::min<uint16_t>(kBatch, static_cast<uint16_t>(wanted - received));
        const tapflow_record *record = nullptr;
        uint64_t next = 0;
        uint16_t plain = 0;
        while (plain < limit && (record = ring.peek(cursor, next)) && is_plain(record)) {
            batch[plain++] = record;
            cursor.position = next;
        }
        if (plain > 0) {
            const uint16_t allocated = allocate(queue.pool, packets + received, plain);
            if (allocated < plain) {
                queue.no_mbuf.add(1);
                more = false;
                cursor = start;
                for (uint16_t i = 0; i < allocated; i++) {
                    (void)ring.peek(cursor, next);
                    cursor.position = next;
                }
            }
            for (uint16_t i = 0; i < allocated; i++) {
                rte_mbuf *packet = packets[received + i];
                const tapflow_record *source = batch[i];
                packet->data_len = static_cast<uint16_t>(source->length);
                packet->pkt_len = source->length;
                packet->port = queue.port;
                describe(*source, *packet);
                if (Checksum)
                    packet->ol_flags |= checksum_flags(*source, frame_of(source));
                copy_frame(rte_pktmbuf_mtod(packet, uint8_t *), frame_of(source), source->length);
                bytes += source->length;
            }
            received = static_cast<uint16_t>(received + allocated);
            if (!more)
                break;
        }
        if (plain == limit)
            continue;
        if (!record)
            break;
        const auto room_left = static_cast<uint16_t>(wanted - received);
        const SpecialResult special =
            record->flags & TAPFLOW_RECORD_REWRITE
                ? receive_rewritten(queue, path, *record, frame_of(record), packets + received, room_left)
                : receive_special(queue, *record, frame_of(record), packets + received, room_left);
        for (uint16_t i = 0; i < special.packets; i++)
            bytes += packets[received + i]->pkt_len;
        received = static_cast<uint16_t>(received + special.packets);
        more = special.finished;
        if (special.finished)
            cursor.position = next;
    }
    ring.release(cursor);
    if (received > 0) {
        queue.packets.add(received);
        queue.bytes.add(bytes);
        count_traffic(*path.traffic, received, bytes);
    }
    return received;
}

/// Takes off the Ethernet headers that the classifier has put in front of a tun device's packets.
template <eth_rx_burst_t Receive> uint16_t rx_burst_of_tun(void *opaque, rte_mbuf **packets, uint16_t wanted) {
    const uint16_t received = Receive(opaque, packets, wanted);
    for (uint16_t i = 0; i < received; i++) {
        rte_pktmbuf_adj(packets[i], RTE_ETHER_HDR_LEN);
        packets[i]->packet_type &= ~uint32_t{RTE_PTYPE_L2_MASK};
    }
    auto &queue = *static_cast<RxQueue *>(opaque);
    const auto &dev = rte_eth_devices[queue.port];
    const uint64_t correction = -uint64_t{RTE_ETHER_HDR_LEN} * received;
    queue.bytes.add(correction);
    count_traffic(port(&dev).received(queue.id), 0, correction);
    return received;
}

} // namespace

RingPath make_ring_path(const kernel::RingView &ring, tapflow_queue_traffic &traffic, const engine::FlowRules &rules) {
    return {ring, &traffic, &rules, std::make_unique_for_overwrite<uint8_t[]>(kRewriteScratch)};
}

eth_rx_burst_t select_rx_burst(const rte_eth_dev *dev, uint64_t offloads) {
    if (!by_ring(dev))
        return is_tun(dev) ? rx_burst_of_tun<rx_burst_fd> : rx_burst_fd;
    if (offloads & RTE_ETH_RX_OFFLOAD_CHECKSUM)
        return is_tun(dev) ? rx_burst_of_tun<rx_burst<true>> : rx_burst<true>;
    return is_tun(dev) ? rx_burst_of_tun<rx_burst<false>> : rx_burst<false>;
}

std::span<const uint32_t> supported_ptypes(const rte_eth_dev *dev) {
    static constexpr std::array<uint32_t, 8> ptypes{RTE_PTYPE_L2_ETHER,
                                                    RTE_PTYPE_L3_IPV4_EXT_UNKNOWN,
                                                    RTE_PTYPE_L3_IPV6_EXT_UNKNOWN,
                                                    RTE_PTYPE_L4_FRAG,
                                                    RTE_PTYPE_L4_SCTP,
                                                    RTE_PTYPE_L4_TCP,
                                                    RTE_PTYPE_L4_UDP,
                                                    RTE_PTYPE_UNKNOWN};
    return std::span(ptypes).first(ptypes.size() - 1).subspan(is_tun(dev) ? 1 : 0);
}

uint32_t ring_bytes(uint16_t descriptors) {
    constexpr uint32_t kDescriptorBytes = 2048;
    const auto clamped = std::clamp(descriptors, kMinDescriptors, kMaxDescriptors);
    return std::bit_ceil(clamped * kDescriptorBytes);
}

} // namespace tapflow::pmd
