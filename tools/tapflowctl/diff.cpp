// SPDX-License-Identifier: BSD-3-Clause
#include "tapflowctl/options.h"
#include "tapflowctl/output.h"
#include "tapflowctl/port_text.h"
#include "tapflowctl/saved_state.h"
#include "tapflowctl/verbs.h"

#include "engine/rss_contexts.h"
#include "flow/example_frame.h"
#include "flow/reference_matcher.h"
#include "flow/text.h"
#include "packet/random_packets.h"
#include "rss/hash_input.h"

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

namespace tapflow::ctl {
namespace {

struct DiffOptions {
    std::string a;
    std::string b;
    unsigned flows = 1000;
    uint64_t seed = 1;
    bool json = false;
};

/// A configuration with its tables.
struct Hashing {
    rss::RssConfig config;
    std::unique_ptr<tapflow_rss> tables;

    explicit Hashing(rss::RssConfig from) : config(std::move(from)), tables(std::make_unique<tapflow_rss>()) {
        rss::build_tables(config, *tables);
    }
};

/// Where a state's packets go, as far as rules and RSS say.
class Side {
  public:
    explicit Side(const SavedState &state) : state_(state), port_(state.rss) {
        for (size_t i = 0; i < state.rules.size(); i++)
            matcher_.add(i, state.rules[i]);
    }

    /// The queue; none: a rule drops the packet.
    std::optional<unsigned> queue_of(const packet::Bytes &frame) {
        const auto verdict = matcher_.match(flow::reference_key(frame), flow::Direction::Ingress);
        if (verdict.fate == flow::Fate::Drop)
            return std::nullopt;
        if (verdict.fate == flow::Fate::Queue)
            return verdict.queue;
        const Hashing &hashing = verdict.fate == flow::Fate::Rss ? of_rule(verdict.acted.back()) : port_;
        const auto input = rss::hash_input(hashing.config, *hashing.tables, frame);
        const uint32_t hash = rss::hash_of(hashing.config, input).value_or(0);
        return hashing.config.reta[hash & (hashing.config.reta.size() - 1)];
    }

  private:
    const Hashing &of_rule(uint64_t index) {
        const auto found = of_rules_.find(index);
        if (found != of_rules_.end())
            return found->second;
        const flow::Actions &actions = state_.rules[index].actions;
        rss::RssConfig config = state_.rss;
        if (actions.shared_rss) {
            const auto shared = state_.indirect_rss.find(*actions.shared_rss);
            if (shared != state_.indirect_rss.end())
                config = shared->second;
        } else if (actions.rss) {
            config = engine::resolve(*actions.rss, state_.rss, state_.rx_queues);
        }
        return of_rules_.emplace(index, Hashing(std::move(config))).first->second;
    }

    const SavedState &state_;
    Hashing port_;
    flow::ReferenceMatcher matcher_;
    std::map<uint64_t, Hashing> of_rules_;
};

struct MovedFlow {
    std::string frame; ///< hexadecimal
    std::optional<unsigned> a;
    std::optional<unsigned> b;
};

struct Differences {
    std::vector<std::pair<std::string, std::pair<std::string, std::string>>> settings; ///< name, of a and of b
    unsigned reta_slots = 0;
    std::vector<std::string> only_a; ///< rules
    std::vector<std::string> only_b;
    unsigned flows = 0;
    unsigned moved = 0;
    std::vector<MovedFlow> examples;

    [[nodiscard]] bool any() const {
        return !settings.empty() || reta_slots > 0 || !only_a.empty() || !only_b.empty() || moved > 0;
    }
};

std::string rss_text(const rss::RssConfig &config) {
    return join(type_names(config.types), " ") + "; " + function_name(config.function) + "; key " + hex(config.key) +
           "; RETA " + reta_text(config.reta);
}

std::string indirect_rss_text(const SavedState &state, uint32_t number) {
    const auto found = state.indirect_rss.find(number);
    return found == state.indirect_rss.end() ? "none" : rss_text(found->second);
}

std::vector<std::string> sorted_texts(const std::vector<flow::Rule> &rules) {
    std::vector<std::string> texts;
    texts.reserve(rules.size());
    for (const flow::Rule &rule : rules)
        texts.push_back(flow::to_text(rule));
    std::sort(texts.begin(), texts.end());
    return texts;
}

void compare_settings(const SavedState &a, const SavedState &b, Differences &out) {
    const auto setting = [&out](const std::string &name, std::string of_a, std::string of_b) {
        if (of_a != of_b)
            out.settings.push_back({name, {std::move(of_a), std::move(of_b)}});
    };
    setting("rx queues", std::to_string(a.rx_queues), std::to_string(b.rx_queues));
    setting("key", hex(a.rss.key), hex(b.rss.key));
    setting("types", join(type_names(a.rss.types), " "), join(type_names(b.rss.types), " "));
    setting("function", function_name(a.rss.function), function_name(b.rss.function));
    setting("RETA", reta_text(a.rss.reta), reta_text(b.rss.reta));
    std::set<uint32_t> indirect;
    for (const SavedState *state : {&a, &b})
        for (const auto &[number, config] : state->indirect_rss)
            indirect.insert(number);
    for (const uint32_t number : indirect)
        setting("indirect RSS " + std::to_string(number), indirect_rss_text(a, number), indirect_rss_text(b, number));
    const size_t slots = std::max(a.rss.reta.size(), b.rss.reta.size());
    for (size_t slot = 0; slot < slots; slot++)
        out.reta_slots += a.rss.reta[slot % a.rss.reta.size()] != b.rss.reta[slot % b.rss.reta.size()] ? 1U : 0U;
}

void compare_flows(const SavedState &a, const SavedState &b, const DiffOptions &options, Differences &out) {
    constexpr size_t kExamples = 10;
    constexpr size_t kLongest = 300; // payloads decide nothing, and examples are shown
    Side of_a(a);
    Side of_b(b);
    packet::RandomPackets packets{std::mt19937_64(options.seed)};
    std::vector<const flow::Rule *> rules;
    for (const SavedState *state : {&a, &b})
        for (const flow::Rule &rule : state->rules)
            if (rule.attributes.direction == flow::Direction::Ingress)
                rules.push_back(&rule);
    for (out.flows = 0; out.flows < options.flows; out.flows++) {
        std::optional<packet::Bytes> frame;
        if (!rules.empty() && packets.chance(50))
            frame = flow::example_frame(rules[packets.below(rules.size())]->match, packets.random());
        if (!frame)
            frame = packets.next_whole(60, kLongest);
        const auto queue_a = of_a.queue_of(*frame);
        const auto queue_b = of_b.queue_of(*frame);
        if (queue_a == queue_b)
            continue;
        if (out.moved++ < kExamples)
            out.examples.push_back({hex(*frame), queue_a, queue_b});
    }
}

std::string queue_text(std::optional<unsigned> queue) { return queue ? "queue " + std::to_string(*queue) : "dropped"; }

void print_text(const Differences &differences, const SavedState &a, const SavedState &b) {
    for (const auto &[name, values] : differences.settings)
        print(name + "\n  - " + values.first + "\n  + " + values.second + '\n');
    if (differences.reta_slots > 0)
        print(plural(differences.reta_slots, "slot") + " of the RETA differ\n");
    for (const std::string &rule : differences.only_a)
        print("- " + rule + '\n');
    for (const std::string &rule : differences.only_b)
        print("+ " + rule + '\n');
    if (differences.flows > 0)
        print(std::to_string(differences.moved) + " of " + plural(differences.flows, "sampled flow") +
              (differences.moved == 0 ? ": no other queue\n" : " come to another queue\n"));
    if (!differences.examples.empty()) {
        Table table({{printable(a.port)}, {printable(b.port)}, {"FRAME (for explain)"}});
        for (const MovedFlow &flow : differences.examples)
            table.add({queue_text(flow.a), queue_text(flow.b), flow.frame});
        print(table.text());
    }
    if (!differences.any())
        print("No difference.\n");
}

void print_json(const Differences &differences, const DiffOptions &options) {
    Json json = document("diff");
    json["settings"] = Json::array();
    for (const auto &[name, values] : differences.settings)
        json["settings"].push_back({{"name", name}, {"a", values.first}, {"b", values.second}});
    json["reta_slots"] = differences.reta_slots;
    json["rules_only_a"] = differences.only_a;
    json["rules_only_b"] = differences.only_b;
    json["flows"] = {{"sampled", differences.flows}, {"moved", differences.moved}, {"seed", options.seed}};
    json["flows"]["examples"] = Json::array();
    for (const MovedFlow &flow : differences.examples) {
        Json example{{"frame", flow.frame}};
        if (flow.a)
            example["a"] = *flow.a;
        if (flow.b)
            example["b"] = *flow.b;
        json["flows"]["examples"].push_back(std::move(example));
    }
    print_document(json);
}

int diff(const DiffOptions &options) {
    const auto a = read_state(options.a);
    if (!a)
        return fail(a.error());
    const auto b = read_state(options.b);
    if (!b)
        return fail(b.error());
    Differences differences;
    compare_settings(*a, *b, differences);
    const auto rules_a = sorted_texts(a->rules);
    const auto rules_b = sorted_texts(b->rules);
    std::set_difference(rules_a.begin(), rules_a.end(), rules_b.begin(), rules_b.end(),
                        std::back_inserter(differences.only_a));
    std::set_difference(rules_b.begin(), rules_b.end(), rules_a.begin(), rules_a.end(),
                        std::back_inserter(differences.only_b));
    compare_flows(*a, *b, options, differences);
    if (options.json)
        print_json(differences, options);
    else
        print_text(differences, *a, *b);
    return differences.any() ? kFound : kDone;
}

} // namespace

void add_diff(CLI::App &app, Invocation &run) {
    CLI::App *verb = app.add_subcommand("diff", "Compare two ports, or a port and a saved state");
    const auto options = std::make_shared<DiffOptions>();
    verb->add_option("A", options->a, "A port, or a file of tapflowctl save")->required()->type_name("IFACE");
    verb->add_option("B", options->b, "The other")->required()->type_name("IFACE");
    verb->add_option("--flows", options->flows, "Flows of which to compare the queues")
        ->type_name("N")
        ->capture_default_str();
    verb->add_option("--seed", options->seed, "Of the choice of flows")->type_name("N")->capture_default_str();
    add_json(*verb, options->json);
    verb->footer("Compared are RSS key, types, function and RETA, the rules (in whatever order they were made), and "
                 "where flows go that are sampled from the rules and at random. Exit code 1: there are differences.\n"
                 "\n"
                 "Examples:\n"
                 "  tapflowctl diff dtap0 dtap1 --flows 100000\n"
                 "  tapflowctl save dtap0 >before.json; tapflowctl diff before.json dtap0");
    verb->callback([options, &run] { run.status = diff(*options); });
}

} // namespace tapflow::ctl
