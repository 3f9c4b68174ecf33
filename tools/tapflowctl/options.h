// SPDX-License-Identifier: BSD-3-Clause
// Arguments that several verbs have. What an argument stands for, and so what a shell completes it with, is told by its
// type name: IFACE (a port), LINK (an interface), FILE; those of CLI::IsMember are completed with its members.
#pragma once

#include <CLI/CLI.hpp>

#include <string>

namespace tapflow::ctl {

CLI::Option *add_json(CLI::App &verb, bool &json);
/// The positional argument IFACE: a port's tap, device or remote, as engine::find_port() takes it.
CLI::Option *add_port(CLI::App &verb, std::string &port);
/// For a time in seconds. CLI::Range lets "nan" pass.
CLI::Validator seconds_between(double least, double most);

} // namespace tapflow::ctl
