// SPDX-License-Identifier: BSD-3-Clause
#include "tapflowctl/options.h"
#include "tapflowctl/output.h"
#include "tapflowctl/port_text.h"
#include "tapflowctl/verbs.h"

#include "engine/leftovers.h"

#include <unistd.h>

#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace tapflow::ctl {
namespace {

struct GcOptions {
    std::string port; ///< empty: all
    bool yes = false;
    bool dry_run = false;
    bool json = false;
};

/// What a dead process has left of one port.
struct Dead {
    engine::InspectedPort port;
    std::vector<engine::Leftover> leftovers;
};

struct Outcome {
    const engine::Leftover *leftover = nullptr;
    std::optional<Error> error;
    bool removed = false;
};

Result<std::vector<Dead>> find_dead(const std::string &name) {
    std::vector<engine::InspectedPort> ports;
    if (name.empty()) {
        auto found = engine::find_ports();
        if (!found)
            return found.error();
        ports = std::move(found->ports);
    } else {
        auto port = engine::find_port(name);
        if (!port)
            return port.error();
        if (port->owner() == engine::Owner::Running)
            return Error{EBUSY, "clean up " + name,
                         "its process runs: " + process_text(port->identity(), port->owner())};
        if (port->owner() == engine::Owner::Unknown)
            return Error{EXDEV, "clean up " + name,
                         "whether its process runs cannot be seen from this pid namespace; use that of the process"};
        ports.push_back(*std::move(port));
    }
    std::vector<Dead> dead;
    for (engine::InspectedPort &port : ports)
        if (auto leftovers = engine::leftovers_of(port); !leftovers.empty())
            dead.push_back({std::move(port), std::move(leftovers)});
    return dead;
}

bool confirmed() {
    print("Remove all this? [y/N] ");
    std::string answer;
    std::getline(std::cin, answer);
    return answer == "y" || answer == "yes" || answer == "Y";
}

void show(const std::vector<Dead> &dead) {
    for (const Dead &one : dead) {
        const engine::PortIdentity identity = one.port.identity();
        print(printable(one.port.name()) + ": " + process_text(identity, engine::Owner::Gone) + " left\n");
        for (const engine::Leftover &leftover : one.leftovers)
            print("  " + printable(leftover.what) + '\n');
    }
}

Json outcome_json(const std::vector<Dead> &dead, const std::vector<Outcome> &outcomes) {
    Json json = document("gc");
    json["ports"] = Json::array();
    for (const Dead &one : dead) {
        const engine::PortIdentity identity = one.port.identity();
        Json port{{"name", one.port.name()},
                  {"device", identity.device},
                  {"process", identity.process},
                  {"pid", identity.pid},
                  {"left", Json::array()}};
        for (const engine::Leftover &leftover : one.leftovers) {
            Json left{{"what", leftover.what}, {"interface", leftover.interface}, {"removed", false}};
            for (const Outcome &outcome : outcomes)
                if (outcome.leftover == &leftover) {
                    left["removed"] = outcome.removed;
                    if (outcome.error)
                        left["error"] = outcome.error->message();
                }
            port["left"].push_back(std::move(left));
        }
        json["ports"].push_back(std::move(port));
    }
    return json;
}

int gc(const GcOptions &options) {
    auto dead = find_dead(options.port);
    if (!dead)
        return fail(dead.error());
    if (dead->empty()) {
        if (options.json)
            print_document(outcome_json(*dead, {}));
        else
            print("Nothing is left of dead processes.\n");
        return kDone;
    }
    const bool asks = !options.yes && !options.dry_run;
    if (asks && (options.json || isatty(STDIN_FILENO) == 0))
        return fail("remove what is left", "nobody can be asked", "say --yes, or --dry-run to only look");
    if (!options.json)
        show(*dead);
    if (options.dry_run || (asks && !confirmed())) {
        if (options.json)
            print_document(outcome_json(*dead, {}));
        return kFound;
    }
    std::vector<Outcome> outcomes;
    std::vector<std::string> errors;
    for (const Dead &one : *dead)
        for (const engine::Leftover &leftover : one.leftovers) {
            auto removed = engine::remove_leftover(one.port, leftover);
            outcomes.push_back({&leftover, std::nullopt, static_cast<bool>(removed)});
            if (removed)
                continue;
            outcomes.back().error = removed.error();
            errors.push_back(removed.error().message());
        }
    if (options.json)
        print_document(outcome_json(*dead, outcomes));
    if (!errors.empty())
        return fail("clean up", join(errors, "; "));
    for (Dead &one : *dead)
        engine::wait_until_freed(std::move(one.port));
    if (!options.json)
        print("Removed.\n");
    return kDone;
}

} // namespace

void add_gc(CLI::App &app, Invocation &run) {
    CLI::App *verb = app.add_subcommand("gc", "Remove what dead processes have left");
    const auto options = std::make_shared<GcOptions>();
    add_port(*verb, options->port)->description("Only this port's: its tap, its device name or its remote");
    auto *yes = verb->add_flag("-y,--yes", options->yes, "Do not ask");
    verb->add_flag("--dry-run", options->dry_run, "Only show it")->excludes(yes);
    add_json(*verb, options->json);
    verb->footer(
        "Filters at remotes, persistent taps, and what else a killed process's ports have left, are shown, and "
        "removed if one agrees. Ports whose process runs are not touched, nor is anybody else's filter. Exit "
        "code 1: something is left, and was not to be removed.\n"
        "\n"
        "Examples:\n"
        "  tapflowctl gc --dry-run\n"
        "  tapflowctl gc dtap0 --yes");
    verb->callback([options, &run] { run.status = gc(*options); });
}

} // namespace tapflow::ctl
