// SPDX-License-Identifier: BSD-3-Clause
// Whatever happens to the application or to its interfaces, nothing crashes, the port promises what it did before, and
// when it ends nothing of it is left. Every kind of trouble is made in every mode.
#include "pmd/crash_rig.h"
#include "pmd/take_over.h"

#include <csignal>

namespace tapflow::test {
namespace {

using Crash = PortInTrouble;
using RemoteCrash = PortInTrouble;
INSTANTIATE_TEST_SUITE_P(Modes, Crash, testing::ValuesIn(all_port_modes()), testing::PrintToStringParamName());
INSTANTIATE_TEST_SUITE_P(Modes, RemoteCrash, testing::ValuesIn(remote_port_modes()), testing::PrintToStringParamName());

/// Sends what meets the trouble; expect_traffic() takes other addresses.
const packet::Mac kTroubled = "02:00:00:00:0d:01";

/// False if the kernel does not rename interfaces that are up (before 6.2).
bool rename(const NetNs &netns, std::string &name, const std::string &to) {
    const CommandResult result = netns.run({"ip", "link", "set", "dev", name, "name", to});
    if (result.status == 0)
        name = to;
    return result.status == 0;
}

/// Whether the link comes to be so: testpmd asks for link interrupts, and then shows what the last one has told.
bool link_comes(Testpmd &testpmd, const char *status) {
    return wait_until([&] {
        return testpmd.command("show port info 0").find(std::string("Link status: ") + status) != std::string::npos;
    });
}

// ---- the process

TEST_P(Crash, KilledPortLeavesTheKernelItsPacketsAndTheNextOneItsTap) {
    start();
    expect_traffic();
    const int index = net.app.link("tap0").index;
    testpmd->process().kill(SIGKILL);
    if (GetParam().remote)
        expect_in_time("SIGKILL", wait_for_kernel(*far, *kernel_side, own));
    ASSERT_EQ(testpmd->process().wait(), 128 + SIGKILL);
    if (GetParam().persist) {
        EXPECT_EQ(net.app.link("tap0").index, index);
        PacketSocket host(net.app, "tap0", {.receive = false});
        (void)host.send(probe(own, kTroubled)); // into the filter that a killed process cannot take off
    } else if (GetParam().remote && !tcx_programs(net.app, "eth3")) {
        GTEST_SKIP() << "kernel lacks TCX: the filter of a killed process stays where it is";
    } else {
        expect_nothing_left();
    }
    if (GetParam().remote) {
        EXPECT_TRUE(wait_until([&] { return state_of(net.app, "eth3") == wire_before; }));
    }
    start();
    EXPECT_TRUE(!GetParam().persist || net.app.link("tap0").index == index);
    expect_traffic();
    expect_quit();
}

TEST_P(Crash, HungPortGoesOnAfterwards) {
    start();
    expect_traffic();
    constexpr unsigned kFrames = 50; // fit into the ring
    testpmd->process().kill(SIGSTOP);
    if (GetParam().remote)
        expect_in_time("SIGSTOP", wait_for_kernel(*far, *kernel_side, own));
    for (unsigned i = 0; i < kFrames; ++i)
        EXPECT_TRUE(far->send(probe(own, kTroubled)));
    testpmd->process().kill(SIGCONT);
    if (GetParam().remote) {
        // The kernel has had them. It gets nothing any more once the lease is renewed.
        expect_traffic();
        EXPECT_GT(testpmd->port_xstats(0).at("rx_lease_lost"), kFrames);
    } else {
        for (unsigned i = 0; i < kFrames; ++i) {
            const auto answer = far->receive();
            ASSERT_TRUE(answer) << i << " of " << kFrames;
            EXPECT_EQ(answer->bytes, probe(kTroubled, own));
        }
        expect_traffic();
    }
    expect_quit();
    expect_restart();
}

// ---- the tap

TEST_P(Crash, PortWithADeletedTapEndsInOrder) {
    start();
    expect_traffic();
    testpmd->command("stop");
    const size_t mbufs = free_mbufs(*testpmd);
    testpmd->command("start");
    net.app.must_run({"ip", "link", "del", "tap0"});
    if (GetParam().remote && tested_rx_mode() == "fd") { // the tap was the way in
        expect_in_time("deleted tap", wait_for_kernel(*far, *kernel_side, own));
    } else if (GetParam().remote) { // goes on receiving; the answers have no way out
        const uint64_t before = testpmd->port_stats(0).rx_packets;
        for (unsigned i = 0; i < 10; ++i)
            ASSERT_TRUE(far->send(probe(own, kTroubled)));
        EXPECT_TRUE(wait_until([&] { return testpmd->port_stats(0).rx_packets >= before + 10; }));
    }
    testpmd->command("stop");
    testpmd->command("start tx_first");
    EXPECT_TRUE(link_comes(*testpmd, "down"));
    testpmd->command("stop");
    EXPECT_GE(testpmd->port_stats(0).tx_errors, 32U);
    EXPECT_EQ(free_mbufs(*testpmd), mbufs);
    // More queues would be those of another tap.
    const std::string said = reconfigure(2);
    EXPECT_EQ(plugin_lines(said).size(), 1U) << said;
    EXPECT_FALSE(net.app.find_link("tap0"));
    expect_quit();
    expect_restart();
}

/// As an application does that does not look away: testpmd closes and detaches the port when it is removed.
TEST_P(Crash, ApplicationGetsRidOfAPortThatIsRemoved) {
    start(plugin_options(net.app, {vdev()}));
    expect_traffic();
    net.app.must_run({"ip", "link", "del", "tap0"});
    // No command that looks at the port: testpmd's threads do not agree on when it is closed.
    EXPECT_TRUE(wait_until([&] {
        testpmd->command("nothing");
        return testpmd->log().find("Now total ports is 0") != std::string::npos;
    })) << testpmd->log();
    expect_quit();
    expect_restart();
}

TEST_P(Crash, PortKeepsARenamedTap) {
    start();
    if (rename(net.app, tap, "other0")) {
        expect_traffic();
        EXPECT_TRUE(link_comes(*testpmd, "up"));
    }
    net.app.must_run({"ip", "link", "set", tap, "down"});
    EXPECT_TRUE(link_comes(*testpmd, "down"));
    ASSERT_TRUE(rename(net.app, tap, "third0"));
    if (GetParam().remote && tested_rx_mode() == "ring") { // received, and the answer dropped
        ASSERT_TRUE(far->send(probe(own, kTroubled)));
        EXPECT_TRUE(wait_until([&] { return testpmd->port_xstats(0).at("tx_q0_link_down") > 0; }));
    }
    net.app.must_run({"ip", "link", "set", tap, "up"});
    net.app.wait_operstate_up(tap);
    connect();
    EXPECT_TRUE(link_comes(*testpmd, "up"));
    expect_traffic();

    testpmd->command("stop");
    const std::string said = reconfigure(3);
    EXPECT_TRUE(plugin_lines(said).empty()) << said;
    EXPECT_FALSE(net.app.find_link("tap0")) << "a second tap of the former name";
    const std::string details = net.app.must_run({"ip", "-d", "link", "show", "dev", tap});
    EXPECT_NE(details.find("numqueues 3"), std::string::npos) << details;
    net.app.wait_operstate_up(tap);
    testpmd->command("start");
    expect_traffic();
    expect_quit();
    if (GetParam().persist) {
        ASSERT_TRUE(rename(net.app, tap, "tap0"));
    }
    tap = "tap0";
    expect_restart();
}

// ---- the remote

TEST_P(RemoteCrash, PortWithADeletedRemoteEndsInOrder) {
    start();
    expect_traffic();
    testpmd->command("stop");
    const size_t mbufs = free_mbufs(*testpmd);
    net.app.must_run({"ip", "link", "del", "eth3"});
    EXPECT_TRUE(link_comes(*testpmd, "down"));
    testpmd->command("start tx_first"); // into the tap, from which nothing leads out
    testpmd->command("set promisc 0 off");
    testpmd->command("stop");
    EXPECT_EQ(free_mbufs(*testpmd), mbufs);
    note_bpf_objects();
    detach();
    expect_nothing_left();
    const std::string said = testpmd->command("port attach " + vdev());
    ASSERT_EQ(plugin_lines(said).size(), 1U) << said;
    EXPECT_NE(said.find("look up interface eth3: No such device"), std::string::npos) << said;
    expect_quit();

    far.reset();
    add_veth(net.app, "eth3", net.outside, "peer3");
    wire_before = state_of(net.app, "eth3");
    expect_restart();
}

TEST_P(RemoteCrash, PortKeepsARenamedRemote) {
    start();
    if (rename(net.app, wire, "lan0")) {
        expect_traffic();
        EXPECT_TRUE(link_comes(*testpmd, "up"));
    }
    net.app.must_run({"ip", "link", "set", wire, "down"});
    EXPECT_TRUE(link_comes(*testpmd, "down"));
    ASSERT_TRUE(rename(net.app, wire, "lan1"));
    net.app.must_run({"ip", "link", "set", wire, "up"});
    net.app.wait_operstate_up(wire);
    connect();
    EXPECT_TRUE(link_comes(*testpmd, "up"));
    expect_traffic();

    const unsigned promiscuity = net.app.link(wire).promiscuity;
    testpmd->command("set promisc 0 off");
    EXPECT_EQ(net.app.link(wire).promiscuity, promiscuity - 1);
    testpmd->command("set promisc 0 on");
    EXPECT_EQ(net.app.link(wire).promiscuity, promiscuity);
    testpmd->command("stop");
    const std::string said = reconfigure(3);
    EXPECT_TRUE(plugin_lines(said).empty()) << said;
    testpmd->command("start");
    expect_traffic();
    note_bpf_objects();
    EXPECT_EQ(testpmd->quit(), 0);
    ASSERT_TRUE(rename(net.app, wire, "eth3"));
    expect_nothing_left();
    expect_restart();
}

TEST_P(RemoteCrash, PortQuitsWithBothInterfacesGoneWhileItForwards) {
    start();
    net.app.must_run({"ip", "link", "del", "tap0"});
    net.app.must_run({"ip", "link", "del", "eth3"});
    expect_quit();
}

} // namespace
} // namespace tapflow::test
