// SPDX-License-Identifier: BSD-3-Clause
// What a model of a real NIC reported for frames on its wire (tests/data/igb-rss.json: QEMU's Intel 82576).
#pragma once

#include "packet/build.h"
#include "rss/rss_config.h"

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace tapflow::test {

struct HardwareVector {
    std::string configuration; ///< key of HardwareVectors::configurations
    std::string description;
    packet::Bytes frame;
    std::optional<uint32_t> hash; ///< none: the flag was not set
    unsigned queue = 0;

    /// True where this port has another queue, because both cannot be had. What is not hashed goes to reta[0], so that
    /// it stays among the queues that the RETA names; the model of the NIC has it on queue 0 whatever the RETA says.
    [[nodiscard]] bool queue_differs(const rss::RssConfig &config) const {
        return !hash && config.reta[0] != queue && queue == 0;
    }
};

struct HardwareVectors {
    std::map<std::string, rss::RssConfig> configurations;
    std::vector<HardwareVector> vectors;
};

/// Throws what nlohmann::json throws, or std::runtime_error.
HardwareVectors read_hardware_vectors();

} // namespace tapflow::test
