// SPDX-License-Identifier: BSD-3-Clause
// Frames of every kind that the parser knows, and of many that it must not trip over.
#pragma once

#include "packet/build.h"

#include <algorithm>
#include <random>
#include <utility>

namespace tapflow::packet {

/// A stream of random frames: well-formed ones of all classes, then some of them with bytes changed or an end cut off,
/// and plain garbage.
class RandomPackets {
  public:
    explicit RandomPackets(std::mt19937_64 random) : random_(random) {}

    /// The next frame, of `shortest` to `longest` bytes.
    Bytes next(size_t shortest, size_t longest) {
        Bytes frame = chance(4) ? garbage(below(longest + 1)) : well_formed(longest);
        if (chance(25))
            for (size_t changes = 1 + below(4); changes > 0 && !frame.empty(); changes--)
                frame[below(std::min<size_t>(frame.size(), 80))] = any<uint8_t>();
        if (chance(20))
            frame.resize(below(frame.size() + 1));
        frame.resize(std::clamp(frame.size(), shortest, longest));
        return frame;
    }

    /// The next one that nothing has been changed in, and that is complete.
    Bytes next_whole(size_t shortest, size_t longest) {
        Bytes frame;
        do
            frame = well_formed(longest);
        while (frame.size() > longest);
        frame.resize(std::max(frame.size(), shortest));
        return frame;
    }

    size_t below(size_t limit) { return random_() % limit; }
    bool chance(unsigned percent) { return below(100) < percent; }
    std::mt19937_64 &random() { return random_; }

  private:
    template <typename T> T any() { return static_cast<T>(random_()); }

    template <typename Array> void fill(Array &bytes) {
        for (auto &byte : bytes)
            byte = any<uint8_t>();
    }

    Bytes garbage(size_t size) {
        Bytes bytes(size);
        fill(bytes);
        return bytes;
    }

    Bytes well_formed(size_t longest) {
        Packet packet = random_ethernet();
        const size_t kind = below(100);
        if (kind < 6)
            return packet.arp(random_arp()).bytes();
        if (kind < 10)
            return packet.next_type(any<uint16_t>()).raw(garbage(below(longest))).bytes();
        if (kind < 50)
            add_ipv4(packet);
        else
            add_ipv6(packet);
        return packet.raw(garbage(payload_size(longest))).bytes();
    }

    Packet random_ethernet() {
        Packet packet;
        Mac source;
        Mac destination;
        fill(source.bytes);
        fill(destination.bytes);
        packet.ether(destination, source);
        add_tags(packet);
        return packet;
    }

    Arp random_arp() {
        Arp message{.operation = chance(70) ? static_cast<uint16_t>(1 + below(2)) : any<uint16_t>()};
        fill(message.sender_mac.bytes);
        fill(message.sender_ip.bytes);
        fill(message.target_mac.bytes);
        fill(message.target_ip.bytes);
        return message;
    }

    Icmp random_icmp() { return {.type = any<uint8_t>(), .code = any<uint8_t>(), .rest = any<uint32_t>()}; }

    size_t payload_size(size_t longest) { return chance(30) ? below(longest) : below(std::min<size_t>(longest, 100)); }

    void add_tags(Packet &packet) {
        size_t tags = chance(60) ? 0 : 1 + below(3);
        while (tags-- > 0)
            packet.vlan({.vid = any<uint16_t>(), .pcp = any<uint8_t>(), .tpid = tpid()});
    }

    uint16_t tpid() { return chance(50) ? 0x8100 : chance(90) ? 0x88a8 : 0x9100; }

    void add_ipv4(Packet &packet) {
        Ipv4 header;
        fill(header.src.bytes);
        fill(header.dst.bytes);
        header.dont_fragment = chance(30);
        header.more_fragments = chance(10);
        header.fragment_offset = chance(10) ? any<uint16_t>() : uint16_t{0};
        if (chance(20))
            header.options = garbage(below(41));
        packet.ipv4(header);
        add_transport(packet);
    }

    void add_ipv6(Packet &packet) {
        Ipv6 header;
        fill(header.src.bytes);
        fill(header.dst.bytes);
        packet.ipv6(header);
        size_t extensions = chance(50) ? 0 : 1 + below(10);
        while (extensions-- > 0)
            add_extension(packet);
        add_transport(packet);
    }

    void add_extension(Packet &packet) {
        const Bytes options = garbage(chance(80) ? 6 : below(chance(80) ? 60 : 600));
        switch (below(chance(70) ? 3 : 5)) {
        case 0:
            packet.hop_by_hop(options);
            break;
        case 1:
            packet.destination_options(options);
            break;
        case 2:
            packet.routing({.type = any<uint8_t>(), .segments_left = any<uint8_t>(), .data = options});
            break;
        case 3:
            packet.fragment({.offset = any<uint16_t>(), .more = chance(50), .id = any<uint32_t>()});
            break;
        default:
            packet.authentication(any<uint32_t>(), any<uint32_t>(), garbage(12));
            break;
        }
    }

    void add_transport(Packet &packet) {
        switch (below(10)) {
        case 0:
        case 1:
            packet.tcp({.src_port = any<uint16_t>(), .dst_port = any<uint16_t>(), .seq = any<uint32_t>()});
            break;
        case 2:
        case 3:
            packet.udp(any<uint16_t>(), any<uint16_t>());
            break;
        case 4:
            packet.sctp(any<uint16_t>(), any<uint16_t>());
            break;
        case 5:
            if (chance(50))
                packet.icmp(random_icmp());
            else
                packet.icmpv6(random_icmp());
            break;
        case 6:
            packet.next_type(50).raw(garbage(8)); // ESP: SPI and sequence number
            break;
        case 7:
            packet.authentication(any<uint32_t>(), any<uint32_t>(), garbage(12)).udp(any<uint16_t>(), any<uint16_t>());
            break;
        case 8:
            add_tunnel(packet);
            break;
        default:
            packet.next_type(any<uint8_t>());
            break;
        }
    }

    /// One that is known. What is in it is as varied as what is not in one, and another tunnel now and then.
    void add_tunnel(Packet &packet) {
        switch (below(6)) {
        case 0:
            packet.udp(any<uint16_t>(), 4789).raw({chance(90) ? uint8_t{8} : any<uint8_t>(), 0, 0, 0, 1, 2, 3, 0});
            packet.raw(well_formed(kInnerLongest));
            break;
        case 1: {
            const auto words = static_cast<uint8_t>(chance(80) ? below(4) : any<uint8_t>());
            packet.udp(any<uint16_t>(), 6081)
                .raw({words, 0, 0x65, 0x58, 1, 2, 3, 0})
                .raw(garbage((words & 0x3fU) * 4U))
                .raw(well_formed(kInnerLongest));
            break;
        }
        case 2:
            add_gre(packet, 0x6558, well_formed(kInnerLongest));
            break;
        case 3:
            if (chance(50))
                add_gre(packet, 0x0800, inner_ipv4());
            else
                add_gre(packet, chance(90) ? 0x86dd : any<uint16_t>(), inner_ipv6());
            break;
        case 4:
            packet.next_type(4).raw(inner_ipv4());
            break;
        default:
            packet.next_type(41).raw(inner_ipv6());
            break;
        }
    }

    void add_gre(Packet &packet, uint16_t type, const Bytes &inside) {
        const auto flags = static_cast<uint8_t>(chance(90) ? any<uint8_t>() & 0xb0U : any<uint8_t>());
        const size_t options =
            ((flags & 0x80U) != 0 ? 4U : 0U) + ((flags & 0x20U) != 0 ? 4U : 0U) + ((flags & 0x10U) != 0 ? 4U : 0U);
        packet.next_type(47)
            .raw({flags, 0, static_cast<uint8_t>(type >> 8U), static_cast<uint8_t>(type)})
            .raw(garbage(options))
            .raw(inside);
    }

    Bytes inner_ipv4() {
        Packet packet;
        add_ipv4(packet.ether());
        return inner(packet.raw(garbage(below(20))), 14);
    }

    Bytes inner_ipv6() {
        Packet packet;
        add_ipv6(packet.ether());
        return inner(packet.raw(garbage(below(20))), 14);
    }

    static constexpr size_t kInnerLongest = 60; ///< payload

    static Bytes inner(const Packet &packet, size_t skip) {
        const Bytes bytes = packet.bytes();
        return {bytes.begin() + static_cast<ptrdiff_t>(skip), bytes.end()};
    }

    std::mt19937_64 random_;
};

} // namespace tapflow::packet
