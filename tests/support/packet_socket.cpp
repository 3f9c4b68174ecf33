// SPDX-License-Identifier: BSD-3-Clause
#include "support/packet_socket.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <stdexcept>

namespace tapflow::test {
namespace {

constexpr size_t kBatch = 64;
constexpr int kSocketRoom = 32 << 20;

iovec whole(const void *data, size_t size) { return {const_cast<void *>(data), size}; }

} // namespace

packet::Bytes ReceivedFrame::on_wire() const {
    packet::Bytes frame = bytes;
    if (!vlan_tci)
        return frame;
    const std::array<uint8_t, 4> tag{static_cast<uint8_t>(vlan_tpid >> 8U), static_cast<uint8_t>(vlan_tpid),
                                     static_cast<uint8_t>(*vlan_tci >> 8U), static_cast<uint8_t>(*vlan_tci)};
    frame.insert(frame.begin() + 2 * ETH_ALEN, tag.begin(), tag.end());
    return frame;
}

PacketSocket::PacketSocket(const NetNs &netns, const std::string &interface, const PacketSocketOptions &options)
    : vnet_hdr_(options.vnet_hdr), buffer_(sizeof(VnetHeader) + (256U << 10U)) {
    const NetNsGuard inside = netns.enter();
    // Protocol 0 until everything is set: frames of other interfaces would queue up before bind.
    fd_ = owned(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), "open a packet socket");
    if (options.ignore_outgoing)
        set(PACKET_IGNORE_OUTGOING, 1, "PACKET_IGNORE_OUTGOING");
    if (options.auxdata)
        set(PACKET_AUXDATA, 1, "PACKET_AUXDATA");
    if (options.qdisc_bypass)
        set(PACKET_QDISC_BYPASS, 1, "PACKET_QDISC_BYPASS");
    if (options.vnet_hdr)
        set(PACKET_VNET_HDR, 1, "PACKET_VNET_HDR");
    for (const int option : {SO_RCVBUFFORCE, SO_SNDBUFFORCE})
        if (setsockopt(fd_.get(), SOL_SOCKET, option, &kSocketRoom, sizeof(kSocketRoom)) != 0)
            throw_errno("size the buffers of a packet socket");

    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(options.receive ? ETH_P_ALL : 0);
    address.sll_ifindex = netns.link(interface).index;
    if (bind(fd_.get(), reinterpret_cast<const sockaddr *>(&address), sizeof(address)) != 0)
        throw_errno("bind a packet socket to " + interface);
}

void PacketSocket::set(int option, int value, const char *name) {
    if (setsockopt(fd_.get(), SOL_PACKET, option, &value, sizeof(value)) != 0)
        throw_errno(std::string("set ") + name);
}

bool PacketSocket::send(const packet::Bytes &frame) { return send(frame, {}); }

bool PacketSocket::send(const packet::Bytes &frame, const VnetHeader &offload) {
    if (!vnet_hdr_ && (offload.flags != 0 || offload.gso_type != 0))
        throw std::logic_error("offload requests need PacketSocketOptions::vnet_hdr");
    std::array<iovec, 2> parts{whole(&offload, sizeof(offload)), whole(frame.data(), frame.size())};
    msghdr message{};
    message.msg_iov = vnet_hdr_ ? parts.data() : parts.data() + 1;
    message.msg_iovlen = vnet_hdr_ ? 2 : 1;
    if (sendmsg(fd_.get(), &message, 0) >= 0)
        return true;
    if (errno == ENOBUFS)
        return false;
    throw_errno("send " + std::to_string(frame.size()) + " bytes");
}

size_t PacketSocket::send_burst(std::span<const packet::Bytes> frames, unsigned retries) {
    const VnetHeader no_offload{};
    size_t sent = 0;
    unsigned refused = 0;
    while (sent < frames.size()) {
        std::array<std::array<iovec, 2>, kBatch> parts;
        std::array<mmsghdr, kBatch> messages{};
        const size_t count = std::min(kBatch, frames.size() - sent);
        for (size_t i = 0; i < count; ++i) {
            const packet::Bytes &frame = frames[sent + i];
            parts[i] = {whole(&no_offload, sizeof(no_offload)), whole(frame.data(), frame.size())};
            messages[i].msg_hdr.msg_iov = vnet_hdr_ ? parts[i].data() : parts[i].data() + 1;
            messages[i].msg_hdr.msg_iovlen = vnet_hdr_ ? 2 : 1;
        }
        const int done = sendmmsg(fd_.get(), messages.data(), static_cast<unsigned>(count), 0);
        if (done > 0) {
            sent += static_cast<size_t>(done);
            refused = 0;
        } else if (errno != ENOBUFS) {
            throw_errno("send frame " + std::to_string(sent));
        } else if (refused++ == retries) {
            break;
        } else {
            std::this_thread::sleep_for(std::chrono::microseconds(200));
        }
    }
    return sent;
}

std::optional<ReceivedFrame> PacketSocket::receive(milliseconds timeout) {
    const auto deadline = Clock::now() + timeout;
    iovec part = whole(buffer_.data(), buffer_.size());
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(tpacket_auxdata))> control;
    sockaddr_ll from{};
    msghdr message{};
    ssize_t size = -1;
    for (;;) {
        message.msg_name = &from;
        message.msg_namelen = sizeof(from);
        message.msg_iov = &part;
        message.msg_iovlen = 1;
        message.msg_control = control.data();
        message.msg_controllen = control.size();
        size = recvmsg(fd_.get(), &message, MSG_DONTWAIT);
        if (size >= 0)
            break;
        if (errno != EAGAIN && errno != EINTR)
            throw_errno("receive a frame");
        pollfd event{fd_.get(), POLLIN, 0};
        if (poll(&event, 1, poll_timeout(deadline)) == 0)
            return std::nullopt;
    }

    ReceivedFrame frame;
    const size_t header = vnet_hdr_ ? sizeof(VnetHeader) : 0;
    if (vnet_hdr_)
        std::memcpy(&frame.offload, buffer_.data(), header);
    frame.bytes.assign(buffer_.begin() + static_cast<ptrdiff_t>(header), buffer_.begin() + size);
    frame.packet_type = from.sll_pkttype;
    for (cmsghdr *part_of = CMSG_FIRSTHDR(&message); part_of != nullptr; part_of = CMSG_NXTHDR(&message, part_of)) {
        if (part_of->cmsg_level != SOL_PACKET || part_of->cmsg_type != PACKET_AUXDATA)
            continue;
        tpacket_auxdata aux;
        std::memcpy(&aux, CMSG_DATA(part_of), sizeof(aux));
        frame.checksum_not_ready = (aux.tp_status & TP_STATUS_CSUMNOTREADY) != 0;
        if ((aux.tp_status & TP_STATUS_VLAN_VALID) != 0) {
            frame.vlan_tci = aux.tp_vlan_tci;
            frame.vlan_tpid = aux.tp_vlan_tpid;
        }
    }
    return frame;
}

std::vector<ReceivedFrame> PacketSocket::receive_many(size_t count, milliseconds timeout) {
    std::vector<ReceivedFrame> frames;
    while (frames.size() < count) {
        auto frame = receive(timeout);
        if (!frame)
            break;
        frames.push_back(std::move(*frame));
    }
    return frames;
}

unsigned PacketSocket::dropped() {
    tpacket_stats stats{};
    socklen_t size = sizeof(stats);
    if (getsockopt(fd_.get(), SOL_PACKET, PACKET_STATISTICS, &stats, &size) != 0)
        throw_errno("read packet socket statistics");
    return stats.tp_drops;
}

VnetHeader checksum_request(const packet::Packet &packet) {
    VnetHeader request;
    request.flags = VnetHeader::kNeedsChecksum;
    request.checksum_start = static_cast<uint16_t>(packet.transport_offset());
    request.checksum_offset = static_cast<uint16_t>(packet.transport_checksum_offset());
    return request;
}

VnetHeader gso_request(const packet::Packet &packet, VnetHeader::GsoType type, uint16_t mss) {
    VnetHeader request = checksum_request(packet);
    request.gso_type = type;
    request.gso_size = mss;
    request.header_length = static_cast<uint16_t>(packet.transport_offset() + packet.transport_header_size());
    return request;
}

} // namespace tapflow::test
