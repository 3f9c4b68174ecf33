// SPDX-License-Identifier: BSD-3-Clause
#include "tapflowctl/options.h"
#include "tapflowctl/output.h"
#include "tapflowctl/port_text.h"
#include "tapflowctl/verbs.h"

#include "engine/inspect.h"
#include "flow/json.h"

#include <map>
#include <memory>
#include <string>

namespace tapflow::ctl {
namespace {

/// Where the indirect RSS actions of the rules are, by their numbers.
std::map<uint32_t, uint16_t> indirect_contexts(const engine::RuleSet &rules) {
    std::map<uint32_t, uint16_t> contexts;
    for (const engine::InspectedRule &rule : rules.rules)
        if (rule.rule.actions.shared_rss)
            contexts[*rule.rule.actions.shared_rss] = rule.record.context;
    return contexts;
}

int save(const std::string &name) {
    const auto port = engine::find_port(name);
    if (!port)
        return fail(port.error());
    const auto rss = port->rss();
    if (!rss)
        return fail(rss.error());
    const auto rules = port->rules();
    if (!rules)
        return fail(rules.error());
    if (!rules->consistent)
        return fail("save the rules of " + name, "they were changed all the time while they were read", "try again");
    const engine::PortIdentity identity = port->identity();
    Json json = document("save");
    json["port"] = port->name();
    json["device"] = identity.device;
    json["rx_queues"] = identity.rx_queues;
    json["rss"] = rss_json(rss->config);
    json["rules"] = Json::array();
    for (const engine::InspectedRule &rule : rules->rules)
        json["rules"].push_back(Json(flow::to_json(rule.rule)));
    json["indirect_rss"] = Json::array();
    for (const auto &[id, context] : indirect_contexts(*rules)) {
        const auto shared = port->rss_context(context);
        if (!shared)
            return fail(shared.error());
        json["indirect_rss"].push_back({{"id", id}, {"rss", rss_json(shared->config)}});
    }
    print_document(json);
    return kDone;
}

} // namespace

void add_save(CLI::App &app, Invocation &run) {
    CLI::App *verb = app.add_subcommand("save", "Print a port's rules and RSS configuration as JSON");
    const auto port = std::make_shared<std::string>();
    const auto json = std::make_shared<bool>();
    add_port(*verb, *port)->required();
    add_json(*verb, *json)->description("As without it");
    verb->footer("Rules are in the order in which they were made. Nothing that changes by\n"
                 "itself, as counters do, is in it: what is equal is saved equal.\n"
                 "\n"
                 "Examples:\n"
                 "  tapflowctl save tap0 >tap0.json\n"
                 "  tapflowctl save tap0 | diff tap0.json -");
    verb->callback([port, json, &run] { run.status = save(*port); });
}

} // namespace tapflow::ctl
