// SPDX-License-Identifier: BSD-3-Clause
#include "packet/parse.h"

#include "packet/build.h"
#include "packet/random_packets.h"
#include "support/expected_record.h"
#include "support/seed.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

namespace tapflow::test {
namespace {

using packet::Bytes;
using packet::Packet;

constexpr unsigned kNotIp = TAPFLOW_CLASS_NOT_IP;
constexpr unsigned kTcp4 = TAPFLOW_CLASS_IPV4_TCP;
constexpr unsigned kUdp4 = TAPFLOW_CLASS_IPV4_UDP;
constexpr unsigned kOther4 = TAPFLOW_CLASS_IPV4_OTHER;
constexpr unsigned kFragment4 = TAPFLOW_CLASS_IPV4_FRAGMENT;
constexpr unsigned kUdp6 = TAPFLOW_CLASS_IPV6_UDP;
constexpr unsigned kOther6 = TAPFLOW_CLASS_IPV6_OTHER;
constexpr unsigned kFragment6 = TAPFLOW_CLASS_IPV6_FRAGMENT;

/// Ethernet and tags (TPIDs, outermost first), then UDP over IPv4.
Bytes tagged(const std::vector<uint16_t> &tpids) {
    Packet packet;
    packet.ether();
    for (const uint16_t tpid : tpids)
        packet.vlan({.vid = 5, .tpid = tpid});
    return packet.ipv4("10.0.0.1", "10.0.0.2").udp(1000, 2000).payload(20).bytes();
}

struct VlanRow {
    uint16_t beside; ///< TPID of a tag beside the frame, 0 for none
    std::vector<uint16_t> inside;
    bool parsed;
};

TEST(Parse, AtMostOneServiceTagAndBehindItOneCustomerTagAreLookedThrough) {
    const std::vector<VlanRow> rows{
        {0, {}, true},
        {0, {0x8100}, true},
        {0, {0x88a8}, true},
        {0, {0x88a8, 0x8100}, true},
        {0, {0x8100, 0x8100}, false},
        {0, {0x8100, 0x88a8}, false},
        {0, {0x88a8, 0x88a8}, false},
        {0, {0x88a8, 0x8100, 0x8100}, false},
        {0, {0x9100}, false},
        {0x8100, {}, true},
        {0x88a8, {}, true},
        {0x88a8, {0x8100}, true},
        {0x8100, {0x8100}, false},
        {0x8100, {0x88a8}, false},
        {0x88a8, {0x88a8}, false},
        {0x88a8, {0x8100, 0x8100}, false},
    };
    for (const VlanRow &row : rows) {
        const tapflow_packet packet = parse(tagged(row.inside), TAPFLOW_BE16(row.beside));
        const auto where = testing::PrintToString(row.inside) + " beside " + std::to_string(row.beside);
        EXPECT_EQ(packet.packet_class, row.parsed ? kUdp4 : kNotIp) << where;
        EXPECT_EQ(packet.l3_offset, row.parsed ? 14 + 4 * row.inside.size() : 0) << where;
        EXPECT_EQ(packet.l4_offset, row.parsed ? 34 + 4 * row.inside.size() : 0) << where;
        EXPECT_FALSE(packet.truncated) << where;
    }
}

TEST(Parse, AddressesAndPortsAreAsOnTheWire) {
    const Bytes frame = Packet().ether().ipv4("1.2.3.4", "5.6.7.8").tcp(0x1122, 0x3344).bytes();
    const tapflow_packet packet = parse(frame);
    EXPECT_EQ(packet.packet_class, kTcp4);
    EXPECT_EQ(std::memcmp(packet.words, frame.data() + 26, 8), 0);
    EXPECT_EQ(std::memcmp(&packet.ports, frame.data() + 34, 4), 0);
    const Bytes frame6 = Packet().ether().ipv6("2001:db8::1:2", "fe80::3:4").udp(0x1122, 0x3344).bytes();
    const tapflow_packet packet6 = parse(frame6);
    EXPECT_EQ(packet6.packet_class, kUdp6);
    EXPECT_EQ(std::memcmp(packet6.words, frame6.data() + 22, 32), 0);
    EXPECT_EQ(std::memcmp(&packet6.ports, frame6.data() + 54, 4), 0);
}

TEST(Parse, Ipv4OptionsMoveTheTransportHeader) {
    for (size_t options = 0; options <= 40; options += 4) {
        const tapflow_packet packet =
            parse(Packet()
                      .ether()
                      .ipv4({.src = "1.1.1.1", .dst = "2.2.2.2", .options = Bytes(options, 1)})
                      .udp(0x0102, 0x0304)
                      .bytes());
        EXPECT_EQ(packet.packet_class, kUdp4) << options;
        EXPECT_EQ(packet.l4_offset, 34 + options);
        EXPECT_EQ(packet.ports, TAPFLOW_BE16(0x0102) | static_cast<uint32_t>(TAPFLOW_BE16(0x0304)) << 16U);
    }
}

TEST(Parse, EveryIpv4FragmentIsAFragment) {
    const auto frame = [](bool more, uint16_t offset, bool dont = false) {
        return Packet()
            .ether()
            .ipv4({.src = "1.1.1.1",
                   .dst = "2.2.2.2",
                   .dont_fragment = dont,
                   .more_fragments = more,
                   .fragment_offset = offset})
            .udp(1, 2)
            .bytes();
    };
    for (const auto &[more, offset] : {std::pair{true, 0}, {true, 1}, {false, 1}, {false, 0x1fff}, {false, 0x1000}}) {
        const tapflow_packet packet = parse(frame(more, static_cast<uint16_t>(offset)));
        EXPECT_EQ(packet.packet_class, kFragment4) << more << " " << offset;
        EXPECT_EQ(packet.l3_offset, 14);
        EXPECT_EQ(packet.l4_offset, 0);
        EXPECT_EQ(packet.ports, 0U);
    }
    EXPECT_EQ(parse(frame(false, 0, true)).packet_class, kUdp4) << "\"don't fragment\" is no fragment";
}

TEST(Parse, Ipv6ExtensionHeadersAreLookedThrough) {
    const auto v6 = [] { return Packet().ether().ipv6("fe80::1", "fe80::2"); };
    const auto expect = [](const Packet &packet, unsigned packet_class, unsigned l4_offset) {
        const tapflow_packet parsed = parse(packet.bytes());
        EXPECT_EQ(parsed.packet_class, packet_class);
        EXPECT_EQ(parsed.l4_offset, l4_offset);
    };
    expect(v6().hop_by_hop().udp(1, 2), kUdp6, 54 + 8);
    expect(v6().destination_options(Bytes(30, 0)).udp(1, 2), kUdp6, 54 + 32);
    expect(v6().routing({.type = 4, .data = Bytes(20, 0)}).udp(1, 2), kUdp6, 54 + 24);
    expect(v6().hop_by_hop().destination_options().routing().destination_options().tcp(1, 2), TAPFLOW_CLASS_IPV6_TCP,
           54 + 32);
    expect(v6().fragment({}).udp(1, 2), kFragment6, 0); // an atomic fragment
    expect(v6().hop_by_hop().fragment({.offset = 9}).payload(30), kFragment6, 0);
    expect(v6().authentication(1, 2).udp(1, 2), TAPFLOW_CLASS_IPV6_AH, 54); // not looked through
    expect(v6().icmpv6(), kOther6, 54);
    expect(v6().next_type(59), kOther6, 54); // no next header
}

TEST(Parse, AChainOfMoreExtensionsThanAreFollowedIsOther) {
    for (unsigned count = 0; count <= 12; count++) {
        Packet packet = Packet().ether().ipv6("fe80::1", "fe80::2");
        for (unsigned i = 0; i < count; i++)
            packet.destination_options();
        const tapflow_packet parsed = parse(packet.udp(1, 2).payload(600).bytes());
        EXPECT_EQ(parsed.packet_class, count <= TAPFLOW_PARSE_EXTENSIONS_MAX ? kUdp6 : kOther6) << count;
        EXPECT_FALSE(parsed.truncated) << count;
    }
}

TEST(Parse, HeadersBeyondTheWindowAreNotLookedFor) {
    // Behind an extension of 8 * (1 + n) bytes the UDP header starts at 54 + that: 510 is the last place in the window.
    for (size_t units = 1; units < 256; units++) {
        const tapflow_packet packet = parse(Packet()
                                                .ether()
                                                .ipv6("fe80::1", "fe80::2")
                                                .destination_options(Bytes(8 * units - 2, 0))
                                                .udp(1, 2)
                                                .payload(100)
                                                .bytes());
        const size_t l4 = 54 + 8 * units;
        EXPECT_EQ(packet.packet_class, l4 <= TAPFLOW_PARSE_WINDOW ? kUdp6 : kOther6) << l4;
        EXPECT_EQ(packet.l4_offset, l4 <= TAPFLOW_PARSE_WINDOW ? l4 : 0) << l4;
        EXPECT_FALSE(packet.truncated) << l4;
    }
}

TEST(Parse, WhatOnlyLooksLikeIpIsNotIp) {
    const auto spoiled = [](const Packet &packet, uint8_t first_byte) {
        Bytes frame = packet.bytes();
        frame[14] = first_byte;
        return parse(frame);
    };
    const Packet v4 = Packet().ether().ipv4("1.1.1.1", "2.2.2.2").udp(1, 2).payload(64);
    const Packet v6 = Packet().ether().ipv6("fe80::1", "fe80::2").udp(1, 2).payload(64);
    for (unsigned version = 0; version < 16; version++) {
        EXPECT_EQ(spoiled(v4, static_cast<uint8_t>(version << 4U | 5)).packet_class, version == 4 ? kUdp4 : kNotIp);
        EXPECT_EQ(spoiled(v6, static_cast<uint8_t>(version << 4U)).packet_class, version == 6 ? kUdp6 : kNotIp);
    }
    for (unsigned ihl = 0; ihl < 5; ihl++) {
        const tapflow_packet packet = spoiled(v4, static_cast<uint8_t>(0x40 | ihl));
        EXPECT_EQ(packet.packet_class, kNotIp) << ihl;
        EXPECT_EQ(packet.l3_offset, 0) << ihl;
    }
}

TEST(Parse, PortsAndSpiAreThoseOfTheirProtocols) {
    const std::map<unsigned, std::pair<unsigned, size_t>> known{
        {6, {kTcp4, 0}},
        {17, {kUdp4, 0}},
        {132, {TAPFLOW_CLASS_IPV4_SCTP, 0}},
        {50, {TAPFLOW_CLASS_IPV4_ESP, 0}},
        {51, {TAPFLOW_CLASS_IPV4_AH, 4}},
    };
    for (unsigned protocol = 0; protocol < 256; protocol++) {
        const Bytes frame =
            Packet().ether().ipv4("1.1.1.1", "2.2.2.2").next_type(static_cast<uint16_t>(protocol)).payload(40).bytes();
        const tapflow_packet packet = parse(frame);
        const auto found = known.find(protocol);
        EXPECT_EQ(packet.packet_class, found == known.end() ? kOther4 : found->second.first) << protocol;
        uint32_t field = 0;
        if (found != known.end())
            std::memcpy(&field, &frame[34 + found->second.second], sizeof(field));
        EXPECT_EQ(packet.ports, field) << protocol;
        EXPECT_EQ(packet.protocol, protocol) << protocol;
        EXPECT_EQ(packet.l4_offset, 34) << protocol;
    }
}

struct CutRow {
    const char *name;
    Packet packet;
    size_t complete; ///< bytes from which on the answer is that of the whole frame
};

std::vector<CutRow> frames_to_cut() {
    const auto v4 = [] { return Packet().ether().ipv4("10.0.0.1", "10.0.0.2"); };
    const auto v6 = [] { return Packet().ether().ipv6("fe80::1", "fe80::2"); };
    return {
        {"ipv4 udp", v4().udp(1, 2).payload(30), 14 + 20 + 4},
        {"ipv4 icmp", v4().icmp().payload(30), 14 + 20},
        {"ipv4 options tcp",
         Packet().ether().ipv4({.src = "10.0.0.1", .dst = "10.0.0.2", .options = Bytes(40, 1)}).tcp(1, 2), 14 + 60 + 4},
        {"ipv4 fragment", Packet().ether().ipv4({.more_fragments = true}).udp(1, 2), 14 + 20},
        {"qinq ipv4 udp",
         Packet().ether().vlan({.vid = 1, .tpid = 0x88a8}).vlan(2).ipv4("10.0.0.1", "10.0.0.2").udp(1, 2), 22 + 24},
        {"vlan arp", Packet().ether().vlan(2).arp({}), 18},
        {"ipv6 tcp", v6().tcp(1, 2), 14 + 40 + 4},
        {"ipv6 extensions udp", v6().hop_by_hop().routing({.data = Bytes(20, 0)}).udp(1, 2), 14 + 40 + 8 + 24 + 4},
        {"ipv6 extension fragment", v6().destination_options().fragment({.more = true}).udp(1, 2), 14 + 40 + 8},
    };
}

// Each piece is a heap block of exactly its size, so that the address sanitizer sees a byte read too far.
TEST(Parse, AFrameCutAnywhereIsTruncatedUntilItsHeadersAreComplete) {
    for (const CutRow &row : frames_to_cut()) {
        const Bytes whole = row.packet.bytes();
        const tapflow_packet expected = parse(whole);
        for (size_t size = 0; size <= whole.size(); size++) {
            const std::unique_ptr<uint8_t[]> piece(new uint8_t[size]);
            std::copy_n(whole.begin(), size, piece.get());
            const tapflow_packet packet = parse({piece.get(), size});
            EXPECT_EQ(packet.truncated != 0, size < row.complete) << row.name << ", " << size << " bytes";
            if (size >= row.complete) {
                EXPECT_EQ(std::memcmp(&packet, &expected, sizeof(packet)), 0) << row.name << ", " << size << " bytes";
            } else {
                EXPECT_EQ(packet.ports, 0U) << row.name << ", " << size << " bytes";
            }
        }
    }
}

TEST(Parse, RandomFramesAreNeverReadPastTheirEnd) {
    packet::RandomPackets packets(seeded_random());
    std::array<size_t, TAPFLOW_CLASS_COUNT> seen{};
    for (unsigned i = 0; i < 50'000; i++) {
        const Bytes frame = packets.next(0, 700);
        const std::unique_ptr<uint8_t[]> exact(new uint8_t[frame.size()]);
        std::copy(frame.begin(), frame.end(), exact.get());
        const tapflow_packet packet = parse({exact.get(), frame.size()});
        ASSERT_LT(packet.packet_class, unsigned{TAPFLOW_CLASS_COUNT});
        ASSERT_LE(packet.l3_offset, frame.size());
        ASSERT_LE(packet.l4_offset, TAPFLOW_PARSE_WINDOW);
        ASSERT_EQ(packet.packet_class == kNotIp, packet.l3_offset == 0);
        seen[packet.packet_class]++;
    }
    for (size_t packet_class = 0; packet_class < seen.size(); packet_class++)
        EXPECT_GT(seen[packet_class], 100U) << "the generator makes frames of class " << packet_class;
}

} // namespace
} // namespace tapflow::test
