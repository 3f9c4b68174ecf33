// SPDX-License-Identifier: BSD-3-Clause
// The key as the classifiers make it against the reference's.
#include "flow/reference_matcher.h"
#include "flow/tables.h"
#include "packet/random_packets.h"
#include "support/seed.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>

namespace tapflow::flow {
namespace {

tapflow_flow_key key_with(std::span<const uint8_t> frame, std::optional<TagBeside> tag) {
    const auto to_wire = [](uint16_t value) { return TAPFLOW_BE16(value); };
    const tapflow_flow_tag beside = tag ? tapflow_flow_tag{to_wire(tag->tpid), to_wire(tag->tci)} : tapflow_flow_tag{};
    // Of their own, so that a sanitizer sees what reads behind them.
    const std::vector<uint8_t> copy(frame.begin(), frame.end());
    return key_of(copy.data(), copy.data() + copy.size(), beside);
}

TEST(FlowKey, OfRandomAndMalformedPacketsIsTheReferences) {
    auto random = test::seeded_random();
    packet::RandomPackets packets(random);
    std::array<size_t, 32> seen{};
    for (int i = 0; i < 200'000; i++) {
        const auto frame = packets.next(0, 1514);
        const std::optional<TagBeside> tag =
            packets.chance(20) ? std::optional(TagBeside{static_cast<uint16_t>(packets.chance(50) ? 0x8100 : 0x88a8),
                                                         static_cast<uint16_t>(packets.random()())})
                               : std::nullopt;
        const tapflow_flow_key expected = reference_key(frame, tag);
        const tapflow_flow_key actual = key_with(frame, tag);
        for (size_t word = 0; word < TAPFLOW_FLOW_WORDS; word++)
            ASSERT_EQ(word_of(actual, word), word_of(expected, word))
                << "word " << word << " of packet " << i << (tag ? ", tagged: " : ": ")
                << testing::PrintToString(frame);
        for (size_t layer = 0; layer < seen.size(); layer++)
            seen[layer] += expected.layers >> layer & 1U;
    }
    for (size_t layer = 0; layer < seen.size(); layer++)
        EXPECT_GT(seen[layer], 20U) << "packets with layer " << layer;
}

} // namespace
} // namespace tapflow::flow
