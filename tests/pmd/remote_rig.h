// SPDX-License-Identifier: BSD-3-Clause
// Who got a frame that arrived at the remote: the application, the kernel, or both.
#pragma once

#include "pmd/plugin.h"
#include "support/packet_socket.h"

#include <arpa/inet.h>
#include <linux/bpf.h>
#include <linux/if_packet.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace tapflow::test {

/// IEEE 802 local experimental ethertype 1: the kernel has nothing to say to it, and nobody else sends it.
inline constexpr uint16_t kProbeType = 0x88b5;

/// A frame that is told from others by its source address.
inline packet::Bytes probe(const MacAddress &destination, const MacAddress &source, size_t size = 60) {
    return packet::Packet().ether(destination, source).next_type(kProbeType).pad_to(size).bytes();
}

inline MacAddress source_of(const packet::Bytes &frame) {
    MacAddress source;
    std::copy_n(frame.begin() + 6, source.bytes.size(), source.bytes.begin());
    return source;
}

/// A socket that gets the frames of one ethertype which the kernel goes on with behind the TC ingress hook, those for
/// other hosts too. One for ETH_P_ALL would see what the hook takes as well: in __netif_receive_skb_core() the handlers
/// of all types run in front of sch_handle_ingress(), those of a type behind it.
inline PacketSocket socket_behind_ingress(const NetNs &netns, const std::string &interface,
                                          uint16_t ethertype = kProbeType) {
    PacketSocket socket(netns, interface, {.receive = false});
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(ethertype);
    address.sll_ifindex = netns.link(interface).index;
    if (bind(socket.fd(), reinterpret_cast<const sockaddr *>(&address), sizeof(address)) != 0)
        throw_errno("bind a packet socket to an ethertype");
    return socket;
}

/// What came in order until a frame from `last` did, that one not included.
inline std::vector<MacAddress> sources_until(PacketSocket &socket, const MacAddress &last) {
    std::vector<MacAddress> sources;
    for (;;) {
        const auto frame = socket.receive();
        if (!frame)
            throw std::runtime_error("the frame from " + last.text() + " did not come");
        if (source_of(frame->bytes) == last)
            return sources;
        sources.push_back(source_of(frame->bytes));
    }
}

inline constexpr int kReceiveMark = 75; ///< SO_RCVMARK: newer than Debian 12's headers

inline void set_option(const PacketSocket &socket, int option, uint32_t value, const char *name) {
    if (setsockopt(socket.fd(), SOL_SOCKET, option, &value, sizeof(value)) != 0)
        throw_errno(std::string("set ") + name);
}

/// The mark of the next packet on a socket with SO_RCVMARK; none: it came without.
inline std::optional<uint32_t> receive_mark(const PacketSocket &socket) {
    pollfd readable{socket.fd(), POLLIN, 0};
    if (poll(&readable, 1, static_cast<int>(kDefaultTimeout.count())) != 1)
        throw std::runtime_error("no packet came");
    std::array<uint8_t, 2048> data{};
    alignas(cmsghdr) std::array<uint8_t, 256> control{};
    iovec vector{data.data(), data.size()};
    msghdr message{};
    message.msg_iov = &vector;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    if (recvmsg(socket.fd(), &message, 0) < 0)
        throw_errno("receive a packet");
    for (cmsghdr *header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SO_MARK)
            continue;
        uint32_t mark = 0;
        std::memcpy(&mark, CMSG_DATA(header), sizeof(mark));
        return mark;
    }
    return std::nullopt;
}

/// The ids of the programs at an interface's TCX hook, in their order; nothing if the kernel lacks TCX (before 6.6).
inline std::optional<std::vector<uint32_t>> tcx_programs(const NetNs &netns, const std::string &interface,
                                                         bool ingress = true) {
    const NetNsGuard inside = netns.enter();
    std::array<uint32_t, 64> ids{};
    bpf_attr attributes{};
    attributes.query.target_fd = static_cast<uint32_t>(netns.link(interface).index); // a union with target_ifindex
    attributes.query.attach_type = ingress ? 46 : 47; // BPF_TCX_INGRESS, _EGRESS: newer than Debian 12's headers
    attributes.query.prog_ids = reinterpret_cast<uint64_t>(ids.data());
    attributes.query.prog_cnt = ids.size();
    if (syscall(SYS_bpf, BPF_PROG_QUERY, &attributes, sizeof(attributes)) != 0) {
        if (errno == EINVAL)
            return std::nullopt;
        if (errno == ENOENT) // nothing was ever attached
            return std::vector<uint32_t>();
        throw_errno("query the TCX programs of " + interface);
    }
    return std::vector(ids.begin(), ids.begin() + attributes.query.prog_cnt);
}

} // namespace tapflow::test
