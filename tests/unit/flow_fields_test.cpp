// SPDX-License-Identifier: BSD-3-Clause
#include "flow/fields.h"

#include "support/seed.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <set>

namespace tapflow::test {
namespace {

using flow::Field;
using flow::FieldType;
using flow::Item;
using flow::Match;
using flow::Place;

const Field &field(Item item, const char *name) {
    const Field *found = flow::field_by_name(item, name);
    if (!found)
        throw std::logic_error(name);
    return *found;
}

/// A match for packets that have these outer headers.
Match with_layers(uint32_t layers) {
    Match match;
    match.value.layers = match.mask.layers = layers;
    return match;
}

std::string name_of_range(const Match &match) {
    const auto ranged = flow::field_of(match, match.ranges[0]);
    if (!ranged)
        return "none";
    return std::string(ranged->place.inner ? "inner " : "") + (ranged->place.second_tag ? "second " : "") +
           std::string(flow::item_name(ranged->field->item)) + " " + ranged->field->name;
}

tapflow_flow_key random_key(std::mt19937_64 &random) {
    tapflow_flow_key key;
    for (size_t i = 0; i < sizeof(key); i++)
        reinterpret_cast<uint8_t *>(&key)[i] = static_cast<uint8_t>(random());
    return key;
}

TEST(FlowFields, ItemsAndFieldsAreFoundByTheirNames) {
    for (size_t i = 0; i < flow::kItems; i++) {
        const Item item = static_cast<Item>(i);
        EXPECT_EQ(flow::item_by_name(flow::item_name(item)), item);
        std::set<std::string> names;
        for (const Field &each : flow::fields_of(item)) {
            EXPECT_EQ(each.item, item);
            EXPECT_EQ(flow::field_by_name(item, each.name), &each);
            EXPECT_TRUE(names.insert(each.name).second) << each.name;
        }
        EXPECT_FALSE(names.empty()) << flow::item_name(item);
    }
    EXPECT_EQ(flow::item_by_name("mpls"), std::nullopt);
    EXPECT_EQ(flow::field_by_name(Item::Udp, "flags"), nullptr);
}

TEST(FlowFields, EveryFieldIsOfOneItemsRun) {
    size_t count = 0;
    for (size_t i = 0; i < flow::kItems; i++)
        count += flow::fields_of(static_cast<Item>(i)).size();
    EXPECT_EQ(count, flow::fields().size());
}

TEST(FlowFields, EveryFieldLiesInOneStackOfHeaders) {
    for (const Field &each : flow::fields()) {
        EXPECT_LE(each.offset + each.bytes, each.in_key ? sizeof(tapflow_flow_key) : sizeof(tapflow_flow_headers))
            << each.name;
        EXPECT_LE(each.shift + each.width, 8 * each.bytes) << each.name;
        if (each.type == FieldType::Integer) {
            // A range is in one word of the key.
            EXPECT_EQ(each.offset / 8, (each.offset + each.bytes - 1) / 8) << each.name;
        }
    }
}

TEST(FlowFields, AnIntegerIsInNetworkByteOrder) {
    tapflow_flow_key key{};
    flow::set_integer(key, field(Item::Udp, "dst"), {}, 0x1234);
    EXPECT_EQ(key.outer.l4[2], 0x12);
    EXPECT_EQ(key.outer.l4[3], 0x34);
    flow::set_integer(key, field(Item::Vlan, "vid"), {.inner = true, .second_tag = true}, 0x567);
    const uint8_t tci[2] = {0x05, 0x67};
    EXPECT_EQ(std::memcmp(&key.inner.vlan2_tci, tci, 2), 0);
    flow::set_integer(key, field(Item::Vxlan, "vni"), {}, 0xabcdef);
    EXPECT_EQ(std::vector<uint8_t>(key.tunnel, key.tunnel + 4), (std::vector<uint8_t>{0xab, 0xcd, 0xef, 0}));
}

TEST(FlowFields, SettingAnIntegerLeavesItsNeighboursAlone) {
    auto random = seeded_random();
    for (const Field &each : flow::fields()) {
        if (each.type != FieldType::Integer && each.type != FieldType::Bits)
            continue;
        for (const bool inner : {false, true}) {
            const Place place{.inner = inner && !each.in_key, .second_tag = each.item == Item::Vlan && inner};
            const tapflow_flow_key before = random_key(random);
            tapflow_flow_key after = before;
            const auto value = static_cast<uint32_t>(random() & ((uint64_t{1} << each.width) - 1));
            flow::set_integer(after, each, place, value);
            EXPECT_EQ(flow::get_integer(after, each, place), value) << each.name;
            flow::set_integer(after, each, place, flow::get_integer(before, each, place));
            EXPECT_EQ(std::memcmp(&before, &after, sizeof(before)), 0) << each.name;
        }
    }
}

TEST(FlowFields, ARangeOverEverythingIsNone) {
    Match match;
    ASSERT_TRUE(flow::set_range(match, field(Item::Udp, "dst"), {}, 0xffff, 0, 0xffff));
    ASSERT_TRUE(flow::set_range(match, field(Item::Udp, "dst"), {}, 0, 0, 0));
    EXPECT_EQ(match, Match{});
}

TEST(FlowFields, ARangeOfOneValueIsComparedInstead) {
    Match match;
    ASSERT_TRUE(flow::set_range(match, field(Item::Udp, "dst"), {}, 0xffff, 53, 53));
    EXPECT_EQ(match.range_count, 0);
    EXPECT_EQ(flow::get_integer(match.value, field(Item::Udp, "dst"), {}), 53U);
    EXPECT_EQ(flow::get_integer(match.mask, field(Item::Udp, "dst"), {}), 0xffffU);
}

TEST(FlowFields, ARangeThatEndsBeforeItBeginsIsRefused) {
    Match match;
    const auto set = flow::set_range(match, field(Item::Udp, "dst"), {}, 0xffff, 54, 53);
    ASSERT_FALSE(set);
    EXPECT_EQ(set.error().message(), "range of udp dst: Invalid argument (54 is above 53)");
}

TEST(FlowFields, AFifthRangeIsRefused) {
    Match match;
    for (const bool inner : {false, true})
        for (const char *name : {"src", "dst"})
            ASSERT_TRUE(flow::set_range(match, field(Item::Udp, name), {.inner = inner}, 0xffff, 1, 2));
    const auto fifth = flow::set_range(match, field(Item::Eth, "type"), {}, 0xffff, 1, 2);
    ASSERT_FALSE(fifth);
    EXPECT_EQ(fifth.error().code, ENOSPC);
}

TEST(FlowFields, RangesAreTheSameInWhateverOrderTheyCame) {
    struct Asked {
        const Field &field;
        uint32_t bits;
    };
    std::vector<Asked> asked{{field(Item::Udp, "src"), 0xffff},
                             {field(Item::Udp, "dst"), 0xffff},
                             {field(Item::Vlan, "tci"), 0xf000},
                             {field(Item::Vlan, "vid"), 0x0fff}};
    std::vector<size_t> order{0, 1, 2, 3};
    std::optional<Match> first;
    do {
        Match match;
        for (const size_t i : order)
            ASSERT_TRUE(flow::set_range(match, asked[i].field, {}, asked[i].bits, 1U << 12 & asked[i].bits,
                                        (asked[i].bits - 1) & asked[i].bits));
        EXPECT_EQ(match, first.value_or(match));
        first = match;
    } while (std::ranges::next_permutation(order).found);
}

TEST(FlowFields, ARangeIsOfTheHeaderThatTheMatchAsksFor) {
    Match tcp = with_layers(TAPFLOW_LAYER_TCP);
    ASSERT_TRUE(flow::set_range(tcp, field(Item::Tcp, "dst"), {}, 0xffff, 1, 9));
    EXPECT_EQ(name_of_range(tcp), "tcp dst");
    Match sctp = with_layers(TAPFLOW_LAYER_SCTP);
    ASSERT_TRUE(flow::set_range(sctp, field(Item::Tcp, "dst"), {}, 0xffff, 1, 9));
    EXPECT_EQ(name_of_range(sctp), "sctp dst");
    Match none;
    ASSERT_TRUE(flow::set_range(none, field(Item::Tcp, "dst"), {}, 0xffff, 1, 9));
    EXPECT_EQ(name_of_range(none), "none");
}

TEST(FlowFields, ARangeOfTheOuterEthernetHeaderIsFoundWithoutBeingAskedFor) {
    Match match;
    ASSERT_TRUE(flow::set_range(match, field(Item::Eth, "type"), {}, 0xffff, 0x800, 0x900));
    EXPECT_EQ(name_of_range(match), "eth type");
}

TEST(FlowFields, ARangeIsOfTheNarrowestFieldThatHoldsIt) {
    const uint32_t tags = TAPFLOW_LAYER_VLAN | TAPFLOW_LAYER_VLAN2;
    Match vid = with_layers(tags);
    ASSERT_TRUE(flow::set_range(vid, field(Item::Vlan, "tci"), {.second_tag = true}, 0xfff, 5, 9));
    EXPECT_EQ(name_of_range(vid), "second vlan vid");
}

} // namespace
} // namespace tapflow::test
