// SPDX-License-Identifier: BSD-3-Clause
// What a model of a real NIC reported for frames on its wire (tests/data/igb-rss.json: QEMU's Intel 82576).
#include "support/expected_record.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <array>
#include <fstream>
#include <map>
#include <set>
#include <stdexcept>
#include <string>

namespace tapflow::test {
namespace {

using nlohmann::json;

packet::Bytes from_hex(const std::string &text) {
    packet::Bytes bytes;
    for (size_t i = 0; i + 1 < text.size(); i += 2)
        bytes.push_back(static_cast<uint8_t>(std::stoul(text.substr(i, 2), nullptr, 16)));
    return bytes;
}

/// The file's names for sets of types are testpmd's.
uint64_t types_of(const std::string &testpmd_types) {
    static const std::map<std::string, uint64_t> kTypes{
        {"all", rss::kAllTypes}, {"ip", rss::kIpv4 | rss::kIpv6}, {"udp", rss::kIpv4Udp | rss::kIpv6Udp}};
    return kTypes.at(testpmd_types);
}

std::map<std::string, std::unique_ptr<tapflow_rss>> read_configurations(const json &file) {
    std::map<std::string, std::unique_ptr<tapflow_rss>> tables;
    for (const auto &[name, config] : file.at("provenance").at("configs").items())
        tables[name] = tables_of({from_hex(config.at("key")), types_of(config.at("testpmd_types")),
                                  config.at("reta").get<std::vector<uint16_t>>()});
    return tables;
}

json read_vectors() {
    std::ifstream file(TAPFLOW_TEST_DATA "/igb-rss.json");
    if (!file)
        throw std::runtime_error("no " TAPFLOW_TEST_DATA "/igb-rss.json");
    return json::parse(file);
}

/// Frames whose hash takes an address out of an IPv6 extension header instead of the fixed one (RTE_ETH_RSS_IPV6_EX),
/// a type that there is none of yet.
const std::set<std::pair<std::string, std::string>> kNotCovered{
    {"ms-ip", "udp6 routing type 2, segleft 1 (home address in header)"},
    {"ms-ip", "udp6 dst options home address (0xc9)"},
};

/// Not hashed, and reta[0] is not 0: the model of the NIC has them on queue 0, this port on reta[0], so that they stay
/// among the queues that the RETA names.
const std::set<std::pair<std::string, std::string>> kOtherQueue{
    {"mlx-all-subset13", "udp in QinQ 8100+8100"},
    {"mlx-all-subset13", "arp"},
    {"mlx-all-subset13", "unknown ethertype 88b5"},
};

TEST(HardwareVectors, HashFlagAndQueueAreTheNics) {
    const json file = read_vectors();
    const auto configurations = read_configurations(file);
    size_t checked = 0;
    std::set<std::pair<std::string, std::string>> left_out;
    for (const json &vector : file.at("vectors")) {
        const std::pair<std::string, std::string> name{vector.at("config"), vector.at("desc")};
        if (kNotCovered.contains(name)) {
            EXPECT_EQ(vector.at("input").get<std::string>().substr(0, 5), "l3-ex") << name.second;
            left_out.insert(name);
            continue;
        }
        const Classified got = classify(*configurations.at(name.first), from_hex(vector.at("frame")));
        EXPECT_EQ(got.hashed, vector.at("hash_flag").get<bool>()) << name.first << ": " << name.second;
        if (kOtherQueue.contains(name)) {
            EXPECT_FALSE(got.hashed) << name.first << ": " << name.second;
            EXPECT_NE(got.queue, vector.at("queue").get<unsigned>()) << name.first << ": " << name.second;
        } else {
            EXPECT_EQ(got.queue, vector.at("queue").get<unsigned>()) << name.first << ": " << name.second;
        }
        if (!vector.at("hash").is_null()) {
            EXPECT_EQ(got.hash, vector.at("hash").get<uint32_t>()) << name.first << ": " << name.second;
        }
        checked++;
    }
    EXPECT_EQ(left_out, kNotCovered) << "each frame that is not covered is in the file";
    EXPECT_EQ(left_out.size(), 2U);
    EXPECT_EQ(checked, 218U);
}

} // namespace
} // namespace tapflow::test
