// SPDX-License-Identifier: BSD-3-Clause
// What the reference matcher sees of frames.
#include "flow/reference_matcher.h"

#include "flow/fields.h"
#include "flow/text.h"
#include "packet/build.h"
#include "packet/random_packets.h"
#include "support/expected_record.h"
#include "support/seed.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>

namespace tapflow::test {
namespace {

using flow::Item;
using flow::reference_key;
using packet::Bytes;
using packet::Packet;

constexpr uint32_t kEth = TAPFLOW_LAYER_ETH;
constexpr uint32_t inner(uint32_t layers) { return layers << TAPFLOW_LAYER_INNER_SHIFT; }

bool matches(const tapflow_flow_key &key, const std::string &pattern) {
    const auto rule = flow::parse_rule("pattern " + pattern + " / end actions drop / end");
    if (!rule)
        throw std::logic_error(rule.error().message());
    return flow::matches(rule->match, key);
}
bool matches(const Packet &packet, const std::string &pattern) {
    return matches(reference_key(packet.bytes()), pattern);
}

uint32_t layers(const Packet &packet) { return reference_key(packet.bytes()).layers; }

unsigned extension(const Packet &packet) { return reference_key(packet.bytes()).outer.ip_extension; }

Packet ip4() { return Packet().ether().ipv4("10.0.0.1", "10.0.0.2"); }
Packet ip6() { return Packet().ether().ipv6("2001:db8::1", "2001:db8::2"); }

/// The bytes of a packet's layers behind its first `skip` bytes.
Bytes behind(const Packet &packet, size_t skip) {
    const Bytes bytes = packet.bytes();
    return {bytes.begin() + static_cast<ptrdiff_t>(skip), bytes.end()};
}

TEST(ReferenceKey, OfTooFewBytesIsEmpty) {
    const tapflow_flow_key key = reference_key(Bytes(13, 0xff));
    const tapflow_flow_key empty{};
    EXPECT_EQ(std::memcmp(&key, &empty, sizeof(key)), 0);
    EXPECT_EQ(reference_key(Bytes(14)).layers, kEth);
}

TEST(ReferenceKey, HasTheFieldsOfEveryHeader) {
    EXPECT_TRUE(matches(Packet().ether("02:00:00:00:00:0a", "02:00:00:00:00:0b").next_type(0x1234),
                        "eth dst is 02:00:00:00:00:0a src is 02:00:00:00:00:0b type is 0x1234"));
    EXPECT_TRUE(matches(
        Packet().ether().ipv4(
            {.src = "10.0.0.1", .dst = "10.0.0.2", .tos = 0x28, .dont_fragment = true, .ttl = 9, .options = Bytes(4)}),
        "ipv4 src is 10.0.0.1 dst is 10.0.0.2 tos is 0x28 fragment_offset is 0x4000 ttl is 9 "
        "version_ihl is 0x46 ihl is 6"));
    EXPECT_TRUE(matches(Packet()
                            .ether()
                            .ipv6({.src = "2001:db8::1",
                                   .dst = "2001:db8::2",
                                   .traffic_class = 0xb8,
                                   .flow_label = 0x12345,
                                   .hop_limit = 7})
                            .udp(1, 2),
                        "ipv6 src is 2001:db8::1 dst is 2001:db8::2 tc is 0xb8 flow is 0x12345 hop is 7 proto is 17"));
    EXPECT_TRUE(matches(Packet().ether().arp({.operation = 2,
                                              .sender_mac = "02:00:00:00:00:0a",
                                              .sender_ip = "10.0.0.1",
                                              .target_mac = "02:00:00:00:00:0b",
                                              .target_ip = "10.0.0.2"}),
                        "arp_eth_ipv4 opcode is 2 sha is 02:00:00:00:00:0a spa is 10.0.0.1 "
                        "tha is 02:00:00:00:00:0b tpa is 10.0.0.2"));
    EXPECT_TRUE(matches(ip4().tcp({.src_port = 1, .dst_port = 2, .flags = 0x12, .options = Bytes(4)}),
                        "tcp src is 1 dst is 2 flags is 0x12 data_off is 0x60"));
    EXPECT_TRUE(matches(ip6().udp(0x102, 0x304), "udp src is 0x102 dst is 0x304"));
    EXPECT_TRUE(matches(ip4().sctp(1, 2, 0x12345678), "sctp src is 1 dst is 2 tag is 0x12345678"));
    EXPECT_TRUE(matches(ip4().icmp({.type = 3, .code = 4, .rest = 0x00050006}),
                        "icmp type is 3 code is 4 ident is 5 seq is 6"));
    EXPECT_TRUE(matches(ip6().icmpv6({.type = 128, .code = 4, .rest = 0x00050006}),
                        "icmp6 type is 128 code is 4 ident is 5 seq is 6"));
    EXPECT_TRUE(matches(ip4().next_type(50).raw({0, 1, 2, 3, 0, 0, 0, 0}), "esp spi is 0x10203"));
    EXPECT_TRUE(matches(ip4().authentication(0x10203, 9), "ah spi is 0x10203"));
    EXPECT_TRUE(
        matches(ip4().next_type(47).raw({0x10, 0, 0x65, 0x58}), "gre c_rsvd0_ver is 0x1000 protocol is 0x6558"));
    EXPECT_TRUE(matches(ip4().udp(1, 4789).raw({8, 0, 0, 0, 1, 2, 3, 0}), "udp / vxlan vni is 0x10203"));
    EXPECT_TRUE(matches(ip4().udp(1, 6081).raw({0, 0, 0x65, 0x58, 1, 2, 3, 0}),
                        "udp / geneve vni is 0x10203 protocol is 0x6558"));
}

TEST(ReferenceKey, AHeaderThatIsNotAllThereIsNone) {
    struct Row {
        Packet packet;
        uint32_t layer;
        size_t begin;
        size_t bytes;
    };
    const std::vector<Row> rows{
        {Packet().ether().vlan(5).next_type(0x1234).payload(9), TAPFLOW_LAYER_VLAN, 14, 4},
        {Packet().ether().vlan(5).vlan(6).next_type(0x1234).payload(9), TAPFLOW_LAYER_VLAN2, 18, 4},
        {Packet().ether().arp({}), TAPFLOW_LAYER_ARP, 14, 28},
        {ip4().payload(9), TAPFLOW_LAYER_IPV4, 14, 20},
        {ip6().payload(9), TAPFLOW_LAYER_IPV6, 14, 40},
        {ip6().fragment({}).payload(9), TAPFLOW_LAYER_FRAGMENT, 54, 8},
        {ip4().tcp(1, 2), TAPFLOW_LAYER_TCP, 34, 20},
        {ip4().udp(1, 2), TAPFLOW_LAYER_UDP, 34, 8},
        {ip6().udp(1, 2), TAPFLOW_LAYER_UDP, 54, 8},
        {ip4().sctp(1, 2), TAPFLOW_LAYER_SCTP, 34, 12},
        {ip4().icmp(), TAPFLOW_LAYER_ICMP, 34, 8},
        {ip6().icmpv6(), TAPFLOW_LAYER_ICMP6, 54, 8},
        {ip4().next_type(50).payload(9), TAPFLOW_LAYER_ESP, 34, 8},
        {ip4().authentication(1, 2), TAPFLOW_LAYER_AH, 34, 12},
        {ip4().next_type(47).raw(Bytes(9)), TAPFLOW_LAYER_GRE, 34, 4},
        {ip4().next_type(47).raw({0x20, 0, 0, 0, 1, 2, 3, 4}), TAPFLOW_LAYER_GRE_KEY, 34, 8},
        {ip4().next_type(47).raw({0xa0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4}), TAPFLOW_LAYER_GRE_KEY, 34, 12},
        {ip4().udp(1, 4789).raw(Bytes(9, 8)), TAPFLOW_LAYER_VXLAN, 34, 16},
        {ip4().udp(1, 6081).raw(Bytes(9)), TAPFLOW_LAYER_GENEVE, 34, 16},
    };
    for (const Row &row : rows)
        for (size_t size = 0; size <= row.packet.bytes().size(); size++) {
            const tapflow_flow_key key = reference_key(Packet(row.packet).truncate(size).bytes());
            EXPECT_EQ((key.layers & row.layer) != 0, size >= row.begin + row.bytes)
                << "layer " << row.layer << ", size " << size;
        }
}

TEST(ReferenceKey, TwoTagsAreLookedThroughWhateverTheirTpids) {
    constexpr std::array<uint16_t, 2> tpids{0x8100, 0x88a8};
    for (const uint16_t first : tpids)
        for (const uint16_t second : tpids) {
            const Packet tagged = Packet()
                                      .ether()
                                      .vlan({.vid = 5, .pcp = 3, .dei = true, .tpid = first})
                                      .vlan({.vid = 6, .tpid = second})
                                      .ipv4("10.0.0.1", "10.0.0.2")
                                      .udp(1, 2);
            EXPECT_EQ(layers(tagged),
                      kEth | TAPFLOW_LAYER_VLAN | TAPFLOW_LAYER_VLAN2 | TAPFLOW_LAYER_IPV4 | TAPFLOW_LAYER_UDP);
            EXPECT_TRUE(matches(tagged, "eth type is " + std::to_string(first) +
                                            " / vlan vid is 5 pcp is 3 dei is 1 inner_type is " +
                                            std::to_string(second) + " / vlan vid is 6 inner_type is 0x800"));
        }
    EXPECT_EQ(layers(Packet().ether().vlan(5).vlan(6).vlan(7).ipv4("10.0.0.1", "10.0.0.2")),
              kEth | TAPFLOW_LAYER_VLAN | TAPFLOW_LAYER_VLAN2);
    EXPECT_EQ(layers(Packet().ether().vlan({.vid = 5, .tpid = 0x9100}).ipv4("10.0.0.1", "10.0.0.2")), kEth);
}

TEST(ReferenceKey, ATagBesideTheFrameIsTheFirst) {
    const flow::TagBeside tag{.tpid = 0x88a8, .tci = 0x6005};
    const Bytes frame = ip4().udp(1, 2).bytes();
    const auto same = reference_key(
        Packet().ether().vlan({.vid = 5, .pcp = 3, .tpid = 0x88a8}).ipv4("10.0.0.1", "10.0.0.2").udp(1, 2).bytes());
    const auto key = reference_key(frame, tag);
    EXPECT_EQ(std::memcmp(&key, &same, sizeof(key)), 0);
    const auto second = reference_key(Packet().ether().vlan(7).ipv4("10.0.0.1", "10.0.0.2").bytes(), tag);
    EXPECT_TRUE(matches(second, "eth type is 0x88a8 / vlan vid is 5 inner_type is 0x8100 / vlan vid is 7 / ipv4"));
    const auto third = reference_key(Packet().ether().vlan(7).vlan(8).ipv4("10.0.0.1", "10.0.0.2").bytes(), tag);
    EXPECT_EQ(third.layers, kEth | TAPFLOW_LAYER_VLAN | TAPFLOW_LAYER_VLAN2);
}

TEST(ReferenceKey, FragmentsHaveNoL4Header) {
    const Packet first = Packet().ether().ipv4({.more_fragments = true}).udp(1, 2);
    const Packet later = Packet().ether().ipv4({.fragment_offset = 5}).udp(1, 2);
    for (const Packet &packet : {first, later}) {
        EXPECT_EQ(layers(packet), kEth | TAPFLOW_LAYER_IPV4);
        EXPECT_TRUE(matches(packet, "ipv4 proto is 17"));
    }
    const Packet six = ip6().fragment({.offset = 3, .more = true, .id = 0x12345678}).udp(1, 2);
    EXPECT_EQ(layers(six), kEth | TAPFLOW_LAYER_IPV6 | TAPFLOW_LAYER_FRAGMENT);
    EXPECT_TRUE(
        matches(six, "ipv6 has_frag_ext is 1 / ipv6_frag_ext next_hdr is 17 frag_data is 25 packet_id is 0x12345678"));
}

TEST(ReferenceKey, AnIpHeaderOfAnotherVersionIsNone) {
    Bytes frame = ip4().udp(1, 2).bytes();
    frame[14] = 0x65;
    EXPECT_EQ(reference_key(frame).layers, kEth);
    frame[14] = 0x44;
    EXPECT_EQ(reference_key(frame).layers, kEth);
    frame = ip6().udp(1, 2).bytes();
    frame[14] = 0x40;
    EXPECT_EQ(reference_key(frame).layers, kEth);
}

TEST(ReferenceKey, IcmpIsThatOfItsIpVersion) {
    EXPECT_EQ(layers(ip6().next_type(1).payload(8)), kEth | TAPFLOW_LAYER_IPV6);
    EXPECT_EQ(layers(ip4().next_type(58).payload(8)), kEth | TAPFLOW_LAYER_IPV4);
}

TEST(ReferenceKey, ExtensionHeadersAreFollowed) {
    const Packet packet = ip6().hop_by_hop().routing().destination_options().tcp(1, 2);
    EXPECT_EQ(extension(packet), TAPFLOW_EXTENSION_HOP | TAPFLOW_EXTENSION_ROUTE | TAPFLOW_EXTENSION_DEST);
    EXPECT_TRUE(matches(packet, "ipv6 proto is 6 / tcp src is 1 dst is 2"));
    struct Row {
        uint8_t number;
        unsigned extension;
    };
    for (const Row &row :
         {Row{50, TAPFLOW_EXTENSION_ESP}, Row{51, TAPFLOW_EXTENSION_AUTH}, Row{135, TAPFLOW_EXTENSION_MOBIL},
          Row{139, TAPFLOW_EXTENSION_HIP}, Row{140, TAPFLOW_EXTENSION_SHIM6}, Row{17, 0}}) {
        EXPECT_EQ(extension(ip6().next_type(row.number).payload(20)), row.extension);
        EXPECT_EQ(extension(ip6().fragment({}).next_type(row.number).payload(20)), TAPFLOW_EXTENSION_FRAGMENT);
    }
}

TEST(ReferenceKey, EightExtensionHeadersAreFollowed) {
    Packet eight = ip6();
    for (int i = 0; i < 8; i++)
        eight.destination_options();
    EXPECT_TRUE(matches(Packet(eight).udp(1, 2), "ipv6 proto is 17 / udp dst is 2"));
    const Packet ninth = Packet(eight).hop_by_hop().udp(1, 2);
    EXPECT_EQ(layers(ninth), kEth | TAPFLOW_LAYER_IPV6);
    EXPECT_EQ(extension(ninth), TAPFLOW_EXTENSION_DEST);
    EXPECT_TRUE(matches(ninth, "ipv6 proto is 0"));
    const Packet fragment = Packet(eight).fragment({}).udp(1, 2);
    EXPECT_EQ(layers(fragment), kEth | TAPFLOW_LAYER_IPV6);
    EXPECT_EQ(extension(fragment), TAPFLOW_EXTENSION_DEST);
    EXPECT_TRUE(matches(fragment, "ipv6 proto is 44"));
}

TEST(ReferenceKey, AnExtensionHeaderThatIsNotAllThereEndsTheSearch) {
    const Packet options = ip6().hop_by_hop().destination_options().udp(1, 2).truncate(14 + 40 + 8 + 7);
    EXPECT_EQ(extension(options), TAPFLOW_EXTENSION_HOP);
    EXPECT_TRUE(matches(options, "ipv6 proto is 60"));
    const Packet fragment = ip6().fragment({}).udp(1, 2).truncate(14 + 40 + 7);
    EXPECT_EQ(extension(fragment), TAPFLOW_EXTENSION_FRAGMENT);
    EXPECT_EQ(layers(fragment), kEth | TAPFLOW_LAYER_IPV6);
    EXPECT_TRUE(matches(fragment, "ipv6 proto is 44"));
}

/// IPv6 whose options header makes the next one begin at `offset`, which is 6 behind a multiple of 8.
Packet next_at(size_t offset) { return ip6().destination_options(Bytes(offset - 54 - 2)); }

TEST(ReferenceKey, HeadersThatBeginBehindTheWindowAreNotLookedAt) {
    EXPECT_TRUE(matches(next_at(510).udp(1, 2), "ipv6 proto is 17 / udp dst is 2"));
    EXPECT_EQ(layers(next_at(518).udp(1, 2)), kEth | TAPFLOW_LAYER_IPV6);
    EXPECT_TRUE(matches(next_at(518).udp(1, 2), "ipv6 proto is 17"));
    EXPECT_EQ(extension(next_at(510).hop_by_hop().udp(1, 2)), TAPFLOW_EXTENSION_DEST | TAPFLOW_EXTENSION_HOP);
    EXPECT_EQ(extension(next_at(518).hop_by_hop().udp(1, 2)), TAPFLOW_EXTENSION_DEST);
    EXPECT_TRUE(matches(next_at(518).hop_by_hop().udp(1, 2), "ipv6 proto is 0"));
    EXPECT_EQ(layers(next_at(510).fragment({})), kEth | TAPFLOW_LAYER_IPV6 | TAPFLOW_LAYER_FRAGMENT);
    EXPECT_EQ(layers(next_at(518).fragment({})), kEth | TAPFLOW_LAYER_IPV6);
    EXPECT_TRUE(matches(next_at(518).fragment({}), "ipv6 proto is 44 has_frag_ext is 1"));
    // 510 + 8 of UDP and 8 of VXLAN.
    EXPECT_EQ(layers(next_at(510).udp(1, 4789).raw({8, 0, 0, 0, 1, 2, 3, 0}).raw(ip4().bytes())),
              kEth | TAPFLOW_LAYER_IPV6 | TAPFLOW_LAYER_UDP | TAPFLOW_LAYER_VXLAN);
    EXPECT_EQ(layers(next_at(494).udp(1, 4789).raw({8, 0, 0, 0, 1, 2, 3, 0}).raw(ip4().bytes())),
              kEth | TAPFLOW_LAYER_IPV6 | TAPFLOW_LAYER_UDP | TAPFLOW_LAYER_VXLAN | inner(kEth | TAPFLOW_LAYER_IPV4));
}

TEST(ReferenceKey, AnArpMessageOfOtherAddressesIsNone) {
    const Bytes message = Packet().ether().arp({}).bytes();
    for (const size_t byte : {14, 15, 16, 17, 18, 19}) {
        Bytes other = message;
        other[byte] ^= 1;
        EXPECT_EQ(reference_key(other).layers, kEth) << byte;
    }
}

Packet inside() { return Packet().ether("02:00:00:00:00:0c").vlan(7).ipv4("10.8.0.1", "10.9.0.1").udp(7, 4789); }
constexpr uint32_t kInside = inner(TAPFLOW_LAYER_ETH | TAPFLOW_LAYER_VLAN | TAPFLOW_LAYER_IPV4 | TAPFLOW_LAYER_UDP);
constexpr const char *kInsidePattern =
    " / eth dst is 02:00:00:00:00:0c / vlan vid is 7 / ipv4 src is 10.8.0.1 / udp dst is 4789";

TEST(ReferenceKey, TunnelsAreLookedIntoOneDeep) {
    const Packet vxlan =
        ip4().udp(1, 4789).raw({8, 0, 0, 0, 1, 2, 3, 0}).raw(inside().raw({8, 0, 0, 0, 1, 2, 3, 0}).bytes());
    EXPECT_EQ(layers(vxlan) & TAPFLOW_LAYER_INNER_MASK, kInside);
    EXPECT_TRUE(matches(vxlan, std::string("ipv4 / udp / vxlan vni is 0x10203") + kInsidePattern));
    const Packet geneve = ip4().udp(1, 6081).raw({2, 0, 0x65, 0x58, 1, 2, 3, 0}).raw(Bytes(8)).raw(inside().bytes());
    EXPECT_TRUE(matches(geneve, std::string("ipv4 / udp / geneve vni is 0x10203") + kInsidePattern));
    const Packet gre = ip4().next_type(47).raw({0xb0, 0, 0x65, 0x58}).raw({0, 0, 0, 0, 1, 2, 3, 4, 0, 0, 0, 1});
    EXPECT_TRUE(matches(Packet(gre).raw(inside().bytes()),
                        std::string("ipv4 / gre / gre_key value is 0x1020304") + kInsidePattern));
    const Packet gre_in_gre = Packet(gre).raw(ip4().next_type(47).raw(Bytes(20)).bytes());
    EXPECT_EQ(layers(gre_in_gre),
              kEth | TAPFLOW_LAYER_IPV4 | TAPFLOW_LAYER_GRE | TAPFLOW_LAYER_GRE_KEY | inner(kEth | TAPFLOW_LAYER_IPV4));
}

TEST(ReferenceKey, IpInIpHasNoInnerEthernetHeader) {
    for (const Packet &outer : {ip4(), ip6()}) {
        EXPECT_EQ(layers(Packet(outer).next_type(4).raw(behind(ip4().tcp(1, 2), 14))) & TAPFLOW_LAYER_INNER_MASK,
                  inner(TAPFLOW_LAYER_IPV4 | TAPFLOW_LAYER_TCP));
        EXPECT_TRUE(matches(Packet(outer).next_type(41).raw(behind(ip6().tcp(1, 2), 14)),
                            "any num is 2 / ipv6 src is 2001:db8::1 / tcp dst is 2"));
    }
    const Packet in_gre = ip4().next_type(47).raw({0, 0, 0x86, 0xdd}).raw(behind(ip6().udp(1, 2), 14));
    EXPECT_TRUE(matches(in_gre, "ipv4 / gre protocol is 0x86dd / ipv6 / udp dst is 2"));
    const Packet fragment = Packet().ether().ipv4({.more_fragments = true}).next_type(4).raw(behind(ip4(), 14));
    EXPECT_EQ(layers(fragment), kEth | TAPFLOW_LAYER_IPV4);
}

TEST(ReferenceKey, WhatIsNoTunnelOfOursHasNothingInner) {
    const auto inner_layers = [](uint16_t port, const Bytes &header) {
        return layers(ip4().udp(1, port).raw(header).raw(ip4().udp(3, 4).bytes())) >> TAPFLOW_LAYER_INNER_SHIFT;
    };
    EXPECT_NE(inner_layers(4789, {8, 0, 0, 0, 1, 2, 3, 0}), 0U);
    EXPECT_EQ(inner_layers(4789, {0xf7, 0, 0, 0, 1, 2, 3, 0}), 0U); // no valid VNI
    EXPECT_EQ(inner_layers(4790, {8, 0, 0, 0, 1, 2, 3, 0}), 0U);
    EXPECT_NE(inner_layers(6081, {0, 0, 0x65, 0x58, 1, 2, 3, 0}), 0U);
    EXPECT_EQ(inner_layers(6081, {0x40, 0, 0x65, 0x58, 1, 2, 3, 0}), 0U); // version 1
    EXPECT_EQ(inner_layers(6081, {0, 0, 0x88, 0x47, 1, 2, 3, 0}), 0U);    // MPLS
    const auto inner_of_gre = [](const Bytes &header) {
        return layers(ip4().next_type(47).raw(header).raw(ip4().udp(3, 4).bytes())) >> TAPFLOW_LAYER_INNER_SHIFT;
    };
    EXPECT_NE(inner_of_gre({0, 0, 0x65, 0x58}), 0U);
    EXPECT_EQ(inner_of_gre({0x40, 0, 0x65, 0x58}), 0U); // source routing
    EXPECT_EQ(inner_of_gre({0, 1, 0x65, 0x58}), 0U);    // version 1
    EXPECT_EQ(inner_of_gre({0, 0, 0x88, 0x0b}), 0U);    // PPP
    EXPECT_EQ(layers(ip4().next_type(47).raw({0, 1, 0x65, 0x58})), kEth | TAPFLOW_LAYER_IPV4 | TAPFLOW_LAYER_GRE);
}

/// The parser for RSS looks through other tags, and takes a header's first four bytes for enough; what both see is one.
TEST(ReferenceKey, AgreesWithTheParserForRss) {
    packet::RandomPackets packets(seeded_random());
    size_t compared = 0;
    for (int i = 0; i < 50000; i++) {
        const Bytes frame = packets.next(0, 1000);
        const tapflow_packet packet = parse(frame);
        const tapflow_flow_key key = reference_key(frame);
        const uint32_t ip = key.layers & (TAPFLOW_LAYER_IPV4 | TAPFLOW_LAYER_IPV6);
        if (packet.packet_class == TAPFLOW_CLASS_NOT_IP || ip == 0)
            continue;
        const bool four = ip == TAPFLOW_LAYER_IPV4;
        compared++;
        ASSERT_EQ(four, packet.packet_class < TAPFLOW_CLASS_IPV6_OTHER);
        ASSERT_EQ(std::memcmp(key.outer.ip_src, packet.words, four ? 4 : 16), 0);
        ASSERT_EQ(std::memcmp(key.outer.ip_dst, packet.words + (four ? 1 : 4), four ? 4 : 16), 0);
        constexpr uint32_t with_ports =
            TAPFLOW_LAYER_TCP | TAPFLOW_LAYER_UDP | TAPFLOW_LAYER_SCTP | TAPFLOW_LAYER_ESP | TAPFLOW_LAYER_AH;
        if (key.layers & with_ports) {
            ASSERT_EQ(std::memcmp(key.outer.l4, &packet.ports, 4), 0);
            ASSERT_EQ(key.outer.ip_proto, packet.protocol);
        }
        if (packet.l4_offset != 0) {
            ASSERT_EQ(key.outer.ip_proto, packet.protocol);
        }
        tapflow_packet inside{};
        tapflow_parse_inner(frame.data(), frame.data() + frame.size(), &packet, &inside);
        if (inside.packet_class != TAPFLOW_CLASS_NOT_IP) {
            const uint32_t inner_ip = key.layers & inner(TAPFLOW_LAYER_IPV4 | TAPFLOW_LAYER_IPV6);
            ASSERT_NE(inner_ip, 0U);
            ASSERT_EQ(std::memcmp(key.inner.ip_src, inside.words, 4), 0);
        }
    }
    EXPECT_GT(compared, 10000U);
}

} // namespace
} // namespace tapflow::test
