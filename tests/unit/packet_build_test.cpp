// SPDX-License-Identifier: BSD-3-Clause
#include "packet/build.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <stdexcept>

namespace tapflow::packet {
namespace {

Bytes from_hex(std::string_view text) {
    Bytes bytes;
    std::string digits;
    for (const char c : text) {
        if (c == ' ')
            continue;
        digits += c;
        if (digits.size() == 2) {
            bytes.push_back(static_cast<uint8_t>(std::stoul(digits, nullptr, 16)));
            digits.clear();
        }
    }
    return bytes;
}

std::span<const uint8_t> part(const Bytes &frame, size_t from, size_t size = std::dynamic_extent) {
    return std::span(frame).subspan(from, size);
}

unsigned be16(const Bytes &frame, size_t offset) {
    return static_cast<unsigned>(frame.at(offset)) << 8U | frame.at(offset + 1);
}

/// The folded sum over pseudo header and message, from the frame alone: 0xffff when the checksum is right.
unsigned verify(const Bytes &frame, size_t addresses, size_t addresses_size, size_t transport, unsigned protocol) {
    const uint32_t message = ones_complement_sum(part(frame, transport));
    const auto length = static_cast<uint32_t>(frame.size() - transport);
    return ones_complement_sum(part(frame, addresses, addresses_size), message + length + protocol);
}

unsigned verify_v4(const Bytes &frame, unsigned protocol) { return verify(frame, 26, 8, 34, protocol); }
unsigned verify_v6(const Bytes &frame, unsigned protocol) { return verify(frame, 22, 32, 54, protocol); }

TEST(InternetChecksum, MatchesTheExampleOfRfc1071) {
    EXPECT_EQ(ones_complement_sum(from_hex("0001 f203 f4f5 f6f7")), 0xddf2);
    EXPECT_EQ(internet_checksum(from_hex("0001 f203 f4f5 f6f7")), 0x220d);
}

TEST(InternetChecksum, CountsAnOddByteAsTheHighHalf) {
    EXPECT_EQ(ones_complement_sum(from_hex("0102 03")), 0x0402);
    EXPECT_EQ(ones_complement_sum({}), 0);
}

TEST(Crc32c, MatchesTheCheckValueOfTheRevEngCatalogue) {
    EXPECT_EQ(crc32c(from_hex("313233343536373839")), 0xe3069283U);
}

TEST(Address, ParsesAndPrints) {
    EXPECT_EQ(parse_mac("02:aB:00:ff:10:01")->text(), "02:ab:00:ff:10:01");
    EXPECT_EQ(to_string(*parse_ipv4("192.168.0.199")), "192.168.0.199");
    EXPECT_EQ(to_string(*parse_ipv6("2001:DB8::1")), "2001:db8::1");
    EXPECT_EQ(parse_mac("02:ab:00:ff:10:01")->bytes, (std::array<uint8_t, 6>{2, 0xab, 0, 0xff, 0x10, 1}));
}

TEST(Address, RefusesBadTextNamingIt) {
    for (const char *text : {"", "02:ab:00:ff:10", "02:ab:00:ff:10:0g", "02-ab-00-ff-10-01", "02:ab:00:ff:10:01:"})
        EXPECT_FALSE(parse_mac(text)) << text;
    EXPECT_EQ(parse_ipv4("10.0.0").error().code, EINVAL);
    EXPECT_EQ(parse_ipv6("10.0.0.1").error().what, "parse IPv6 address \"10.0.0.1\"");
    EXPECT_THROW(Packet().ipv4("10.0.0.256", "10.0.0.1"), std::invalid_argument);
}

TEST(Packet, Ipv4HeaderMatchesTheWellKnownExample) {
    const Bytes frame = Packet()
                            .ether()
                            .ipv4({.src = "192.168.0.1", .dst = "192.168.0.199", .dont_fragment = true})
                            .udp(1, 2)
                            .payload(87)
                            .bytes();
    EXPECT_EQ(Bytes(frame.begin() + 14, frame.begin() + 34),
              from_hex("4500 0073 0000 4000 4011 b861 c0a8 0001 c0a8 00c7"));
}

TEST(Packet, GoldenArpRequest) {
    const Bytes frame = Packet()
                            .ether("ff:ff:ff:ff:ff:ff", "02:00:00:00:00:0a")
                            .arp({.sender_mac = "02:00:00:00:00:0a", .sender_ip = "10.0.0.1", .target_ip = "10.0.0.2"})
                            .bytes();
    EXPECT_EQ(frame, from_hex("ffffffffffff 02000000000a 0806"
                              "0001 0800 06 04 0001 02000000000a 0a000001 000000000000 0a000002"));
}

TEST(Packet, GoldenQinqUdp) {
    const Bytes frame = Packet()
                            .ether("02:00:00:00:00:0b", "02:00:00:00:00:0a")
                            .vlan({.vid = 100, .pcp = 5, .dei = true, .tpid = 0x88a8})
                            .vlan(5)
                            .ipv4({.src = "10.0.0.1", .dst = "10.0.0.2", .tos = 0xb8, .id = 0x1234, .ttl = 7})
                            .udp(53, 4000)
                            .raw({0xca, 0xfe})
                            .bytes();
    EXPECT_EQ(frame, from_hex("02000000000b 02000000000a 88a8 b064 8100 0005 0800"
                              "45b8 001e 1234 0000 0711 8ce1 0a000001 0a000002"
                              "0035 0fa0 000a 1104 cafe"));
}

TEST(Packet, GoldenTcpSynWithOptionsOverIpv6) {
    const Bytes frame = Packet()
                            .ether()
                            .ipv6({.src = "2001:db8::1",
                                   .dst = "2001:db8::2",
                                   .traffic_class = 0x2e,
                                   .flow_label = 0xabcde,
                                   .hop_limit = 3})
                            .tcp({.src_port = 0x1111,
                                  .dst_port = 80,
                                  .seq = 0x01020304,
                                  .flags = tcp_flag::kSyn,
                                  .window = 0x2000,
                                  .options = {2, 4, 5, 0xb4, 1}})
                            .bytes();
    EXPECT_EQ(Bytes(frame.begin() + 14, frame.end()),
              from_hex("62eabcde 001c 06 03 20010db8000000000000000000000001 20010db8000000000000000000000002"
                       "1111 0050 01020304 00000000 7002 2000 f646 0000 020405b4 01000000"));
}

TEST(Packet, TransportChecksumsVerify) {
    const Ipv4 v4{.src = "10.1.2.3", .dst = "10.4.5.6"};
    const Ipv6 v6{.src = "fe80::1", .dst = "ff02::1"};
    for (const size_t size : {0U, 1U, 63U, 1400U}) {
        EXPECT_EQ(verify_v4(Packet().ether().ipv4(v4).tcp(1, 2).payload(size).bytes(), 6), 0xffffU) << size;
        EXPECT_EQ(verify_v4(Packet().ether().ipv4(v4).udp(1, 2).payload(size).bytes(), 17), 0xffffU) << size;
        EXPECT_EQ(verify_v6(Packet().ether().ipv6(v6).tcp(1, 2).payload(size).bytes(), 6), 0xffffU) << size;
        EXPECT_EQ(verify_v6(Packet().ether().ipv6(v6).udp(1, 2).payload(size).bytes(), 17), 0xffffU) << size;
        EXPECT_EQ(verify_v6(Packet().ether().ipv6(v6).icmpv6().payload(size).bytes(), 58), 0xffffU) << size;
        const Bytes echo = Packet().ether().ipv4(v4).icmp({.rest = 0x00010002}).payload(size).bytes();
        EXPECT_EQ(ones_complement_sum(part(echo, 34)), 0xffffU) << size;
        EXPECT_EQ(ones_complement_sum(part(echo, 14, 20)), 0xffffU) << size;
    }
}

TEST(Packet, UdpChecksumOfZeroIsSentAsAllOnes) {
    // The payload makes the sum come out as 0xffff: chosen as what is missing from the same packet without it.
    const Ipv4 header{.src = "10.0.0.1", .dst = "10.0.0.2"};
    const unsigned missing = be16(Packet().ether().ipv4(header).udp(1, 2).raw({0, 0}).bytes(), 40);
    const Bytes filler{static_cast<uint8_t>(missing >> 8U), static_cast<uint8_t>(missing)};
    EXPECT_EQ(be16(Packet().ether().ipv4(header).udp(1, 2).raw(filler).bytes(), 40), 0xffffU);
}

TEST(Packet, SctpCarriesCrc32c) {
    Bytes frame = Packet().ether().ipv4("10.0.0.1", "10.0.0.2").sctp(7, 8, 0xdeadbeef).payload(20).bytes();
    const Bytes stored(frame.begin() + 42, frame.begin() + 46);
    std::fill(frame.begin() + 42, frame.begin() + 46, uint8_t{0});
    const uint32_t crc = crc32c(part(frame, 34));
    EXPECT_EQ(frame[23], 132);
    EXPECT_EQ(stored, (Bytes{static_cast<uint8_t>(crc), static_cast<uint8_t>(crc >> 8U),
                             static_cast<uint8_t>(crc >> 16U), static_cast<uint8_t>(crc >> 24U)}));
}

TEST(Packet, LinksEveryIpv6ExtensionHeaderToTheNext) {
    const Bytes frame = Packet()
                            .ether()
                            .ipv6("2001:db8::1", "2001:db8::2")
                            .hop_by_hop()
                            .destination_options()
                            .routing({.type = 4, .segments_left = 1, .data = Bytes(20, 0)})
                            .fragment({.offset = 0x123, .more = true, .id = 0xaabbccdd})
                            .authentication(0x100, 9)
                            .udp(1, 2)
                            .payload(8)
                            .bytes();
    std::vector<unsigned> chain{frame[20]};
    size_t at = 54;
    while (chain.back() != 17) {
        const unsigned type = chain.back();
        chain.push_back(frame.at(at));
        at += type == 44 ? 8U : type == 51 ? (frame.at(at + 1) + 2U) * 4U : (frame.at(at + 1) + 1U) * 8U;
    }
    EXPECT_EQ(chain, (std::vector<unsigned>{0, 60, 43, 44, 51, 17}));
    EXPECT_EQ(be16(frame, at + 2), 2U);
    EXPECT_EQ(be16(frame, 18), frame.size() - 54);
    const size_t fragment = 54 + 8 + 8 + 24;
    EXPECT_EQ(Bytes(frame.begin() + fragment, frame.begin() + fragment + 8), from_hex("33 00 0919 aabbccdd"));
    EXPECT_EQ(verify(frame, 22, 32, at, 17), 0xffffU);
}

TEST(Packet, AChainWithoutPayloadEndsInNoNextHeader) {
    EXPECT_EQ(Packet().ether().ipv6("::1", "::2").hop_by_hop().bytes().at(54), 59);
}

TEST(Packet, Ipv4OptionsAndFragmentFields) {
    const Bytes frame = Packet()
                            .ether()
                            .ipv4({.src = "10.0.0.1",
                                   .dst = "10.0.0.2",
                                   .more_fragments = true,
                                   .fragment_offset = 185,
                                   .options = {7, 3, 4}})
                            .next_type(17)
                            .payload(40)
                            .bytes();
    EXPECT_EQ(frame[14], 0x46);
    EXPECT_EQ(be16(frame, 16), 64U);
    EXPECT_EQ(be16(frame, 20), 0x2000U | 185U);
    EXPECT_EQ(frame[23], 17);
    EXPECT_EQ(ones_complement_sum(part(frame, 14, 24)), 0xffffU);
    EXPECT_THROW(Packet().ipv4({.options = Bytes(41, 1)}), std::length_error);
    EXPECT_THROW(Packet().tcp({.options = Bytes(41, 1)}), std::length_error);
}

TEST(Packet, ATunnelComputesInnerAndOuterSums) {
    const Bytes frame = Packet()
                            .ether()
                            .ipv4("10.0.0.1", "10.0.0.2")
                            .udp(5000, 4789)
                            .vxlan(0x123456)
                            .ether()
                            .ipv6("2001:db8::1", "2001:db8::2")
                            .tcp(1, 2)
                            .payload(33)
                            .bytes();
    const size_t inner = 14 + 20 + 8 + 8;
    EXPECT_EQ(verify_v4(frame, 17), 0xffffU);
    EXPECT_EQ(verify(frame, inner + 22, 32, inner + 54, 6), 0xffffU);
    EXPECT_EQ(Bytes(frame.begin() + 42, frame.begin() + 50), from_hex("08000000 12345600"));
}

TEST(Packet, LinksTunnelsByEthertypeAndProtocol) {
    EXPECT_EQ(be16(Packet().ether().ipv4("1.1.1.1", "1.1.1.2").gre().ether().bytes(), 36), 0x6558U);
    EXPECT_EQ(be16(Packet().ether().ipv4("1.1.1.1", "1.1.1.2").gre().ipv6("::1", "::2").bytes(), 36), 0x86ddU);
    EXPECT_EQ(Packet().ether().ipv4("1.1.1.1", "1.1.1.2").ipv4("2.1.1.1", "2.1.1.2").bytes().at(23), 4);
    EXPECT_EQ(Packet().ether().ipv4("1.1.1.1", "1.1.1.2").ipv6("::1", "::2").bytes().at(23), 41);
}

TEST(Packet, RawEthertypeWithPayload) {
    EXPECT_EQ(Packet().ether().next_type(0x88cc).raw({1, 2, 3}).bytes(),
              from_hex("020000000002 020000000001 88cc 010203"));
}

TEST(Packet, ChecksumCanBeGivenWrongOrPartial) {
    const Packet base = Packet().ether().ipv4("10.0.0.1", "10.0.0.2");
    EXPECT_EQ(be16(Packet(base).udp(1, 2).checksum(0).bytes(), 40), 0U);
    EXPECT_NE(verify_v4(Packet(base).tcp(1, 2).wrong_checksum().bytes(), 6), 0xffffU);
    EXPECT_NE(ones_complement_sum(part(Packet(base).wrong_checksum().udp(1, 2).bytes(), 14, 20)), 0xffffU);

    // Completing a partial checksum the way a NIC does must give the full one.
    const Bytes full = Packet(base).tcp(1, 2).payload(7).bytes();
    Packet partial = Packet(base).tcp(1, 2).partial_checksum().payload(7);
    const Bytes bytes = partial.bytes();
    EXPECT_EQ(internet_checksum(part(bytes, partial.transport_offset())), be16(full, 34 + 16));
    EXPECT_NE(bytes, full);
    EXPECT_EQ(partial.transport_checksum_offset(), 16U);
    EXPECT_EQ(partial.transport_header_size(), 20U);
}

TEST(Packet, LengthPaddingAndTruncation) {
    const Packet base = Packet().ether().ipv4("10.0.0.1", "10.0.0.2").udp(1, 2);
    EXPECT_EQ(be16(Packet(base).pad_to(60).bytes(), 16), 28U);
    EXPECT_EQ(Packet(base).pad_to(60).bytes().size(), 60U);
    EXPECT_EQ(be16(Packet(base).length(7).bytes(), 38), 7U);
    const Bytes cut = Packet(base).payload(64).truncate(40).bytes();
    EXPECT_EQ(cut.size(), 40U);
    EXPECT_EQ(be16(cut, 16), 92U);
    EXPECT_EQ(be16(Packet(base).payload(70000).bytes(), 16), 0U);
}

TEST(Packet, MisuseIsReported) {
    EXPECT_THROW(Packet().checksum(1), std::logic_error);
    EXPECT_THROW((void)Packet().ether().transport_offset(), std::logic_error);
}

} // namespace
} // namespace tapflow::packet
