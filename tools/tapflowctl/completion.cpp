// SPDX-License-Identifier: BSD-3-Clause
// Completions for shells, made of the same tree of verbs and options that the command line is read by.
#include "tapflowctl/command_line.h"
#include "tapflowctl/output.h"
#include "tapflowctl/verbs.h"

#include <memory>
#include <string>
#include <vector>

namespace tapflow::ctl {
namespace {

/// All verbs, behind a verb without a name: what may stand in front of them.
std::vector<Verb> all(const CLI::App &app) {
    std::vector<Verb> verbs = verbs_of(app);
    Verb root = verb_of(app);
    root.name.clear();
    verbs.insert(verbs.begin(), std::move(root));
    return verbs;
}

std::string replaced(std::string text, const std::string &what, const std::string &by) {
    for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + by.size()))
        text.replace(at, what.size(), by);
    return text;
}

// bash

/// Words to choose from, or what makes them.
std::string bash_words(const Argument &argument) {
    switch (argument.kind) {
    case Kind::Port:
        return "@port";
    case Kind::Interface:
        return "@interface";
    case Kind::File:
        return "@file";
    case Kind::Choice:
        return join(argument.choices, " ");
    case Kind::None:
    case Kind::Text:
        break;
    }
    return "@text";
}

std::string bash_case(const std::string &verb, const std::string &argument, const std::string &words) {
    return "    '" + verb + ' ' + argument + "') echo '" + words + "' ;;\n";
}

std::string bash(const std::vector<Verb> &verbs) {
    std::string takes;
    std::string options;
    std::vector<std::string> names;
    for (const Verb &verb : verbs) {
        std::vector<std::string> words;
        for (const Argument &option : verb.options) {
            words.insert(words.end(), option.names.begin(), option.names.end());
            for (const std::string &name : option.names)
                if (option.kind != Kind::None)
                    takes += bash_case(verb.name, name, bash_words(option));
        }
        for (size_t i = 0; i < verb.positionals.size(); i++)
            takes += bash_case(verb.name, std::to_string(i), bash_words(verb.positionals[i]));
        options += "    '" + verb.name + "') echo '" + join(words, " ") + "' ;;\n";
        if (!verb.name.empty())
            names.push_back(verb.name);
    }
    return R"sh(# bash completion for tapflowctl, made by "tapflowctl completion bash"

# $1: verb; $2: its option, or the index of its argument
_tapflowctl_takes() {
    case "$1 $2" in
)sh" + takes +
           R"sh(    esac
}

_tapflowctl_options() {
    case $1 in
)sh" + options +
           R"sh(    esac
}

_tapflowctl() {
    local cur=${COMP_WORDS[COMP_CWORD]} verb= option= position=0 takes word i
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ $word == = ]]; then
            : # "--option=value" comes as three words
        elif [[ -n $option ]]; then
            option=
        elif [[ $word == -* ]]; then
            [[ -z $(_tapflowctl_takes "$verb" "$word") ]] || option=$word
        elif [[ -z $verb ]]; then
            verb=$word
        else
            ((++position))
        fi
    done
    [[ $cur != = ]] || cur=
    if [[ -n $option ]]; then
        takes=$(_tapflowctl_takes "$verb" "$option")
    elif [[ $cur == -* ]]; then
        takes=$(_tapflowctl_options "$verb")
    elif [[ -z $verb ]]; then
        takes=')sh" +
           join(names, " ") + R"sh('
    else
        takes=$(_tapflowctl_takes "$verb" "$position")
    fi
    COMPREPLY=()
    case $takes in
    @port) takes=$("$1" list --names 2>/dev/null) ;;
    @interface) takes=$(ls /sys/class/net 2>/dev/null) ;;
    @file)
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
        return
        ;;
    @text) return ;;
    esac
    # Others have named ports and interfaces: compgen -W would expand what is in a name.
    while read -r word; do
        [[ -z $word || $word != "$cur"* ]] || COMPREPLY+=("$(printf '%q' "$word")")
    done <<<"${takes// /$'\n'}"
}
complete -F _tapflowctl tapflowctl
)sh";
}

// zsh

std::string zsh_quoted(const std::string &text) { return '\'' + replaced(text, "'", "'\\''") + '\''; }

/// Text within a specification of _arguments.
std::string zsh_text(std::string text) {
    for (const char *special : {"\\", "[", "]", ":"})
        text = replaced(text, special, std::string("\\") + special);
    return text;
}

std::string zsh_action(const Argument &argument) {
    switch (argument.kind) {
    case Kind::Port:
        return "_tapflowctl_ports";
    case Kind::Interface:
        return "_net_interfaces";
    case Kind::File:
        return "_files";
    case Kind::Choice:
        return '(' + join(argument.choices, " ") + ')';
    case Kind::None:
    case Kind::Text:
        break;
    }
    return " ";
}

std::string zsh_arguments(const Verb &verb, const std::string &indent) {
    std::vector<std::string> specifications;
    for (const Argument &option : verb.options)
        for (const std::string &name : option.names) {
            std::string specification = '(' + join(option.names, " ") + ')' + name;
            if (option.kind != Kind::None && name.starts_with("--"))
                specification += '=';
            specification += '[' + zsh_text(option.description) + ']';
            if (option.kind != Kind::None)
                specification += ':' + zsh_text(option.value) + ':' + zsh_action(option);
            specifications.push_back(zsh_quoted(specification));
        }
    for (size_t i = 0; i < verb.positionals.size(); i++) {
        const Argument &positional = verb.positionals[i];
        const std::string place = positional.repeats ? "*" : std::to_string(i + 1);
        specifications.push_back(zsh_quoted(place + (positional.required || positional.repeats ? ":" : "::") +
                                            zsh_text(positional.value) + ':' + zsh_action(positional)));
    }
    std::string text;
    for (const std::string &specification : specifications)
        text += " \\\n" + indent + specification;
    return text;
}

std::string zsh(const std::vector<Verb> &verbs) {
    std::string names;
    std::string cases;
    for (const Verb &verb : verbs) {
        if (verb.name.empty())
            continue;
        names += "            " + zsh_quoted(verb.name + ':' + verb.description) + '\n';
        cases += "        " + verb.name + ") _arguments" + zsh_arguments(verb, "            ") + " && ret=0 ;;\n";
    }
    return R"sh(#compdef tapflowctl
# zsh completion for tapflowctl, made by "tapflowctl completion zsh"

_tapflowctl_ports() {
    local -a ports expl
    ports=(${(f)"$(tapflowctl list --names 2>/dev/null)"})
    _wanted ports expl port compadd -a ports
}

_tapflowctl() {
    local curcontext=$curcontext state line ret=1
    local -a verbs
    _arguments -C)sh" +
           zsh_arguments(verbs.front(), "        ") + R"sh( \
        '1: :->verb' \
        '*:: :->argument' && ret=0
    case $state in
    verb)
        verbs=(
)sh" + names +
           R"sh(        )
        _describe -t verbs verb verbs && ret=0
        ;;
    argument)
        case $words[1] in
)sh" + cases +
           R"sh(        esac
        ;;
    esac
    return ret
}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _tapflowctl "$@"
else
    compdef _tapflowctl tapflowctl
fi
)sh";
}

// fish

std::string fish_quoted(const std::string &text) {
    return '\'' + replaced(replaced(text, "\\", "\\\\"), "'", "\\'") + '\'';
}

/// Options of complete(1) for what an argument can be.
std::string fish_choices(const Argument &argument) {
    switch (argument.kind) {
    case Kind::Port:
        return " -x -a '(tapflowctl list --names 2>/dev/null)'";
    case Kind::Interface:
        return " -x -a '(__fish_print_interfaces)'";
    case Kind::File:
        return " -r -F";
    case Kind::Choice:
        return " -x -a " + fish_quoted(join(argument.choices, " "));
    case Kind::Text:
        return " -x";
    case Kind::None:
        break;
    }
    return "";
}

std::string fish(const std::vector<Verb> &verbs) {
    std::string text = "# fish completion for tapflowctl, made by \"tapflowctl completion fish\"\n"
                       "complete -c tapflowctl -f\n";
    for (const Verb &verb : verbs) {
        const bool root = verb.name.empty();
        const std::string condition =
            root ? "__fish_use_subcommand" : fish_quoted("__fish_seen_subcommand_from " + verb.name);
        const std::string begin = "complete -c tapflowctl -n " + condition;
        if (!root)
            text += "complete -c tapflowctl -n __fish_use_subcommand -a " + verb.name + " -d " +
                    fish_quoted(verb.description) + '\n';
        for (const Argument &option : verb.options) {
            text += begin;
            for (const std::string &name : option.names)
                text += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
            text += fish_choices(option) + " -d " + fish_quoted(option.description) + '\n';
        }
        for (const Argument &positional : verb.positionals)
            if (positional.kind != Kind::Text)
                text += begin + fish_choices(positional) + '\n';
    }
    return text;
}

} // namespace

void add_completion(CLI::App &app, Invocation & /*run*/) {
    CLI::App *verb = app.add_subcommand("completion", "Print a shell's completion for this program")->group("");
    const auto shell = std::make_shared<std::string>();
    verb->add_option("SHELL", *shell)->required()->check(CLI::IsMember({"bash", "zsh", "fish"}));
    verb->callback([&app, shell] {
        const std::vector<Verb> verbs = all(app);
        print(*shell == "bash" ? bash(verbs) : *shell == "zsh" ? zsh(verbs) : fish(verbs));
    });
}

} // namespace tapflow::ctl
