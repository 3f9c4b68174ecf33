// SPDX-License-Identifier: BSD-3-Clause
// Who gets a packet by its destination address: every cell of the table in doc/user-guide.md.
#include "pmd/remote_rig.h"

#include <gtest/gtest.h>

#include <csignal>
#include <map>

namespace tapflow::test {
namespace {

enum Audience : unsigned { kNobody = 0, kKernel = 1, kApplication = 2, kBoth = kKernel | kApplication };

/// What the port is like.
enum class Mode : uint8_t {
    Normal,
    AllMulticast,
    Promiscuous,
    Isolated,
    IsolatedBeforeStart,
    Stopped,
    LeaseLost,
};

std::string to_string(Mode mode) {
    static const std::map<Mode, std::string> names{{Mode::Normal, "Normal"},
                                                   {Mode::AllMulticast, "AllMulticast"},
                                                   {Mode::Promiscuous, "Promiscuous"},
                                                   {Mode::Isolated, "Isolated"},
                                                   {Mode::IsolatedBeforeStart, "IsolatedBeforeStart"},
                                                   {Mode::Stopped, "Stopped"},
                                                   {Mode::LeaseLost, "LeaseLost"}};
    return names.at(mode);
}
void PrintTo(Mode mode, std::ostream *out) { *out << to_string(mode); } // NOLINT(readability-identifier-naming)

/// A row of the table: the last three columns are the same for all.
struct Row {
    const char *name;
    packet::Mac destination; ///< zero: the port's own
    Audience normal;
    Audience all_multicast;
    Audience promiscuous;
};

const packet::Mac kAdded = "02:00:00:00:0a:dd";
const packet::Mac kJoined = "01:00:5e:01:02:03";
const packet::Mac kBroadcast = "ff:ff:ff:ff:ff:ff";

const std::array kRows{
    Row{"own MAC", {}, kApplication, kApplication, kApplication},
    Row{"added MAC", kAdded, kApplication, kApplication, kApplication},
    Row{"broadcast", kBroadcast, kBoth, kBoth, kBoth},
    Row{"IPv6 multicast", "33:33:00:00:00:07", kBoth, kBoth, kBoth},
    Row{"joined multicast", kJoined, kBoth, kBoth, kBoth},
    Row{"other multicast", "01:00:5e:7f:00:01", kKernel, kBoth, kBoth},
    Row{"other unicast", "02:00:00:00:0e:ee", kKernel, kKernel, kBoth},
};
constexpr uint8_t kRepetitions = 4;

Audience remote_audience(const Row &row, Mode mode) {
    switch (mode) {
    case Mode::Normal:
        return row.normal;
    case Mode::AllMulticast:
        return row.all_multicast;
    case Mode::Promiscuous:
        return row.promiscuous;
    default:
        return kKernel;
    }
}

/// Local mode: no kernel to leave anything to, and no lease for the same reason.
Audience local_audience(const Row &row, Mode mode) {
    const Mode same = mode == Mode::LeaseLost ? Mode::Normal : mode;
    return static_cast<Audience>(remote_audience(row, same) & kApplication);
}

// Frames say by their source what they are: of a row, or between phases of a test.
MacAddress source_of_row(size_t row) { return {{0x02, 0, 0, 0, 1, static_cast<uint8_t>(row)}}; }
const packet::Mac kWaiting = "02:00:00:00:02:01"; ///< sent until the mode is there
const packet::Mac kLastOne = "02:00:00:00:02:02"; ///< behind all rows, for the kernel's side
const packet::Mac kAfter = "02:00:00:00:02:03";   ///< when the mode is over, for the application's side

/// A port, the frames sent at it, and who got them.
class TruthTable : public testing::TestWithParam<Mode> {
  protected:
    void start(const std::string &vdev) {
        TestpmdOptions options = plugin_options(net.app, {vdev});
        if (GetParam() == Mode::IsolatedBeforeStart)
            options.app_arguments.emplace_back("--disable-device-start");
        testpmd.emplace(options);
        if (GetParam() == Mode::IsolatedBeforeStart) {
            testpmd->command("flow isolate 0 1");
            testpmd->command("port start 0");
        }
        testpmd->command("set promisc 0 off");
        testpmd->command("set allmulti 0 off");
        testpmd->command("mac_addr add 0 " + kAdded.text());
        testpmd->command("mcast_addr add 0 " + kJoined.text());
        start_forwarding(*testpmd, "rxonly");
    }

    void enter_mode() {
        switch (GetParam()) {
        case Mode::AllMulticast:
            testpmd->command("set allmulti 0 on");
            break;
        case Mode::Promiscuous:
            testpmd->command("set promisc 0 on");
            break;
        case Mode::Isolated:
            testpmd->command("flow isolate 0 1");
            break;
        case Mode::Stopped:
            testpmd->command("stop");
            testpmd->command("port stop 0");
            break;
        case Mode::LeaseLost:
            testpmd->process().kill(SIGSTOP);
            break;
        case Mode::Normal:
        case Mode::IsolatedBeforeStart:
            break;
        }
    }

    void leave_mode() {
        switch (GetParam()) {
        case Mode::Isolated:
        case Mode::IsolatedBeforeStart:
            testpmd->command("flow isolate 0 0");
            break;
        case Mode::Stopped:
            testpmd->command("port start 0");
            testpmd->command("start");
            break;
        case Mode::LeaseLost:
            testpmd->process().kill(SIGCONT);
            break;
        default:
            break;
        }
    }

    void send_rows(PacketSocket &sender, const MacAddress &own) {
        for (uint8_t repetition = 0; repetition < kRepetitions; ++repetition)
            for (size_t row = 0; row < kRows.size(); ++row) {
                const MacAddress &to = kRows[row].destination.is_zero() ? own : kRows[row].destination;
                (void)sender.send(probe(to, source_of_row(row)));
            }
    }

    /// Sends to the port until the application gets it, which also got everything before that by then: frames that
    /// are no IP packets all take one queue.
    std::map<std::string, unsigned> application_counts(PacketSocket &sender, const MacAddress &own) {
        std::map<std::string, unsigned> counts;
        const bool came = wait_until([&] {
            (void)sender.send(probe(own, kAfter));
            for (const TestpmdPacket &packet : testpmd->packets(1, milliseconds(50)))
                ++counts[packet.src];
            return counts.contains(kAfter.text());
        });
        EXPECT_TRUE(came) << "the application gets nothing any more";
        return counts;
    }

    Cabled net;
    std::optional<Testpmd> testpmd;
};

using RemoteTruthTable = TruthTable;
using LocalTruthTable = TruthTable;

TEST_P(RemoteTruthTable, GivesEachDestinationToWhomTheTableSays) {
    start(remote_vdev());
    const MacAddress own = net.app.link("eth3").mac;
    PacketSocket kernel = socket_behind_ingress(net.app, "eth3");
    PacketSocket peer(net.outside, "peer3", {.receive = false});

    enter_mode();
    unsigned lease_lost = 0;
    if (GetParam() == Mode::LeaseLost) {
        ASSERT_TRUE(wait_until([&] {
            (void)peer.send(probe(own, kWaiting));
            return kernel.receive(milliseconds(0)).has_value();
        }));
        ++lease_lost;
    }
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
    if (GetParam() == Mode::LeaseLost) {
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
    EXPECT_EQ(testpmd->port_xstats(0).at("rx_filtered"), GetParam() == Mode::Stopped ? 0 : filtered);
}

constexpr std::array kModes{Mode::Normal,  Mode::AllMulticast, Mode::Promiscuous,        Mode::Isolated,
                            Mode::Stopped, Mode::LeaseLost,    Mode::IsolatedBeforeStart};

INSTANTIATE_TEST_SUITE_P(Mode, RemoteTruthTable, testing::ValuesIn(kModes), testing::PrintToStringParamName());
INSTANTIATE_TEST_SUITE_P(Mode, LocalTruthTable, testing::ValuesIn(kModes), testing::PrintToStringParamName());

} // namespace
} // namespace tapflow::test
