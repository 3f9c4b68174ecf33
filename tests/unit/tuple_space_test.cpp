// SPDX-License-Identifier: BSD-3-Clause
#include "flow/tuple_space.h"
#include "packet/random_packets.h"
#include "support/random_rule.h"
#include "support/seed.h"
#include "unit/heap_tables.h"

#include <gtest/gtest.h>

#include <cstring>
#include <set>

namespace tapflow::test {
namespace {

using flow::Attributes;
using flow::Direction;
using flow::Match;

std::vector<tapflow_flow_key> random_keys(size_t count, std::mt19937_64 random) {
    packet::RandomPackets packets(random);
    std::vector<tapflow_flow_key> keys;
    for (size_t i = 0; i < count; i++)
        keys.push_back(flow::reference_key(packets.next(14, 400)));
    return keys;
}

Direction either(RandomRules &rules) { return rules.chance(70) ? Direction::Ingress : Direction::Egress; }

/// Few groups and priorities, so that rules meet.
RuleBounds crowded() {
    RuleBounds bounds;
    bounds.groups = 4;
    bounds.priorities = 6;
    bounds.queues = 16;
    return bounds;
}

// ---- against the reference matcher

TEST(TupleSpace, SaysOfRandomPacketsWhatTheReferenceMatcherSays) {
    auto random = seeded_random();
    const auto keys = random_keys(20'000, std::mt19937_64(random()));
    RandomRules rules(std::mt19937_64(random()), crowded());
    HeapTwins twins;
    size_t acted = 0;
    for (unsigned set = 0; set < 1000 && !testing::Test::HasFailure(); set++) {
        const size_t first = rules.below(keys.size() - 1000);
        const size_t count = 1 + rules.below(30);
        for (size_t i = 0; i < count; i++)
            (void)twins.add(rules.chance(10) ? rules.next() : rules.next_for(keys[first + rules.below(1000)]));
        for (size_t i = 0; i < 1000 && !testing::Test::HasFailure(); i++)
            acted += twins.expect_same(keys[first + i], either(rules));
        twins.clear();
        ASSERT_EQ(twins.heap.space().size(), 0U);
        ASSERT_EQ(twins.heap.space().masks(), 0U);
    }
    EXPECT_GT(acted, 200'000U); // otherwise nothing much has been compared
}

TEST(TupleSpace, SaysWhatTheReferenceMatcherSaysWhileRulesComeAndGo) {
    auto random = seeded_random();
    const auto keys = random_keys(300, std::mt19937_64(random()));
    RandomRules rules(std::mt19937_64(random()), crowded());
    HeapTwins twins;
    size_t waits = 0;
    for (unsigned step = 0; step < 30'000 && !testing::Test::HasFailure(); step++) {
        const size_t size = twins.reference().rules().size();
        if (size < 80 && (size == 0 || rules.chance(54)) && twins.heap.space().masks() < TAPFLOW_FLOW_MASKS_MAX)
            (void)twins.add(rules.next_for(keys[rules.below(keys.size())]));
        else
            twins.remove(twins.nth(rules.below(size)));
        ASSERT_EQ(twins.heap.space().size(), twins.reference().rules().size());
        if (step % 10 == 0)
            for (size_t i = 0; i < 30; i++)
                (void)twins.expect_same(keys[rules.below(keys.size())], either(rules));
        waits = twins.heap.waits;
    }
    // Waiting takes long, so many changes share a wait.
    EXPECT_LT(waits, 500U);
    EXPECT_GT(waits, 5U);
}

TEST(TupleSpace, GivesBackWhatWasInserted) {
    auto random = seeded_random();
    const auto keys = random_keys(300, std::mt19937_64(random()));
    RuleBounds bounds;
    RandomRules rules(std::mt19937_64(random()), bounds);
    HeapTwins twins;
    for (unsigned set = 0; set < 200; set++) {
        for (size_t i = 0; i < 60; i++)
            (void)twins.add(rules.chance(30) ? rules.next() : rules.next_for(keys[rules.below(keys.size())]));
        for (const auto &[id, rule] : twins.reference().rules()) {
            ASSERT_EQ(twins.heap.space().match_of(twins.index_of(id)), rule.match);
            ASSERT_EQ(twins.heap.space().attributes_of(twins.index_of(id)), rule.attributes);
        }
        twins.clear();
    }
}

// ---- what is refused

/// Words of its own: `value` in the source and destination address.
Match match_of(uint64_t value, uint32_t prefix = 32) {
    Match match;
    const uint32_t bits = __builtin_bswap32(prefix == 0 ? 0 : ~0U << (32 - prefix));
    const auto low = static_cast<uint32_t>(value) & bits;
    const auto high = static_cast<uint32_t>(value >> 32);
    constexpr uint32_t kAll = ~0U;
    std::memcpy(match.mask.outer.ip_src, &bits, 4);
    std::memcpy(match.mask.outer.ip_dst, &kAll, 4);
    std::memcpy(match.value.outer.ip_src, &low, 4);
    std::memcpy(match.value.outer.ip_dst, &high, 4);
    return match;
}

/// The only range of a match: of the L4 ports' first half.
Match with_range(Match match, uint32_t low, uint32_t high) {
    match.ranges[0] = {kPortsWord, 48, 0xffff, low, high};
    match.range_count = 1;
    return match;
}

/// A packet that a match wants.
tapflow_flow_key packet_of(const Match &match) { return match.value; }

int refusal_of(HeapTables &heap, const Attributes &attributes, const Match &match) {
    const auto refused = heap.space().plan(attributes, match).refusal();
    const auto index = heap.insert(attributes, match);
    EXPECT_EQ(refused.has_value(), !index);
    if (index) {
        heap.space().remove(*index);
        return 0;
    }
    EXPECT_EQ(*refused, index.error());
    return index.error().code;
}

TEST(TupleSpace, RefusesTheSameMatchInTheSameGroupAtTheSamePriority) {
    HeapTables heap;
    const Match match = with_range(match_of(7), 10, 20);
    must(heap.insert({1, 5}, match));
    EXPECT_EQ(refusal_of(heap, {1, 5}, match), EEXIST);
    EXPECT_EQ(refusal_of(heap, {1, 6}, match), 0);
    EXPECT_EQ(refusal_of(heap, {2, 5}, match), 0);
    EXPECT_EQ(refusal_of(heap, {1, 5, Direction::Egress}, match), 0);
    EXPECT_EQ(refusal_of(heap, {1, 5}, match_of(7)), 0);
    EXPECT_EQ(refusal_of(heap, {1, 5}, with_range(match_of(7), 10, 21)), 0);
    EXPECT_EQ(refusal_of(heap, {1, 5}, with_range(match_of(8), 10, 20)), 0);
    EXPECT_EQ(heap.space().size(), 1U);
}

TEST(TupleSpace, Has128MasksAndRefusesTheNext) {
    HeapTables heap;
    std::vector<uint32_t> indices;
    // Over all groups and both directions together.
    const auto attributes_of = [](uint32_t i) {
        return Attributes{i / 32, 9, i / 32 % 2 == 0 ? Direction::Ingress : Direction::Egress};
    };
    const auto match = [](uint32_t i) { return match_of(~0ULL, 1 + i % 32); };
    for (uint32_t i = 0; i < TAPFLOW_FLOW_MASKS_MAX; i++)
        indices.push_back(must(heap.insert(attributes_of(i), match(i))));
    EXPECT_EQ(heap.space().masks(), size_t{TAPFLOW_FLOW_MASKS_MAX});
    EXPECT_EQ(refusal_of(heap, {9, 9}, match_of(1)), ENOSPC);
    EXPECT_EQ(refusal_of(heap, attributes_of(3), match_of(1, 4)), 0) << "a mask that is there has room";
    EXPECT_EQ(refusal_of(heap, {attributes_of(3).group, 2}, match(3)), 0) << "... and can still become better";
    for (uint32_t i = 0; i < TAPFLOW_FLOW_MASKS_MAX; i++)
        ASSERT_EQ(heap.space().match_of(indices[i]), match(i));
    heap.space().remove(indices[77]);
    EXPECT_EQ(refusal_of(heap, {9, 9}, match_of(1)), 0);
}

TEST(TupleSpace, HasChainsOf256RulesAndRefusesTheNext) {
    HeapTables heap;
    std::vector<uint32_t> indices;
    for (uint32_t i = 0; i < TAPFLOW_FLOW_CHAIN_MAX; i++) // neither from the best on nor from the worst
        indices.push_back(must(heap.insert({0, i * 37 % 256}, with_range(match_of(7), i, i + 1))));
    EXPECT_EQ(refusal_of(heap, {0, 1000}, with_range(match_of(7), 1, 2)), ENOSPC);
    EXPECT_EQ(refusal_of(heap, {0, 1000}, with_range(match_of(8), 1, 2)), 0);
    const auto found = [&](uint32_t port) {
        tapflow_flow_key key = packet_of(match_of(7));
        key.outer.l4[0] = static_cast<uint8_t>(port >> 8);
        key.outer.l4[1] = static_cast<uint8_t>(port);
        return heap.search(key, Direction::Ingress).rule;
    };
    const auto best = [](uint32_t i) { return i == 0 || i * 37 % 256 < (i - 1) * 37 % 256 ? i : i - 1; };
    for (uint32_t i = 0; i < TAPFLOW_FLOW_CHAIN_MAX; i++)
        ASSERT_EQ(found(i), indices[best(i)]) << i;
    EXPECT_EQ(found(TAPFLOW_FLOW_CHAIN_MAX), indices.back());
    EXPECT_EQ(found(TAPFLOW_FLOW_CHAIN_MAX + 1), 0U);
    heap.space().remove(indices[100]);
    EXPECT_EQ(refusal_of(heap, {0, 1000}, with_range(match_of(7), 1, 2)), 0);
    for (uint32_t i = 0; i < 100; i++)
        ASSERT_EQ(found(i), indices[best(i)]) << i;
}

TEST(TupleSpace, Has131071RulesAndRefusesTheNext) {
    HeapTables heap;
    std::vector<uint32_t> indices;
    const auto match = [](size_t i) { return match_of(i * 0x100000001ULL); };
    for (size_t i = 0; i < TAPFLOW_FLOW_RULES_MAX - 1; i++)
        indices.push_back(must(heap.insert({0, 9}, match(i))));
    EXPECT_EQ(std::set<uint32_t>(indices.begin(), indices.end()).size(), indices.size());
    const auto expect_all = [&] {
        for (size_t i = 0; i < indices.size(); i++)
            ASSERT_EQ(heap.search(packet_of(match(i)), Direction::Ingress).rule, indices[i]) << i;
    };
    expect_all();
    const auto refused = heap.space().plan({0, 9}, match(indices.size())).refusal();
    ASSERT_TRUE(refused);
    EXPECT_EQ(refused->code, ENOSPC);
    expect_all();

    heap.space().remove(indices[5000]);
    EXPECT_EQ(heap.search(packet_of(match(5000)), Direction::Ingress).rule, 0U);
    const size_t waits = heap.waits;
    indices[5000] = must(heap.insert({0, 9}, match(5000)));
    EXPECT_EQ(heap.waits, waits + 1);
    expect_all();
    EXPECT_TRUE(heap.space().plan({0, 9}, match(indices.size())).refusal());

    // In another order, to the end.
    for (size_t i = 0; i < indices.size(); i++)
        heap.space().remove(indices[i * 7919 % indices.size()]);
    EXPECT_EQ(heap.space().size(), 0U);
    for (size_t bucket = 0; bucket < TAPFLOW_FLOW_BUCKETS; bucket++)
        for (const uint64_t slot : heap.tables().buckets[bucket].slots)
            ASSERT_EQ(slot, 0U) << "bucket " << bucket;
}

// ---- buckets

/// Matches of one mask that all begin in the first bucket.
class OneBucket : public testing::Test {
  protected:
    OneBucket() {
        id_ = heap.space().rule(must(heap.insert({0, 9}, other))).mask;
        for (uint64_t value = 0; matches.size() < kRoom + 8; value++)
            if (bucket_of(match_of(value)) == 0)
                matches.push_back(match_of(value));
    }

    [[nodiscard]] uint32_t bucket_of(const Match &match) const {
        uint64_t hash = id_;
        for (size_t word = 0; word < TAPFLOW_FLOW_WORDS; word++)
            if (flow::word_of(match.mask, word) != 0)
                hash = tapflow_flow_mix(hash, flow::word_of(match.value, word));
        return static_cast<uint32_t>(hash) % TAPFLOW_FLOW_BUCKETS;
    }

    void expect_found(size_t first, size_t last) {
        for (size_t i = first; i < last; i++)
            ASSERT_EQ(heap.search(packet_of(matches[i]), Direction::Ingress).rule, indices[i]) << i;
    }

    [[nodiscard]] size_t tombstones() const {
        size_t count = 0;
        for (size_t bucket = 0; bucket < TAPFLOW_FLOW_BUCKETS; bucket++)
            for (const uint64_t slot : heap.tables().buckets[bucket].slots)
                count += slot == TAPFLOW_FLOW_GONE;
        return count;
    }

    static constexpr size_t kRoom = size_t{TAPFLOW_FLOW_SLOTS} * TAPFLOW_FLOW_PROBES;
    HeapTables heap;
    std::vector<Match> matches;
    std::vector<uint32_t> indices;
    /// Keeps the mask, whose id is in the hash. None of the bucket's.
    const Match other = match_of(uint64_t{1} << 32);

  private:
    uint32_t id_ = 0;
};

TEST_F(OneBucket, FlowsOverIntoTheOnesBehindUntilTheseAreFull) {
    for (size_t i = 0; i < kRoom; i++) {
        indices.push_back(must(heap.insert({0, 9}, matches[i])));
        expect_found(0, indices.size());
    }
    EXPECT_EQ(refusal_of(heap, {0, 9}, matches[kRoom]), ENOSPC);
    EXPECT_EQ(heap.search(packet_of(matches[kRoom]), Direction::Ingress).rule, 0U);
    EXPECT_EQ(refusal_of(heap, {0, 5}, matches[3]), 0) << "a chain needs no slot more";
    expect_found(0, kRoom);
    EXPECT_NE(heap.search(packet_of(other), Direction::Ingress).rule, 0U);

    // From the front: what is behind is found over the gaps, and a new one goes into the first.
    for (size_t i = 0; i < 20; i++) {
        heap.space().remove(indices[i]);
        expect_found(i + 1, kRoom);
    }
    EXPECT_EQ(tombstones(), 20U);
    indices.push_back(must(heap.insert({0, 9}, matches[kRoom])));
    EXPECT_EQ(tombstones(), 19U);
    expect_found(20, kRoom);
    EXPECT_EQ(heap.search(packet_of(matches[kRoom]), Direction::Ingress).rule, indices[kRoom]);
}

TEST_F(OneBucket, HasNoTombstonesOnceNothingIsBehindThem) {
    for (size_t i = 0; i < 3 * TAPFLOW_FLOW_SLOTS; i++)
        indices.push_back(must(heap.insert({0, 9}, matches[i])));
    heap.space().remove(indices[3]);
    heap.space().remove(indices[TAPFLOW_FLOW_SLOTS + 3]);
    EXPECT_EQ(tombstones(), 2U);
    for (size_t i = 2 * TAPFLOW_FLOW_SLOTS; i < 3 * TAPFLOW_FLOW_SLOTS; i++)
        heap.space().remove(indices[i]);
    EXPECT_EQ(tombstones(), 1U) << "rules in the second bucket passed the first one";
    for (size_t i = TAPFLOW_FLOW_SLOTS; i < 2 * TAPFLOW_FLOW_SLOTS; i++)
        if (i != TAPFLOW_FLOW_SLOTS + 3)
            heap.space().remove(indices[i]);
    EXPECT_EQ(tombstones(), 0U);
    for (size_t i = 0; i < TAPFLOW_FLOW_SLOTS; i++)
        if (i != 3) {
            ASSERT_EQ(heap.search(packet_of(matches[i]), Direction::Ingress).rule, indices[i]);
        }
}

TEST_F(OneBucket, KeepsEveryRuleWhileOthersOfItComeAndGo) {
    auto random = seeded_random();
    std::map<size_t, uint32_t> in;
    for (unsigned step = 0; step < 20'000; step++) {
        const size_t i = random() % matches.size();
        if (in.contains(i)) {
            heap.space().remove(in.at(i));
            in.erase(i);
        } else if (in.size() < kRoom) {
            in[i] = must(heap.insert({0, 9}, matches[i]));
        }
        if (step % 16 != 0)
            continue;
        for (size_t k = 0; k < matches.size(); k++)
            ASSERT_EQ(heap.search(packet_of(matches[k]), Direction::Ingress).rule, in.contains(k) ? in.at(k) : 0);
    }
    for (const auto &[i, index] : in)
        heap.space().remove(index);
    EXPECT_EQ(tombstones(), 0U);
}

// ---- the order of masks

TEST(TupleSpace, MasksWhoseRulesGetBetterAndBetterMoveSeldom) {
    HeapTables heap;
    // Some others of all priorities to move past.
    for (uint32_t prefix = 1; prefix < 30; prefix++)
        must(heap.insert({0, prefix * 130}, match_of(~0ULL, prefix)));
    std::vector<uint32_t> indices(TAPFLOW_FLOW_PRIORITIES);
    for (uint32_t priority = TAPFLOW_FLOW_PRIORITIES; priority-- > 0;)
        for (const uint32_t prefix : {30U, 31U, 32U})
            indices[priority] = must(heap.insert({0, priority}, match_of(uint64_t{priority} << 32, prefix)));
    EXPECT_LE(heap.waits, 2U);
    // The last one to come is of the lowest rank of its priority.
    for (uint32_t priority = 0; priority < TAPFLOW_FLOW_PRIORITIES; priority++) {
        const uint32_t rule = heap.search(packet_of(match_of(uint64_t{priority} << 32)), Direction::Ingress).rule;
        ASSERT_EQ(rule, indices[priority] - 2) << priority;
    }
}

TEST(TupleSpace, OfTwoMasksTheOneWithTheBetterRuleWinsWhicheverCameFirst) {
    auto random = seeded_random();
    const tapflow_flow_key key = packet_of(match_of(0));
    for (unsigned set = 0; set < 200; set++) {
        HeapTables heap;
        std::map<std::pair<uint32_t, unsigned>, uint32_t> ranked;
        for (unsigned i = 0; i < 100; i++) {
            const auto priority = static_cast<uint32_t>(random() % TAPFLOW_FLOW_PRIORITIES);
            const auto prefix = static_cast<uint32_t>(random() % 8);
            if (const auto index = heap.insert({0, priority}, match_of(0, prefix)))
                ranked[{priority, i}] = *index;
            if (random() % 3 == 0) {
                const auto at = std::next(ranked.begin(), static_cast<ptrdiff_t>(random() % ranked.size()));
                heap.space().remove(at->second);
                ranked.erase(at);
            }
            ASSERT_EQ(heap.search(key, Direction::Ingress).rule, ranked.empty() ? 0 : ranked.begin()->second);
        }
    }
}

// ---- memory that is not there

TEST(TupleSpace, IsAsBeforeWhenItsMemoryCannotGrow) {
    HeapTables heap;
    heap.fail_grow = true;
    EXPECT_EQ(heap.insert({}, match_of(1)).error().code, ENOMEM);
    EXPECT_EQ(heap.space().size(), 0U);
    heap.fail_grow = false;
    std::vector<uint32_t> indices;
    for (size_t i = 1; i < TAPFLOW_FLOW_RULE_CHUNK; i++)
        indices.push_back(must(heap.insert({}, match_of(i))));
    heap.fail_grow = true;
    EXPECT_EQ(heap.insert({}, match_of(0)).error().code, ENOMEM);
    EXPECT_EQ(heap.growths, 1U);
    for (size_t i = 1; i < TAPFLOW_FLOW_RULE_CHUNK; i++)
        ASSERT_EQ(heap.search(packet_of(match_of(i)), Direction::Ingress).rule, indices[i - 1]);
    heap.fail_grow = false;
    must(heap.insert({}, match_of(0)));
    EXPECT_EQ(heap.growths, 2U);
}

/// Everything that a search goes by.
struct Snapshot {
    explicit Snapshot(const tapflow_flow_tables &tables)
        : directory(bytes(tables.directory, sizeof(*tables.directory))),
          buckets(bytes(tables.buckets, sizeof(*tables.buckets) * TAPFLOW_FLOW_BUCKETS)),
          rules(bytes(tables.chunks[0], sizeof(tapflow_flow_rule) * TAPFLOW_FLOW_RULE_CHUNK)) {
        directory.erase(0, sizeof(tables.directory->generation));
    }
    static std::string bytes(const void *data, size_t size) { return {static_cast<const char *>(data), size}; }
    bool operator==(const Snapshot &) const = default;

    std::string directory;
    std::string buckets;
    std::string rules;
};

TEST(TupleSpace, IsAsBeforeWhenItCannotWait) {
    HeapTables heap;
    const uint32_t kept = must(heap.insert({0, 4000}, match_of(1)));
    // Masks come and go until there is none left to take without a wait.
    size_t masks = 0;
    heap.fail_wait = true;
    for (;; masks++) {
        ASSERT_LT(masks, 1000U);
        const uint32_t index = must(heap.space().reserve());
        const Match match = match_of(~0ULL, 1 + static_cast<uint32_t>(masks) % 31);
        const Snapshot before(heap.tables());
        if (auto inserted = heap.space().insert(index, {0, 100}, match, {}); !inserted) {
            EXPECT_EQ(inserted.error().code, EIO);
            EXPECT_TRUE(Snapshot(heap.tables()) == before);
            // A mask that would have to move is no better off.
            EXPECT_EQ(heap.space().insert(index, {0, 1}, match_of(2), {}).error().code, EIO);
            EXPECT_TRUE(Snapshot(heap.tables()) == before);
            EXPECT_EQ(heap.space().size(), 1U);
            heap.fail_wait = false;
            must(heap.space().insert(index, {0, 100}, match, {}));
            EXPECT_EQ(heap.search(packet_of(match), Direction::Ingress).rule, index);
            break;
        }
        heap.space().remove(index);
    }
    EXPECT_GT(masks, 200U);
    EXPECT_EQ(heap.search(packet_of(match_of(1)), Direction::Ingress).rule, kept);
}

// ---- what a search may still be looking at

/// All that can be reached from the lists and buckets, and could be at any time since the last wait, stays what it is.
class Watcher {
  public:
    explicit Watcher(HeapTables &heap) : heap_(heap) {
        heap.on_wait = [this] {
            masks_.clear();
            rules_.clear();
            look();
        };
    }

    /// Between changes.
    void look() {
        const tapflow_flow_directory &directory = *heap_.tables().directory;
        for (const uint32_t head : directory.head)
            for (uint32_t mask = head; mask != 0; mask = directory.masks[mask].next)
                masks_[mask] = directory.masks[mask].id;
        for (const auto &[index, rank] : live)
            rules_[index] = rank;
    }

    void check() {
        for (const auto &[mask, id] : masks_)
            ASSERT_EQ(heap_.tables().directory->masks[mask].id, id) << "mask " << mask;
        for (const auto &[index, rank] : rules_)
            ASSERT_EQ(heap_.space().rule(index).rank, rank) << "rule " << index;
    }

    std::map<uint32_t, uint64_t> live; ///< ranks of rules

  private:
    HeapTables &heap_;
    std::map<uint32_t, uint32_t> masks_;
    std::map<uint32_t, uint64_t> rules_;
};

TEST(TupleSpace, WritesNothingAgainBeforeAWaitThatASearchMayStillBeLookingAt) {
    auto random = seeded_random();
    HeapTables heap;
    Watcher watcher(heap);
    for (unsigned step = 0; step < 30'000; step++) {
        if (watcher.live.size() < 40 && random() % 2 == 0) {
            const auto index = heap.insert({0, static_cast<uint32_t>(random() % TAPFLOW_FLOW_PRIORITIES)},
                                           match_of(random() % 8, static_cast<uint32_t>(random() % 33)));
            if (index)
                watcher.live[*index] = heap.space().rule(*index).rank;
        } else if (!watcher.live.empty()) {
            const auto at = std::next(watcher.live.begin(), static_cast<ptrdiff_t>(random() % watcher.live.size()));
            heap.space().remove(at->first);
            watcher.live.erase(at);
        }
        watcher.check();
        if (testing::Test::HasFatalFailure())
            return;
        watcher.look();
    }
    EXPECT_GT(heap.waits, 10U);
}

} // namespace
} // namespace tapflow::test
