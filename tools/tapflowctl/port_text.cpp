// SPDX-License-Identifier: BSD-3-Clause
#include "tapflowctl/port_text.h"

#include "rss/names.h"

#include <algorithm>
#include <map>

namespace tapflow::ctl {
namespace {

/// After how many slots a table begins anew; its size if it never does.
size_t period(const std::vector<uint16_t> &reta) {
    for (size_t length = 1; length <= reta.size() / 2; length++)
        if (reta.size() % length == 0 &&
            std::equal(reta.begin() + static_cast<std::ptrdiff_t>(length), reta.end(), reta.begin()))
            return length;
    return reta.size();
}

std::string range_text(size_t first, size_t last) {
    return first == last ? std::to_string(first) : std::to_string(first) + '-' + std::to_string(last);
}

} // namespace

const char *owner_name(engine::Owner owner) {
    switch (owner) {
    case engine::Owner::Running:
        return "running";
    case engine::Owner::Gone:
        return "gone";
    case engine::Owner::Unknown:
        break;
    }
    return "unknown";
}

const char *delivery_name(const engine::PortIdentity &identity) {
    return identity.delivery == kernel::Delivery::Ring ? "ring" : "fd";
}

const char *classifier_name(const engine::PortIdentity &identity) {
    return identity.search == kernel::RuleSearch::Flower ? "flower" : "bpf";
}

const char *hook_name(kernel::Hook hook) { return hook == kernel::Hook::Ingress ? "ingress" : "egress"; }

std::string process_text(const engine::PortIdentity &identity, engine::Owner owner) {
    const char *state = owner == engine::Owner::Unknown ? "in another pid namespace" : owner_name(owner);
    return printable(identity.process) + " (pid " + std::to_string(identity.pid) + ", " + state + ')';
}

const char *function_name(rss::Function function) {
    for (const rss::FunctionName &each : rss::kFunctionNames)
        if (each.function == function)
            return each.name;
    return "unknown";
}

std::vector<std::string> type_names(uint64_t types) {
    std::vector<std::string> names;
    for (const rss::TypeName &type : rss::kTypeNames)
        if ((types & type.bits) != 0)
            names.emplace_back(type.name);
    return names;
}

std::string hex(const std::vector<uint8_t> &bytes) {
    static constexpr std::string_view digits = "0123456789abcdef";
    std::string text;
    for (const uint8_t byte : bytes) {
        text += digits[byte >> 4U];
        text += digits[byte & 15U];
    }
    return text;
}

std::string reta_text(const std::vector<uint16_t> &reta) {
    std::vector<std::string> runs;
    for (size_t first = 0; first < reta.size();) {
        size_t last = first;
        while (last + 1 < reta.size() && reta[last + 1] == reta[first])
            last++;
        runs.push_back(range_text(first, last) + ": " + std::to_string(reta[first]));
        first = last + 1;
    }
    const size_t length = period(reta);
    if (length == reta.size() || runs.size() <= length)
        return join(runs, ", ");
    std::vector<std::string> queues;
    for (size_t slot = 0; slot < length; slot++)
        queues.push_back(std::to_string(reta[slot]));
    return join(queues, " ") + ", " + plural(reta.size() / length, "time");
}

std::string runs_text(const std::vector<unsigned> &numbers) {
    std::vector<std::string> runs;
    for (size_t first = 0; first < numbers.size();) {
        size_t last = first;
        while (last + 1 < numbers.size() && numbers[last + 1] == numbers[last] + 1)
            last++;
        runs.push_back(range_text(numbers[first], numbers[last]));
        first = last + 1;
    }
    return join(runs, ", ");
}

Imbalance imbalance(const std::vector<uint16_t> &reta, unsigned queues) {
    std::map<uint16_t, size_t> slots;
    for (const uint16_t queue : reta)
        slots[queue]++;
    Imbalance result;
    for (const auto &[queue, count] : slots)
        if (count > result.slots) {
            result.queue = queue;
            result.slots = count;
        }
    if (!reta.empty())
        result.factor = static_cast<double>(result.slots) * std::max(queues, 1U) / static_cast<double>(reta.size());
    return result;
}

Json rss_json(const rss::RssConfig &config) {
    return {{"key", hex(config.key)},
            {"types", type_names(config.types)},
            {"function", function_name(config.function)},
            {"reta", config.reta}};
}

} // namespace tapflow::ctl
