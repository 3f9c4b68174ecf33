// SPDX-License-Identifier: BSD-3-Clause
// What `tapflowctl explain` says beforehand of packets, and what testpmd then says of them.
#include "flow/text.h"
#include "packet/random_packets.h"
#include "pmd/flow_rig.h"
#include "support/effort.h"
#include "support/random_rule.h"
#include "support/seed.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace tapflow::test {
namespace {

using Json = nlohmann::json;

constexpr size_t kLineMax = 480; // testpmd's, with its command in front

template <typename T> void put(std::ofstream &file, T value) {
    file.write(reinterpret_cast<const char *>(&value), sizeof(value));
}

/// A pcap file (draft-ietf-opsawg-pcap) of Ethernet frames, in this machine's byte order.
void write_capture(const std::filesystem::path &path, const std::vector<packet::Bytes> &frames) {
    std::ofstream file(path, std::ios::binary);
    for (const uint32_t word : {0xa1b2c3d4U, 0x00040002U, 0U, 0U, 65535U, 1U})
        put(file, word);
    for (const packet::Bytes &frame : frames) {
        for (const size_t word : {size_t{0}, size_t{0}, frame.size(), frame.size()})
            put(file, static_cast<uint32_t>(word));
        file.write(reinterpret_cast<const char *>(frame.data()), static_cast<std::streamsize>(frame.size()));
    }
    if (!file.flush())
        throw std::runtime_error("cannot write " + path.string());
}

class ExplainInTestpmd : public testing::TestWithParam<Mode> {
  protected:
    ExplainInTestpmd() : directory_(std::filesystem::temp_directory_path() / ("tapflow-explain-" + unique())) {
        std::filesystem::create_directory(directory_);
    }
    ~ExplainInTestpmd() override { std::filesystem::remove_all(directory_); }

    /// For us mostly, with its number as source address: testpmd shows it.
    packet::Bytes frame(uint32_t number) {
        packet::Bytes frame = packets_.next(60, 300);
        if (packets_.chance(80))
            std::copy(rig.mac.bytes.begin(), rig.mac.bytes.end(), frame.begin());
        for (size_t i = 0; i < 4; i++)
            frame[8 + i] = static_cast<uint8_t>(number >> (24 - 8 * i));
        frame[6] = 0x02;
        frame[7] = 0x00;
        return frame;
    }
    static uint32_t number_of(const TestpmdPacket &packet) {
        std::string digits = packet.src.substr(6);
        std::erase(digits, ':');
        return static_cast<uint32_t>(std::stoul(digits, nullptr, 16));
    }

    /// What is said of the frames, in their order.
    std::vector<Json> explained(const std::vector<packet::Bytes> &frames) {
        const auto path = directory_ / "frames.pcap";
        write_capture(path, frames);
        const auto inside = rig.cabled.app.enter();
        const CommandResult result =
            run_command({TAPFLOWCTL, "explain", "tap0", path.string(), "--json"}, {}, std::chrono::minutes(5));
        EXPECT_EQ(result.status, 0) << result.output.substr(0, 2000);
        std::vector<Json> lines;
        std::istringstream text(result.output);
        for (std::string line; std::getline(text, line);)
            lines.push_back(Json::parse(line));
        return lines;
    }

    /// Sends the frames, a few at a time, and compares what comes out.
    void expect_as_explained(const std::vector<packet::Bytes> &frames, uint32_t first) {
        constexpr size_t kAtOnce = 200;
        const std::vector<Json> said = explained(frames);
        ASSERT_EQ(said.size(), frames.size());
        for (size_t begin = 0; begin < frames.size() && !HasFailure(); begin += kAtOnce) {
            const size_t end = std::min(begin + kAtOnce, frames.size());
            size_t expected = 0;
            for (size_t i = begin; i < end; i++) {
                expected += said[i].at("reference").at("application").get<bool>() ? 1U : 0U;
                (void)rig.sender.send(frames[i]);
            }
            const auto packets = rig.testpmd.packets(expected);
            EXPECT_EQ(packets.size(), expected);
            for (const TestpmdPacket &packet : packets) {
                const size_t index = number_of(packet) - first;
                ASSERT_LT(index, frames.size());
                expect_same(said[index], packet, frames[index]);
            }
        }
    }

    void expect_same(const Json &said, const TestpmdPacket &packet, const packet::Bytes &frame) {
        SCOPED_TRACE(said.dump() + "\n" + testing::PrintToString(frame));
        const Json &decision = said.at("reference");
        EXPECT_TRUE(decision.at("application").get<bool>());
        EXPECT_EQ(packet.queue, decision.at("queue").get<unsigned>());
        EXPECT_EQ(packet.rss_hash.has_value(), decision.contains("hash"));
        if (packet.rss_hash && decision.contains("hash")) {
            EXPECT_EQ(*packet.rss_hash, decision.at("hash").get<uint32_t>());
        }
        EXPECT_EQ(packet.mark.has_value(), decision.contains("mark"));
        if (packet.mark && decision.contains("mark")) {
            EXPECT_EQ(*packet.mark, decision.at("mark").get<uint32_t>());
        }
        EXPECT_EQ(packet.flagged, decision.at("flag").get<bool>() || decision.contains("mark"));
        acted += decision.contains("rule") ? 1U : 0U;
        compared++;
    }

    FlowRig rig{GetParam()};
    std::mt19937_64 random = seeded_random();
    size_t acted = 0;
    size_t compared = 0;

  private:
    static std::string unique() { return std::to_string(getpid()) + "-" + name_of(GetParam()); }

    std::filesystem::path directory_;
    packet::RandomPackets packets_{std::mt19937_64(random())};
};
INSTANTIATE_TEST_SUITE_P(Modes, ExplainInTestpmd, testing::Values(Mode::Local, Mode::Remote),
                         [](const auto &instance) { return name_of(instance.param); });

TEST_P(ExplainInTestpmd, SaysOfRandomPacketsWhatTestpmdThenReports) {
    constexpr unsigned kSets = 5;
    const size_t each = effort(2000);
    RuleBounds bounds;
    bounds.groups = 3;
    bounds.priorities = 50;
    bounds.rewrites = false;
    bounds.directions = {flow::Direction::Ingress};
    RandomRules rules(std::mt19937_64(random()), bounds);
    size_t created = 0;
    uint32_t number = 0;
    for (unsigned set = 0; set < kSets && !HasFailure(); set++) {
        const uint32_t first = number;
        std::vector<packet::Bytes> frames;
        while (frames.size() < each)
            frames.push_back(frame(number++));
        for (int i = 0; i < 30; i++) {
            const std::string text =
                flow::to_text(rules.next_for(flow::reference_key(frames[rules.below(frames.size())])));
            if (text.size() <= kLineMax && contains(rig.testpmd.command("flow create 0 " + text), " created"))
                created++;
        }
        expect_as_explained(frames, first);
        rig.testpmd.command("flow flush 0");
    }
    EXPECT_GT(created, 60U);
    EXPECT_GT(compared, kSets * each / 3);
    EXPECT_GT(acted, compared / 50);
}

} // namespace
} // namespace tapflow::test
