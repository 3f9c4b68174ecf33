// SPDX-License-Identifier: BSD-3-Clause
#include "pmd/crash_rig.h"

#include <set>

namespace tapflow::test {
namespace {

const packet::Mac kBroadcast = "ff:ff:ff:ff:ff:ff";

/// The names of a namespace's interfaces.
std::set<std::string> interfaces(const NetNs &netns) {
    std::istringstream lines(netns.must_run({"ip", "-br", "link", "show"}));
    std::set<std::string> names;
    for (std::string line; std::getline(lines, line);)
        names.insert(line.substr(0, line.find_first_of(" @")));
    return names;
}

} // namespace

PortInTrouble::PortInTrouble() : wire_before(state_of(net.app, "eth3")) {}

void PortInTrouble::start(const TestpmdOptions &options) {
    testpmd.emplace(options);
    for (const char *line : {"set promisc 0 on", "set allmulti 0 on", "mac_addr add 0 02:00:00:00:0a:dd",
                             "mcast_addr add 0 01:00:5e:01:02:03"})
        testpmd->command(line);
    own = net.app.link(GetParam().remote ? wire : tap).mac;
    connect();
    start_forwarding(*testpmd, "macswap", false);
    note_bpf_objects();
}

void PortInTrouble::connect() {
    far.emplace(GetParam().remote ? net.outside : net.app, GetParam().remote ? "peer3" : tap);
    kernel_side.reset();
    if (GetParam().remote)
        kernel_side.emplace(socket_behind_ingress(net.app, wire));
}

MacAddress PortInTrouble::next_source() {
    MacAddress source{{0x02, 0, 0, 0, 0x0c, 0}};
    source.bytes[5] = ++sources_;
    return source;
}

void PortInTrouble::expect_traffic() {
    const MacAddress first = next_source();
    ASSERT_TRUE(wait_until([&] { // it may take the lease's thread a moment after a stop
        (void)far->send(probe(own, first));
        while (const auto answer = far->receive(milliseconds(50)))
            if (answer->bytes == probe(first, own))
                return true;
        return false;
    })) << "the application does not answer";

    constexpr unsigned kFrames = 10;
    const MacAddress counted = next_source();
    const packet::Bytes answer = probe(counted, own);
    for (unsigned i = 0; i < kFrames; ++i)
        ASSERT_TRUE(far->send(probe(own, counted)));
    unsigned answers = 0;
    while (answers < kFrames) {
        const auto frame = far->receive();
        ASSERT_TRUE(frame) << answers << " of " << kFrames << " answers";
        if (frame->bytes == answer)
            ++answers;
    }
    if (kernel_side) {
        const MacAddress last = next_source();
        ASSERT_TRUE(far->send(probe(kBroadcast, last)));
        for (const MacAddress &source : sources_until(*kernel_side, last))
            EXPECT_NE(source, counted) << "the kernel got what was the application's";
    }
    while (const auto late = far->receive(milliseconds(0)))
        EXPECT_NE(late->bytes, answer) << "answered twice";
}

void PortInTrouble::expect_quit() {
    note_bpf_objects();
    EXPECT_EQ(testpmd->quit(), 0);
    expect_nothing_left();
}

void PortInTrouble::expect_nothing_left() {
    std::set<std::string> expected{"lo"};
    if (net.app.find_link(wire))
        expected.insert(wire);
    if (GetParam().persist && net.app.find_link(tap)) {
        expected.insert(tap);
        const std::string qdiscs = net.app.must_run({"tc", "qdisc", "show", "dev", tap});
        EXPECT_EQ(qdiscs.find("clsact"), std::string::npos) << qdiscs;
        for (const bool ingress : {true, false})
            EXPECT_TRUE(tcx_programs(net.app, tap, ingress).value_or(std::vector<uint32_t>()).empty());
    }
    // The kernel lets go of what a process had a moment after the process has ended.
    (void)wait_until([&] { return interfaces(net.app) == expected; });
    EXPECT_EQ(interfaces(net.app), expected);
    if (net.app.find_link(wire)) {
        (void)wait_until([&] { return state_of(net.app, wire) == wire_before; });
        EXPECT_EQ(state_of(net.app, wire), wire_before);
    }
    EXPECT_TRUE(wait_until([&] { return bpf.alive() == 0; })) << bpf.alive() << " BPF objects are still there";
}

void PortInTrouble::expect_restart() {
    start();
    expect_traffic();
    expect_quit();
}

void PortInTrouble::detach() {
    EXPECT_NE(testpmd->command("port stop 0").find("Done"), std::string::npos);
    EXPECT_NE(testpmd->command("port close 0").find("Port 0 is closed"), std::string::npos);
    testpmd->command("device detach net_tap0");
}

std::string PortInTrouble::reconfigure(unsigned queues) {
    testpmd->command("port stop 0");
    testpmd->command("port config all rxq " + std::to_string(queues));
    testpmd->command("port config all txq " + std::to_string(queues));
    return testpmd->command("port start 0");
}

} // namespace tapflow::test
