// SPDX-License-Identifier: BSD-3-Clause
#include "tapflowctl/options.h"
#include "tapflowctl/output.h"
#include "tapflowctl/saved_state.h"
#include "tapflowctl/verbs.h"

#include "engine/inspect.h"

#include <memory>
#include <string>

namespace tapflow::ctl {
namespace {

int save(const std::string &name) {
    const auto port = engine::find_port(name);
    if (!port)
        return fail(port.error());
    const auto state = state_of(*port);
    if (!state)
        return fail(state.error());
    print_document(state_json(*state));
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
