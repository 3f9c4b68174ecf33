// SPDX-License-Identifier: BSD-3-Clause
#include "pmd/telemetry.h"

#include "engine/port_flags.h"
#include "flow/action_list.h"
#include "flow/text.h"
#include "kernel/clock.h"
#include "pmd/log.h"
#include "pmd/shared.h"
#include "pmd/stats.h"
#include "rss/names.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tapflow::pmd {
namespace {

struct Shown {
    std::mutex mutex;
    std::vector<rte_eth_dev *> ports; ///< by id
};

/// Never destroyed: telemetry's threads run until the process has ended.
Shown &shown() {
    static auto &instance = *new Shown;
    return instance;
}

// ---- answers

// lib/telemetry/telemetry.c: an answer has 16 KiB; what does not fit is left out without a word.
constexpr size_t kAnswerBytes = 15000;
constexpr size_t kRuleBytes = 200; ///< of a rule beside its text, at most
constexpr size_t kRulesInAnswer = RTE_TEL_MAX_DICT_ENTRIES;
constexpr uint16_t kQueuesInAnswer = 16;
constexpr size_t kTextMax = RTE_TEL_MAX_STRING_LEN - 1;

struct ContainerDeleter {
    void operator()(rte_tel_data *data) const { rte_tel_data_free(data); }
};
/// A part of an answer, until it is put in there.
using Container = std::unique_ptr<rte_tel_data, ContainerDeleter>;

Container make_container() {
    Container container(rte_tel_data_alloc());
    if (!container)
        throw std::bad_alloc();
    return container;
}

Container make_dict() {
    Container dict = make_container();
    rte_tel_data_start_dict(dict.get());
    return dict;
}

Container make_array(std::span<const std::string> texts) {
    Container array = make_container();
    rte_tel_data_start_array(array.get(), RTE_TEL_STRING_VAL);
    for (const std::string &text : texts)
        rte_tel_data_add_array_string(array.get(), text.c_str());
    return array;
}

Container make_array(std::span<const uint16_t> numbers) {
    Container array = make_container();
    rte_tel_data_start_array(array.get(), RTE_TEL_INT_VAL);
    for (const uint16_t number : numbers)
        rte_tel_data_add_array_int(array.get(), number);
    return array;
}

void add(rte_tel_data *dict, const char *name, uint64_t value) { kTelemetryDictUint(dict, name, value); }

void add(rte_tel_data *dict, const char *name, const std::string &value) {
    const bool fits = value.size() <= kTextMax;
    rte_tel_data_add_dict_string(dict, name, fits ? value.c_str() : (value.substr(0, kTextMax - 3) + "...").c_str());
}

void add(rte_tel_data *dict, const char *name, Container part) {
    if (rte_tel_data_add_dict_container(dict, name, part.get(), 0) == 0)
        (void)part.release();
}

/// A text in pieces that fit into a telemetry string: joined by spaces they are the text.
std::vector<std::string> pieces(std::string_view text) {
    std::vector<std::string> result;
    while (text.size() > kTextMax) {
        const size_t space = text.rfind(' ', kTextMax);
        const size_t end = space == std::string_view::npos ? kTextMax : space;
        result.emplace_back(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    result.emplace_back(text);
    return result;
}

// ---- commands

/// What stands behind a command: a port and, in some, where to begin.
struct Request {
    uint16_t port = 0;
    uint64_t first = 0;
};

/// "PORT", or with `paged` also "PORT,FIRST".
std::optional<Request> parse(const char *parameters, bool paged) {
    if (!parameters)
        return std::nullopt;
    Request request;
    const char *const end = parameters + std::strlen(parameters);
    auto [next, error] = std::from_chars(parameters, end, request.port);
    if (error == std::errc() && paged && next != end && *next == ',') {
        const auto first = std::from_chars(next + 1, end, request.first);
        next = first.ptr;
        error = first.ec;
    }
    if (error != std::errc() || next != end)
        return std::nullopt;
    return request;
}

using Describe = void (*)(rte_eth_dev *dev, const Request &request, rte_tel_data *answer);

/// Answers what is asked about a port of ours. Errors as those of DPDK's commands: a negative number, which clients
/// see as null.
int answer(const char *parameters, bool paged, Describe describe, rte_tel_data *answer) noexcept {
    try {
        const auto request = parse(parameters, paged);
        if (!request)
            return -EINVAL;
        const TelemetryHeld held;
        for (rte_eth_dev *dev : shown().ports)
            if (dev->data->port_id == request->port) {
                rte_tel_data_start_dict(answer);
                describe(dev, *request, answer);
                return 0;
            }
        return -ENODEV;
    } catch (...) {
        return -ENOMEM;
    }
}

template <Describe Described, bool Paged> int command(const char *, const char *parameters, rte_tel_data *out) {
    return answer(parameters, Paged, Described, out);
}

void describe_port(rte_eth_dev *dev, const Request &, rte_tel_data *answer) {
    const engine::Port &self = port(dev);
    const tapflow_port_config &config = self.state().config;
    add(answer, "port_id", dev->data->port_id);
    add(answer, "device", std::string(name(dev)));
    add(answer, "tap", self.iface());
    add(answer, "tap_ifindex", static_cast<uint64_t>(self.ifindex()));
    add(answer, "layer", std::string(is_tun(dev) ? "ip" : "ethernet"));
    if (self.is_remote())
        add(answer, "remote", self.remote_name());
    add(answer, "delivery", std::string(by_ring(dev) ? "ring" : "fd"));
    if (!self.why_not_ring().empty())
        add(answer, "why_not_ring", self.why_not_ring());
    add(answer, "classifier", std::string(self.search() == kernel::RuleSearch::Flower ? "flower" : "bpf"));
    add(answer, "rx_queues", dev->data->nb_rx_queues);
    add(answer, "tx_queues", dev->data->nb_tx_queues);
    add(answer, "mtu", self.mtu());
    add(answer, "mac", self.mac().text());
    add(answer, "rules", port(dev).flows().size());
    std::vector<std::string> flags;
    const uint32_t set = std::atomic_ref<const __u32>(config.flags).load(std::memory_order_relaxed);
    for (const engine::PortFlagName &flag : engine::kPortFlagNames)
        if (set & flag.flag)
            flags.emplace_back(flag.name);
    add(answer, "flags", make_array(flags));
    if (!self.is_remote())
        return;
    const uint64_t renewed = std::atomic_ref<const __u64>(config.lease_ns).load(std::memory_order_relaxed);
    const uint64_t now = kernel::monotonic_ns();
    const uint64_t age = now - std::min(now, renewed);
    add(answer, "lease", std::string(age < TAPFLOW_LEASE_NS ? "held" : "lost"));
    add(answer, "lease_age_ms", age / 1'000'000);
}

/// The ids of our ports, or one of them in detail.
int ports(const char *, const char *parameters, rte_tel_data *out) {
    if (parameters)
        return answer(parameters, false, describe_port, out);
    const TelemetryHeld held;
    rte_tel_data_start_array(out, RTE_TEL_INT_VAL);
    for (const rte_eth_dev *dev : shown().ports)
        rte_tel_data_add_array_int(out, dev->data->port_id);
    return 0;
}

Container describe_rule(const engine::ListedRule &listed, std::span<const std::string> text) {
    const flow::Attributes &attributes = listed.rule.attributes;
    Container dict = make_dict();
    add(dict.get(), "group", attributes.group);
    add(dict.get(), "priority", attributes.priority);
    add(dict.get(), "direction", std::string(attributes.direction == flow::Direction::Egress ? "egress" : "ingress"));
    if (listed.count) {
        add(dict.get(), "hits", listed.count->packets);
        add(dict.get(), "bytes", listed.count->bytes);
    }
    add(dict.get(), "text", make_array(text));
    return dict;
}

void describe_rules(rte_eth_dev *dev, const Request &request, rte_tel_data *answer) {
    engine::FlowRules &flows = port(dev).flows();
    const auto listed = flows.list(request.first, kRulesInAnswer + 1);
    Container rules = make_dict();
    size_t shown_rules = 0;
    size_t bytes = 0;
    for (const engine::ListedRule &rule : listed) {
        const std::string text = flow::to_text(rule.rule);
        const auto parts = pieces(text);
        bytes += kRuleBytes + text.size() + 4 * parts.size();
        if (shown_rules == kRulesInAnswer || (bytes > kAnswerBytes && shown_rules > 0))
            break;
        add(rules.get(), std::to_string(rule.id).c_str(), describe_rule(rule, parts));
        shown_rules++;
    }
    add(answer, "total", flows.size());
    add(answer, "shown", shown_rules);
    if (shown_rules < listed.size())
        add(answer, "next", listed[shown_rules].id);
    if (shown_rules > 0) // 22.11 makes an array of an empty dictionary
        add(answer, "rules", std::move(rules));
}

void describe_rss(rte_eth_dev *dev, const Request &, rte_tel_data *answer) {
    const rss::RssConfig config = rss_config(shared(dev));
    std::vector<std::string> types;
    for (const rss::TypeName &type : rss::kTypeNames)
        if (config.types & type.bits)
            types.emplace_back(type.name);
    add(answer, "key", flow::key_text(config.key));
    add(answer, "types", make_array(types));
    for (const rss::FunctionName &function : rss::kFunctionNames)
        if (function.function == config.function)
            add(answer, "function", std::string(function.name));
    static_assert(TAPFLOW_RETA_MAX <= RTE_TEL_MAX_ARRAY_ENTRIES);
    add(answer, "reta", make_array(config.reta));
}

Container describe_rx_queue(const rte_eth_dev *dev, uint16_t queue) {
    Container dict = make_dict();
    for_each_rx_statistic(dev, queue,
                          [&](const char *statistic, uint64_t value) { add(dict.get(), statistic, value); });
    add(dict.get(), "stopped", port(dev).is_queue_stopped(queue));
    if (by_ring(dev) && port(dev).is_set_up(queue)) {
        const kernel::RingView::Fill fill = port(dev).ring(queue).fill();
        add(dict.get(), "ring_bytes", port(dev).ring_bytes(queue));
        add(dict.get(), "ring_used", fill.used);
        add(dict.get(), "ring_unread", fill.unread);
    }
    return dict;
}

Container describe_tx_queue(const rte_eth_dev *dev, uint16_t queue) {
    Container dict = make_dict();
    for_each_tx_statistic(dev, queue,
                          [&](const char *statistic, uint64_t value) { add(dict.get(), statistic, value); });
    add(dict.get(), "stopped", shared(dev).tx[queue].stopped.load(std::memory_order_relaxed));
    return dict;
}

void describe_queues(rte_eth_dev *dev, const Request &request, rte_tel_data *answer) {
    const uint16_t rx = dev->data->nb_rx_queues;
    const uint16_t tx = dev->data->nb_tx_queues;
    const auto first = static_cast<uint16_t>(std::min<uint64_t>(request.first, std::max(rx, tx)));
    add(answer, "rx_queues", rx);
    add(answer, "tx_queues", tx);
    add(answer, "missed", rx_missed(dev));
    const auto end = static_cast<uint16_t>(first + kQueuesInAnswer);
    if (end < std::max(rx, tx))
        add(answer, "next", end);
    for (uint16_t i = first; i < std::min(end, rx); i++)
        add(answer, ("rx_q" + std::to_string(i)).c_str(), describe_rx_queue(dev, i));
    for (uint16_t i = first; i < std::min(end, tx); i++)
        add(answer, ("tx_q" + std::to_string(i)).c_str(), describe_tx_queue(dev, i));
}

struct Command {
    const char *name;
    telemetry_cb handler;
    const char *help;
};
constexpr auto kCommands = std::to_array<Command>({
    {"/tapflow/ports", ports,
     "Returns the ids of tapflow's ports, or details of one. Parameters: none, or int port_id"},
    {"/tapflow/rules", command<describe_rules, true>,
     "Returns flow rules of a port. Parameters: int port_id, int first (id of a rule, \"next\" of the answer before)"},
    {"/tapflow/rss", command<describe_rss, false>,
     "Returns RSS key, types, function and RETA of a port. Parameters: int port_id"},
    {"/tapflow/queues", command<describe_queues, true>,
     "Returns statistics of a port's queues. Parameters: int port_id, int first (queue, \"next\" of the answer "
     "before)"},
});

} // namespace

TelemetryHeld::TelemetryHeld() : lock_(shown().mutex) {}

void register_telemetry() {
    for (const Command &command : kCommands)
        if (const int error = rte_telemetry_register_cmd(command.name, command.handler, command.help))
            log_error(command.name, {-error, "register telemetry command", {}});
}

void show_in_telemetry(rte_eth_dev *dev) {
    const TelemetryHeld held;
    auto &ports = shown().ports;
    const auto behind =
        std::find_if(ports.begin(), ports.end(), [dev](const rte_eth_dev *other) { return dev < other; });
    ports.insert(behind, dev);
}

void hide_from_telemetry(const rte_eth_dev *dev) {
    const TelemetryHeld held;
    std::erase(shown().ports, dev);
}

} // namespace tapflow::pmd
