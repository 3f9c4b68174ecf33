// SPDX-License-Identifier: BSD-3-Clause
// The driver in testpmd against what a model of a NIC reported for the same frames, with testpmd's own commands. What
// these cannot say exactly, ethdev_vectors_test.cpp does.
#include "pmd/rss_rig.h"
#include "pmd/vectors_rig.h"
#include "support/expected_record.h"

#include <gtest/gtest.h>

namespace tapflow::test {
namespace {

class TestpmdVectors : public testing::TestWithParam<Mode> {};

INSTANTIATE_TEST_SUITE_P(Port, TestpmdVectors, testing::Values(Mode::Local, Mode::Remote), mode_name);

/// The NIC's types by testpmd's name for them. "all" sets more here than there: what the NIC has no type for.
struct Configuration {
    const char *name;
    const char *types;
};

TEST_P(TestpmdVectors, HashFlagAndQueueAreTheNics) {
    const HardwareVectors file = read_hardware_vectors();
    Receiver receiver(GetParam(), 4);
    size_t compared = 0;
    for (const Configuration &configuration :
         {Configuration{"ms-ip", "ip"}, Configuration{"ms-udp", "udp"}, Configuration{"ms-all", "all"},
          Configuration{"mlx-all-subset13", "all"}}) {
        const rss::RssConfig &config = file.configurations.at(configuration.name);
        set_key(receiver.testpmd, hex(config.key), configuration.types);
        set_reta(receiver.testpmd, config.reta);
        EXPECT_EQ(shown_key(receiver.testpmd), config.key);
        EXPECT_EQ(shown_reta(receiver.testpmd), config.reta);
        const bool more_types = std::string_view(configuration.types) == "all";
        const auto nic = tables_of(config);
        const auto all = tables_of(default_config(4));
        for (const HardwareVector &vector : vectors_of(file, configuration.name)) {
            SCOPED_TRACE(vector.configuration + ": " + vector.description);
            const unsigned packet_class = parse(vector.frame).packet_class;
            if (more_types && nic->input[packet_class] != all->input[packet_class])
                continue; // a type of its own selects another input
            receiver.expect(vector.frame, steering_of(vector, config));
            compared++;
        }
    }
    // Without SCTP, ESP, ARP, an unknown EtherType and 8100 in 8100, of both configurations with all types.
    EXPECT_EQ(compared, file.vectors.size() - 2 * 5);
    EXPECT_EQ(receiver.testpmd.quit(), 0);
}

} // namespace
} // namespace tapflow::test
