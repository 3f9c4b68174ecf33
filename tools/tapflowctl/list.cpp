// SPDX-License-Identifier: BSD-3-Clause
#include "tapflowctl/options.h"
#include "tapflowctl/output.h"
#include "tapflowctl/port_text.h"
#include "tapflowctl/verbs.h"

#include "engine/inspect.h"

#include <memory>
#include <string>
#include <vector>

namespace tapflow::ctl {
namespace {

struct ListOptions {
    bool json = false;
    bool names = false;
};

bool is_started(const engine::InspectedPort &port) { return (port.state().config.flags & TAPFLOW_PORT_STARTED) != 0; }

Json port_json(const engine::InspectedPort &port) {
    const engine::PortIdentity identity = port.identity();
    Json json{{"name", port.name()},         {"here", port.is_here()}, {"device", identity.device},
              {"process", identity.process}, {"pid", identity.pid},    {"owner", owner_name(port.owner())}};
    if (identity.is_remote)
        json["remote"] = identity.remote;
    json["delivery"] = delivery_name(identity);
    json["classifier"] = classifier_name(identity);
    json["rx_queues"] = identity.rx_queues;
    json["tx_queues"] = identity.tx_queues;
    json["started"] = is_started(port);
    return json;
}

void print_json(const engine::FoundPorts &found) {
    Json json = document("list");
    json["ports"] = Json::array();
    for (const engine::InspectedPort &port : found.ports)
        json["ports"].push_back(port_json(port));
    json["foreign"] = Json::array();
    for (const engine::ForeignPort &port : found.foreign) {
        Json foreign{{"program", port.program}, {"abi", port.abi}};
        if (!port.version.empty())
            foreign["version"] = port.version;
        json["foreign"].push_back(std::move(foreign));
    }
    print_document(json);
}

const char *state_name(const engine::InspectedPort &port) {
    if (port.owner() != engine::Owner::Running)
        return owner_name(port.owner());
    return is_started(port) ? "started" : "stopped";
}

void print_table(const engine::FoundPorts &found) {
    using Align = Table::Align;
    Table table({{"TAP"},
                 {"DEVICE"},
                 {"REMOTE"},
                 {"RX", Align::Right},
                 {"TX", Align::Right},
                 {"DELIVERY"},
                 {"RULES"},
                 {"PID", Align::Right},
                 {"PROCESS"},
                 {"STATE"}});
    for (const engine::InspectedPort &port : found.ports) {
        const engine::PortIdentity identity = port.identity();
        table.add({printable(port.name()) + (port.is_here() ? "" : " (elsewhere)"),
                   identity.device.empty() ? "-" : printable(identity.device),
                   identity.is_remote ? printable(identity.remote) : "-", std::to_string(identity.rx_queues),
                   std::to_string(identity.tx_queues), delivery_name(identity), classifier_name(identity),
                   std::to_string(identity.pid), printable(identity.process), state_name(port)});
    }
    if (!table.empty())
        print(table.text());
    for (const engine::ForeignPort &port : found.foreign)
        print("A port of " + (port.version.empty() ? "another version" : "version " + printable(port.version)) +
              " (program " + std::to_string(port.program) + ", tables of version " + std::to_string(port.abi) +
              "), which this tapflowctl cannot read.\n");
    if (found.ports.empty() && found.foreign.empty())
        print("No ports.\n");
}

/// What a shell completes a port with.
void print_names(const engine::FoundPorts &found) {
    for (const engine::InspectedPort &port : found.ports) {
        const engine::PortIdentity identity = port.identity();
        for (const std::string &name : {port.name(), identity.device, identity.remote})
            if (!name.empty())
                print(printable(name) + '\n');
    }
}

int list(const ListOptions &options) {
    const auto found = engine::find_ports();
    if (!found)
        return fail(found.error());
    if (options.names)
        print_names(*found);
    else if (options.json)
        print_json(*found);
    else
        print_table(*found);
    const auto gone = [](const engine::InspectedPort &port) { return port.owner() == engine::Owner::Gone; };
    return found->ports.empty() || std::any_of(found->ports.begin(), found->ports.end(), gone) ? kFound : kDone;
}

} // namespace

void add_list(CLI::App &app, Invocation &run) {
    CLI::App *verb = app.add_subcommand("list", "List all ports of this machine");
    const auto options = std::make_shared<ListOptions>();
    add_json(*verb, options->json);
    verb->add_flag("--names", options->names)->group("");
    verb->footer("STATE is that of the port, or of its process where that is gone, or cannot be\n"
                 "seen from this pid namespace.\n"
                 "Exit code 1: there is no port, or one whose process is gone.\n"
                 "\n"
                 "Examples:\n"
                 "  tapflowctl list\n"
                 "  tapflowctl list --json | jq -r '.ports[].name'");
    verb->callback([options, &run] { run.status = list(*options); });
}

} // namespace tapflow::ctl
