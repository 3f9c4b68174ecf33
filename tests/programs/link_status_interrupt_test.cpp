// SPDX-License-Identifier: BSD-3-Clause
// link_status_interrupt prints what a port's link events tell, and forwards between two ports.
#include "pmd/plugin.h"
#include "programs/example.h"
#include "support/packet_socket.h"

#include <gtest/gtest.h>

#include <csignal>

namespace tapflow::test {
namespace {

constexpr std::string_view kEvent = "Event type: LSC interrupt";

TEST(LinkStatusInterrupt, EveryChangeOfTheCarrierIsToldOnce) {
    if (!example_is_there("link_status_interrupt"))
        GTEST_SKIP() << "machine lacks the sources of DPDK's examples";
    const Cabled cabled(2);
    Example program(cabled.app, {.name = "link_status_interrupt",
                                 .vdevs = {remote_vdev(0), remote_vdev(1)},
                                 .arguments = {"-p", "3", "-q", "2", "-T", "0"}});
    Process &process = program.process();
    (void)process.wait_for("entering main loop");
    const auto expect_link = [&](unsigned port, const std::string &state) {
        cabled.outside.must_run({"ip", "link", "set", "peer" + std::to_string(3 + port), state});
        (void)process.wait_for(kEvent);
        (void)process.wait_for("Port " + std::to_string(port) + " Link " + state);
    };
    for (const unsigned port : {0U, 1U})
        for (const char *state : {"down", "up"})
            expect_link(port, state);

    PacketSocket in(cabled.outside, "peer3", {.receive = false});
    PacketSocket out(cabled.outside, "peer4");
    ASSERT_TRUE(in.send(packet::Packet().ether(cabled.app.link("eth3").mac).next_type(0x88b5).payload(60).bytes()));
    EXPECT_TRUE(out.receive());
    process.kill(SIGTERM);
    EXPECT_EQ(process.wait(), 128 + SIGTERM) << "it knows no other end";
    unsigned events = 0;
    for (size_t at = process.output().find(kEvent); at != std::string::npos; at = process.output().find(kEvent, at + 1))
        ++events;
    EXPECT_EQ(events, 4U);
}

} // namespace
} // namespace tapflow::test
