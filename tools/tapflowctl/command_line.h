// SPDX-License-Identifier: BSD-3-Clause
// The program's verbs and options as CLI11 has them, as plain values: help, manual page and completions are made of
// these, so that there is no second list of them.
#pragma once

#include <CLI/CLI.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace tapflow::ctl {

/// What an argument is, for who completes it.
enum class Kind : uint8_t {
    None, ///< an option that takes none
    Text,
    Port,
    Interface,
    File,
    Choice,
};

struct Argument {
    std::vector<std::string> names; ///< "-n", "--count"; of a positional one, its only name
    std::string description;
    Kind kind = Kind::None;
    std::string value; ///< what the argument is called: "N"
    std::vector<std::string> choices;
    std::string preset; ///< value when it is not given
    bool required = false;
    bool repeats = false;
};

struct Verb {
    std::string name;
    std::string description;
    std::vector<Argument> positionals;
    std::vector<Argument> options;
    std::string footer;
};

/// Without what is hidden.
Verb verb_of(const CLI::App &app);
std::vector<Verb> verbs_of(const CLI::App &app);

/// "tapflowctl rules IFACE [OPTIONS]", the part behind the name.
std::string usage(const Verb &verb);
/// "-n, --count N".
std::string names_text(const Argument &option);
/// The description with what it can be and is.
std::string description_text(const Argument &argument);

/// Help of a width that fits a terminal.
std::shared_ptr<CLI::FormatterBase> help_formatter();

} // namespace tapflow::ctl
