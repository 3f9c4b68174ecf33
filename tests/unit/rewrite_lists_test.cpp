// SPDX-License-Identifier: BSD-3-Clause
#include "engine/rewrite_lists.h"
#include "support/must.h"
#include "support/seed.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

namespace tapflow::test {
namespace {

using engine::RecordClock;
using engine::RewriteLists;

/// One ring, in which each record is written and read when the test says so.
struct FakeRing {
    RecordClock clock() {
        return {[this]() -> Result<std::vector<uint64_t>> {
                    asked++;
                    if (mute)
                        return Error{ENOMEM, "ask", {}};
                    return std::vector{written};
                },
                [this](std::span<const uint64_t> records) { return read >= records[0]; }};
    }
    uint64_t written = 0;
    uint64_t read = 0;
    size_t asked = 0;
    bool mute = false; ///< cannot tell
};

constexpr size_t kNumbers = 65535;

/// Lists that all differ.
RewriteLists::List list_of(uint32_t number) {
    flow::Rewrite change{.kind = flow::Rewrite::Kind::SetIpv4Dst};
    for (size_t i = 0; i < 4; i++)
        change.bytes[i] = static_cast<uint8_t>(number >> 8 * i);
    return {change, {.kind = flow::Rewrite::Kind::DecTtl}};
}

class RewriteListsOfARing : public testing::Test {
  protected:
    /// Acquires and releases lists that are not `kept`, until all numbers have been used.
    void use_up_all_numbers() {
        for (uint32_t i = 0; i < kNumbers; i++)
            used.push_back(must(lists.acquire(list_of(1'000'000 + i))));
    }

    FakeRing ring;
    RewriteLists lists{ring.clock()};
    std::vector<uint16_t> used;
};

TEST_F(RewriteListsOfARing, EqualListsShareANumber) {
    const uint16_t first = must(lists.acquire(list_of(1)));
    EXPECT_EQ(must(lists.acquire(list_of(1))), first);
    EXPECT_NE(must(lists.acquire(list_of(2))), first);
    RewriteLists::List other = list_of(1);
    std::swap(other[0], other[1]);
    EXPECT_NE(must(lists.acquire(other)), first) << "in another order";
    other = list_of(1);
    other[1].value = 1;
    EXPECT_NE(must(lists.acquire(other)), first);
    EXPECT_EQ(*lists.get(first), list_of(1));
    EXPECT_EQ(lists.get(0), nullptr);
    EXPECT_EQ(lists.get(999), nullptr);
    lists.release(first);
    EXPECT_EQ(*lists.get(first), list_of(1)) << "another rule has it";
    lists.release(first);
    EXPECT_EQ(*lists.get(first), list_of(1)) << "a record may have it";
    EXPECT_EQ(must(lists.acquire(list_of(1))), first) << "and whoever says the same has it again";
}

TEST_F(RewriteListsOfARing, ThereAre65535AndTheNextIsRefused) {
    use_up_all_numbers();
    EXPECT_EQ(std::set<uint16_t>(used.begin(), used.end()).size(), kNumbers);
    EXPECT_FALSE(std::set<uint16_t>(used.begin(), used.end()).contains(0));
    EXPECT_EQ(lists.acquire(list_of(1)).error().code, ENOSPC);
    EXPECT_EQ(must(lists.acquire(list_of(1'000'005))), used[5]);
    for (uint32_t i = 0; i < kNumbers; i++)
        ASSERT_EQ(*lists.get(used[i]), list_of(1'000'000 + i));
}

TEST_F(RewriteListsOfARing, ANumberIsNotUsedAgainWhileARecordMayHaveIt) {
    use_up_all_numbers();
    ring.written = 100;
    lists.release(used[7]);
    EXPECT_EQ(lists.acquire(list_of(1)).error().code, ENOSPC);
    EXPECT_EQ(*lists.get(used[7]), list_of(1'000'007));
    ring.read = 99;
    EXPECT_EQ(lists.acquire(list_of(1)).error().code, ENOSPC);
    EXPECT_EQ(*lists.get(used[7]), list_of(1'000'007));
    ring.written = 150; // by rules that use others
    ring.read = 100;
    EXPECT_EQ(must(lists.acquire(list_of(1))), used[7]);
    EXPECT_EQ(*lists.get(used[7]), list_of(1));
}

TEST_F(RewriteListsOfARing, ANumberUsedOnceMoreMeanwhileWaitsAnew) {
    use_up_all_numbers();
    ring.written = 100;
    lists.release(used[7]);
    EXPECT_EQ(lists.acquire(list_of(1)).error().code, ENOSPC); // it cools from here on
    EXPECT_EQ(must(lists.acquire(list_of(1'000'007))), used[7]);
    ring.written = 200;
    lists.release(used[7]);
    ring.read = 100;
    EXPECT_EQ(lists.acquire(list_of(1)).error().code, ENOSPC);
    EXPECT_EQ(*lists.get(used[7]), list_of(1'000'007));
    ring.read = 200;
    EXPECT_EQ(must(lists.acquire(list_of(1))), used[7]);
}

TEST_F(RewriteListsOfARing, ANumberInUseAgainStays) {
    use_up_all_numbers();
    lists.release(used[7]);
    ring.written = 100;
    EXPECT_EQ(lists.acquire(list_of(1)).error().code, ENOSPC);
    EXPECT_EQ(must(lists.acquire(list_of(1'000'007))), used[7]);
    ring.read = 100;
    EXPECT_EQ(lists.acquire(list_of(1)).error().code, ENOSPC);
    EXPECT_EQ(*lists.get(used[7]), list_of(1'000'007));
    lists.release(used[7]);
    EXPECT_EQ(must(lists.acquire(list_of(1))), used[7]);
}

TEST_F(RewriteListsOfARing, NothingIsUsedAgainWhileItCannotBeToldWhatRecordsHave) {
    use_up_all_numbers();
    ring.written = 100;
    ring.read = 100;
    lists.release(used[7]);
    ring.mute = true;
    for (int i = 0; i < 3; i++)
        EXPECT_EQ(lists.acquire(list_of(1)).error().code, ENOSPC);
    EXPECT_EQ(*lists.get(used[7]), list_of(1'000'007));
    ring.mute = false;
    EXPECT_EQ(must(lists.acquire(list_of(1))), used[7]);
}

TEST_F(RewriteListsOfARing, TheRingsAreAskedSeldom) {
    for (uint32_t i = 0; i < 100'000; i++) {
        ring.written++;
        ring.read++;
        lists.release(must(lists.acquire(list_of(i))));
    }
    EXPECT_LT(ring.asked, 200U); // each time waits for packets under way
    EXPECT_GT(ring.asked, 10U);
}

TEST_F(RewriteListsOfARing, NoRecordEverHasANumberOfOtherChangesThanItsRules) {
    auto random = seeded_random();
    std::multimap<uint16_t, uint32_t> rules;                   // numbers and what they must stand for
    std::map<uint64_t, std::pair<uint16_t, uint32_t>> records; // by position: the same, unread
    for (unsigned step = 0; step < 300'000; step++) {
        switch (random() % 4) {
        case 0: {
            const auto what = static_cast<uint32_t>(random() % 20'000);
            if (const auto number = lists.acquire(list_of(what)))
                rules.emplace(*number, what);
            break;
        }
        case 1:
            if (!rules.empty() && rules.size() > random() % 300) {
                const auto rule =
                    std::next(rules.begin(), static_cast<ptrdiff_t>(random() % std::min<size_t>(rules.size(), 40)));
                lists.release(rule->first);
                rules.erase(rule);
            }
            break;
        case 2:
            if (!rules.empty()) {
                const auto rule =
                    std::next(rules.begin(), static_cast<ptrdiff_t>(random() % std::min<size_t>(rules.size(), 40)));
                records.emplace(++ring.written, *rule);
            }
            break;
        default:
            for (size_t reads = random() % 3; reads > 0 && !records.empty(); reads--) {
                const auto &[number, what] = records.begin()->second;
                ASSERT_NE(lists.get(number), nullptr);
                ASSERT_EQ(*lists.get(number), list_of(what));
                ring.read = records.begin()->first;
                records.erase(records.begin());
            }
            break;
        }
    }
    EXPECT_GT(ring.asked, 5U);
}

} // namespace
} // namespace tapflow::test
