// SPDX-License-Identifier: BSD-3-Clause
// Who gets a packet that a flow rule matches: the last rows of the table in doc/user-guide.md, whatever the destination
// address. What no rule matches goes where the other rows say, also beside rules.
#include "pmd/truth_table_rig.h"

#include <gtest/gtest.h>

namespace tapflow::test {
namespace {

/// A rule, and what becomes of its packets. It matches by the source address, but for the byte that says which row.
struct Kind {
    const char *name;
    uint8_t number; ///< as source_of_row() has it
    const char *actions;
    bool dropped = false;
    unsigned queue = 0;
    std::optional<uint32_t> mark{};
};

const std::array kRules{
    Kind{.name = "queue", .number = 0x11, .actions = "queue index 2", .queue = 2},
    Kind{.name = "rss", .number = 0x12, .actions = "rss queues 1 end", .queue = 1},
    Kind{.name = "mark", .number = 0x13, .actions = "mark id 5", .mark = 5},
    Kind{.name = "drop", .number = 0x14, .actions = "drop", .dropped = true},
};
constexpr unsigned kQueues = 3;
constexpr size_t kNoRow = 0xff; ///< sources of frames behind those of the rows

std::vector<std::string> rule_commands() {
    std::vector<std::string> commands;
    for (const Kind &kind : kRules)
        commands.push_back("flow create 0 ingress pattern eth src spec " + source_of_row(0, kind.number).text() +
                           " src mask ff:ff:ff:ff:ff:00 / end actions " + kind.actions + " / end");
    return commands;
}

/// Those that come out on all queues, by the same rules.
std::vector<MacAddress> last_sources() {
    std::vector<MacAddress> sources{kAfter};
    for (const Kind &kind : kRules)
        if (!kind.dropped)
            sources.push_back(source_of_row(kNoRow, kind.number));
    return sources;
}

bool kernel_gets_all(PortState state) { return state == PortState::Stopped || state == PortState::LeaseLost; }

/// Where the packets of a rule come out that the application gets.
void expect_as_ruled(const std::vector<TestpmdPacket> &packets, const Kind &kind) {
    const std::string prefix = source_of_row(0, kind.number).text().substr(0, 14);
    for (const TestpmdPacket &packet : packets)
        if (packet.src.starts_with(prefix)) {
            EXPECT_EQ(packet.queue, kind.queue) << kind.name;
            EXPECT_EQ(packet.mark, kind.mark) << kind.name;
        }
}

std::map<std::string, unsigned> by_source(const std::vector<TestpmdPacket> &packets) {
    std::map<std::string, unsigned> counts;
    for (const TestpmdPacket &packet : packets)
        ++counts[packet.src];
    return counts;
}

/// testpmd takes a port's rules away when it stops the port.
class FlowTruthTable : public TruthTable {
  protected:
    void leave_mode() {
        TruthTable::leave_mode();
        if (GetParam() == PortState::Stopped)
            for (const std::string &rule : rule_commands())
                testpmd->command(rule);
    }
};

using RemoteFlowTruthTable = FlowTruthTable;
using LocalFlowTruthTable = FlowTruthTable;

TEST_P(RemoteFlowTruthTable, GivesEachDestinationToWhomTheRuleSays) {
    start(remote_vdev(), rule_commands(), kQueues);
    const MacAddress own = net.app.link("eth3").mac;
    PacketSocket kernel = socket_behind_ingress(net.app, "eth3");
    PacketSocket peer(net.outside, "peer3", {.receive = false});

    enter_mode();
    wait_for_mode(peer, kernel, own);
    send_rows(peer, own);
    for (const Kind &kind : kRules)
        send_rows(peer, own, kind.number);
    ASSERT_TRUE(peer.send(probe(kBroadcast, kLastOne))); // the kernel gets these in every state
    std::map<std::string, unsigned> kernel_got;
    for (const MacAddress &source : sources_until(kernel, kLastOne))
        ++kernel_got[source.text()];
    leave_mode();
    const auto packets = application_packets(peer, own, last_sources());
    std::map<std::string, unsigned> application_got = by_source(packets);

    const bool to_kernel = kernel_gets_all(GetParam());
    const auto expect = [&](size_t row, const char *name, uint8_t kind, Audience audience) {
        const std::string source = source_of_row(row, kind).text();
        EXPECT_EQ(application_got[source], audience & kApplication ? kRepetitions : 0U)
            << "application, " << kRows[row].name << ", " << name;
        EXPECT_EQ(kernel_got[source], audience & kKernel ? kRepetitions : 0U)
            << "kernel, " << kRows[row].name << ", " << name;
    };
    for (size_t row = 0; row < kRows.size(); ++row) {
        expect(row, "no rule", kNoRule, remote_audience(kRows[row], GetParam()));
        for (const Kind &kind : kRules)
            expect(row, kind.name, kind.number, to_kernel ? kKernel : kind.dropped ? kNobody : kApplication);
    }
    for (const Kind &kind : kRules)
        expect_as_ruled(packets, kind);
    EXPECT_EQ(testpmd->port_xstats(0).at("rule_dropped"), to_kernel ? 0 : kRows.size() * kRepetitions);
}

/// Nobody is there to leave anything to. A tap of which nobody renews a lease does not need one.
TEST_P(LocalFlowTruthTable, GivesTheApplicationWhatTheRuleSays) {
    start("net_tap0,iface=tap0", rule_commands(), kQueues);
    const MacAddress own = net.app.link("tap0").mac;
    PacketSocket host(net.app, "tap0", {.receive = false});

    enter_mode();
    send_rows(host, own);
    for (const Kind &kind : kRules)
        send_rows(host, own, kind.number);
    leave_mode();
    const auto packets = application_packets(host, own, last_sources());
    std::map<std::string, unsigned> got = by_source(packets);

    const bool stopped = GetParam() == PortState::Stopped;
    const PortState same = GetParam() == PortState::LeaseLost ? PortState::Normal : GetParam();
    for (size_t row = 0; row < kRows.size(); ++row) {
        EXPECT_EQ(got[source_of_row(row).text()], remote_audience(kRows[row], same) & kApplication ? kRepetitions : 0U)
            << kRows[row].name << ", no rule";
        for (const Kind &kind : kRules)
            EXPECT_EQ(got[source_of_row(row, kind.number).text()], stopped || kind.dropped ? 0U : kRepetitions)
                << kRows[row].name << ", " << kind.name;
    }
    for (const Kind &kind : kRules)
        expect_as_ruled(packets, kind);
    EXPECT_EQ(testpmd->port_xstats(0).at("rule_dropped"), stopped ? 0 : kRows.size() * kRepetitions);
}

INSTANTIATE_TEST_SUITE_P(State, RemoteFlowTruthTable, testing::ValuesIn(kPortStates),
                         testing::PrintToStringParamName());
INSTANTIATE_TEST_SUITE_P(State, LocalFlowTruthTable, testing::ValuesIn(kPortStates), testing::PrintToStringParamName());

} // namespace
} // namespace tapflow::test
