// SPDX-License-Identifier: BSD-3-Clause
// tapflowctl doctor: what this machine has of what a port needs.
#include "engine/doctor.h"

#include "tapflowctl/options.h"
#include "tapflowctl/output.h"
#include "tapflowctl/verbs.h"

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <memory>

namespace tapflow::ctl {
namespace {

using engine::Finding;

struct Options {
    std::string remote;
    bool json = false;
};

const char *status_text(Finding::Status status) {
    switch (status) {
    case Finding::Status::Ok:
        return "ok";
    case Finding::Status::Missing:
        return "missing";
    case Finding::Status::Degraded:
        return "degraded";
    }
    return "";
}

/// Where the plugin may be: where the loader looks, beside this program, and where EAL takes every plugin from.
std::vector<std::string> plugin_candidates() {
    static constexpr const char *kPlugin = "librte_net_tapflow.so";
    std::vector<std::string> candidates{kPlugin};
    std::error_code error;
    const auto program = std::filesystem::read_symlink("/proc/self/exe", error);
    const auto beside = program.parent_path().parent_path() / "lib";
    for (const auto &directory : {beside, beside / "x86_64-linux-gnu"})
        candidates.push_back(directory / kPlugin);
    for (const char *root : {"/usr/lib/x86_64-linux-gnu/dpdk", "/usr/local/lib/x86_64-linux-gnu/dpdk"})
        for (const auto &entry : std::filesystem::directory_iterator(root, error))
            candidates.push_back(entry.path() / kPlugin);
    return candidates;
}

Json json_of(const std::vector<Finding> &findings, const Options &options) {
    Json json = document("doctor");
    if (!options.remote.empty())
        json["remote"] = options.remote;
    json["findings"] = Json::array();
    for (const Finding &finding : findings) {
        Json entry{{"name", finding.name}, {"status", status_text(finding.status)}, {"what", finding.what}};
        if (!finding.cost.empty())
            entry["cost"] = finding.cost;
        if (!finding.mend.empty())
            entry["mend"] = finding.mend;
        json["findings"].push_back(std::move(entry));
    }
    return json;
}

/// A line for each, and below what is not ok what it costs and how it is mended.
std::string text_of(const std::vector<Finding> &findings) {
    size_t names = 0;
    for (const Finding &finding : findings)
        names = std::max(names, finding.name.size());
    constexpr size_t kStatusWidth = 8;
    const size_t indent = names + 2 + kStatusWidth + 2;
    std::string text;
    const auto append = [&](const std::string &what) { text += wrap(printable(what), indent) + '\n'; };
    for (const Finding &finding : findings) {
        const std::string status = status_text(finding.status);
        const bool good = finding.status == Finding::Status::Ok;
        text += finding.name + std::string(names + 2 - finding.name.size(), ' ');
        text += (good ? status : bold(status)) + std::string(kStatusWidth + 2 - status.size(), ' ');
        append(finding.what);
        for (const auto &[title, what] : {std::pair{"costs: ", finding.cost}, std::pair{"mend: ", finding.mend}})
            if (!what.empty()) {
                text += std::string(indent, ' ');
                append(title + what);
            }
    }
    return text;
}

int run_doctor(const Options &options) {
    std::vector<Finding> findings = engine::examine_machine(plugin_candidates());
    if (!options.remote.empty())
        std::ranges::move(engine::examine_remote(options.remote), std::back_inserter(findings));
    if (options.json)
        print_document(json_of(findings, options));
    else
        print(text_of(findings));
    const bool missing = std::ranges::any_of(
        findings, [](const Finding &finding) { return finding.status == Finding::Status::Missing; });
    return missing ? kFound : kDone;
}

} // namespace

void add_doctor(CLI::App &app, Invocation &run) {
    auto options = std::make_shared<Options>();
    CLI::App *verb = app.add_subcommand("doctor", "Try what a port needs of this machine, and say how to mend it");
    verb->add_option("--remote", options->remote, "An interface that is to be a port's remote, which is looked at too")
        ->type_name("LINK");
    add_json(*verb, options->json);
    verb->footer("Each line is ok, missing (no port can be opened) or degraded (ports do without). All is tried in a\n"
                 "network namespace that goes again. Exit code 1: something is missing.\n\n"
                 "Examples:\n"
                 "  tapflowctl doctor\n"
                 "  tapflowctl doctor --remote eth3 --json");
    verb->callback([options, &run] { run.status = run_doctor(*options); });
}

} // namespace tapflow::ctl
