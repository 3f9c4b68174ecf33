// SPDX-License-Identifier: BSD-3-Clause
#include "tapflowctl/options.h"
#include "tapflowctl/output.h"
#include "tapflowctl/port_text.h"
#include "tapflowctl/verbs.h"

#include "engine/inspect.h"
#include "flow/json.h"
#include "flow/text.h"
#include "kernel/clock.h"

#include <poll.h>

#include <algorithm>
#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace tapflow::ctl {
namespace {

struct RulesOptions {
    std::string port;
    bool json = false;
    std::optional<uint32_t> group;
    bool ingress = false;
    bool egress = false;
    std::string match;
    bool hit = false;
    bool never_hit = false;
    std::string sort = "id";
    double interval = 0; ///< 0: no rates
};

/// Per second.
struct Rate {
    double packets = 0;
    double bytes = 0;
};

struct Row {
    const engine::InspectedRule *rule = nullptr;
    std::optional<engine::FlowCount> count;
    std::optional<Rate> rate;
    std::string text; ///< as testpmd takes it
};

bool is_wanted(const Row &row, const RulesOptions &options) {
    const flow::Attributes &attributes = row.rule->rule.attributes;
    const bool egress = attributes.direction == flow::Direction::Egress;
    return (!options.group || attributes.group == *options.group) && !(options.ingress && egress) &&
           !(options.egress && !egress) && row.text.find(options.match) != std::string::npos &&
           !(options.hit && !(row.count && row.count->packets > 0)) &&
           !(options.never_hit && !(row.count && row.count->packets == 0));
}

/// The higher first; what is not counted last.
template <typename Number> bool is_more(const std::optional<Number> &a, const std::optional<Number> &b) {
    return a && (!b || *a > *b);
}

std::optional<uint64_t> hits(const Row &row) { return row.count ? std::optional(row.count->packets) : std::nullopt; }
std::optional<uint64_t> bytes(const Row &row) { return row.count ? std::optional(row.count->bytes) : std::nullopt; }
std::optional<double> rate(const Row &row) { return row.rate ? std::optional(row.rate->packets) : std::nullopt; }

/// In the order in which packets meet them.
bool is_before(const Row &a, const Row &b) {
    const auto place = [](const Row &row) {
        const flow::Attributes &attributes = row.rule->rule.attributes;
        return std::tuple(attributes.direction, attributes.group, attributes.priority);
    };
    return place(a) < place(b);
}

void sort(std::vector<Row> &rows, const std::string &by) {
    std::function<bool(const Row &, const Row &)> order;
    if (by == "hits")
        order = [](const Row &a, const Row &b) { return is_more(hits(a), hits(b)); };
    else if (by == "bytes")
        order = [](const Row &a, const Row &b) { return is_more(bytes(a), bytes(b)); };
    else if (by == "rate")
        order = [](const Row &a, const Row &b) { return is_more(rate(a), rate(b)); };
    else if (by == "priority")
        order = is_before;
    else
        return; // they come by id
    std::stable_sort(rows.begin(), rows.end(), order);
}

using Counts = std::map<uint32_t, engine::FlowCount>;

std::optional<engine::FlowCount> count_of(const Counts &counts, uint32_t index) {
    const auto found = counts.find(index);
    return found == counts.end() ? std::nullopt : std::optional(found->second);
}

std::vector<Row> rows_of(const engine::InspectedPort &port, const engine::RuleSet &rules, double interval) {
    std::vector<Row> rows;
    for (const engine::InspectedRule &rule : rules.rules)
        rows.push_back({&rule, rule.count, std::nullopt, flow::to_text(rule.rule)});
    if (interval == 0)
        return rows;
    const Counts before = port.counts(rules);
    const uint64_t begin = kernel::monotonic_ns();
    poll(nullptr, 0, static_cast<int>(interval * 1000));
    const Counts after = port.counts(rules);
    const double seconds = static_cast<double>(kernel::monotonic_ns() - begin) / 1e9;
    for (Row &row : rows) {
        const auto first = count_of(before, row.rule->index);
        row.count = count_of(after, row.rule->index);
        // A counter that has been reset meanwhile tells no rate.
        if (first && row.count && row.count->packets >= first->packets && row.count->bytes >= first->bytes)
            row.rate = Rate{static_cast<double>(row.count->packets - first->packets) / seconds,
                            static_cast<double>(row.count->bytes - first->bytes) / seconds};
    }
    return rows;
}

std::optional<uint16_t> context_of(const Row &row) {
    const tapflow_flow_rule &record = row.rule->record;
    return (record.actions & TAPFLOW_FLOW_RSS) != 0 ? std::optional(record.context) : std::nullopt;
}

std::string filter_text(const kernel::FilterPlace &filter) {
    return std::to_string(filter.chain) + '/' + std::to_string(filter.preference) + '/' + std::to_string(filter.handle);
}

Json row_json(const Row &row) {
    const engine::InspectedRule &rule = *row.rule;
    Json json{{"id", rule.id}, {"index", rule.index}, {"text", row.text}, {"rule", flow::to_json(rule.rule)}};
    if (row.count) {
        json["hits"] = row.count->packets;
        json["bytes"] = row.count->bytes;
    }
    if (row.rate) {
        json["packets_per_second"] = row.rate->packets;
        json["bytes_per_second"] = row.rate->bytes;
    }
    if (const auto context = context_of(row))
        json["rss_context"] = *context;
    for (const kernel::FilterPlace &filter : rule.filters)
        json["filters"].push_back({{"ifindex", filter.ifindex},
                                   {"hook", hook_name(filter.hook)},
                                   {"chain", filter.chain},
                                   {"preference", filter.preference},
                                   {"handle", filter.handle}});
    return json;
}

void print_json(const engine::InspectedPort &port, const engine::RuleSet &rules, const std::vector<Row> &rows) {
    Json json = document("rules");
    json["port"] = port.name();
    json["generation"] = rules.generation;
    json["consistent"] = rules.consistent;
    json["masks"] = rules.masks.size();
    json["rules"] = Json::array();
    for (const Row &row : rows)
        json["rules"].push_back(row_json(row));
    print_document(json);
}

template <typename Value, typename Text> std::string or_dash(const std::optional<Value> &value, Text text) {
    return value ? std::string(text(*value)) : "-";
}

std::string number(uint64_t value) { return std::to_string(value); }

std::string places_text(const Row &row) {
    std::vector<std::string> places;
    for (const kernel::FilterPlace &filter : row.rule->filters)
        places.push_back(filter_text(filter));
    return places.empty() ? "-" : join(places, " ");
}

/// testpmd's words but for the group and the priority, which have columns.
std::string words(const Row &row) {
    const flow::Rule &rule = row.rule->rule;
    return (rule.attributes.direction == flow::Direction::Egress ? "egress pattern " : "ingress pattern ") +
           flow::pattern_text(rule.match) + " / end actions " + flow::actions_text(rule.actions) + " / end";
}

using Align = Table::Align;
struct RuleColumn {
    Table::Column column;
    std::string (*cell)(const Row &row);
    bool always = true; ///< else if some rule has something there
};
const std::vector<RuleColumn> &rule_columns() {
    static const std::vector<RuleColumn> columns{
        {{"ID", Align::Right}, [](const Row &row) { return number(row.rule->id); }},
        {{"GROUP", Align::Right}, [](const Row &row) { return number(row.rule->rule.attributes.group); }},
        {{"PRIO", Align::Right}, [](const Row &row) { return number(row.rule->rule.attributes.priority); }},
        {{"HITS", Align::Right}, [](const Row &row) { return or_dash(hits(row), number); }},
        {{"BYTES", Align::Right}, [](const Row &row) { return or_dash(bytes(row), bytes_text); }},
        {{"PACKETS/S", Align::Right},
         [](const Row &row) { return or_dash(row.rate, [](const Rate &each) { return rate_text(each.packets, ""); }); },
         false},
        {{"BIT/S", Align::Right},
         [](const Row &row) {
             return or_dash(row.rate, [](const Rate &each) { return rate_text(each.bytes * 8, ""); });
         },
         false},
        {{"CONTEXT", Align::Right}, [](const Row &row) { return or_dash(context_of(row), number); }, false},
        {{"CHAIN/PREF/HANDLE"}, places_text, false},
        {{"RULE"}, words},
    };
    return columns;
}

void print_table(const std::vector<Row> &rows) {
    std::vector<Table::Column> titles;
    std::vector<std::vector<std::string>> table_rows(rows.size());
    for (const RuleColumn &column : rule_columns()) {
        std::vector<std::string> cells;
        for (const Row &row : rows)
            cells.push_back(column.cell(row));
        if (!column.always && std::all_of(cells.begin(), cells.end(), [](const auto &cell) { return cell == "-"; }))
            continue;
        titles.push_back(column.column);
        for (size_t i = 0; i < rows.size(); i++)
            table_rows[i].push_back(std::move(cells[i]));
    }
    Table table(std::move(titles));
    for (auto &row : table_rows)
        table.add(std::move(row));
    print(table.empty() ? "No rules.\n" : table.text());
}

int rules(const RulesOptions &options) {
    const auto port = engine::find_port(options.port);
    if (!port)
        return fail(port.error());
    const auto found = port->rules();
    if (!found)
        return fail(found.error());
    const double interval = options.interval == 0 && options.sort == "rate" ? 1 : options.interval;
    std::vector<Row> rows = rows_of(*port, *found, interval);
    std::erase_if(rows, [&](const Row &row) { return !is_wanted(row, options); });
    sort(rows, options.sort);
    if (options.json)
        print_json(*port, *found, rows);
    else
        print_table(rows);
    if (!found->consistent && !options.json)
        print("The rules were changed all the time while they were read: some may be missing.\n");
    return found->consistent ? kDone : kFound;
}

/// "rules add ..." and "rules del ...": rules are the application's, who makes and destroys them through rte_flow.
int refuse_change(const std::string &name) {
    return fail("rules " + name, "the application owns its rules, and would not know of a change from outside",
                "make it there, by rte_flow");
}

} // namespace

void add_rules(CLI::App &app, Invocation &run) {
    CLI::App *verb = app.add_subcommand("rules", "Show a port's rules, with what they have counted");
    const auto options = std::make_shared<RulesOptions>();
    add_port(*verb, options->port)->required();
    verb->add_option("--group", options->group, "Only rules of this group")->type_name("N");
    CLI::Option *ingress = verb->add_flag("--ingress", options->ingress, "Only ingress rules");
    verb->add_flag("--egress", options->egress, "Only egress rules")->excludes(ingress);
    verb->add_option("--match", options->match, "Only rules in whose words this text is")->type_name("TEXT");
    CLI::Option *hit = verb->add_flag("--hit", options->hit, "Only rules that have counted a packet");
    verb->add_flag("--never-hit", options->never_hit, "Only rules that count and have not counted any")->excludes(hit);
    verb->add_option("--sort", options->sort, "In this order")
        ->type_name("KEY")
        ->check(CLI::IsMember({"id", "priority", "hits", "bytes", "rate"}))
        ->capture_default_str();
    verb->add_option("--interval", options->interval, "Count for so long, and show packets and bits per second")
        ->type_name("SECONDS")
        ->check(seconds_between(0.01, 86400));
    add_json(*verb, options->json);
    verb->allow_extras(); // for refuse_change() to answer
    verb->footer("A rule counts if it has a COUNT action. The words are testpmd's, and with\n"
                 "--json behind \"flow create 0\" make the same rule again.\n"
                 "\n"
                 "Examples:\n"
                 "  tapflowctl rules tap0\n"
                 "  tapflowctl rules tap0 --sort hits --hit\n"
                 "  tapflowctl rules tap0 --match 'udp dst is 53' --interval 5");
    verb->callback([verb, options, &run] {
        const bool change = options->port == "add" || options->port == "del";
        if (!change && verb->remaining_size() > 0)
            throw CLI::ExtrasError(verb->remaining());
        run.status = change ? refuse_change(options->port) : rules(*options);
    });
}

} // namespace tapflow::ctl
