// SPDX-License-Identifier: BSD-3-Clause
// "tapflowctl explain" of packets that are as they should be.
#include "ctl/ctl_fixture.h"
#include "ctl/files.h"

#include "ctl/wrong_tables.h"
#include "tapflowctl/output.h"
#include "tapflowctl/pcapng.h"

#include <sstream>

namespace tapflow::test {
namespace {

class CtlExplain : public CtlTest {
  protected:
    void open_with_rules() {
        open();
        create("priority 5 pattern eth / ipv4 src is 10.0.0.1 / end actions mark id 7 / count / end");
        create("priority 6 pattern eth / ipv4 / udp dst is 53 / end actions queue index 1 / end");
        create("priority 9 pattern eth / ipv4 / udp / end actions queue index 0 / end");
        create("pattern eth / ipv4 / tcp dst is 22 / end actions drop / end");
        create("priority 3 pattern eth / ipv6 / end actions rss types ipv6 end queues 1 end / end");
    }
    /// Both forms of what is said are as in golden/explain-NAME.
    static void expect_explained(const std::string &name, std::vector<std::string> arguments, int status = 0) {
        arguments.insert(arguments.begin(), {"explain", "tap0"});
        const Said plain = tapflowctl(arguments);
        EXPECT_EQ(plain.status, status) << plain.err;
        expect_golden("explain-" + name + ".txt", plain.out);
        arguments.emplace_back("--json");
        const Said json = tapflowctl(arguments);
        EXPECT_EQ(json.status, status) << json.err;
        valid_json(json, "explain");
        expect_golden("explain-" + name + ".json", json.out);
    }
    [[nodiscard]] packet::Bytes udp(uint16_t source, uint16_t destination) const {
        return packet::Packet()
            .ether(port->mac(), MacAddress{{2, 0, 0, 0, 0, 2}})
            .ipv4("10.0.0.9", "10.0.0.2")
            .udp(source, destination)
            .payload(18)
            .bytes();
    }
    [[nodiscard]] std::vector<packet::Bytes> some_packets() const { return {udp(1, 53), udp(2, 54), udp(3, 55)}; }
};

std::vector<nlohmann::ordered_json> documents(const Said &said) {
    std::vector<nlohmann::ordered_json> all;
    std::istringstream lines(said.out);
    for (std::string line; std::getline(lines, line);)
        all.push_back(valid_json({said.status, line, said.err}, "explain"));
    return all;
}

TEST_F(CtlExplain, AHitOfARule) {
    open_with_rules();
    expect_explained("rule", {"udp", "10.0.0.1:1000", ">", "10.0.0.2:53", "vlan", "5"});
}

TEST_F(CtlExplain, APacketThatRssSpreads) {
    open();
    expect_explained("rss", {"udp 10.0.0.1:1000 to 10.0.0.2:53"});
}

TEST_F(CtlExplain, APacketThatARulesRssSpreads) {
    open_with_rules();
    expect_explained("rule-rss", {"tcp [fe80::1]:1000 > [fe80::2]:22"});
}

TEST_F(CtlExplain, ADroppedPacket) {
    open_with_rules();
    expect_explained("drop", {"tcp 10.0.0.9:1000 > 10.0.0.2:22 flags syn"});
}

TEST_F(CtlExplain, ATunnelsPacket) {
    open(named("tap0"));
    must(port->set_rss(rss_config(rss::kIpv4 | rss::kIpv4Udp | rss::kInnermost, rss::round_robin_reta(2))));
    create("pattern eth / ipv4 / udp / vxlan vni is 77 / eth / ipv4 / end actions mark id 1 / end");
    expect_explained("tunnel", {"udp 10.0.0.1:1000 > 10.0.0.2:53 vxlan 77"});
}

TEST_F(CtlExplain, WithoutTheKernelWhenAskedTo) {
    open_with_rules();
    expect_explained("offline", {"udp 10.0.0.1:1000 > 10.0.0.2:53", "--offline"});
}

TEST_F(CtlExplain, ADisagreementIsShownSideBySide) {
    open();
    publish_wrong_tables("tap0");
    expect_explained("disagreement", {"udp 10.0.0.1:1000 > 10.0.0.2:53"}, 1);
    EXPECT_EQ(tapflowctl({"explain", "tap0", "udp 10.0.0.1:1000 > 10.0.0.2:53", "--offline"}).status, 0);
    EXPECT_EQ(tapflowctl({"explain", "tap0", "arp 10.0.0.1 > 10.0.0.2"}).status, 0) << "it is not hashed";
}

TEST_F(CtlExplain, WordsAndHexadecimalSayTheSame) {
    open_with_rules();
    nlohmann::ordered_json words = valid_json(
        tapflowctl({"explain", "tap0", "udp 10.0.0.9:1 > 10.0.0.2:53 len 18 smac 02:00:00:00:00:02", "--json"}),
        "explain");
    std::string hexadecimal;
    for (const uint8_t byte : udp(1, 53)) {
        static constexpr std::string_view kDigits = "0123456789ABCDEF";
        hexadecimal += (hexadecimal.empty() ? "" : ":");
        hexadecimal += {kDigits[byte >> 4U], kDigits[byte & 15U]};
    }
    EXPECT_EQ(valid_json(tapflowctl({"explain", "tap0", hexadecimal, "--json"}), "explain"), words);
    EXPECT_EQ(words["reference"]["queue"], 1);
    EXPECT_EQ(words["reference"], words["dry_run"]);
}

TEST_F(CtlExplain, PacketsOfCaptures) {
    open_with_rules();
    const TemporaryDirectory directory;
    const std::string pcap = directory.holding("some.pcap", pcap_of(some_packets()));
    const std::string pcapng = directory.file("some.pcapng");
    {
        auto writer = must(ctl::PcapngWriter::create(pcapng, "test"));
        const uint32_t interface = must(writer.add_interface("tap0", 262144));
        for (const packet::Bytes &frame : some_packets())
            must(writer.add({.interface = interface, .frame = frame, .comment = {}}));
        must(writer.flush());
    }
    for (const std::string &file : {pcap, pcapng}) {
        SCOPED_TRACE(file);
        const auto all = documents(tapflowctl({"explain", "tap0", file, "--json"}));
        ASSERT_EQ(all.size(), 3U);
        for (size_t i = 0; i < all.size(); i++) {
            EXPECT_EQ(all[i]["number"], i + 1);
            const std::string one = file + ":" + std::to_string(i + 1);
            EXPECT_EQ(valid_json(tapflowctl({"explain", "tap0", one, "--json"}), "explain"), all[i]);
        }
        EXPECT_EQ(all[0]["reference"]["rule"], 2);
        EXPECT_EQ(all[1]["reference"]["rule"], 3);
        const Said piped = run_apart({"/bin/sh", "-c", TAPFLOWCTL " explain tap0 --json - <" + file});
        EXPECT_EQ(documents(piped), all);
        EXPECT_NE(tapflowctl({"explain", "tap0", file + ":3"}).out.find("packet 3 "), std::string::npos);
        for (const char *number : {":0", ":4", ":18446744073709551615"})
            expect_refused(tapflowctl({"explain", "tap0", file + number}));
    }
}

TEST_F(CtlExplain, AFileCalledAsAPacketOfAnotherIsAStreamAllTheSame) {
    open_with_rules();
    const TemporaryDirectory directory;
    const std::string pcap = directory.holding("some:3", pcap_of(some_packets()));
    EXPECT_EQ(documents(tapflowctl({"explain", "tap0", pcap, "--json"})).size(), 3U);
}

TEST_F(CtlExplain, PacketsOfATunDevice) {
    engine::PortOptions options = named("tun0");
    options.layer = kernel::Layer::Ip;
    options.mac.reset();
    open(options);
    create("pattern eth / ipv4 / udp dst is 53 / end actions queue index 1 / end");
    const nlohmann::ordered_json words =
        valid_json(tapflowctl({"explain", "tun0", "udp 10.0.0.9:1 > 10.0.0.2:53 len 18", "--json"}), "explain");
    EXPECT_EQ(words["length"], 46);
    EXPECT_EQ(words["reference"]["rule"], 1);
    EXPECT_EQ(words["reference"], words["dry_run"]);
    packet::Bytes ip = udp(1, 53);
    ip.erase(ip.begin(), ip.begin() + 14);
    const TemporaryDirectory directory;
    nlohmann::ordered_json captured = valid_json(
        tapflowctl({"explain", "tun0", directory.holding("raw.pcap", pcap_of({ip}, 101)) + ":1", "--json"}), "explain");
    captured.erase("number");
    EXPECT_EQ(captured, words);
    for (const char *packet : {"udp 10.0.0.9:1 > 10.0.0.2:53 vlan 5", "arp 10.0.0.1 > 10.0.0.2"})
        expect_refused(tapflowctl({"explain", "tun0", packet}));
}

} // namespace
} // namespace tapflow::test
