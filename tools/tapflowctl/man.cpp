// SPDX-License-Identifier: BSD-3-Clause
// The manual page: the verbs and options that there are, between the prose of manual.h.
#include "tapflowctl/command_line.h"
#include "tapflowctl/manual.h"
#include "tapflowctl/output.h"
#include "tapflowctl/verbs.h"

#include <sstream>
#include <string>
#include <vector>

namespace tapflow::ctl {
namespace {

/// As it is to be read, within a line.
std::string escaped(const std::string &text) {
    std::string safe;
    for (const char each : text)
        safe += each == '\\' ? "\\e" : each == '-' ? "\\-" : std::string(1, each);
    return safe;
}

/// A line that is no request to roff.
std::string text_line(const std::string &text) {
    return (text.starts_with('.') || text.starts_with('\'') ? "\\&" : "") + escaped(text) + '\n';
}

/// Each sentence on a line of its own.
std::string sentences(const std::string &text) {
    std::string lines;
    std::string line;
    std::istringstream words(text);
    for (std::string word; words >> word;) {
        line += (line.empty() ? "" : " ") + word;
        if (word.ends_with('.')) {
            lines += text_line(line);
            line.clear();
        }
    }
    return line.empty() ? lines : lines + text_line(line);
}

/// An argument of a macro.
std::string argument(const std::string &text) { return "\\&" + escaped(text); }

std::string options(const Verb &verb) {
    if (verb.options.empty() && verb.positionals.empty())
        return "";
    std::string text = ".Bl -tag -width Ds\n";
    for (const Argument &positional : verb.positionals)
        text += ".It Ar " + argument(positional.names.front()) + '\n' + sentences(description_text(positional) + '.');
    for (const Argument &option : verb.options) {
        std::vector<std::string> names;
        for (const std::string &name : option.names)
            names.push_back("Fl " + escaped(name.substr(1)));
        text += ".It " + join(names, " , ") + (option.kind == Kind::None ? "" : " Ar " + argument(option.value)) +
                '\n' + sentences(description_text(option) + '.');
    }
    return text + ".El\n";
}

/// A footer's paragraphs are text, but for the one that has examples.
std::string footer(const std::string &text) {
    std::string page;
    std::istringstream lines(text);
    std::string paragraph;
    const auto end_paragraph = [&] {
        if (!paragraph.empty())
            page += ".Pp\n" + sentences(paragraph);
        paragraph.clear();
    };
    bool literal = false;
    for (std::string line; std::getline(lines, line);) {
        const bool indented = line.starts_with("  ");
        if (indented != literal) {
            end_paragraph();
            page += indented ? ".Bd -literal -offset indent\n" : ".Ed\n";
            literal = indented;
        }
        if (literal)
            page += text_line(line.substr(2));
        else if (line.empty())
            end_paragraph();
        else
            paragraph += line + ' ';
    }
    end_paragraph();
    return literal ? page + ".Ed\n" : page;
}

std::string section(const char *title, const std::string &text) { return ".Sh " + std::string(title) + '\n' + text; }

std::string manual(const CLI::App &app) {
    const std::vector<Verb> verbs = verbs_of(app);
    std::string synopsis;
    std::string details;
    for (const Verb &verb : verbs) {
        std::string positionals;
        for (const Argument &positional : verb.positionals)
            positionals += (positional.required ? ".Ar " : ".Op Ar ") + argument(positional.names.front()) +
                           (positional.repeats ? " ..." : "") + '\n';
        synopsis +=
            ".Nm\n.Cm " + argument(verb.name) + '\n' + positionals + (verb.options.empty() ? "" : ".Op Ar options\n");
        details += ".Ss " + verb.name + '\n' + sentences(verb.description + '.') + options(verb) + footer(verb.footer);
    }
    synopsis += ".Nm\n.Fl -help | Fl -version\n";
    std::string page = ".\\\" Made by \"tapflowctl man\".\n.Dd " + std::string(kManualDate) +
                       "\n.Dt TAPFLOWCTL 1\n.Os tapflow " TAPFLOW_VERSION "\n";
    page += section("NAME", ".Nm tapflowctl\n.Nd see, explain and verify every decision of tapflow's ports\n");
    page += section("SYNOPSIS", synopsis);
    page += section("DESCRIPTION", kManualDescription);
    page += section("VERBS", "\\&\n" + details);
    page += section("PRIVILEGES", kManualPrivileges);
    page += section("ENVIRONMENT", kManualEnvironment);
    page += section("FILES", kManualFiles);
    page += section("EXIT STATUS", kManualExitStatus);
    page += section("EXAMPLES", kManualExamples);
    return page + section("SEE ALSO", kManualSeeAlso);
}

} // namespace

void add_man(CLI::App &app, Invocation & /*run*/) {
    app.add_subcommand("man", "Print the manual page")->group("")->callback([&app] { print(manual(app)); });
}

} // namespace tapflow::ctl
