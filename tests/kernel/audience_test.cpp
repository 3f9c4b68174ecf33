// SPDX-License-Identifier: BSD-3-Clause
// Who gets a packet by its destination address: the table in doc/user-guide.md, in both modes.
#include "kernel/clock.h"
#include "kernel/loaded_classifier.h"

#include <gtest/gtest.h>
#include <linux/pkt_cls.h>

#include <string>

namespace tapflow::test {
namespace {

constexpr unsigned kKernel = 1;
constexpr unsigned kApplication = 2;
constexpr unsigned kBoth = kKernel | kApplication;

constexpr const char *kOwn = "02:00:00:00:00:02";

struct AudienceRow {
    const char *name;
    const char *destination;
    unsigned normal, allmulticast, promiscuous, isolated;
};

constexpr std::array kRows{
    AudienceRow{"own address", kOwn, kApplication, kApplication, kApplication, kKernel},
    AudienceRow{"added unicast", "02:00:00:00:00:07", kApplication, kApplication, kApplication, kKernel},
    AudienceRow{"broadcast", "ff:ff:ff:ff:ff:ff", kBoth, kBoth, kBoth, kKernel},
    AudienceRow{"IPv6 multicast", "33:33:00:00:00:01", kBoth, kBoth, kBoth, kKernel},
    AudienceRow{"joined multicast", "01:00:5e:00:00:07", kBoth, kBoth, kBoth, kKernel},
    AudienceRow{"other multicast", "01:00:5e:00:00:08", kKernel, kBoth, kBoth, kKernel},
    AudienceRow{"not quite IPv6 multicast", "33:32:00:00:00:01", kKernel, kBoth, kBoth, kKernel},
    AudienceRow{"other unicast", "02:00:00:00:00:08", kKernel, kKernel, kBoth, kKernel},
    AudienceRow{"own address but for its last byte", "02:00:00:00:00:03", kKernel, kKernel, kBoth, kKernel},
    AudienceRow{"own address but for its first byte", "06:00:00:00:00:02", kKernel, kKernel, kBoth, kKernel},
};

packet::Bytes frame_to(const char *destination) {
    return packet::Packet().ether(destination).ipv4("10.0.0.1", "10.0.0.2").udp(1, 2).payload(20).bytes();
}

struct Audience : testing::Test {
    Audience() {
        classifier.state().config.mac = packet::Mac(kOwn).word();
        classifier.state().config.lease_ns = kernel::monotonic_ns();
        classifier.add_address(packet::Mac("02:00:00:00:00:07"));
        classifier.add_address(packet::Mac("01:00:5e:00:00:07"));
    }

    template <typename Check> void for_each_cell(Check check) {
        for (const AudienceRow &row : kRows)
            for (const auto &[flags, expected] : {std::pair{0, row.normal},
                                                  {TAPFLOW_PORT_ALLMULTICAST, row.allmulticast},
                                                  {TAPFLOW_PORT_PROMISCUOUS, row.promiscuous},
                                                  {TAPFLOW_PORT_ISOLATED, row.isolated},
                                                  {TAPFLOW_PORT_ISOLATED | TAPFLOW_PORT_PROMISCUOUS, row.isolated}}) {
                classifier.state().config.flags = static_cast<uint32_t>(TAPFLOW_PORT_STARTED | flags);
                check(row, expected, std::string(row.name) + " with flags " + std::to_string(flags));
            }
    }

    LoadedClassifier classifier{Cpu::V3, 1};
};

TEST_F(Audience, OfARemotesPackets) {
    for_each_cell([&](const AudienceRow &row, unsigned expected, const std::string &cell) {
        classifier.state().config.lease_ns = kernel::monotonic_ns();
        const int verdict = classifier.run_remote_ingress(frame_to(row.destination));
        EXPECT_EQ(verdict, (expected & kKernel) != 0 ? TC_ACT_UNSPEC : TC_ACT_SHOT) << cell;
        EXPECT_EQ(classifier.drain_all().size(), (expected & kApplication) != 0 ? 1U : 0U) << cell;
    });
    EXPECT_EQ(classifier.state().counters.filtered, 0U) << "not ours to count";
}

TEST_F(Audience, OfATapsPackets) {
    for_each_cell([&](const AudienceRow &row, unsigned expected, const std::string &cell) {
        const uint64_t filtered = classifier.state().counters.filtered;
        const bool wanted = (expected & kApplication) != 0;
        EXPECT_EQ(classifier.run_tap_egress(frame_to(row.destination)), TC_ACT_STOLEN) << cell;
        EXPECT_EQ(classifier.drain_all().size(), wanted ? 1U : 0U) << cell;
        EXPECT_EQ(classifier.state().counters.filtered, filtered + (wanted ? 0 : 1)) << cell;
    });
}

TEST_F(Audience, WithoutALeaseARemotesPacketsAreTheKernels) {
    classifier.state().config.flags = TAPFLOW_PORT_STARTED | TAPFLOW_PORT_PROMISCUOUS;
    classifier.state().config.lease_ns = kernel::monotonic_ns() - TAPFLOW_LEASE_NS - 100'000'000;
    EXPECT_EQ(classifier.run_remote_ingress(frame_to(kOwn)), TC_ACT_UNSPEC);
    EXPECT_TRUE(classifier.drain_all().empty());
    EXPECT_EQ(classifier.state().counters.no_lease, 1U);
    classifier.state().config.lease_ns = kernel::monotonic_ns();
    EXPECT_EQ(classifier.run_remote_ingress(frame_to(kOwn)), TC_ACT_SHOT);
    EXPECT_EQ(classifier.drain_all().size(), 1U);
}

} // namespace
} // namespace tapflow::test
