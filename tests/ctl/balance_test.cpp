// SPDX-License-Identifier: BSD-3-Clause
// "tapflowctl balance" against what a port does with the same packets.
#include "ctl/ctl_fixture.h"
#include "ctl/files.h"

namespace tapflow::test {
namespace {

constexpr unsigned kQueues = 4;

class CtlBalance : public CtlTest {
  protected:
    void SetUp() override {
        open(named("tap0"), kQueues);
        capture = directory.holding("flows.pcap", pcap_of(frames()));
    }
    /// Forty flows of one to five packets, and five that are not hashed.
    [[nodiscard]] std::vector<packet::Bytes> frames() const {
        std::vector<packet::Bytes> all;
        for (uint16_t flow = 0; flow < 40; flow++)
            all.insert(all.end(), 1U + flow % 5,
                       to_port()
                           .ipv4("10.0.0.1", "10.0.0.2")
                           .udp(static_cast<uint16_t>(1000 + flow), 53)
                           .payload(18U + flow)
                           .bytes());
        all.insert(all.end(), 5, to_port().ipv6("fe80::1", "fe80::2").udp(1, 2).payload(18).bytes());
        return all;
    }
    [[nodiscard]] packet::Packet to_port() const {
        return packet::Packet().ether(port->mac(), MacAddress{{2, 0, 0, 0, 0, 2}});
    }
    /// What each queue's ring gets of them.
    std::vector<uint64_t> delivered() {
        PacketSocket socket(ns, "tap0", {.receive = false});
        for (const packet::Bytes &frame : frames())
            EXPECT_TRUE(socket.send(frame));
        std::vector<uint64_t> counts;
        for (unsigned queue = 0; queue < kQueues; queue++)
            counts.push_back(drain(port->ring(queue), queue).size());
        return counts;
    }
    nlohmann::ordered_json balanced(std::vector<std::string> options) const {
        options.insert(options.begin(), {"balance", "tap0", "--pcap", capture, "--json"});
        const Said said = tapflowctl(options);
        EXPECT_EQ(said.status, 0) << said.err;
        return valid_json(said, "balance");
    }
    static std::vector<uint64_t> packets(const nlohmann::ordered_json &spread) {
        std::vector<uint64_t> counts;
        for (const nlohmann::ordered_json &queue : spread["queues"])
            counts.push_back(queue["packets"]);
        return counts;
    }

    const TemporaryDirectory directory;
    std::string capture;
};

TEST_F(CtlBalance, SaysWhatThePortThenDoes) {
    const nlohmann::ordered_json json = balanced({});
    EXPECT_FALSE(json.contains("proposed"));
    const nlohmann::ordered_json &present = json["present"];
    EXPECT_EQ(packets(present), delivered());
    EXPECT_EQ(present["packets"], frames().size());
    EXPECT_EQ(present["unhashed"], 5);
    EXPECT_EQ(present["all_flows"], true);
    uint64_t flows = 0;
    uint64_t bytes = 0;
    uint64_t most = 0;
    for (const nlohmann::ordered_json &queue : present["queues"]) {
        flows += queue["flows"].get<uint64_t>();
        bytes += queue["bytes"].get<uint64_t>();
        most = std::max(most, queue["packets"].get<uint64_t>());
    }
    EXPECT_EQ(flows, 40U);
    uint64_t wanted = 0;
    for (const packet::Bytes &frame : frames())
        wanted += frame.size();
    EXPECT_EQ(bytes, wanted);
    EXPECT_DOUBLE_EQ(present["factor"], static_cast<double>(most) * kQueues / static_cast<double>(frames().size()));
}

TEST_F(CtlBalance, SaysWhatAProposalWouldDo) {
    rss::RssConfig proposal = rss_config(rss::kIpv6Udp | rss::kIpv4Udp, rss::round_robin_reta(3));
    for (size_t i = 0; i < proposal.key.size(); i++)
        proposal.key[i] = static_cast<uint8_t>(17 * i + 3);
    std::string key;
    for (const uint8_t byte : proposal.key) {
        static constexpr std::string_view kDigits = "0123456789abcdef";
        key += {kDigits[byte >> 4U], kDigits[byte & 15U]};
    }
    const nlohmann::ordered_json before = balanced({});
    const nlohmann::ordered_json json = balanced({"--key", key, "--types", "ipv4-udp,ipv6-udp", "--reta", "0 1 2"});
    EXPECT_EQ(json["present"], before["present"]);
    EXPECT_EQ(json["proposed"]["unhashed"], 0);
    const std::vector<uint64_t> proposed = packets(json["proposed"]);
    EXPECT_EQ(balanced({}), before) << "nothing is changed";
    must(port->set_rss(proposal));
    std::vector<uint64_t> counts = delivered();
    EXPECT_EQ(counts.back(), 0U);
    counts.pop_back();
    EXPECT_EQ(proposed, counts);
    EXPECT_EQ(packets(balanced({})["present"]), delivered());
}

TEST_F(CtlBalance, ProposedQueuesAndFunctions) {
    const nlohmann::ordered_json json = balanced({"--queues", "2", "--function", "symmetric_toeplitz"});
    must(port->set_rss(
        {rss_config(0).key, rss::kIpv4 | rss::kIpv4Udp, rss::round_robin_reta(2), rss::Function::SymmetricToeplitz}));
    std::vector<uint64_t> counts = delivered();
    counts.resize(2);
    EXPECT_EQ(packets(json["proposed"]), counts);
    EXPECT_EQ(packets(balanced({"--types", "none"})["proposed"])[0], frames().size());
    EXPECT_EQ(packets(balanced({"--queues", "64"})["proposed"]).size(), 64U);
    EXPECT_TRUE(balanced({"--queues", "2"}).contains("proposed")) << "also when the port is so already";
}

TEST_F(CtlBalance, ReadsACaptureFromAPipeOnce) {
    const Said said =
        run_apart({"/bin/sh", "-c", "cat " + capture + " | " TAPFLOWCTL " balance tap0 --json --pcap - --queues 2"});
    EXPECT_EQ(said.status, 0) << said.err;
    EXPECT_EQ(valid_json(said, "balance"), balanced({"--queues", "2"}));
}

TEST_F(CtlBalance, CountsBytesThatTheCaptureHasCut) {
    const std::string cut = directory.holding("cut.pcap", pcap_of(frames(), 1, 10));
    const Said said = tapflowctl({"balance", "tap0", "--json", "--pcap", cut});
    EXPECT_EQ(valid_json(said, "balance"), balanced({}));
}

TEST_F(CtlBalance, DrawsAChart) {
    expect_golden("balance.txt", tapflowctl({"balance", "tap0", "--pcap", capture, "--reta", "0,0,0,1"}).out);
}

TEST_F(CtlBalance, RefusesWhatCannotBeProposed) {
    for (const std::vector<std::string> &options :
         std::vector<std::vector<std::string>>{{"--key", "00"},
                                               {"--key", "xyz"},
                                               {"--key", std::string(100'000, '0')},
                                               {"--types", "ipv5"},
                                               {"--types", "ipv4,,\x1b[m"},
                                               {"--function", "md5"},
                                               {"--reta", "64"},
                                               {"--reta", "0-3"},
                                               {"--reta", "0 1 x"},
                                               {"--reta", ","},
                                               {"--reta", "99999999999999999999"},
                                               {"--queues", "0"},
                                               {"--queues", "65"},
                                               {"--queues", "-1"},
                                               {"--queues", "2", "--reta", "0"}}) {
        std::vector<std::string> arguments{"balance", "tap0", "--pcap", capture};
        arguments.insert(arguments.end(), options.begin(), options.end());
        SCOPED_TRACE(testing::PrintToString(options).substr(0, 200));
        expect_refused(tapflowctl(arguments));
    }
    std::string list;
    for (int i = 0; i < 513; i++)
        list += "1 ";
    expect_refused(tapflowctl({"balance", "tap0", "--pcap", capture, "--reta", list}));
    expect_refused(tapflowctl({"balance", "tap0"}));
}

} // namespace
} // namespace tapflow::test
