// SPDX-License-Identifier: BSD-3-Clause
// The hardware vectors as parameterised tests of a port have them.
#pragma once

#include "pmd/plugin.h"
#include "support/hardware_vectors.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace tapflow::test {

inline std::string mode_name(const testing::TestParamInfo<Mode> &info) {
    return info.param == Mode::Local ? "local" : "remote";
}

/// Hash, flag and queue that the port must report: the NIC's.
inline Steering steering_of(const HardwareVector &vector, const rss::RssConfig &config) {
    return {vector.hash, vector.queue_differs(config) ? config.reta[0] : vector.queue};
}

inline std::vector<HardwareVector> vectors_of(const HardwareVectors &file, const std::string &configuration) {
    std::vector<HardwareVector> vectors;
    for (const HardwareVector &vector : file.vectors)
        if (vector.configuration == configuration)
            vectors.push_back(vector);
    return vectors;
}

} // namespace tapflow::test
