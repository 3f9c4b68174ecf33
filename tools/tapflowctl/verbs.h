// SPDX-License-Identifier: BSD-3-Clause
// What tapflowctl can do: one file for each verb.
#pragma once

#include <CLI/CLI.hpp>

namespace tapflow::ctl {

/// What the program ends with.
enum Status : int {
    kDone = 0,    ///< and nothing is wrong
    kFound = 1,   ///< done, and something was found: a disagreement, a difference, no such port
    kNotDone = 2, ///< bad arguments, no privileges, a port of another version, trouble with a file
};

/// One run of the program.
struct Invocation {
    int status = kDone; ///< set by the verb
};

// Each adds a subcommand with its options, a footer with examples, and a callback that does the work.
void add_list(CLI::App &app, Invocation &run);
void add_show(CLI::App &app, Invocation &run);
void add_rules(CLI::App &app, Invocation &run);
void add_explain(CLI::App &app, Invocation &run);
void add_verify(CLI::App &app, Invocation &run);
void add_balance(CLI::App &app, Invocation &run);
void add_diff(CLI::App &app, Invocation &run);
void add_watch(CLI::App &app, Invocation &run);
void add_trace(CLI::App &app, Invocation &run);
void add_save(CLI::App &app, Invocation &run);
void add_doctor(CLI::App &app, Invocation &run);
void add_gc(CLI::App &app, Invocation &run);
void add_metrics(CLI::App &app, Invocation &run);
// Not in the help: for who packages this program.
void add_completion(CLI::App &app, Invocation &run);
void add_man(CLI::App &app, Invocation &run);

/// All of them, in the order of the help.
void add_verbs(CLI::App &app, Invocation &run);

} // namespace tapflow::ctl
