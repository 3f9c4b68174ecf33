// SPDX-License-Identifier: BSD-3-Clause
#include "tapflowctl/saved_state.h"

#include "engine/rss_contexts.h"
#include "flow/json.h"
#include "packet/words.h"
#include "rss/names.h"
#include "tapflowctl/port_text.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <optional>
#include <utility>

namespace tapflow::ctl {
namespace {

using nlohmann::json;

constexpr size_t kFileMost = 256U << 20U;
// Deeper than any state is.
constexpr int kDepthMost = 12;

Error wrong(const std::string &member, const std::string &why) {
    return {EINVAL, "read saved state, member \"" + member + "\"", why};
}

/// A number of at most `most`; none: it is something else.
std::optional<uint32_t> number_of(const json &value, uint32_t most) {
    if (!value.is_number_unsigned() || value.get<uint64_t>() > most)
        return std::nullopt;
    return value.get<uint32_t>();
}

Result<rss::RssConfig> rss_from_json(const json &value, const std::string &member) {
    if (!value.is_object() || !value.contains("key") || !value["key"].is_string() || !value.contains("types") ||
        !value["types"].is_array() || !value.contains("function") || !value.contains("reta") ||
        !value["reta"].is_array())
        return wrong(member, "expected key, types, function and reta");
    rss::RssConfig config;
    auto key = packet::parse_hex(value["key"].get<std::string>());
    if (!key)
        return wrong(member + ".key", key.error().detail);
    config.key = *std::move(key);
    for (const json &type : value["types"]) {
        const auto *name = std::find_if(rss::kTypeNames.begin(), rss::kTypeNames.end(),
                                        [&](const rss::TypeName &known) { return type == known.name; });
        if (name != rss::kTypeNames.end())
            config.types |= name->bits;
        else if (type != "none")
            return wrong(member + ".types", "unknown RSS type");
    }
    const auto *function = std::find_if(rss::kFunctionNames.begin(), rss::kFunctionNames.end(),
                                        [&](const auto &known) { return value["function"] == known.name; });
    if (function == rss::kFunctionNames.end())
        return wrong(member + ".function", "unknown hash function");
    config.function = function->function;
    for (const json &slot : value["reta"]) {
        const auto queue = number_of(slot, TAPFLOW_QUEUES_MAX - 1);
        if (!queue || config.reta.size() == TAPFLOW_RETA_MAX)
            return wrong(member + ".reta", "expected up to 512 queues from 0 to 63");
        config.reta.push_back(static_cast<uint16_t>(*queue));
    }
    if (auto valid = rss::validate(config, TAPFLOW_QUEUES_MAX); !valid)
        return wrong(member, valid.error().message());
    return config;
}

Result<SavedState> read_file(const std::string &path) {
    std::ifstream file(path, std::ios::binary);
    if (!file)
        return last_error("read " + path);
    std::string text;
    std::array<char, 1U << 16U> part{};
    while (file.read(part.data(), part.size()) || file.gcount() > 0) {
        text.append(part.data(), static_cast<size_t>(file.gcount()));
        if (text.size() > kFileMost)
            return Error{EFBIG, "read " + path, "it has more than 256 MiB"};
    }
    const auto is_flat = [](int depth, json::parse_event_t, const json &) { return depth < kDepthMost; };
    const json parsed = json::parse(text, is_flat, false);
    if (parsed.is_discarded())
        return Error{EINVAL, "read " + path, "it is not JSON"};
    auto state = state_from_json(parsed);
    if (!state)
        return Error{state.error().code, state.error().what + " of " + path, state.error().detail};
    return state;
}

} // namespace

Result<SavedState> state_of(const engine::InspectedPort &port) {
    auto rss = port.rss();
    if (!rss)
        return rss.error();
    auto rules = port.rules();
    if (!rules)
        return rules.error();
    SavedState state;
    state.port = port.name();
    if (!rules->consistent)
        return Error{EAGAIN, "read the rules of " + state.port, "they were changed all the time while they were read"};
    const engine::PortIdentity identity = port.identity();
    state.device = identity.device;
    state.rx_queues = identity.rx_queues;
    state.rss = std::move(rss->config);
    for (engine::InspectedRule &rule : rules->rules) {
        if (const auto number = rule.rule.actions.shared_rss; number && !state.indirect_rss.contains(*number)) {
            auto shared = port.rss_context(rule.record.context);
            if (!shared)
                return shared.error();
            state.indirect_rss.emplace(*number, std::move(shared->config));
        }
        state.rules.push_back(std::move(rule.rule));
    }
    return state;
}

Json state_json(const SavedState &state) {
    Json json = document("save");
    json["port"] = state.port;
    json["device"] = state.device;
    json["rx_queues"] = state.rx_queues;
    json["rss"] = rss_json(state.rss);
    json["rules"] = Json::array();
    for (const flow::Rule &rule : state.rules)
        json["rules"].push_back(Json(flow::to_json(rule)));
    json["indirect_rss"] = Json::array();
    for (const auto &[id, config] : state.indirect_rss)
        json["indirect_rss"].push_back({{"id", id}, {"rss", rss_json(config)}});
    return json;
}

Result<SavedState> state_from_json(const json &value) {
    SavedState state;
    if (!value.is_object() || value.value("verb", json()) != "save")
        return wrong("verb", "expected \"save\": a document of tapflowctl save");
    for (const char *member : {"port", "device"})
        if (!value.contains(member) || !value[member].is_string())
            return wrong(member, "expected a text");
    state.port = value["port"].get<std::string>();
    state.device = value["device"].get<std::string>();
    const auto queues = number_of(value.value("rx_queues", json()), TAPFLOW_QUEUES_MAX);
    if (!queues)
        return wrong("rx_queues", "expected a number from 0 to 64");
    state.rx_queues = *queues;
    auto rss = rss_from_json(value.value("rss", json()), "rss");
    if (!rss)
        return rss.error();
    state.rss = *std::move(rss);
    const json rules = value.value("rules", json());
    if (!rules.is_array())
        return wrong("rules", "expected a list");
    for (size_t i = 0; i < rules.size(); i++) {
        auto rule = flow::rule_from_json(rules[i]);
        if (!rule)
            return wrong("rules[" + std::to_string(i) + "]", rule.error().message());
        if (const auto &action = rule->actions.rss) {
            // The tables of a configuration have room for valid ones alone.
            const rss::RssConfig config = engine::resolve(*action, state.rss, state.rx_queues);
            if (auto valid = rss::validate(config, TAPFLOW_QUEUES_MAX); !valid)
                return wrong("rules[" + std::to_string(i) + "].actions", valid.error().message());
        }
        state.rules.push_back(*std::move(rule));
    }
    const json indirect = value.value("indirect_rss", json::array());
    if (!indirect.is_array())
        return wrong("indirect_rss", "expected a list");
    for (const json &one : indirect) {
        const auto id = one.is_object() ? number_of(one.value("id", json()), UINT32_MAX) : std::nullopt;
        if (!id)
            return wrong("indirect_rss", "expected id and rss");
        auto config = rss_from_json(one.value("rss", json()), "indirect_rss");
        if (!config)
            return config.error();
        state.indirect_rss.emplace(*id, *std::move(config));
    }
    return state;
}

Result<SavedState> read_state(const std::string &name) {
    std::error_code trouble;
    if (std::filesystem::exists(name, trouble))
        return read_file(name);
    const auto port = engine::find_port(name);
    if (!port)
        return port.error();
    return state_of(*port);
}

} // namespace tapflow::ctl
