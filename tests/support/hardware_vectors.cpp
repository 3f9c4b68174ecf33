// SPDX-License-Identifier: BSD-3-Clause
#include "support/hardware_vectors.h"

#include <nlohmann/json.hpp>

#include <fstream>
#include <sstream>
#include <stdexcept>

namespace tapflow::test {
namespace {

using nlohmann::json;

packet::Bytes from_hex(const std::string &text) {
    packet::Bytes bytes;
    for (size_t i = 0; i + 1 < text.size(); i += 2)
        bytes.push_back(static_cast<uint8_t>(std::stoul(text.substr(i, 2), nullptr, 16)));
    return bytes;
}

/// `names` is what testpmd showed as the NIC's "RSS functions".
uint64_t types_of(const std::string &names) {
    static const std::map<std::string, uint64_t> kTypes{
        {"ipv4", rss::kIpv4},
        {"ipv4-tcp", rss::kIpv4Tcp},
        {"ipv4-udp", rss::kIpv4Udp},
        {"ipv6", rss::kIpv6},
        {"ipv6-tcp", rss::kIpv6Tcp},
        {"ipv6-udp", rss::kIpv6Udp},
        {"ipv6-ex", rss::kIpv6Ex},
        {"ipv6-tcp-ex", rss::kIpv6TcpEx},
        {"ipv6-udp-ex", rss::kIpv6UdpEx},
        {"tcp", 0}, // names of groups, all members of which are there, too
        {"udp", 0},
    };
    std::istringstream stream(names);
    uint64_t types = 0;
    for (std::string name; stream >> name;)
        types |= kTypes.at(name);
    return types;
}

} // namespace

HardwareVectors read_hardware_vectors() {
    std::ifstream stream(TAPFLOW_TEST_DATA "/igb-rss.json");
    if (!stream)
        throw std::runtime_error("no " TAPFLOW_TEST_DATA "/igb-rss.json");
    const json file = json::parse(stream);
    HardwareVectors result;
    for (const auto &[name, config] : file.at("provenance").at("configs").items())
        result.configurations[name] = {from_hex(config.at("key")), types_of(config.at("functions")),
                                       config.at("reta").get<std::vector<uint16_t>>(), rss::Function::Toeplitz};
    for (const json &vector : file.at("vectors")) {
        HardwareVector &entry = result.vectors.emplace_back();
        entry.configuration = vector.at("config");
        entry.description = vector.at("desc");
        entry.frame = from_hex(vector.at("frame"));
        if (vector.at("hash_flag").get<bool>())
            entry.hash = vector.at("hash").get<uint32_t>();
        entry.queue = vector.at("queue");
    }
    return result;
}

} // namespace tapflow::test
