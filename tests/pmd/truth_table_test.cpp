// SPDX-License-Identifier: BSD-3-Clause
// Who gets a packet by its destination address: every cell of the table in doc/user-guide.md.
#include "pmd/truth_table_rig.h"

#include <gtest/gtest.h>

namespace tapflow::test {
namespace {

/// Local mode: no kernel to leave anything to, and no lease for the same reason.
Audience local_audience(const Row &row, PortState state) {
    const PortState same = state == PortState::LeaseLost ? PortState::Normal : state;
    return static_cast<Audience>(remote_audience(row, same) & kApplication);
}

using RemoteTruthTable = TruthTable;
using LocalTruthTable = TruthTable;

TEST_P(RemoteTruthTable, GivesEachDestinationToWhomTheTableSays) {
    start(remote_vdev());
    const MacAddress own = net.app.link("eth3").mac;
    PacketSocket kernel = socket_behind_ingress(net.app, "eth3");
    PacketSocket peer(net.outside, "peer3", {.receive = false});

    enter_mode();
    unsigned lease_lost = wait_for_mode(peer, kernel, own);
    send_rows(peer, own);
    ASSERT_TRUE(peer.send(probe(kBroadcast, kLastOne))); // the kernel gets these in every mode
    std::map<std::string, unsigned> kernel_counts;
    for (const MacAddress &source : sources_until(kernel, kLastOne))
        ++kernel_counts[source.text()];
    leave_mode();
    std::map<std::string, unsigned> application_got = application_counts(peer, own);

    for (size_t row = 0; row < kRows.size(); ++row) {
        const Audience expected = remote_audience(kRows[row], GetParam());
        const std::string source = source_of_row(row).text();
        EXPECT_EQ(application_got[source], expected & kApplication ? kRepetitions : 0U)
            << "application, " << kRows[row].name;
        EXPECT_EQ(kernel_counts[source], expected & kKernel ? kRepetitions : 0U) << "kernel, " << kRows[row].name;
    }
    if (GetParam() == PortState::LeaseLost) {
        // Counted are the packets that the application would have got: the last one and those of five rows, and the
        // ones before and after them.
        lease_lost += kernel_counts[kWaiting.text()] + 5 * kRepetitions + 1;
        while (kernel.receive(milliseconds(0)))
            ++lease_lost;
        EXPECT_EQ(testpmd->port_xstats(0).at("rx_lease_lost"), lease_lost);
    } else {
        EXPECT_EQ(testpmd->port_xstats(0).at("rx_lease_lost"), 0U);
    }
}

TEST_P(LocalTruthTable, PassesWhatANicWithTheseFiltersWould) {
    start("net_tap0,iface=tap0");
    const MacAddress own = net.app.link("tap0").mac;
    PacketSocket host(net.app, "tap0", {.receive = false});

    enter_mode();
    send_rows(host, own);
    leave_mode();
    std::map<std::string, unsigned> application_got = application_counts(host, own);

    unsigned filtered = 0;
    for (size_t row = 0; row < kRows.size(); ++row) {
        const bool expected = local_audience(kRows[row], GetParam()) & kApplication;
        EXPECT_EQ(application_got[source_of_row(row).text()], expected ? kRepetitions : 0U) << kRows[row].name;
        filtered += expected ? 0U : kRepetitions;
    }
    // A stopped port has no carrier and no filters, so it counts nothing.
    EXPECT_EQ(testpmd->port_xstats(0).at("rx_filtered"), GetParam() == PortState::Stopped ? 0 : filtered);
}

INSTANTIATE_TEST_SUITE_P(Mode, RemoteTruthTable, testing::ValuesIn(kPortStates), testing::PrintToStringParamName());
INSTANTIATE_TEST_SUITE_P(Mode, LocalTruthTable, testing::ValuesIn(kPortStates), testing::PrintToStringParamName());

} // namespace
} // namespace tapflow::test
