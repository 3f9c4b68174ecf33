// SPDX-License-Identifier: BSD-3-Clause
#include "support/hardware_vectors.h"

#include "support/expected_record.h"

#include <gtest/gtest.h>

namespace tapflow::test {
namespace {

TEST(HardwareVectors, HashFlagAndQueueAreTheNics) {
    const HardwareVectors file = read_hardware_vectors();
    ASSERT_EQ(file.vectors.size(), 220U);
    std::map<std::string, std::unique_ptr<tapflow_rss>> tables;
    for (const auto &[name, config] : file.configurations)
        tables[name] = tables_of(config);
    size_t other_queues = 0;
    for (const HardwareVector &vector : file.vectors) {
        SCOPED_TRACE(vector.configuration + ": " + vector.description);
        const Classified got = classify(*tables.at(vector.configuration), vector.frame);
        EXPECT_EQ(got.hashed, vector.hash.has_value());
        EXPECT_EQ(got.hash, vector.hash.value_or(0));
        const auto &reta = file.configurations.at(vector.configuration).reta;
        if (vector.queue_differs(file.configurations.at(vector.configuration))) {
            EXPECT_EQ(got.queue, reta[0]);
            other_queues++;
        } else {
            EXPECT_EQ(got.queue, vector.queue);
        }
    }
    EXPECT_EQ(other_queues, 3U) << "ARP, an unknown EtherType and 8100 in 8100, with a RETA without queue 0";
}

} // namespace
} // namespace tapflow::test
