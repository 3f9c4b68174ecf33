// SPDX-License-Identifier: BSD-3-Clause
// A packet of each kind that RSS knows, with what is hashed of it: the rules of src/rss/rss_config.h in their words.
#pragma once

#include "packet/build.h"
#include "rss/rss_config.h"
#include "support/hash_reference.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace tapflow::test {

/// What tells one flow from another.
struct Flow {
    packet::Mac source_mac = "02:00:00:00:0a:01";
    packet::Mac destination_mac = "02:00:00:00:0b:07";
    packet::Ipv4Address source4 = "192.168.77.13";
    packet::Ipv4Address destination4 = "10.200.3.99";
    packet::Ipv6Address source6 = "2001:db8:5:1::abcd";
    packet::Ipv6Address destination6 = "fd00:77::9:8:7";
    packet::Ipv6Address source_home = "2001:db8:ffff:2::11"; ///< in a home address option
    packet::Ipv6Address destination_home = "fdbb::2:1:0:33"; ///< in a type 2 routing header
    uint16_t source_port = 51234;
    uint16_t destination_port = 443;
    uint32_t spi = 0xcafe1234;

    [[nodiscard]] Flow reversed() const {
        Flow flow = *this;
        std::swap(flow.source_mac, flow.destination_mac);
        std::swap(flow.source4, flow.destination4);
        std::swap(flow.source6, flow.destination6);
        std::swap(flow.source_home, flow.destination_home);
        std::swap(flow.source_port, flow.destination_port);
        return flow;
    }
};

struct RssSample {
    std::string name;
    packet::Packet packet;        ///< from its Ethernet header on
    unsigned version = 0;         ///< of IP; 0: another protocol
    uint64_t l4_types = 0;        ///< that select `l4`
    uint64_t mobile_l4_types = 0; ///< that select `mobile_l4`, where none of `l4_types` is set
    uint64_t l3_types = 0;        ///< that select `l3`, where nothing above is set
    HashInput l4{};               ///< addresses, and ports or SPI; of what is not IP: MAC addresses and EtherType
    HashInput mobile_l4{};
    HashInput l3{};
    HashInput mobile_l3{}; ///< selected by kIpv6Ex in front of l3_types

    /// What is hashed where these types are set; none: it is not hashed.
    [[nodiscard]] std::optional<HashInput> input(uint64_t types) const {
        if ((types & l4_types) != 0)
            return l4;
        if ((types & mobile_l4_types) != 0)
            return mobile_l4;
        if (version == 6 && (types & rss::kIpv6Ex) != 0)
            return mobile_l3;
        if ((types & l3_types) != 0)
            return l3;
        return std::nullopt;
    }
};

namespace sample {

using packet::Bytes;
using packet::Packet;

inline Bytes big_endian32(uint32_t value) {
    return {static_cast<uint8_t>(value >> 24U), static_cast<uint8_t>(value >> 16U), static_cast<uint8_t>(value >> 8U),
            static_cast<uint8_t>(value)};
}

inline Bytes joined(Bytes front, const Bytes &back) {
    front.insert(front.end(), back.begin(), back.end());
    return front;
}

/// A home address option (RFC 6275, 6.3) behind other options.
inline Bytes home_address(const packet::Ipv6Address &address, const Bytes &before = {1, 2, 0, 0}) {
    return joined(joined(before, {0xc9, 16}), Bytes(address.bytes.begin(), address.bytes.end()));
}

/// A type 2 routing header (RFC 6275, 6.4), or one that only looks like it.
inline packet::Ipv6Routing routing(const packet::Ipv6Address &address, uint8_t type = 2, uint8_t segments_left = 1) {
    return {.type = type,
            .segments_left = segments_left,
            .data = joined(Bytes(4, 0), Bytes(address.bytes.begin(), address.bytes.end()))};
}

/// One that carries nothing of a mobile node.
inline RssSample plain(RssSample of) {
    of.mobile_l3 = of.l3;
    of.mobile_l4 = of.l4;
    return of;
}

/// The types by protocol, for both versions of IP.
struct Protocol {
    const char *name;
    uint64_t l4[2];     ///< IPv4, IPv6
    uint64_t mobile_l4; ///< IPv6
    uint64_t kind[2];   ///< that select the addresses, beside kIpv4 or kIpv6
    bool ports;
};
inline const std::vector<Protocol> kProtocols{
    {"tcp", {rss::kIpv4Tcp, rss::kIpv6Tcp}, rss::kIpv6TcpEx, {}, true},
    {"udp", {rss::kIpv4Udp, rss::kIpv6Udp}, rss::kIpv6UdpEx, {}, true},
    {"sctp", {rss::kIpv4Sctp, rss::kIpv6Sctp}, 0, {}, true},
    {"esp", {rss::kEsp, rss::kEsp}, 0, {rss::kIpv4Other, rss::kIpv6Other}, false},
    {"ah", {rss::kAh, rss::kAh}, 0, {rss::kIpv4Other, rss::kIpv6Other}, false},
    {"icmp", {}, 0, {rss::kIpv4Other, rss::kIpv6Other}, false},
    {"unknown", {}, 0, {rss::kIpv4Other, rss::kIpv6Other}, false},
};

/// Adds the protocol's header to IP's.
inline Packet with_protocol(Packet packet, const Protocol &protocol, const Flow &flow, unsigned version) {
    const std::string_view name = protocol.name;
    if (name == "tcp")
        return packet.tcp(flow.source_port, flow.destination_port).payload(9);
    if (name == "udp")
        return packet.udp(flow.source_port, flow.destination_port).payload(21);
    if (name == "sctp")
        return packet.sctp(flow.source_port, flow.destination_port, 5).payload(16);
    if (name == "esp")
        return packet.next_type(50).raw(big_endian32(flow.spi)).payload(20);
    if (name == "ah")
        return packet.authentication(flow.spi, 77).udp(flow.source_port, flow.destination_port).payload(4);
    if (name == "icmp")
        return (version == 4 ? packet.icmp() : packet.icmpv6()).payload(24);
    return packet.next_type(253).payload(24); // for experiments, RFC 3692
}

/// `packet` ends with IP or an extension header; the addresses are those of the header, and of the mobile nodes.
inline RssSample of_protocol(const Packet &packet, const std::string &where, const Protocol &protocol, const Flow &flow,
                             unsigned version, const HashInput &l3, const HashInput &mobile_l3) {
    const size_t row = version == 4 ? 0 : 1;
    const auto l4 = [&](const HashInput &addresses) {
        return protocol.ports ? addresses.with_ports(flow.source_port, flow.destination_port)
                              : addresses.with_spi(flow.spi);
    };
    return {.name = protocol.name + (" in " + where),
            .packet = with_protocol(packet, protocol, flow, version),
            .version = version,
            .l4_types = protocol.l4[row],
            .mobile_l4_types = version == 6 ? protocol.mobile_l4 : 0,
            .l3_types = protocol.kind[row] | (version == 4 ? rss::kIpv4 : rss::kIpv6),
            .l4 = l4(l3),
            .mobile_l4 = l4(mobile_l3),
            .l3 = l3,
            .mobile_l3 = mobile_l3};
}

/// The IP header behind `link`, and what is hashed of it.
inline RssSample of_protocol(const Packet &link, const std::string &where, const Protocol &protocol, const Flow &flow,
                             unsigned version) {
    const HashInput l3 =
        version == 4 ? ip_input(flow.source4, flow.destination4) : ip_input(flow.source6, flow.destination6);
    Packet packet = link;
    if (version == 4)
        packet.ipv4(flow.source4, flow.destination4);
    else
        packet.ipv6(flow.source6, flow.destination6);
    return of_protocol(packet, where, protocol, flow, version, l3, l3);
}

inline Packet ether(const Flow &flow) { return Packet().ether(flow.destination_mac, flow.source_mac); }

} // namespace sample

/// Each protocol over both versions of IP, behind the tags that are looked through.
inline std::vector<RssSample> protocol_samples(const Flow &flow) {
    using namespace sample;
    const std::vector<std::pair<std::string, Packet>> links{
        {"ether", ether(flow)},
        {"vlan", ether(flow).vlan(5)},
        {"qinq", ether(flow).vlan({.vid = 7, .tpid = 0x88a8}).vlan({.vid = 9, .pcp = 3})}};
    std::vector<RssSample> samples;
    for (const unsigned version : {4U, 6U})
        for (const Protocol &protocol : kProtocols)
            for (const auto &[where, link] : links)
                samples.push_back(
                    of_protocol(link, "ipv" + std::to_string(version) + ", " + where, protocol, flow, version));
    return samples;
}

/// Options and extension headers that are in the way and no more.
inline std::vector<RssSample> extension_samples(const Flow &flow) {
    using namespace sample;
    const auto v6 = [&] { return ether(flow).ipv6(flow.source6, flow.destination6); };
    const HashInput in4 = ip_input(flow.source4, flow.destination4);
    const HashInput in6 = ip_input(flow.source6, flow.destination6);
    const std::vector<std::pair<std::string, Packet>> rows{
        {"hop-by-hop", v6().hop_by_hop()},
        {"destination options", v6().destination_options()},
        {"hop-by-hop, routing, two destination options",
         v6().hop_by_hop().destination_options().routing().destination_options()},
        {"routing header of type 0", v6().routing(routing(flow.destination_home, 0))},
        {"routing header of type 4", v6().routing(routing(flow.destination_home, 4))},
        {"type 2 routing header, no segments left", v6().routing(routing(flow.destination_home, 2, 0))},
        {"type 2 routing header, two segments left", v6().routing(routing(flow.destination_home, 2, 2))},
        {"home address option of another length",
         v6().destination_options(joined({1, 2, 0, 0, 0xc9, 12}, Bytes(18, 0x11)))},
        {"option of another type", v6().destination_options(joined({1, 2, 0, 0, 0x49, 16}, Bytes(16, 0x11)))},
        {"home address option in a hop-by-hop header", v6().hop_by_hop(home_address(flow.source_home))},
        {"home address option longer than its header", v6().destination_options({1, 2, 0, 0, 0xc9, 16})},
    };
    std::vector<RssSample> samples;
    for (const auto &[where, packet] : rows)
        for (const Protocol &protocol : kProtocols)
            samples.push_back(of_protocol(packet, "ipv6, " + where, protocol, flow, 6, in6, in6));
    for (const Protocol &protocol : kProtocols)
        samples.push_back(
            of_protocol(ether(flow).ipv4({.src = flow.source4, .dst = flow.destination4, .options = Bytes(40, 1)}),
                        "ipv4, options", protocol, flow, 4, in4, in4));
    return samples;
}

/// Packets of mobile nodes.
inline std::vector<RssSample> mobile_samples(const Flow &flow) {
    using namespace sample;
    const auto v6 = [&] { return ether(flow).ipv6(flow.source6, flow.destination6); };
    const Bytes home = home_address(flow.source_home);
    struct Row {
        const char *where;
        Packet packet;
        bool source;
        bool destination;
    };
    const std::vector<Row> rows{
        {"home address", v6().destination_options(home), true, false},
        {"home address behind Pad1", v6().destination_options(home_address(flow.source_home, {0, 0, 0, 0})), true,
         false},
        {"home address behind PadN and Pad1", v6().destination_options(home_address(flow.source_home, {1, 1, 0, 0})),
         true, false},
        {"home address behind PadN and another option",
         v6().destination_options(home_address(flow.source_home, {1, 0, 5, 2, 0, 0, 1, 4, 0, 0, 0, 0})), true, false},
        {"home address behind nothing", v6().destination_options(home_address(flow.source_home, {})), true, false},
        {"home address in the first of two", v6().destination_options(home).destination_options(), true, false},
        {"home address in the last of two", v6().destination_options().destination_options(home), true, false},
        {"home address behind routing", v6().routing().destination_options(home), true, false},
        {"routing", v6().routing(routing(flow.destination_home)), false, true},
        {"routing behind hop-by-hop", v6().hop_by_hop().routing(routing(flow.destination_home)), false, true},
        {"both", v6().routing(routing(flow.destination_home)).destination_options(home), true, true},
    };
    std::vector<RssSample> samples;
    for (const Row &row : rows) {
        const HashInput mobile = ip_input(row.source ? flow.source_home : flow.source6,
                                          row.destination ? flow.destination_home : flow.destination6);
        const HashInput in6 = ip_input(flow.source6, flow.destination6);
        for (const Protocol &protocol : kProtocols)
            samples.push_back(
                of_protocol(row.packet, std::string("ipv6, ") + row.where, protocol, flow, 6, in6, mobile));
        samples.push_back({.name = std::string("fragment in ipv6, ") + row.where,
                           .packet = Packet(row.packet).fragment({.more = true}).udp(1, 2).payload(32),
                           .version = 6,
                           .l3_types = rss::kFragmentIpv6 | rss::kIpv6,
                           .l3 = in6,
                           .mobile_l3 = mobile});
    }
    return samples;
}

/// The first fragment, a middle one and the last, and IPv6's that is all of a packet.
inline std::vector<RssSample> fragment_samples(const Flow &flow) {
    using namespace sample;
    std::vector<RssSample> samples;
    for (const auto &[offset, more] : {std::pair{0, true}, {5, true}, {9, false}, {0, false}}) {
        const auto at = static_cast<uint16_t>(offset);
        const std::string name = " fragment, offset " + std::to_string(offset) + (more ? ", more" : "");
        Packet v4 = ether(flow).ipv4(
            {.src = flow.source4, .dst = flow.destination4, .more_fragments = more, .fragment_offset = at});
        Packet v6 = ether(flow).ipv6(flow.source6, flow.destination6).fragment({.offset = at, .more = more});
        for (Packet *packet : {&v4, &v6})
            if (at == 0)
                packet->udp(flow.source_port, flow.destination_port).payload(24);
            else
                packet->next_type(17).payload(32);
        const HashInput in4 = ip_input(flow.source4, flow.destination4);
        const HashInput in6 = ip_input(flow.source6, flow.destination6);
        if (more || at != 0)
            samples.push_back(plain({.name = "ipv4" + name,
                                     .packet = v4,
                                     .version = 4,
                                     .l3_types = rss::kFragmentIpv4 | rss::kIpv4,
                                     .l3 = in4}));
        samples.push_back(plain({.name = "ipv6" + name,
                                 .packet = v6,
                                 .version = 6,
                                 .l3_types = rss::kFragmentIpv6 | rss::kIpv6,
                                 .l3 = in6}));
    }
    return samples;
}

/// What is not IP, or does not look like it to a NIC. `type`: behind the tags that are looked through.
inline std::vector<RssSample> l2_samples(const Flow &flow) {
    using namespace sample;
    const auto arp = [&](Packet packet) {
        return packet.arp({.sender_ip = flow.source4, .target_ip = flow.destination4});
    };
    struct Row {
        const char *name;
        Packet packet;
        uint16_t type;
    };
    const std::vector<Row> rows{
        {"arp", arp(ether(flow)), 0x0806},
        {"arp, vlan", arp(ether(flow).vlan(5)), 0x0806},
        {"arp, service tag", arp(ether(flow).vlan({.vid = 7, .tpid = 0x88a8})), 0x0806},
        {"arp, qinq", arp(ether(flow).vlan({.vid = 7, .tpid = 0x88a8}).vlan(9)), 0x0806},
        {"lldp", ether(flow).next_type(0x88cc).payload(46), 0x88cc},
        {"802.3 length", ether(flow).next_type(46).payload(46), 46},
        {"two customer tags", ether(flow).vlan(1).vlan(2).ipv4(flow.source4, flow.destination4).udp(1, 2), 0x8100},
        {"unknown TPID", ether(flow).vlan({.vid = 1, .tpid = 0x9100}).ipv4(flow.source4, flow.destination4), 0x9100},
        {"ipv4 in name only", ether(flow).next_type(0x0800).raw(Bytes(46, 0x99)), 0x0800},
        {"ipv6 cut off", ether(flow).ipv6(flow.source6, flow.destination6).truncate(53), 0x86dd},
    };
    std::vector<RssSample> samples;
    for (const Row &row : rows)
        samples.push_back({.name = row.name,
                           .packet = row.packet,
                           .version = 0,
                           .l4_types = rss::kL2Payload,
                           .l4 = l2_input(flow.destination_mac, flow.source_mac, row.type)});
    return samples;
}

inline std::vector<RssSample> all_samples(const Flow &flow = {}) {
    std::vector<RssSample> samples;
    for (const auto &part : {protocol_samples(flow), extension_samples(flow), mobile_samples(flow),
                             fragment_samples(flow), l2_samples(flow)})
        samples.insert(samples.end(), part.begin(), part.end());
    return samples;
}

} // namespace tapflow::test
