// SPDX-License-Identifier: BSD-3-Clause
// "tapflowctl explain" of what is no packet, and of files that are no captures.
#include "ctl/ctl_fixture.h"
#include "ctl/files.h"

#include "support/effort.h"
#include "support/seed.h"

#include <map>
#include <random>

namespace tapflow::test {
namespace {

class CtlHostile : public CtlTest {
  protected:
    /// Whatever it is: it has been done, or one line says why not.
    static int expect_sound(const std::vector<std::string> &arguments) {
        const Said said = tapflowctl(arguments);
        EXPECT_TRUE(said.status >= 0 && said.status <= 2) << "status " << said.status << ": " << said.err;
        if (said.status == 2)
            expect_refused({said.status, "", said.err}); // what came before the break has been said
        else
            EXPECT_EQ(said.err, "");
        return said.status;
    }
    static std::vector<packet::Bytes> frames() {
        return {packet::Packet().ether().ipv4("10.0.0.1", "10.0.0.2").udp(1, 53).payload(30).bytes(),
                packet::Packet().ether().vlan(9).ipv6("fe80::1", "fe80::2").tcp(7, 22).payload(9).bytes(),
                packet::Packet().ether().ipv4("10.0.0.1", "10.0.0.2").tcp(1, 80).payload(300).bytes()};
    }
    /// An interface and packets, by hand.
    static std::string pcapng() {
        std::string text;
        const auto block = [&text](uint32_t type, std::string body) {
            body.append((4 - body.size() % 4) % 4, '\0');
            const auto length = static_cast<uint32_t>(body.size() + 12);
            append_bytes(text, type);
            append_bytes(text, length);
            text += body;
            append_bytes(text, length);
        };
        std::string section;
        append_bytes(section, uint32_t{0x1a2b3c4d});
        append_bytes(section, uint32_t{1});
        append_bytes(section, ~uint64_t{0});
        block(0x0a0d0d0a, section);
        std::string interface;
        append_bytes(interface, uint32_t{1});
        append_bytes(interface, uint32_t{262144});
        block(1, interface);
        for (const packet::Bytes &frame : frames()) {
            std::string packet(12, '\0');
            append_bytes(packet, static_cast<uint32_t>(frame.size()));
            append_bytes(packet, static_cast<uint32_t>(frame.size()));
            packet.append(reinterpret_cast<const char *>(frame.data()), frame.size());
            block(6, packet);
        }
        return text;
    }

    const TemporaryDirectory directory;
};

TEST_F(CtlHostile, BrokenCaptures) {
    open();
    const std::string good = pcap_of(frames());
    std::string long_packet = good;
    long_packet.replace(24 + 8, 4, "\xff\xff\xff\x7f");
    std::string long_enough = pcap_of({packet::Bytes(70'000)});
    std::string absurd_snaplen = good.substr(0, 24);
    absurd_snaplen.replace(16, 4, "\xff\xff\xff\xff");
    std::string later_version = good;
    later_version[4] = 9;
    const std::map<std::string, std::string> broken{
        {"empty", ""},
        {"no-packets", good.substr(0, 24)},
        {"cut-header", good.substr(0, 20)},
        {"cut-first-record", good.substr(0, 24 + 9)},
        {"cut-first-packet", good.substr(0, 24 + 16 + 10)},
        {"long-packet", long_packet},
        {"longer-than-a-frame", long_enough},
        {"absurd-snaplen", absurd_snaplen},
        {"later-version", later_version},
        {"loopback", pcap_of(frames(), 0)},
        {"raw-ip", pcap_of(frames(), 101)},
        {"cooked", pcap_of(frames(), 113)},
        {"unknown-link", pcap_of(frames(), 65000)},
        {"text", "This is no capture.\n"},
        {"pcapng-header", pcapng().substr(0, 28)},
        {"pcapng-cut", pcapng().substr(0, 28 + 20 + 40)},
        {"pcapng-no-interface", pcapng().substr(0, 28) + pcapng().substr(28 + 20)},
    };
    for (const auto &[name, contents] : broken) {
        SCOPED_TRACE(name);
        const std::string path = directory.holding(name + ".pcap", contents);
        std::vector<std::vector<std::string>> commands{{"explain", "tap0", path, "--offline"},
                                                       {"explain", "tap0", path + ":1", "--offline", "--json"},
                                                       {"balance", "tap0", "--pcap", path}};
        if (name.starts_with("cut"))
            commands.push_back({"verify", "tap0", "--pcap", path});
        for (const auto &arguments : commands) {
            SCOPED_TRACE(arguments.front());
            expect_refused(tapflowctl(arguments));
        }
    }
    for (const std::string &path : {directory.file("missing.pcap"), directory.file(""), std::string("/dev/null"),
                                    std::string("/dev/zero"), std::string("/proc/self/mem")}) {
        SCOPED_TRACE(path);
        expect_refused(tapflowctl({"explain", "tap0", path, "--offline"}));
        expect_refused(tapflowctl({"balance", "tap0", "--pcap", path}));
    }
}

TEST_F(CtlHostile, WhatIsInFrontOfABreakIsExplained) {
    open();
    const std::string good = pcap_of(frames());
    const std::string path = directory.holding("cut.pcap", good.substr(0, good.size() - 100));
    const Said said = tapflowctl({"explain", "tap0", path, "--json", "--offline"});
    EXPECT_EQ(std::count(said.out.begin(), said.out.end(), '\n'), 2);
    expect_refused({said.status, "", said.err});
    EXPECT_EQ(tapflowctl({"explain", "tap0", path + ":2", "--offline"}).status, 0);
}

TEST_F(CtlHostile, MutatedCaptures) {
    open();
    auto random = seeded_random();
    unsigned refused = 0;
    const unsigned rounds = effort(200);
    for (unsigned round = 0; round < rounds; round++) {
        std::string contents = round % 2 == 0 ? pcap_of(frames()) : pcapng();
        for (auto changes = 1 + random() % 4; changes > 0; changes--)
            // Lengths and types are most of what breaks; they are in front.
            contents[random() % (random() % 3 == 0 ? contents.size() : 80)] = static_cast<char>(random());
        if (random() % 4 == 0)
            contents.resize(random() % contents.size());
        const std::string path = directory.holding("mutated", contents);
        refused += expect_sound({"explain", "tap0", path, "--json", "--offline"}) == 2 ? 1U : 0U;
        if (HasFailure()) {
            std::string hexadecimal;
            for (const char each : contents)
                hexadecimal += std::to_string(static_cast<uint8_t>(each)) + ' ';
            FAIL() << "bytes " << hexadecimal;
        }
    }
    EXPECT_GT(refused, rounds / 10);
    EXPECT_LT(refused, rounds);
}

TEST_F(CtlHostile, ShortAndLongFrames) {
    open();
    std::vector<packet::Bytes> odd;
    for (const size_t size :
         {size_t{0}, size_t{1}, size_t{6}, size_t{13}, size_t{14}, size_t{15}, size_t{1515}, size_t{65'000}})
        odd.emplace_back(size, uint8_t{8});
    const std::string path = directory.holding("odd.pcap", pcap_of(odd));
    for (const bool offline : {false, true}) {
        std::vector<std::string> arguments{"explain", "tap0", path, "--json"};
        if (offline)
            arguments.emplace_back("--offline");
        const Said said = tapflowctl(arguments);
        EXPECT_EQ(said.status, 0) << said.err;
        EXPECT_EQ(static_cast<size_t>(std::count(said.out.begin(), said.out.end(), '\n')), odd.size());
    }
    EXPECT_EQ(tapflowctl({"balance", "tap0", "--pcap", path}).status, 0);
    const Said verified = tapflowctl({"verify", "tap0", "--pcap", path, "--json"});
    EXPECT_EQ(verified.status, 0) << verified.err << verified.out;
    EXPECT_LT(valid_json(verified, "verify")["compared"], odd.size());
    expect_sound({"explain", "tap0", "00:01:02:03:04:05:06:07:08:09"});
}

TEST_F(CtlHostile, FuzzedPacketWords) {
    open();
    auto random = seeded_random();
    const std::vector<std::string> words{"udp",        "tcp",
                                         "sctp",       "icmp",
                                         "icmp6",      "esp",
                                         "ah",         "ip",
                                         "arp",        "10.0.0.1:53",
                                         ">",          "10.0.0.2:1",
                                         "to",         "[fe80::1]:1",
                                         "vlan",       "5",
                                         "4096",       "pcp",
                                         "smac",       "02:00:00:00:00:01",
                                         "dmac",       "ttl",
                                         "tos",        "flags",
                                         "syn,",       "type",
                                         "code",       "spi",
                                         "fragment",   "8",
                                         "more",       "len",
                                         "9000",       "9001",
                                         "vxlan",      "16777216",
                                         "0x",         "-1",
                                         "10.0.0.999", "[",
                                         "\x1b[31m",   "\xff\xfe",
                                         "\n",         "'",
                                         "%s%n",       "",
                                         ":::::",      "18446744073709551616"};
    unsigned explained = 0;
    const unsigned rounds = effort(50);
    for (unsigned round = 0; round < rounds; round++) {
        std::vector<std::string> arguments{"explain", "tap0", "--offline", "--"};
        if (round % 2 == 0)
            arguments.insert(arguments.end(), {"udp", "10.0.0.1:53", ">", "10.0.0.2:1"});
        for (auto count = round / 2 % 6; count > 0; count--)
            arguments.push_back(words[random() % words.size()]);
        if (arguments.size() == 4)
            arguments.emplace_back(round % 8 == 1 ? "" : std::string(100'000, 'x'));
        SCOPED_TRACE(testing::PrintToString(arguments).substr(0, 400));
        explained += expect_sound(arguments) == 0 ? 1U : 0U;
    }
    // At least those to which nothing was added.
    EXPECT_GE(explained, (rounds + 11) / 12);
}

} // namespace
} // namespace tapflow::test
