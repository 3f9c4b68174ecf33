// SPDX-License-Identifier: BSD-3-Clause
#include "tapflowctl/options.h"
#include "tapflowctl/output.h"
#include "tapflowctl/packet_argument.h"
#include "tapflowctl/port_text.h"
#include "tapflowctl/verbs.h"

#include "engine/explain.h"
#include "packet/words.h"
#include "rss/names.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace tapflow::ctl {
namespace {

struct BalanceOptions {
    std::string port;
    std::string capture;
    std::string key;
    std::string types;
    std::string function;
    std::string reta;
    unsigned queues = 0;
    bool json = false;
};

struct Share {
    uint64_t packets = 0;
    uint64_t bytes = 0;
    std::set<uint64_t> flows; ///< what differs in what is hashed
};

struct Spread {
    std::vector<Share> queues;
    uint64_t packets = 0;
    uint64_t unhashed = 0;
};

/// "0 1 2 3" or "0,1,2,3": filled up round-robin to `slots`.
Result<std::vector<uint16_t>> parse_reta(std::string_view text, size_t slots) {
    std::vector<uint16_t> list;
    for (size_t at = 0; at < text.size();) {
        if (text[at] == ' ' || text[at] == ',') {
            at++;
            continue;
        }
        uint16_t queue = 0;
        const auto [end, error] = std::from_chars(text.data() + at, text.data() + text.size(), queue);
        if (error != std::errc() || queue >= TAPFLOW_QUEUES_MAX || list.size() == TAPFLOW_RETA_MAX)
            return Error{EINVAL, "read --reta " + std::string(text.substr(0, 80)),
                         "expected up to 512 queues from 0 to 63, with spaces or commas between"};
        list.push_back(queue);
        at = static_cast<size_t>(end - text.data());
    }
    if (list.empty())
        return Error{EINVAL, "read --reta", "no queue is named"};
    std::vector<uint16_t> reta(std::max(slots, std::bit_ceil(list.size())));
    for (size_t slot = 0; slot < reta.size(); slot++)
        reta[slot] = list[slot % list.size()];
    return reta;
}

Result<uint64_t> parse_types(std::string_view text) {
    uint64_t types = 0;
    std::string known;
    while (!text.empty()) {
        const size_t end = std::min(text.find_first_of(" ,"), text.size());
        const std::string_view word = text.substr(0, end);
        text.remove_prefix(std::min(end + 1, text.size()));
        if (word.empty())
            continue;
        bool found = false;
        known.clear();
        const auto look = [&](const auto &names) {
            for (const rss::TypeName &name : names) {
                known += (known.empty() ? "" : ", ") + std::string(name.name);
                if (word == name.name) {
                    types |= name.bits;
                    found = true;
                }
            }
        };
        look(rss::kTypeNames);
        look(rss::kTypeGroups);
        if (!found)
            return Error{EINVAL, "read --types, \"" + std::string(word.substr(0, 40)) + "\"", "expected " + known};
    }
    return types;
}

/// The port's configuration with what is proposed instead.
Result<rss::RssConfig> proposed(rss::RssConfig config, const BalanceOptions &options) {
    if (!options.key.empty()) {
        auto key = packet::parse_hex(options.key);
        if (!key)
            return Error{EINVAL, "read --key", key.error().detail};
        config.key = *std::move(key);
    }
    if (!options.types.empty()) {
        auto types = parse_types(options.types);
        if (!types)
            return types.error();
        config.types = *types;
    }
    for (const rss::FunctionName &function : rss::kFunctionNames)
        if (options.function == function.name)
            config.function = function.function;
    if (options.queues > 0)
        config.reta = rss::round_robin_reta(options.queues, config.reta.size());
    if (!options.reta.empty()) {
        auto reta = parse_reta(options.reta, config.reta.size());
        if (!reta)
            return reta.error();
        config.reta = *std::move(reta);
    }
    if (auto valid = rss::validate(config, TAPFLOW_QUEUES_MAX); !valid)
        return valid.error();
    return config;
}

/// Where the packets of a capture would go by RSS alone.
Result<Spread> spread(const BalanceOptions &options, const rss::RssConfig &config, bool of_tun, unsigned queues) {
    auto tables = std::make_unique<tapflow_rss>();
    rss::build_tables(config, *tables);
    Spread result;
    const unsigned highest = *std::max_element(config.reta.begin(), config.reta.end()) + 1U;
    result.queues.resize(std::max(highest, queues));
    std::vector<uint8_t> frame;
    // Flows are told apart by their hashes under another key, too: so many differ that it does not matter.
    auto read = for_each_in_capture(options.capture, of_tun, [&](std::span<const uint8_t> packet, uint64_t) {
        frame.assign(packet.begin(), packet.end());
        if (of_tun) {
            std::vector<uint8_t> header(14);
            header[12] = !packet.empty() && packet[0] >> 4 == 6 ? 0x86 : 0x08;
            header[13] = !packet.empty() && packet[0] >> 4 == 6 ? 0xdd : 0x00;
            frame.insert(frame.begin(), header.begin(), header.end());
        }
        const rss::HashInput input = rss::hash_input(config, *tables, frame);
        const auto hash = rss::hash_of(config, input);
        Share &share = result.queues[config.reta[hash.value_or(0) & (config.reta.size() - 1)]];
        share.packets++;
        share.bytes += packet.size();
        const std::vector<uint8_t> bytes = input.bytes();
        constexpr size_t kFlowsMost = 1 << 20;
        if (hash && share.flows.size() < kFlowsMost)
            share.flows.insert(
                std::hash<std::string_view>()({reinterpret_cast<const char *>(bytes.data()), bytes.size()}));
        result.packets++;
        result.unhashed += hash ? 0U : 1U;
        return true;
    });
    if (!read)
        return read.error();
    return result;
}

/// Most loaded queue over the mean.
double factor(const Spread &spread) {
    uint64_t most = 0;
    for (const Share &share : spread.queues)
        most = std::max(most, share.packets);
    const double mean = static_cast<double>(spread.packets) / static_cast<double>(spread.queues.size());
    return mean > 0 ? static_cast<double>(most) / mean : 1;
}

std::string percent(double part) {
    std::array<char, 16> text{};
    std::snprintf(text.data(), text.size(), "%.1f %%", 100 * part);
    return text.data();
}

std::string factor_text(double value) {
    std::array<char, 16> text{};
    std::snprintf(text.data(), text.size(), "%.2f", value);
    return text.data();
}

void print_chart(const Spread &spread) {
    constexpr size_t kBar = 32;
    uint64_t most = 1;
    for (const Share &share : spread.queues)
        most = std::max(most, share.packets);
    using Align = Table::Align;
    Table table({{"QUEUE", Align::Right},
                 {"PACKETS", Align::Right},
                 {"SHARE", Align::Right},
                 {"FLOWS", Align::Right},
                 {"BYTES", Align::Right},
                 {""}});
    for (size_t queue = 0; queue < spread.queues.size(); queue++) {
        const Share &share = spread.queues[queue];
        const auto length = static_cast<size_t>(
            std::lround(static_cast<double>(kBar) * static_cast<double>(share.packets) / static_cast<double>(most)));
        const double part =
            spread.packets ? static_cast<double>(share.packets) / static_cast<double>(spread.packets) : 0;
        table.add({std::to_string(queue), std::to_string(share.packets), percent(part),
                   std::to_string(share.flows.size()), bytes_text(share.bytes), std::string(length, '#')});
    }
    print(table.text());
    print(plural(spread.packets, "packet") + ", " + std::to_string(spread.unhashed) +
          " of them not hashed; the fullest queue has " + factor_text(factor(spread)) + " times the mean\n");
}

Json spread_json(const Spread &spread, const rss::RssConfig &config) {
    Json queues = Json::array();
    for (size_t queue = 0; queue < spread.queues.size(); queue++)
        queues.push_back({{"queue", queue},
                          {"packets", spread.queues[queue].packets},
                          {"bytes", spread.queues[queue].bytes},
                          {"flows", spread.queues[queue].flows.size()}});
    return {{"rss", rss_json(config)},
            {"packets", spread.packets},
            {"unhashed", spread.unhashed},
            {"factor", factor(spread)},
            {"queues", std::move(queues)}};
}

int balance(const BalanceOptions &options) {
    const auto port = engine::find_port(options.port);
    if (!port)
        return fail(port.error());
    const auto rss = port->rss();
    if (!rss)
        return fail(rss.error());
    const auto other = proposed(rss->config, options);
    if (!other)
        return fail(other.error());
    const bool of_tun = port->identity().layer == kernel::Layer::Ip;
    const unsigned queues = port->identity().rx_queues;
    const bool is_proposal = !(*other == rss->config);
    const auto now = spread(options, rss->config, of_tun, queues);
    if (!now)
        return fail(now.error());
    // A capture from a pipe can be read once.
    if (is_proposal && options.capture == "-")
        return fail("compare a proposal", "stdin can be read only once", "give a file");
    const auto then = is_proposal ? spread(options, *other, of_tun, queues) : now;
    if (!then)
        return fail(then.error());
    if (options.json) {
        Json json = document("balance");
        json["present"] = spread_json(*now, rss->config);
        if (is_proposal)
            json["proposed"] = spread_json(*then, *other);
        print_document(json);
        return kDone;
    }
    if (is_proposal)
        print(bold("As the port is") + "\n");
    print_chart(*now);
    if (is_proposal) {
        print("\n" + bold("As proposed") + "\n");
        print_chart(*then);
    }
    return kDone;
}

} // namespace

void add_balance(CLI::App &app, Invocation &run) {
    CLI::App *verb = app.add_subcommand("balance", "Show how a capture's traffic spreads over the queues");
    const auto options = std::make_shared<BalanceOptions>();
    add_port(*verb, options->port)->required();
    verb->add_option("--pcap", options->capture, "The traffic (pcap or pcapng; - is stdin)")
        ->type_name("FILE")
        ->required();
    verb->add_option("--key", options->key, "Proposed RSS key, 40 or 52 bytes in hexadecimal")->type_name("HEX");
    verb->add_option("--types", options->types, "Proposed RSS types, as testpmd names them")->type_name("LIST");
    std::vector<std::string> functions;
    for (const rss::FunctionName &function : rss::kFunctionNames)
        functions.emplace_back(function.name);
    verb->add_option("--function", options->function, "Proposed hash function")->check(CLI::IsMember(functions));
    verb->add_option("--reta", options->reta, "Proposed queues of the RETA's slots, repeated to fill it")
        ->type_name("LIST");
    verb->add_option("--queues", options->queues, "Proposed number of queues, round-robin")
        ->type_name("N")
        ->check(CLI::Range(1, TAPFLOW_QUEUES_MAX))
        ->excludes("--reta");
    add_json(*verb, options->json);
    verb->footer("Only RSS is asked: what rules would do is not (see explain). Nothing is changed.\n"
                 "\n"
                 "Examples:\n"
                 "  tapflowctl balance dtap0 --pcap trace.pcap\n"
                 "  tapflowctl balance dtap0 --pcap trace.pcap --queues 8 --types 'ipv4-tcp ipv4-udp'");
    verb->callback([options, &run] { run.status = balance(*options); });
}

} // namespace tapflow::ctl
