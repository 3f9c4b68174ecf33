// SPDX-License-Identifier: BSD-3-Clause
#include "tapflowctl/watch_view.h"

#include "flow/text.h"
#include "support/must.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace tapflow::ctl {
namespace {

using test::must;

constexpr uint64_t kSecond = 1'000'000'000;

std::shared_ptr<const engine::RuleSet> rule_set(const std::vector<std::string> &texts) {
    engine::RuleSet rules;
    for (const std::string &text : texts) {
        engine::InspectedRule rule;
        rule.id = rules.rules.size() + 1;
        rule.rule = must(flow::parse_rule(text));
        rules.rules.push_back(std::move(rule));
    }
    return std::make_shared<const engine::RuleSet>(std::move(rules));
}

/// A port of so many queues that has counted nothing.
Sample idle(unsigned queues = 2) {
    Sample sample;
    sample.time_ns = 10 * kSecond;
    sample.realtime_ns = 1000 * kSecond;
    sample.name = "tap0";
    sample.owner = engine::Owner::Running;
    sample.identity.device = "net_tap0";
    sample.identity.process = "testpmd";
    sample.identity.pid = 4711;
    sample.identity.opened_ns = 940 * kSecond;
    sample.rx.resize(queues);
    for (RxQueueSample &queue : sample.rx)
        queue.ring = engine::RingFill{.bytes = 1000, .used = 0};
    sample.tx.resize(1);
    sample.rules = rule_set({"pattern eth / ipv4 / udp dst is 53 / end actions count / queue index 1 / end",
                             "group 1 pattern eth / ipv6 / end actions drop / end",
                             "egress pattern eth / ipv4 / end actions count / drop / end"});
    sample.counts = {{1, {}}, {3, {}}};
    return sample;
}

/// The same two seconds later.
Sample busy(unsigned queues = 2) {
    Sample sample = idle(queues);
    sample.time_ns += 2 * kSecond;
    sample.realtime_ns += 2 * kSecond;
    sample.rx[0].received = {2000, 2'000'000};
    sample.rx[1].received = {4'000'000, 240'000'000};
    sample.rx[0].ring_full = 20;
    sample.rx[1].ring->used = 425;
    sample.tx[0] = {10, 1000};
    sample.counters[0] = 6;
    sample.counts = {{1, {4000, 240'000}}, {3, {6000, 60'000}}};
    return sample;
}

std::vector<std::string> shown(const Sample &before, const Sample &now, size_t width, size_t height,
                               const View &view = {}) {
    std::vector<std::string> texts;
    for (const Line &line : lines(now, activity(&before, now), view, width, height))
        texts.push_back(line.text);
    return texts;
}

std::string at(const std::vector<std::string> &lines, const std::string &beginning) {
    const auto found = std::find_if(lines.begin(), lines.end(), [&](const std::string &line) {
        return line.substr(std::min(line.find_first_not_of(' '), line.size())).starts_with(beginning);
    });
    return found == lines.end() ? "no line begins with " + beginning : *found;
}

TEST(CtlWatch, RatesAreOfTheTimeBetweenTwoSamples) {
    const Sample before = idle();
    const Sample now = busy();
    const Activity seen = activity(&before, now);
    EXPECT_DOUBLE_EQ(seen.seconds, 2);
    ASSERT_EQ(seen.queues.size(), 2U);
    EXPECT_DOUBLE_EQ(seen.queues[0].received->packets, 1000);
    EXPECT_DOUBLE_EQ(seen.queues[0].received->bytes, 1'000'000);
    EXPECT_DOUBLE_EQ(*seen.queues[0].ring_full, 10);
    EXPECT_DOUBLE_EQ(*seen.queues[1].fill, 0.425);
    EXPECT_DOUBLE_EQ(seen.queues[0].sent->packets, 5);
    EXPECT_FALSE(seen.queues[1].sent) << "there is one Tx queue";
    EXPECT_DOUBLE_EQ(seen.received->packets, 2'001'000);
    EXPECT_DOUBLE_EQ(*seen.dropped, 10);
    EXPECT_DOUBLE_EQ(*seen.counters[0], 3);
    ASSERT_EQ(seen.rules.size(), 2U);
    EXPECT_EQ(seen.rules[1].rule->id, 3U);
    EXPECT_DOUBLE_EQ(seen.rules[1].rate->packets, 3000);
}

TEST(CtlWatch, WhatHasBegunAnewHasNoRate) {
    const Sample before = busy();
    Sample now = busy();
    now.time_ns += kSecond;
    now.rx[0].received = {1, 60};
    now.counts[0].count = {};
    now.counts.push_back({4, {}}); // a rule that the set does not have is not shown
    const Activity reset = activity(&before, now);
    EXPECT_FALSE(reset.queues[0].received);
    EXPECT_TRUE(reset.queues[1].received);
    EXPECT_FALSE(reset.received);
    EXPECT_FALSE(reset.rules[0].rate);
    EXPECT_TRUE(reset.rules[1].rate);
    EXPECT_EQ(reset.rules.size(), 2U);

    now = busy();
    now.time_ns += kSecond;
    now.identity.pid++;
    EXPECT_EQ(activity(&before, now).seconds, 0) << "another process's port";
    now = busy();
    now.time_ns += kSecond;
    now.present = false;
    EXPECT_FALSE(activity(&before, now).queues[1].received);
    EXPECT_FALSE(activity(nullptr, now).received);
}

TEST(CtlWatch, FitsAnOrdinaryTerminal) {
    const auto screen = shown(idle(), busy(), 80, 24);
    ASSERT_EQ(screen.size(), 24U);
    EXPECT_EQ(screen[0], "tap0 (net_tap0): testpmd (pid 4711, running)                         every 1.0 s");
    EXPECT_EQ(screen[1], "by ring, classifier bpf, open for 1 min");
    EXPECT_EQ(screen[2], "rx    2.00 Mpps    968 Mbit/s           4002000 packets      231 MiB");
    EXPECT_EQ(screen[4], "dropped 10 pps, 20 packets; not taken: filtered 3 pps");
    EXPECT_EQ(screen[6], "QUEUE     RX/S  RX BIT/S   DROP/S   RING     TX/S  TX BIT/S    STATE  KERNEL/S");
    EXPECT_EQ(screen[7], "    0   1.00 k    8.00 M       10    0 %        5    4.00 k       on         0");
    EXPECT_EQ(screen[8], "    1   2.00 M     960 M        0   42 %        -         -       on         0");
    EXPECT_EQ(screen[10], "   ID  PACKETS/S    BIT/S     HITS  RULE (3 rules, 2 count)");
    EXPECT_EQ(screen[11], "    3     3.00 k    240 k   6.00 k  egress eth / ipv4 / end actions count / drop");
    EXPECT_EQ(screen[12], "    1     2.00 k    960 k   4.00 k  eth / ipv4 / udp dst is 53 / end actions ...");
    EXPECT_EQ(screen[23], "q quit  s queues by number  r rules by packets  p pause  ? help");
}

TEST(CtlWatch, FitsASmallTerminal) {
    const auto screen = shown(idle(8), busy(8), 40, 10);
    ASSERT_EQ(screen.size(), 10U);
    EXPECT_EQ(screen[2], "rx 2.00 Mpps 968 Mbit/s  dropped 10 pps");
    EXPECT_EQ(screen[3], "QUEUE     RX/S  RX BIT/S   DROP/S   RING");
    EXPECT_EQ(screen[4], "    0   1.00 k    8.00 M       10    0 %");
    EXPECT_EQ(screen[6], "  ... 6 more");
    EXPECT_EQ(screen[8], "    3     3.00 k  egress eth / ipv4 /...");
    EXPECT_EQ(screen[9], "s: number  r: packets  p  q  ?: help");
}

TEST(CtlWatch, NeverExceedsItsPlace) {
    Sample now = busy(16);
    now.name = "a-name-\u00fc\u00fc\u00fc\u00fc\u00fc\u00fc\u00fc\u00fc";
    for (const bool help : {false, true})
        for (size_t width = 0; width <= 130; width++)
            for (size_t height = 0; height <= 50; height++) {
                View view;
                view.help = help;
                const auto screen = shown(idle(16), now, width, height, view);
                ASSERT_LE(screen.size(), height);
                for (const std::string &line : screen)
                    ASSERT_LE(std::count_if(line.begin(), line.end(), [](char c) { return (c & 0xc0) != 0x80; }),
                              static_cast<std::ptrdiff_t>(width))
                        << line;
            }
}

TEST(CtlWatch, KeysSortQueues) {
    const Sample before = idle(3);
    Sample now = busy(3);
    now.rx[2].ring->used = 900;
    View view;
    const auto order = [&] {
        const auto screen = shown(before, now, 80, 24, view);
        return std::string{screen[7][4], screen[8][4], screen[9][4]};
    };
    EXPECT_EQ(order(), "012");
    const std::vector<std::pair<std::string, std::string>> orders{
        {"packets", "102"}, {"drops", "012"}, {"fill", "210"}, {"sent", "012"}, {"number", "012"}};
    for (const auto &[name, expected] : orders) {
        EXPECT_TRUE(press(view, 's'));
        EXPECT_EQ(order(), expected) << name;
        EXPECT_NE(shown(before, now, 80, 24, view)[23].find("queues by " + name), std::string::npos);
    }
}

TEST(CtlWatch, KeysSortRules) {
    View view;
    const auto first = [&] { return shown(idle(), busy(), 80, 24, view)[11].substr(0, 5); };
    EXPECT_EQ(first(), "    3");
    press(view, 'r'); // bits
    EXPECT_EQ(first(), "    1");
    press(view, 'r'); // hits
    EXPECT_EQ(first(), "    3");
    press(view, 'r'); // id
    EXPECT_EQ(first(), "    1");
    press(view, 'r');
    EXPECT_EQ(first(), "    3");
}

TEST(CtlWatch, OtherKeys) {
    View view;
    EXPECT_TRUE(press(view, 'x'));
    EXPECT_TRUE(press(view, 'p'));
    EXPECT_TRUE(shown(idle(), busy(), 80, 24, view)[0].ends_with("PAUSED"));
    EXPECT_TRUE(press(view, '?'));
    EXPECT_NE(shown(idle(), busy(), 80, 24, view)[23].find("q quit, s sort queues"), std::string::npos);
    EXPECT_FALSE(press(view, 'q'));
}

TEST(CtlWatch, SaysWhatIsGone) {
    Sample now = busy();
    now.owner = engine::Owner::Gone;
    EXPECT_EQ(shown(idle(), now, 80, 24)[1], "The process is gone; this is what it has left.");
    now.present = false;
    const auto screen = shown(idle(), now, 80, 24);
    EXPECT_EQ(screen[1], "The port is gone; looking for another of that name.");
    EXPECT_EQ(at(screen, "1 "), "    1        -         -        -   42 %        -         -       on         -");
}

TEST(CtlWatch, RulesThatCannotBeShown) {
    Sample now = busy();
    now.counts.clear();
    EXPECT_EQ(at(shown(idle(), now, 80, 24), "3 rules"), "3 rules, none with COUNT");
    now.rules = rule_set({});
    EXPECT_EQ(at(shown(idle(), now, 80, 24), "No rules"), "No rules.");
    now.rules = nullptr;
    EXPECT_EQ(at(shown(idle(), now, 80, 24), "The rules"), "The rules cannot be read.");
}

} // namespace
} // namespace tapflow::ctl
