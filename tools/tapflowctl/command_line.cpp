// SPDX-License-Identifier: BSD-3-Clause
#include "tapflowctl/command_line.h"

#include "tapflowctl/output.h"

#include <algorithm>

namespace tapflow::ctl {
namespace {

std::vector<std::string> split(const std::string &text, char separator) {
    std::vector<std::string> parts;
    for (size_t begin = 0; begin <= text.size();) {
        const size_t end = std::min(text.find(separator, begin), text.size());
        parts.push_back(text.substr(begin, end - begin));
        begin = end + 1;
    }
    return parts;
}

/// CLI11 calls an argument "KEY:{hits,bytes}" or "TEXT:FILE": its type, then what its validators say.
void read_type(const std::string &type, Argument &argument) {
    argument.kind = Kind::Text;
    const size_t brace = type.find('{');
    const size_t end = type.find('}');
    if (brace != std::string::npos && end != std::string::npos && brace < end) {
        argument.kind = Kind::Choice;
        argument.choices = split(type.substr(brace + 1, end - brace - 1), ',');
    }
    const std::vector<std::string> parts = split(type.substr(0, brace), ':');
    argument.value = parts.front();
    for (const std::string &part : parts) {
        if (part == "IFACE")
            argument.kind = Kind::Port;
        else if (part == "LINK" || part == "IF")
            argument.kind = Kind::Interface;
        else if (part == "FILE")
            argument.kind = Kind::File;
    }
}

Argument argument_of(const CLI::Option &option) {
    Argument argument;
    for (const std::string &name : option.get_snames())
        argument.names.push_back('-' + name);
    for (const std::string &name : option.get_lnames())
        argument.names.push_back("--" + name);
    const bool positional = argument.names.empty();
    if (positional)
        argument.names.push_back(option.get_name(true));
    argument.description = option.get_description();
    if (option.get_items_expected_max() > 0)
        read_type(option.get_type_name(), argument);
    if (positional)
        argument.value = argument.names.front();
    argument.preset = option.get_default_str();
    argument.required = option.get_required();
    argument.repeats = positional && option.get_items_expected_max() >= CLI::detail::expected_max_vector_size;
    return argument;
}

constexpr size_t kIndent = 2;
constexpr size_t kDescription = 24;

std::string entry(const std::string &name, const std::string &description) {
    std::string line = std::string(kIndent, ' ') + name;
    if (line.size() + 2 > kDescription)
        line += '\n' + std::string(kDescription, ' ');
    else
        line += std::string(kDescription - line.size(), ' ');
    return line + wrap(description, kDescription) + '\n';
}

/// Text is broken where lines end; what is indented, as examples are, stays as it is.
std::string footer_text(const std::string &footer) {
    std::string text;
    for (const std::string &line : split(footer, '\n'))
        text += (line.starts_with(' ') ? line : wrap(line, 0)) + '\n';
    return text;
}

class HelpFormatter : public CLI::FormatterBase {
  public:
    std::string make_help(const CLI::App *app, std::string name, CLI::AppFormatMode /*mode*/) const override {
        const Verb verb = verb_of(*app);
        const std::vector<Verb> verbs = verbs_of(*app);
        std::string help = wrap(verb.description, 0) + "\n\n";
        help += "Usage: " + name + (verbs.empty() ? usage(verb) : " VERB ...") + '\n';
        if (!verbs.empty())
            help += "\nVerbs:\n";
        for (const Verb &each : verbs)
            help += entry(each.name, each.description);
        if (!verb.positionals.empty())
            help += "\nArguments:\n";
        for (const Argument &positional : verb.positionals)
            help += entry(positional.names.front(), description_text(positional));
        if (!verb.options.empty())
            help += "\nOptions:\n";
        for (const Argument &option : verb.options)
            help += entry(names_text(option), description_text(option));
        return verb.footer.empty() ? help : help + '\n' + footer_text(verb.footer);
    }
};

} // namespace

Verb verb_of(const CLI::App &app) {
    Verb verb{app.get_name(), app.get_description(), {}, {}, app.get_footer()};
    for (const CLI::Option *option : app.get_options()) {
        if (option->get_group().empty())
            continue;
        (option->nonpositional() ? verb.options : verb.positionals).push_back(argument_of(*option));
    }
    return verb;
}

std::vector<Verb> verbs_of(const CLI::App &app) {
    std::vector<Verb> verbs;
    for (const CLI::App *verb : app.get_subcommands([](const CLI::App *each) { return !each->get_group().empty(); }))
        verbs.push_back(verb_of(*verb));
    return verbs;
}

std::string usage(const Verb &verb) {
    std::string text;
    for (const Argument &positional : verb.positionals) {
        const std::string name = positional.names.front() + (positional.repeats ? "..." : "");
        text += positional.required ? ' ' + name : " [" + name + ']';
    }
    return text + " [OPTIONS]";
}

std::string names_text(const Argument &option) {
    return join(option.names, ", ") + (option.kind == Kind::None ? "" : ' ' + option.value);
}

std::string description_text(const Argument &argument) {
    std::string text = argument.description;
    if (!argument.choices.empty())
        text += ": " + join(argument.choices, ", ");
    if (!argument.preset.empty())
        text += " (default: " + argument.preset + ')';
    return text;
}

std::shared_ptr<CLI::FormatterBase> help_formatter() { return std::make_shared<HelpFormatter>(); }

} // namespace tapflow::ctl
