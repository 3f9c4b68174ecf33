// SPDX-License-Identifier: BSD-3-Clause
#include "pmd/tx.h"

#include "kernel/tun.h"
#include "packet/checksum.h"

#include <rte_mbuf.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>

namespace tapflow::pmd {
namespace {

using kernel::VnetHeader;

constexpr size_t kMacs = 12;
constexpr size_t kTag = 4;
constexpr size_t kTags = 2 * kTag; ///< that a frame may have beside its MTU

/// A frame up to this length is copied whole when its headers change: one write() of it is cheaper than a writev().
constexpr size_t kCopyWhole = 2048;
/// Of a longer one so much: no header that an offload concerns ends behind it.
constexpr size_t kCopyHeaders = 512;
constexpr size_t kScratchSize = sizeof(VnetHeader) + kTag + kCopyWhole;

constexpr uint64_t kHeaderChanges =
    RTE_MBUF_F_TX_VLAN | RTE_MBUF_F_TX_IP_CKSUM | RTE_MBUF_F_TX_L4_MASK | RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_UDP_SEG;
constexpr uint64_t kSegmentation = RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_UDP_SEG;

/// What became of a packet.
enum class Outcome : uint8_t { Sent, Busy, LinkDown, Malformed };

Outcome outcome(ssize_t written) {
    if (written >= 0)
        return Outcome::Sent;
    if (errno == EAGAIN || errno == EINTR)
        return Outcome::Busy;
    return errno == EIO ? Outcome::LinkDown : Outcome::Malformed; // tun_get_user: EIO when the interface is down
}

/// The headers of a packet in writable memory, `length` bytes of them, and the vnet header for it.
struct Headers {
    uint8_t *frame;
    size_t length;
    VnetHeader vnet;
};

/// Does what the packet's flags ask for, by changing headers or by asking the kernel. False if they do not fit.
bool apply_offloads(const rte_mbuf &packet, size_t link_header, Headers &headers) {
    const uint64_t flags = packet.ol_flags;
    const size_t l3 = packet.l2_len;
    const size_t l4 = l3 + packet.l3_len;
    const bool ipv6 = flags & RTE_MBUF_F_TX_IPV6;
    const uint64_t l4_flag = flags & RTE_MBUF_F_TX_L4_MASK;
    const bool segment = flags & kSegmentation;
    const bool tcp = l4_flag == RTE_MBUF_F_TX_TCP_CKSUM || flags & RTE_MBUF_F_TX_TCP_SEG;
    const bool checksum = segment || l4_flag == RTE_MBUF_F_TX_TCP_CKSUM || l4_flag == RTE_MBUF_F_TX_UDP_CKSUM;
    if (!segment && !checksum && !(flags & RTE_MBUF_F_TX_IP_CKSUM))
        return l4_flag == 0; // an SCTP checksum was not offered
    if (l3 < link_header || packet.l3_len < (ipv6 ? 40 : 20) || l4 > headers.length)
        return false;

    uint8_t *ip = headers.frame + l3;
    if (flags & RTE_MBUF_F_TX_IP_CKSUM && !ipv6) {
        std::memset(ip + 10, 0, 2);
        const auto sum = static_cast<uint16_t>(~packet::checksum_fold(packet::checksum_add(0, ip, packet.l3_len)));
        std::memcpy(ip + 10, &sum, sizeof(sum));
    }
    if (!checksum)
        return true;
    const size_t offset = tcp ? 16 : 6;
    if (l4 + offset + 2 > headers.length)
        return false;
    const auto l4_length = static_cast<uint32_t>(packet.pkt_len - l4);
    const uint16_t pseudo = packet::checksum_fold(packet::checksum_pseudo_header(ip, ipv6, tcp ? 6 : 17, l4_length));
    std::memcpy(headers.frame + l4 + offset, &pseudo, sizeof(pseudo));
    headers.vnet.flags = VnetHeader::kNeedsChecksum;
    headers.vnet.checksum_start = static_cast<uint16_t>(l4);
    headers.vnet.checksum_offset = static_cast<uint16_t>(offset);
    if (!segment)
        return true;

    const size_t end = l4 + packet.l4_len;
    if (packet.tso_segsz == 0 || packet.l4_len < (tcp ? 20 : 8) || end > headers.length || end > packet.pkt_len)
        return false;
    if (packet.pkt_len - end <= packet.tso_segsz)
        return true; // one segment: nothing to cut
    headers.vnet.gso_type = !tcp ? VnetHeader::kGsoUdpL4 : ipv6 ? VnetHeader::kGsoTcpV6 : VnetHeader::kGsoTcpV4;
    headers.vnet.gso_size = packet.tso_segsz;
    headers.vnet.header_length = static_cast<uint16_t>(end);
    return true;
}

void insert_tag(uint16_t tci, Headers &headers) {
    uint8_t *tag = headers.frame + kMacs;
    std::memmove(tag + kTag, tag, headers.length - kMacs);
    const std::array<uint8_t, kTag> bytes{0x81, 0x00, static_cast<uint8_t>(tci >> 8), static_cast<uint8_t>(tci)};
    std::memcpy(tag, bytes.data(), bytes.size());
    headers.length += kTag;
    if (headers.vnet.flags & VnetHeader::kNeedsChecksum)
        headers.vnet.checksum_start = static_cast<uint16_t>(headers.vnet.checksum_start + kTag);
    if (headers.vnet.gso_type != VnetHeader::kGsoNone)
        headers.vnet.header_length = static_cast<uint16_t>(headers.vnet.header_length + kTag);
}

/// A packet in one piece, with room in front of it that is ours alone: one write from where it lies.
Outcome send_in_place(int fd, rte_mbuf &packet) {
    uint8_t *start = rte_pktmbuf_mtod(&packet, uint8_t *) - sizeof(VnetHeader);
    std::array<uint8_t, sizeof(VnetHeader)> headroom;
    std::memcpy(headroom.data(), start, headroom.size());
    std::memset(start, 0, sizeof(VnetHeader));
    const Outcome result = outcome(kernel::write_frame(fd, start, sizeof(VnetHeader) + packet.data_len));
    if (result == Outcome::Busy) // the packet stays its sender's, headroom included
        std::memcpy(start, headroom.data(), headroom.size());
    return result;
}

/// The vnet header and changed headers from scratch memory, the rest from the mbufs.
Outcome send_gathered(const TxPath &path, const rte_mbuf &packet) {
    uint8_t *frame = path.scratch.get() + sizeof(VnetHeader);
    const bool whole = packet.pkt_len <= kCopyWhole;
    const size_t copied = whole ? packet.pkt_len : packet.ol_flags & kHeaderChanges ? kCopyHeaders : 0;
    std::array<iovec, kMaxTxSegments + 1> pieces;
    int count = 1;
    size_t left = copied;
    Headers headers{frame, copied, {}};
    for (const rte_mbuf *segment = &packet; segment; segment = segment->next) {
        auto *bytes = rte_pktmbuf_mtod(segment, uint8_t *);
        const size_t now = std::min<size_t>(left, segment->data_len);
        std::memcpy(frame + (copied - left), bytes, now);
        left -= now;
        if (now == segment->data_len)
            continue;
        if (count == static_cast<int>(pieces.size()))
            return Outcome::Malformed;
        pieces[static_cast<size_t>(count++)] = {bytes + now, segment->data_len - now};
    }
    if (left != 0) // pkt_len is more than the segments hold
        return Outcome::Malformed;
    if (packet.ol_flags & kHeaderChanges) {
        if (headers.length < path.link_header || !apply_offloads(packet, path.link_header, headers))
            return Outcome::Malformed;
        if (packet.ol_flags & RTE_MBUF_F_TX_VLAN) {
            if (!path.link_header)
                return Outcome::Malformed;
            insert_tag(packet.vlan_tci, headers);
        }
    }
    std::memcpy(path.scratch.get(), &headers.vnet, sizeof(VnetHeader));
    pieces[0] = {path.scratch.get(), sizeof(VnetHeader) + headers.length};
    return outcome(count == 1 ? kernel::write_frame(path.fd, pieces[0].iov_base, pieces[0].iov_len)
                              : kernel::write_frame(path.fd, pieces.data(), count));
}

/// What a packet is on the wire: with segmentation, each segment has the headers again.
struct Wire {
    uint64_t packets;
    uint64_t bytes;
};

Wire on_the_wire(const rte_mbuf &packet) {
    const uint32_t headers = packet.l2_len + packet.l3_len + packet.l4_len;
    if (!(packet.ol_flags & kSegmentation) || packet.pkt_len <= headers + packet.tso_segsz)
        return {1, packet.pkt_len};
    const uint32_t segments = (packet.pkt_len - headers + packet.tso_segsz - 1) / packet.tso_segsz;
    return {segments, packet.pkt_len + uint64_t{segments - 1} * headers};
}

bool can_send_in_place(const rte_mbuf &packet) {
    return packet.nb_segs == 1 && !(packet.ol_flags & kHeaderChanges) && RTE_MBUF_DIRECT(&packet) &&
           rte_mbuf_refcnt_read(&packet) == 1 && packet.data_off >= sizeof(VnetHeader);
}

} // namespace

TxPath make_tx_path(int fd, tapflow_queue_traffic &traffic, bool tun) {
    TxPath path;
    path.traffic = &traffic;
    path.fd = fd;
    path.scratch = std::make_unique<uint8_t[]>(kScratchSize);
    path.link_header = tun ? 0 : RTE_ETHER_HDR_LEN;
    return path;
}

uint16_t tx_burst(void *opaque, rte_mbuf **packets, uint16_t count) {
    auto &queue = *static_cast<TxQueue *>(opaque);
    if (queue.stopped.load(std::memory_order_relaxed)) [[unlikely]]
        return 0;
    const rte_eth_dev &dev = rte_eth_devices[queue.port];
    const TxPath &path = static_cast<const ProcessPrivate *>(dev.process_private)->tx[queue.id];
    const size_t longest = dev.data->mtu + (path.link_header ? path.link_header + kTags : 0);
    uint64_t sent = 0;
    uint64_t bytes = 0;
    uint16_t i = 0;
    for (; i < count; i++) {
        rte_mbuf *packet = packets[i];
        const uint32_t length = packet->pkt_len;
        if (length > longest && !(packet->ol_flags & kSegmentation)) {
            queue.oversize.add(1);
        } else {
            const Outcome result =
                can_send_in_place(*packet) ? send_in_place(path.fd, *packet) : send_gathered(path, *packet);
            if (result == Outcome::Busy)
                break;
            if (result == Outcome::Sent) {
                const Wire wire = on_the_wire(*packet);
                sent += wire.packets;
                bytes += wire.bytes;
            } else {
                (result == Outcome::LinkDown ? queue.link_down : queue.malformed).add(1);
            }
        }
        rte_pktmbuf_free(packet);
    }
    if (sent > 0) {
        queue.packets.add(sent);
        queue.bytes.add(bytes);
        count_traffic(*path.traffic, sent, bytes);
    }
    return i;
}

} // namespace tapflow::pmd
