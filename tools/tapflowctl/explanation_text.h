// SPDX-License-Identifier: BSD-3-Clause
// Decisions about packets, and how they came about, in words and as JSON.
#pragma once

#include "engine/explain.h"
#include "tapflowctl/output.h"

#include <cstdint>
#include <span>
#include <string>

namespace tapflow::ctl {

/// "0x6d5a56da", "none".
std::string hash_text(const std::optional<uint32_t> &hash);
/// "application, queue 2, mark 7", "dropped: a rule drops it".
std::string verdict_text(const engine::Decision &decision);
Json decision_json(const engine::Decision &decision);
/// What they do not agree about, side by side.
std::string differences_text(const std::vector<engine::Difference> &differences);
Json differences_json(const std::vector<engine::Difference> &differences);

/// `number`: of a capture's packet, or 0.
std::string explanation_text(const engine::Explanation &explanation, const engine::Explainer &explainer,
                             std::span<const uint8_t> frame, uint64_t number);
Json explanation_json(const engine::Explanation &explanation, const engine::Explainer &explainer,
                      std::span<const uint8_t> frame, uint64_t number);

} // namespace tapflow::ctl
