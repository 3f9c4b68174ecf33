// SPDX-License-Identifier: BSD-3-Clause
// A port in each of its states, and who got the frames that were sent at it: the rows of the table in
// doc/user-guide.md.
#pragma once

#include "pmd/remote_rig.h"

#include <gtest/gtest.h>

#include <array>
#include <csignal>
#include <map>
#include <optional>
#include <ostream>
#include <set>
#include <string>
#include <vector>

namespace tapflow::test {

enum Audience : unsigned { kNobody = 0, kKernel = 1, kApplication = 2, kBoth = kKernel | kApplication };

enum class PortState : uint8_t {
    Normal,
    AllMulticast,
    Promiscuous,
    Isolated,
    IsolatedBeforeStart,
    Stopped,
    LeaseLost,
};

inline std::string to_string(PortState state) {
    static const std::map<PortState, std::string> names{{PortState::Normal, "Normal"},
                                                        {PortState::AllMulticast, "AllMulticast"},
                                                        {PortState::Promiscuous, "Promiscuous"},
                                                        {PortState::Isolated, "Isolated"},
                                                        {PortState::IsolatedBeforeStart, "IsolatedBeforeStart"},
                                                        {PortState::Stopped, "Stopped"},
                                                        {PortState::LeaseLost, "LeaseLost"}};
    return names.at(state);
}
inline void PrintTo(PortState state, std::ostream *out) { // NOLINT(readability-identifier-naming)
    *out << to_string(state);
}

/// A row of the table: the last three columns are the same for all.
struct Row {
    const char *name;
    packet::Mac destination; ///< zero: the port's own
    Audience normal;
    Audience all_multicast;
    Audience promiscuous;
};

inline const packet::Mac kAdded = "02:00:00:00:0a:dd";
inline const packet::Mac kJoined = "01:00:5e:01:02:03";
inline const packet::Mac kBroadcast = "ff:ff:ff:ff:ff:ff";

inline const std::array kRows{
    Row{"own MAC", {}, kApplication, kApplication, kApplication},
    Row{"added MAC", kAdded, kApplication, kApplication, kApplication},
    Row{"broadcast", kBroadcast, kBoth, kBoth, kBoth},
    Row{"IPv6 multicast", "33:33:00:00:00:07", kBoth, kBoth, kBoth},
    Row{"joined multicast", kJoined, kBoth, kBoth, kBoth},
    Row{"other multicast", "01:00:5e:7f:00:01", kKernel, kBoth, kBoth},
    Row{"other unicast", "02:00:00:00:0e:ee", kKernel, kKernel, kBoth},
};
inline constexpr uint8_t kRepetitions = 4;

inline Audience remote_audience(const Row &row, PortState state) {
    switch (state) {
    case PortState::Normal:
        return row.normal;
    case PortState::AllMulticast:
        return row.all_multicast;
    case PortState::Promiscuous:
        return row.promiscuous;
    default:
        return kKernel;
    }
}

// Frames say by their source what they are: of a row and a kind, or between the phases of a test.
inline constexpr uint8_t kNoRule = 1;
inline MacAddress source_of_row(size_t row, uint8_t kind = kNoRule) {
    return {{0x02, 0, 0, 0, kind, static_cast<uint8_t>(row)}};
}
inline const packet::Mac kWaiting = "02:00:00:00:02:01"; ///< sent until the mode is there
inline const packet::Mac kLastOne = "02:00:00:00:02:02"; ///< behind all rows, for the kernel's side
inline const packet::Mac kAfter = "02:00:00:00:02:03";   ///< when the mode is over, for the application's side

/// A port, the frames sent at it, and who got them.
class TruthTable : public testing::TestWithParam<PortState> {
  protected:
    /// Runs `rules` ("flow create 0 …") before the port is started for the first time, if the state is about that.
    void start(const std::string &vdev, const std::vector<std::string> &rules = {}, unsigned queues = 1) {
        TestpmdOptions options = plugin_options(net.app, {vdev}, queues);
        if (GetParam() == PortState::IsolatedBeforeStart)
            options.app_arguments.emplace_back("--disable-device-start");
        testpmd.emplace(options);
        if (GetParam() == PortState::IsolatedBeforeStart)
            testpmd->command("flow isolate 0 1");
        for (const std::string &rule : rules)
            ASSERT_NE(testpmd->command(rule).find(" created"), std::string::npos) << rule;
        if (GetParam() == PortState::IsolatedBeforeStart)
            testpmd->command("port start 0");
        testpmd->command("set promisc 0 off");
        testpmd->command("set allmulti 0 off");
        testpmd->command("mac_addr add 0 " + kAdded.text());
        testpmd->command("mcast_addr add 0 " + kJoined.text());
        start_forwarding(*testpmd, "rxonly");
    }

    void enter_mode() {
        switch (GetParam()) {
        case PortState::AllMulticast:
            testpmd->command("set allmulti 0 on");
            break;
        case PortState::Promiscuous:
            testpmd->command("set promisc 0 on");
            break;
        case PortState::Isolated:
            testpmd->command("flow isolate 0 1");
            break;
        case PortState::Stopped:
            testpmd->command("stop");
            testpmd->command("port stop 0");
            break;
        case PortState::LeaseLost:
            testpmd->process().kill(SIGSTOP);
            break;
        case PortState::Normal:
        case PortState::IsolatedBeforeStart:
            break;
        }
    }

    void leave_mode() {
        switch (GetParam()) {
        case PortState::Isolated:
        case PortState::IsolatedBeforeStart:
            testpmd->command("flow isolate 0 0");
            break;
        case PortState::Stopped:
            testpmd->command("port start 0");
            testpmd->command("start");
            break;
        case PortState::LeaseLost:
            testpmd->process().kill(SIGCONT);
            break;
        default:
            break;
        }
    }

    /// A frame for each row, kRepetitions times.
    static void send_rows(PacketSocket &sender, const MacAddress &own, uint8_t kind = kNoRule) {
        for (uint8_t repetition = 0; repetition < kRepetitions; ++repetition)
            for (size_t row = 0; row < kRows.size(); ++row) {
                const MacAddress &to = kRows[row].destination.is_zero() ? own : kRows[row].destination;
                (void)sender.send(probe(to, source_of_row(row, kind)));
            }
    }

    /// Sends to the port from each of these addresses until the application has got one of each, and everything before
    /// that by then, if there is an address for each queue: frames that are no IP packets all take one queue.
    std::vector<TestpmdPacket> application_packets(PacketSocket &sender, const MacAddress &own,
                                                   const std::vector<MacAddress> &last) {
        std::vector<TestpmdPacket> packets;
        std::set<std::string> missing;
        for (const MacAddress &source : last)
            missing.insert(source.text());
        const bool came = wait_until([&] {
            for (const MacAddress &source : last)
                (void)sender.send(probe(own, source));
            for (const TestpmdPacket &packet : testpmd->packets(last.size(), milliseconds(50))) {
                packets.push_back(packet);
                missing.erase(packet.src);
            }
            return missing.empty();
        });
        EXPECT_TRUE(came) << "the application gets nothing any more";
        return packets;
    }

    std::map<std::string, unsigned> application_counts(PacketSocket &sender, const MacAddress &own) {
        std::map<std::string, unsigned> counts;
        for (const TestpmdPacket &packet : application_packets(sender, own, {kAfter}))
            ++counts[packet.src];
        return counts;
    }

    /// Loses the lease, if the state is about that: waits until the kernel gets what it did not before. Returns how
    /// many frames it has got by then.
    unsigned wait_for_mode(PacketSocket &sender, PacketSocket &kernel, const MacAddress &own) const {
        if (GetParam() != PortState::LeaseLost)
            return 0;
        const bool lost = wait_until([&] {
            (void)sender.send(probe(own, kWaiting));
            return kernel.receive(milliseconds(0)).has_value();
        });
        EXPECT_TRUE(lost);
        return lost ? 1 : 0;
    }

    Cabled net;
    std::optional<Testpmd> testpmd;
};

inline constexpr std::array kPortStates{
    PortState::Normal,  PortState::AllMulticast, PortState::Promiscuous,        PortState::Isolated,
    PortState::Stopped, PortState::LeaseLost,    PortState::IsolatedBeforeStart};

} // namespace tapflow::test
