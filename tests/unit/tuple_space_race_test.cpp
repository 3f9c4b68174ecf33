// SPDX-License-Identifier: BSD-3-Clause
// Searches while rules change.
#include "support/seed.h"
#include "unit/heap_tables.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <random>
#include <thread>

namespace tapflow::test {
namespace {

using flow::Attributes;
using flow::Match;

/// Searches, each between two announcements, which wait() goes by.
class Reader {
  public:
    template <typename Search> auto during(Search search) {
        turns_.fetch_add(1, std::memory_order_seq_cst);
        const auto result = search();
        turns_.fetch_add(1, std::memory_order_seq_cst);
        return result;
    }

    /// Returns when no search is under way that began before.
    void wait() const {
        const uint64_t turn = turns_.load(std::memory_order_seq_cst);
        while (turn % 2 == 1 && turns_.load(std::memory_order_seq_cst) == turn)
            std::this_thread::yield();
    }

  private:
    alignas(64) std::atomic<uint64_t> turns_{0};
};

constexpr uint32_t kStable = 48;

/// One that compares the first bits of the source address, the destination address, and lets through some ports.
Match match_of(uint32_t prefix, uint32_t destination, uint32_t low, uint32_t high) {
    Match match;
    const uint32_t bits = __builtin_bswap32(~0U << (32 - prefix));
    std::memcpy(match.mask.outer.ip_src, &bits, 4);
    std::memset(match.mask.outer.ip_dst, 0xff, 4);
    std::memcpy(match.value.outer.ip_dst, &destination, 4);
    match.ranges[0] = {kPortsWord, 48, 0xffff, low, high};
    match.range_count = 1;
    return match;
}

/// A rule that is in for a while, and a packet that hits it whatever else there is.
struct Stable {
    Match match;
    tapflow_flow_key packet{};
    uint16_t queue = 0;
};

Stable stable_rule(uint32_t i) {
    Stable stable{match_of(1 + i % 24, i, 100, 200), {}, static_cast<uint16_t>(i)};
    stable.packet = stable.match.value;
    stable.packet.outer.l4[1] = 150;
    return stable;
}

/// Two readers and a writer on one set of tables.
class Race {
  public:
    Race() {
        heap_.on_wait = [this] {
            for (const Reader &reader : readers_)
                reader.wait();
        };
        for (uint32_t i = 0; i < kStable; i++)
            stable_.push_back(stable_rule(i));
    }

    void run(std::chrono::seconds time) {
        std::vector<std::thread> threads;
        for (Reader &reader : readers_)
            threads.emplace_back([this, &reader] { read(reader); });
        const auto end = std::chrono::steady_clock::now() + time;
        while (std::chrono::steady_clock::now() < end && strays == 0)
            round();
        stop_ = true;
        for (std::thread &thread : threads)
            thread.join();
    }

    std::atomic<uint64_t> searches{0};
    std::atomic<uint64_t> strays{0};
    uint64_t changes = 0;

  private:
    void read(Reader &reader) {
        uint64_t mine = 0;
        for (uint32_t i = 0; !stop_; i = (i + 1) % kStable) {
            const Stable &stable = stable_[i];
            // In for as long as this search takes, if it says so here: see round().
            reader.during([&] {
                if (!in_.load(std::memory_order_seq_cst))
                    return 0;
                mine++;
                const auto verdict = heap_.search(stable.packet, flow::Direction::Ingress);
                if (!(verdict.actions & TAPFLOW_FLOW_QUEUE) || verdict.queue != stable.queue)
                    strays++;
                return 0;
            });
        }
        searches += mine;
    }

    uint32_t insert(uint32_t priority, const Match &match, uint16_t queue) {
        tapflow_flow_rule record{};
        record.actions = TAPFLOW_FLOW_QUEUE;
        record.queue = queue;
        const auto index = heap_.insert({0, priority}, match, record);
        changes++;
        return index ? *index : 0;
    }

    /// Puts the stable rules in, the worst there can be, and lets others come and go that make their masks better,
    /// share their buckets and their chains, and have masks between theirs.
    void round() {
        std::vector<uint32_t> stable;
        for (const Stable &each : stable_)
            stable.push_back(insert(4095, each.match, each.queue));
        in_ = true;
        std::vector<uint32_t> others;
        uint32_t best = 4095;
        for (unsigned step = 0; step < 400; step++) {
            const auto i = static_cast<uint32_t>(random_() % kStable);
            if (random_() % 20 == 0 && best > 0)
                best -= static_cast<uint32_t>(random_() % best / 4 + 1);
            const auto priority = best + static_cast<uint32_t>(random_() % (4096 - best));
            uint32_t other = 0;
            switch (random_() % 4) {
            case 0: // in the same chain, for other ports
                other = insert(priority, match_of(1 + i % 24, i, 300 + step, 400 + step), 999);
                break;
            case 1: // in the same chain, behind
                other = insert(4095, match_of(1 + i % 24, i, 100, 201 + step), 999);
                break;
            case 2: // of the same mask, for other packets
                other = insert(priority, match_of(1 + i % 24, 1000 + static_cast<uint32_t>(random_() % 4000), 100, 200),
                               999);
                break;
            default: // of another mask
                other = insert(priority, match_of(25 + i % 8, 1000 + i, 100, 200), 999);
                break;
            }
            if (other != 0)
                others.push_back(other);
            if (others.size() > 60 || (random_() % 3 == 0 && !others.empty())) {
                std::swap(others[random_() % others.size()], others.back());
                heap_.space().remove(others.back());
                others.pop_back();
            }
        }
        in_ = false;
        for (const Reader &reader : readers_)
            reader.wait();
        for (const auto *rules : {&stable, &others})
            for (const uint32_t index : *rules)
                heap_.space().remove(index);
    }

    HeapTables heap_;
    std::array<Reader, 2> readers_;
    std::vector<Stable> stable_;
    std::mt19937_64 random_{seeded_random()};
    std::atomic<bool> in_{false};
    std::atomic<bool> stop_{false};
};

TEST(TupleSpace, EverySearchMeetsTheRulesThatStayWhileOthersComeAndGo) {
    Race race;
    race.run(std::chrono::seconds(4));
    EXPECT_EQ(race.strays, 0U) << "of " << race.searches << " searches";
    EXPECT_GT(race.searches, 10'000U);
    EXPECT_GT(race.changes, 10'000U);
}

} // namespace
} // namespace tapflow::test
