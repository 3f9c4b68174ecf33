// SPDX-License-Identifier: BSD-3-Clause
// tapflowctl: what a port does, and why, seen from outside its process.
#include "tapflowctl/command_line.h"
#include "tapflowctl/output.h"
#include "tapflowctl/verbs.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <string>
#include <vector>

namespace {

using namespace tapflow::ctl;

/// The verb that has been named; null: none.
const CLI::App *named_verb(const CLI::App &app) {
    const auto verbs = app.get_subcommands();
    return verbs.empty() ? nullptr : verbs.front();
}

std::string help_command(const CLI::App &app) {
    const CLI::App *verb = named_verb(app);
    return "see \"tapflowctl " + (verb == nullptr ? "" : verb->get_name() + ' ') + "--help\"";
}

int refuse(const CLI::App &app, const CLI::ParseError &error) {
    const CLI::App *verb = named_verb(app);
    if (verb != nullptr)
        return fail(verb->get_name(), error.what(), help_command(app));
    const std::vector<std::string> unknown = app.remaining();
    return fail("arguments", unknown.empty() ? error.what() : '"' + unknown.front() + "\" is no verb and no option",
                help_command(app));
}

int run(int argc, const char *const *argv) {
    CLI::App app("See, explain and verify every decision of tapflow's ports (DPDK net_tap), from outside their "
                 "processes.",
                 "tapflowctl");
    Invocation invocation;
    app.formatter(help_formatter());
    app.set_version_flag("--version", "tapflowctl " TAPFLOW_VERSION, "Print the version");
    app.set_help_flag("-h,--help", "Print this help");
    app.footer("\"tapflowctl VERB --help\" shows a verb's options and examples.\n"
               "Exit codes: 0 done; 1 done, and something is wrong; 2 not done.");
    // One verb; a second one's name is an argument like any other.
    app.require_subcommand(0, 1);
    add_verbs(app, invocation);
    try {
        app.parse(argc, argv);
    } catch (const CLI::Success &asked) {
        return app.exit(asked) == 0 ? kDone : kNotDone;
    } catch (const CLI::RuntimeError &said) {
        return said.get_exit_code();
    } catch (const CLI::ParseError &error) {
        return refuse(app, error);
    }
    if (named_verb(app) == nullptr)
        return fail("arguments", "no verb", help_command(app));
    return invocation.status;
}

} // namespace

int main(int argc, char **argv) {
    int status = kNotDone;
    try {
        status = run(argc, argv);
    } catch (const std::exception &error) {
        return fail("gave up", error.what());
    }
    // What has been said has to have arrived.
    if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0)
        return fail("write to standard output", std::strerror(errno));
    return status;
}
