// SPDX-License-Identifier: BSD-3-Clause
// The hardware vectors as parameterised tests of a port have them.
#pragma once

#include "pmd/plugin.h"
#include "support/hardware_vectors.h"

#include <gtest/gtest.h>

#include <string>
#include <tuple>
#include <vector>

namespace tapflow::test {

using VectorsCase = std::tuple<Mode, std::string>; ///< and one of kRxModes

inline auto vectors_cases() {
    return testing::Combine(testing::Values(Mode::Local, Mode::Remote), testing::ValuesIn(kRxModes));
}

inline std::string vectors_case_name(const testing::TestParamInfo<VectorsCase> &info) {
    return (std::get<0>(info.param) == Mode::Local ? "local_" : "remote_") + std::get<1>(info.param);
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
