// SPDX-License-Identifier: BSD-3-Clause
#include "packet/words.h"

#include "support/must.h"
#include "support/seed.h"

#include <gtest/gtest.h>

#include <string>

namespace tapflow::test {
namespace {

using packet::Packet;

constexpr const char *kDestination = "02:00:00:00:00:99";
constexpr const char *kSource = "02:00:00:00:00:01";

packet::Bytes parsed(const std::string &text) { return must(packet::parse_words(text, kDestination)); }

TEST(PacketWords, AreTheFramesThatTheySay) {
    EXPECT_EQ(
        parsed("udp 10.0.0.1:53 > 10.0.0.2:4000 vlan 5"),
        Packet().ether(kDestination, kSource).vlan(5).ipv4("10.0.0.1", "10.0.0.2").udp(53, 4000).payload(18).bytes());
    packet::Tcp syn;
    syn.src_port = 1;
    syn.dst_port = 65535;
    syn.flags = packet::tcp_flag::kSyn | packet::tcp_flag::kAck;
    EXPECT_EQ(parsed("tcp [fe80::1]:1 to [fe80::2]:65535 flags syn,ack dmac 02:00:00:00:00:07 len 0"),
              Packet().ether("02:00:00:00:00:07", kSource).ipv6("fe80::1", "fe80::2").tcp(syn).payload(0).bytes());
    EXPECT_EQ(
        parsed("icmp6 fe80::1 -> fe80::2 type 135"),
        Packet().ether(kDestination, kSource).ipv6("fe80::1", "fe80::2").icmpv6({.type = 135}).payload(18).bytes());
    EXPECT_EQ(parsed("udp 10.0.0.1:1 > 10.0.0.2:2 vxlan 7 len 4"), Packet()
                                                                       .ether(kDestination, kSource)
                                                                       .ipv4("192.0.2.1", "192.0.2.2")
                                                                       .udp(49152, 4789)
                                                                       .vxlan(7)
                                                                       .ether("02:00:00:00:01:02", "02:00:00:00:01:01")
                                                                       .ipv4("10.0.0.1", "10.0.0.2")
                                                                       .udp(1, 2)
                                                                       .payload(4)
                                                                       .bytes());
}

TEST(PacketWords, NameWhatIsWrong) {
    const auto complaint = [](const std::string &text) {
        const auto result = packet::parse_words(text, kDestination);
        return result ? "nothing is wrong with " + text : result.error().message();
    };
    EXPECT_NE(complaint("").find("word 1 \"\""), std::string::npos);
    EXPECT_NE(complaint("udpp 1.1.1.1:1 > 1.1.1.1:1").find("expected a protocol (udp, tcp"), std::string::npos);
    EXPECT_NE(complaint("udp 10.0.0.1 > 10.0.0.2").find("word 2 \"10.0.0.1\""), std::string::npos);
    EXPECT_NE(complaint("udp 10.0.0.1:70000 > 10.0.0.2:1").find("word 2"), std::string::npos);
    EXPECT_NE(complaint("udp 10.0.0.1:7 10.0.0.2:1").find("expected >"), std::string::npos);
    EXPECT_NE(complaint("udp 10.0.0.1:7 > [fe80::1]:1").find("same IP version"), std::string::npos);
    EXPECT_NE(complaint("udp 10.0.0.1:7 > 10.0.0.2:1 vlan 5000").find("from 0 to 4095"), std::string::npos);
    EXPECT_NE(complaint("udp 10.0.0.1:7 > 10.0.0.2:1 vlan").find("word 6 \"\""), std::string::npos);
    EXPECT_NE(complaint("icmp fe80::1 > fe80::2").find("IP version"), std::string::npos);
    EXPECT_NE(complaint("tcp 10.0.0.1:7 > 10.0.0.2:1 flags syn,nak").find("TCP flags"), std::string::npos);
}

TEST(PacketWords, TakeAnythingWithoutFallingOver) {
    auto random = seeded_random();
    const std::vector<std::string> words{
        "udp",  "tcp",  "arp", "esp",        "10.0.0.1:53", "10.0.0.1", "[fe80::1]:1", "fe80::1", ">",     "to",
        "vlan", "4095", "pcp", "flags",      "syn,,",       ",",        "len",         "9000",    "vxlan", "fragment",
        "8",    "more", "spi", "0xffffffff", "-1",          "[]:1",     ":",           "[",       "type"};
    unsigned frames = 0;
    for (int i = 0; i < 20000; i++) {
        std::string text;
        if (random() % 4 != 0)
            text = "udp 10.0.0.1:1 > 10.0.0.2:2 ";
        for (auto count = random() % 8; count > 0; count--)
            text += words[random() % words.size()] + " ";
        if (!text.empty() && random() % 10 == 0)
            text[random() % text.size()] = static_cast<char>(random());
        frames += packet::parse_words(text, kDestination) ? 1U : 0U;
    }
    EXPECT_GT(frames, 100U);
}

TEST(PacketHex, IsReadInThePlacesThatPeopleBreakIt) {
    const packet::Bytes expected{0x01, 0xab, 0xff};
    for (const char *text : {"01abff", "01 AB ff", "01:ab:ff", "01-ab\nff "})
        EXPECT_EQ(must(packet::parse_hex(text)), expected) << text;
    EXPECT_FALSE(packet::parse_hex("01a"));
    EXPECT_FALSE(packet::parse_hex("0x01"));
    EXPECT_FALSE(packet::parse_hex(std::string(200000, '0')));
}

} // namespace
} // namespace tapflow::test
