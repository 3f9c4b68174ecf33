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
#include <bit>
#include <charconv>
#include <cmath>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
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

    [[nodiscard]] bool proposes() const {
        return queues > 0 || !key.empty() || !types.empty() || !function.empty() || !reta.empty();
    }
};

struct Share {
    uint64_t packets = 0;
    uint64_t bytes = 0;
    uint64_t flows = 0; ///< what differs in what is hashed
};

/// Where packets go by one RSS configuration alone.
class Spread {
  public:
    Spread(rss::RssConfig config, unsigned port_queues)
        : config_(std::move(config)), tables_(std::make_unique<tapflow_rss>()) {
        rss::build_tables(config_, *tables_);
        const unsigned highest = *std::max_element(config_.reta.begin(), config_.reta.end());
        queues_.resize(std::max(highest + 1, port_queues));
    }

    /// `frame`: on Ethernet; `bytes`: that it had on the wire.
    void add(std::span<const uint8_t> frame, uint64_t bytes) {
        const rss::HashInput input = rss::hash_input(config_, *tables_, frame);
        const auto hash = rss::hash_of(config_, input);
        Share &share = queues_[config_.reta[hash.value_or(0) & (config_.reta.size() - 1)]];
        share.packets++;
        share.bytes += bytes;
        packets_++;
        if (!hash)
            unhashed_++;
        else if (is_new_flow(input))
            share.flows++;
    }

    [[nodiscard]] const rss::RssConfig &config() const { return config_; }
    [[nodiscard]] const std::vector<Share> &queues() const { return queues_; }
    [[nodiscard]] uint64_t packets() const { return packets_; }
    [[nodiscard]] uint64_t unhashed() const { return unhashed_; }
    /// False: there are more flows than are told apart.
    [[nodiscard]] bool has_all_flows() const { return flows_.size() < kFlowsMost; }
    /// The fullest queue over the mean.
    [[nodiscard]] double factor() const {
        uint64_t most = 0;
        for (const Share &share : queues_)
            most = std::max(most, share.packets);
        return static_cast<double>(most) * static_cast<double>(queues_.size()) / static_cast<double>(packets_);
    }

  private:
    static constexpr size_t kFlowsMost = 1U << 20U;

    bool is_new_flow(const rss::HashInput &input) {
        const std::vector<uint8_t> bytes = input.bytes();
        const std::string_view text(reinterpret_cast<const char *>(bytes.data()), bytes.size());
        return has_all_flows() && flows_.insert(std::hash<std::string_view>()(text)).second;
    }

    rss::RssConfig config_;
    std::unique_ptr<tapflow_rss> tables_;
    std::vector<Share> queues_;
    uint64_t packets_ = 0;
    uint64_t unhashed_ = 0;
    std::unordered_set<size_t> flows_; ///< hashes of what is hashed, wider than the queues'
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
    for (const Share &share : spread.queues())
        most = std::max(most, share.packets);
    using Align = Table::Align;
    Table table({{"QUEUE", Align::Right},
                 {"PACKETS", Align::Right},
                 {"SHARE", Align::Right},
                 {"FLOWS", Align::Right},
                 {"BYTES", Align::Right},
                 {""}});
    for (size_t queue = 0; queue < spread.queues().size(); queue++) {
        const Share &share = spread.queues()[queue];
        const auto packets = static_cast<double>(share.packets);
        const auto length =
            static_cast<size_t>(std::lround(static_cast<double>(kBar) * packets / static_cast<double>(most)));
        table.add({std::to_string(queue), std::to_string(share.packets),
                   percent(packets / static_cast<double>(spread.packets())), std::to_string(share.flows),
                   bytes_text(share.bytes), std::string(length, '#')});
    }
    print(table.text());
    std::string text = plural(spread.packets(), "packet") + ", " + std::to_string(spread.unhashed()) +
                       " of them not hashed; the fullest queue has " + factor_text(spread.factor()) + " times the mean";
    if (!spread.has_all_flows())
        text += "; there are more flows than are counted";
    print(wrap(text, 0) + '\n');
}

Json spread_json(const Spread &spread) {
    Json queues = Json::array();
    for (size_t queue = 0; queue < spread.queues().size(); queue++)
        queues.push_back({{"queue", queue},
                          {"packets", spread.queues()[queue].packets},
                          {"bytes", spread.queues()[queue].bytes},
                          {"flows", spread.queues()[queue].flows}});
    return {{"rss", rss_json(spread.config())}, {"packets", spread.packets()},         {"unhashed", spread.unhashed()},
            {"factor", spread.factor()},        {"all_flows", spread.has_all_flows()}, {"queues", std::move(queues)}};
}

/// A tun device's packets are hashed as if they had an Ethernet header.
std::vector<uint8_t> on_ethernet(std::span<const uint8_t> packet, bool of_tun) {
    std::vector<uint8_t> frame;
    if (of_tun) {
        const bool is_ipv6 = !packet.empty() && packet[0] >> 4U == 6;
        frame.resize(14);
        frame[12] = is_ipv6 ? 0x86 : 0x08;
        frame[13] = is_ipv6 ? 0xdd : 0x00;
    }
    frame.insert(frame.end(), packet.begin(), packet.end());
    return frame;
}

int balance(const BalanceOptions &options) {
    const auto port = engine::find_port(options.port);
    if (!port)
        return fail(port.error());
    const auto rss = port->rss();
    if (!rss)
        return fail(rss.error());
    const engine::PortIdentity identity = port->identity();
    std::vector<Spread> spreads;
    spreads.emplace_back(rss->config, identity.rx_queues);
    if (options.proposes()) {
        auto other = proposed(rss->config, options);
        if (!other)
            return fail(other.error());
        spreads.emplace_back(*std::move(other), options.queues);
    }
    const bool of_tun = identity.layer == kernel::Layer::Ip;
    auto read = for_each_in_capture(options.capture, of_tun, [&](const GivenPacket &packet) {
        const std::vector<uint8_t> frame = on_ethernet(packet.bytes, of_tun);
        for (Spread &spread : spreads)
            spread.add(frame, packet.length);
        return true;
    });
    if (!read)
        return fail(read.error());
    if (options.json) {
        Json json = document("balance");
        json["present"] = spread_json(spreads.front());
        if (options.proposes())
            json["proposed"] = spread_json(spreads.back());
        print_document(json);
        return kDone;
    }
    if (options.proposes())
        print(bold("As the port is") + "\n");
    print_chart(spreads.front());
    if (options.proposes()) {
        print("\n" + bold("As proposed") + "\n");
        print_chart(spreads.back());
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
