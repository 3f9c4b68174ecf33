// SPDX-License-Identifier: BSD-3-Clause
#include "pmd/rx_special.h"

#include "engine/flow_rules.h"
#include "flow/rewrite.h"
#include "packet/checksum.h"
#include "packet/segment.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

namespace tapflow::pmd {
namespace {

constexpr size_t kMacs = 12; // both addresses: where a tag goes in
constexpr size_t kTag = 4;

/// A packet under construction: one mbuf, or a chain of them where the application takes chains.
class MbufWriter {
  public:
    MbufWriter(RxQueue &queue, bool chain) : queue_(queue), chain_(chain) {}
    ~MbufWriter() { rte_pktmbuf_free(head_); }
    MbufWriter(const MbufWriter &) = delete;
    MbufWriter &operator=(const MbufWriter &) = delete;

    enum class Failure : uint8_t { None, NoMbuf, Oversize };

    void append(const uint8_t *bytes, size_t length) {
        while (length > 0 && failure_ == Failure::None) {
            if (!tail_ || tail_->data_len == queue_.room)
                if (!grow())
                    return;
            const size_t piece = std::min<size_t>(length, static_cast<size_t>(queue_.room - tail_->data_len));
            std::memcpy(rte_pktmbuf_mtod_offset(tail_, uint8_t *, tail_->data_len), bytes, piece);
            tail_->data_len = static_cast<uint16_t>(tail_->data_len + piece);
            head_->pkt_len += static_cast<uint32_t>(piece);
            bytes += piece;
            length -= piece;
        }
    }

    /// Overwrites two bytes that were appended.
    void store16(size_t offset, uint16_t value) {
        for (rte_mbuf *segment = head_; segment; segment = segment->next) {
            if (offset + 1 < segment->data_len) {
                std::memcpy(rte_pktmbuf_mtod_offset(segment, uint8_t *, offset), &value, sizeof(value));
                return;
            }
            offset -= segment->data_len;
        }
    }

    [[nodiscard]] Failure failure() const { return failure_; }
    rte_mbuf *finish() { return std::exchange(head_, nullptr); }

  private:
    bool grow() {
        if (tail_ && !chain_) {
            failure_ = Failure::Oversize;
            return false;
        }
        rte_mbuf *segment = rte_pktmbuf_alloc(queue_.pool);
        if (!segment) {
            failure_ = Failure::NoMbuf;
            return false;
        }
        if (tail_) {
            tail_->next = segment;
            head_->nb_segs++;
        } else {
            head_ = segment;
            head_->port = queue_.port;
        }
        tail_ = segment;
        return true;
    }

    RxQueue &queue_;
    bool chain_;
    rte_mbuf *head_ = nullptr;
    rte_mbuf *tail_ = nullptr;
    Failure failure_ = Failure::None;
};

/// The outermost VLAN tag of a packet, wherever it is now, and where it is to go.
struct Tag {
    bool in_frame = false; ///< as it came
    bool strip = false;
    uint16_t tci = 0;
    std::array<uint8_t, kTag> bytes{}; ///< TPID and TCI as on the wire
    bool present = false;

    Tag(const RxQueue &queue, const tapflow_record &record, const uint8_t *frame) {
        const bool offload = queue.strip.load(std::memory_order_relaxed);
        if (record.flags & TAPFLOW_RECORD_VLAN) {
            present = true;
            tci = record.vlan_tci;
            std::memcpy(bytes.data(), &record.vlan_proto, sizeof(record.vlan_proto));
            strip = offload && bytes[0] == 0x81 && bytes[1] == 0x00; // of an S-tag the TPID would be lost
            bytes[2] = static_cast<uint8_t>(tci >> 8);
            bytes[3] = static_cast<uint8_t>(tci);
        } else if (offload && record.length >= kMacs + kTag && frame[12] == 0x81 && frame[13] == 0x00) {
            present = in_frame = strip = true;
            tci = static_cast<uint16_t>(frame[14] << 8 | frame[15]);
        }
    }

    /// Appends the first `length` bytes of a frame with the tag where it belongs.
    void append_headers(MbufWriter &writer, const uint8_t *frame, size_t length) const {
        writer.append(frame, kMacs);
        if (present && !in_frame && !strip)
            writer.append(bytes.data(), bytes.size());
        const size_t skip = kMacs + (in_frame && strip ? kTag : 0);
        writer.append(frame + skip, length - skip);
    }

    /// How far the bytes behind the tag's place have moved.
    [[nodiscard]] int shift() const {
        if (!present)
            return 0;
        if (strip)
            return in_frame ? -static_cast<int>(kTag) : 0;
        return in_frame ? 0 : static_cast<int>(kTag);
    }

    void describe(rte_mbuf &packet) const {
        if (!strip)
            return;
        packet.vlan_tci = tci;
        packet.ol_flags |= RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED;
    }
};

bool has_checksum_offload(const RxQueue &queue) { return queue.offloads & RTE_ETH_RX_OFFLOAD_CHECKSUM; }

/// The value that completes a partial checksum; the field holds the pseudo-header's sum and is summed with the rest.
uint16_t complete_checksum(const tapflow_record &record, const uint8_t *frame) {
    const uint64_t sum = packet::checksum_add(0, frame + record.csum_start, record.length - record.csum_start);
    const auto value = static_cast<uint16_t>(~packet::checksum_fold(sum));
    // A computed zero means "no checksum" to UDP (RFC 768). Ones' complement has two zeros, so it does no harm to
    // others.
    return value ? value : uint16_t{0xffff};
}

SpecialResult receive_whole(RxQueue &queue, const tapflow_record &record, const uint8_t *frame, rte_mbuf **packets) {
    const bool large = record.flags & TAPFLOW_RECORD_GSO;
    const bool chain = large || queue.offloads & RTE_ETH_RX_OFFLOAD_SCATTER;
    const Tag tag(queue, record, frame);
    MbufWriter writer(queue, chain);
    tag.append_headers(writer, frame, record.length);
    if (writer.failure() == MbufWriter::Failure::NoMbuf) {
        queue.no_mbuf.add(1);
        return {};
    }
    if (writer.failure() == MbufWriter::Failure::Oversize) {
        queue.oversize.add(1);
        return {0, true};
    }
    const bool partial = record.flags & TAPFLOW_RECORD_CSUM_PARTIAL;
    if (partial && !has_checksum_offload(queue) && record.csum_start < record.length)
        writer.store16(size_t{record.csum_start} + record.csum_offset + static_cast<size_t>(tag.shift()),
                       complete_checksum(record, frame));
    rte_mbuf *packet = writer.finish();
    describe(record, *packet);
    tag.describe(*packet);
    if (has_checksum_offload(queue))
        packet->ol_flags |= checksum_flags(record, frame);
    if (large) {
        packet->ol_flags |= RTE_MBUF_F_RX_LRO;
        packet->tso_segsz = record.gso_size;
    }
    packets[0] = packet;
    return {1, true};
}

SpecialResult receive_segments(RxQueue &queue, const tapflow_record &record, const uint8_t *frame, rte_mbuf **packets,
                               uint16_t room) {
    const auto super = packet::SuperFrame::parse(record, frame);
    if (!super) {
        queue.malformed.add(1);
        return {0, true};
    }
    const bool offload = has_checksum_offload(queue);
    const auto field = offload ? packet::ChecksumField::PseudoHeader : packet::ChecksumField::Complete;
    const bool chain = queue.offloads & RTE_ETH_RX_OFFLOAD_SCATTER;
    const Tag tag(queue, record, frame);
    std::array<uint8_t, packet::SuperFrame::kHeaderMax> header;
    uint16_t delivered = 0;
    while (delivered < room && queue.segments < super->segments()) {
        MbufWriter writer(queue, chain);
        super->write_header(queue.segments, field, header.data());
        tag.append_headers(writer, header.data(), super->header_length());
        const auto payload = super->payload(queue.segments);
        writer.append(payload.data(), payload.size());
        if (writer.failure() == MbufWriter::Failure::NoMbuf) {
            queue.no_mbuf.add(1);
            return {delivered, false};
        }
        queue.segments++;
        if (writer.failure() == MbufWriter::Failure::Oversize) {
            queue.oversize.add(1);
            continue;
        }
        rte_mbuf *packet = writer.finish();
        describe(record, *packet);
        tag.describe(*packet);
        if (offload &&
            record.inner_l3_offset == 0) // a tunnel's inner checksum is complete, and not what flags speak of
            packet->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_NONE |
                                (record.packet_class < TAPFLOW_CLASS_IPV6_OTHER ? RTE_MBUF_F_RX_IP_CKSUM_GOOD : 0);
        packets[delivered++] = packet;
    }
    const bool finished = queue.segments >= super->segments();
    if (finished)
        queue.segments = 0;
    return {delivered, finished};
}

uint64_t ipv4_header_flag(const uint8_t *ip, size_t available) {
    const size_t length = (ip[0] & 0x0fu) * size_t{4};
    if (length > available)
        return RTE_MBUF_F_RX_IP_CKSUM_BAD;
    return packet::checksum_fold(packet::checksum_add(0, ip, length)) == 0xffff ? RTE_MBUF_F_RX_IP_CKSUM_GOOD
                                                                                : RTE_MBUF_F_RX_IP_CKSUM_BAD;
}

/// Verifies TCP or UDP in software, as a NIC would. The IP header's length counts: short frames are padded.
uint64_t l4_flag(const tapflow_record &record, const uint8_t *frame) {
    const bool ipv6 = record.packet_class >= TAPFLOW_CLASS_IPV6_OTHER;
    const bool tcp = record.packet_class == TAPFLOW_CLASS_IPV4_TCP || record.packet_class == TAPFLOW_CLASS_IPV6_TCP;
    const uint8_t *ip = frame + record.l3_offset;
    const size_t ip_length =
        ipv6 ? 40u + static_cast<size_t>(ip[4] << 8 | ip[5]) : static_cast<size_t>(ip[2] << 8 | ip[3]);
    const size_t headers = size_t{record.l4_offset} - record.l3_offset;
    if (ip_length < headers + (tcp ? 20 : 8) || record.l3_offset + ip_length > record.length)
        return RTE_MBUF_F_RX_L4_CKSUM_BAD;
    const uint8_t *l4 = frame + record.l4_offset;
    if (!tcp && l4[6] == 0 && l4[7] == 0)
        return ipv6 ? RTE_MBUF_F_RX_L4_CKSUM_BAD : RTE_MBUF_F_RX_L4_CKSUM_GOOD; // no checksum: IPv4 allows it
    const size_t length = ip_length - headers;
    uint64_t sum = packet::checksum_pseudo_header(ip, ipv6, tcp ? 6 : 17, static_cast<uint32_t>(length));
    sum = packet::checksum_add(sum, l4, length);
    return packet::checksum_fold(sum) == 0xffff ? RTE_MBUF_F_RX_L4_CKSUM_GOOD : RTE_MBUF_F_RX_L4_CKSUM_BAD;
}

} // namespace

uint64_t checksum_flags(const tapflow_record &record, const uint8_t *frame) {
    uint64_t flags = 0;
    const uint8_t packet_class = record.packet_class;
    if (packet_class >= TAPFLOW_CLASS_IPV4_OTHER && packet_class < TAPFLOW_CLASS_IPV6_OTHER)
        flags |= ipv4_header_flag(frame + record.l3_offset, record.length - record.l3_offset);
    const bool l4 = packet_class == TAPFLOW_CLASS_IPV4_TCP || packet_class == TAPFLOW_CLASS_IPV4_UDP ||
                    packet_class == TAPFLOW_CLASS_IPV6_TCP || packet_class == TAPFLOW_CLASS_IPV6_UDP;
    if (!l4)
        return flags;
    if (record.flags & TAPFLOW_RECORD_CSUM_PARTIAL)
        return flags | RTE_MBUF_F_RX_L4_CKSUM_NONE;
    if (record.flags & TAPFLOW_RECORD_CSUM_VERIFIED)
        return flags | RTE_MBUF_F_RX_L4_CKSUM_GOOD;
    return flags | l4_flag(record, frame);
}

SpecialResult receive_special(RxQueue &queue, const tapflow_record &record, const uint8_t *frame, rte_mbuf **packets,
                              uint16_t room) {
    const bool segment = record.flags & TAPFLOW_RECORD_GSO &&
                         !(queue.offloads & RTE_ETH_RX_OFFLOAD_TCP_LRO && record.gso_type == TAPFLOW_GSO_TCP);
    return segment ? receive_segments(queue, record, frame, packets, room)
                   : receive_whole(queue, record, frame, packets);
}

SpecialResult receive_rewritten(RxQueue &queue, const RingPath &path, const tapflow_record &record,
                                const uint8_t *frame, rte_mbuf **packets, uint16_t room) {
    const std::vector<flow::Rewrite> *changes = path.rules->rewrites(record.rewrite);
    std::optional<flow::Rewritten> changed;
    if (changes)
        changed = flow::rewrite(*changes, record, frame, {path.scratch.get(), kRewriteScratch});
    if (!changed) {
        queue.malformed.add(1);
        queue.segments = 0;
        return {0, true};
    }
    return receive_special(queue, changed->record, changed->frame, packets, room);
}

} // namespace tapflow::pmd
