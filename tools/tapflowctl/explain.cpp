// SPDX-License-Identifier: BSD-3-Clause
#include "tapflowctl/explanation_text.h"
#include "tapflowctl/options.h"
#include "tapflowctl/output.h"
#include "tapflowctl/packet_argument.h"
#include "tapflowctl/verbs.h"

#include "engine/explain.h"

#include <memory>
#include <string>
#include <vector>

namespace tapflow::ctl {
namespace {

struct ExplainOptions {
    std::string port;
    std::vector<std::string> packet;
    bool json = false;
    bool offline = false;
};

int explain(const ExplainOptions &options) {
    const auto port = engine::find_port(options.port);
    if (!port)
        return fail(port.error());
    auto explainer = engine::Explainer::create(*port, options.offline);
    if (!explainer)
        return fail(explainer.error());
    int status = kDone;
    const auto each = [&](const GivenPacket &packet) {
        const auto explanation = explainer->explain(packet.bytes);
        if (!explanation) {
            status = fail(explanation.error());
            return false;
        }
        if (!explanation->disagreements.empty())
            status = kFound;
        if (!options.json)
            print((packet.of_many && packet.number > 1 ? "\n" : "") +
                  explanation_text(*explanation, *explainer, packet.bytes, packet.number));
        else if (packet.of_many)
            print_line(explanation_json(*explanation, *explainer, packet.bytes, packet.number));
        else
            print_document(explanation_json(*explanation, *explainer, packet.bytes, packet.number));
        return true;
    };
    if (auto read = for_each_packet(options.packet, *port, each); !read)
        return fail(read.error());
    return status;
}

} // namespace

void add_explain(CLI::App &app, Invocation &run) {
    CLI::App *verb = app.add_subcommand("explain", "Say what becomes of a packet, and why");
    const auto options = std::make_shared<ExplainOptions>();
    add_port(*verb, options->port)->required();
    verb->add_option("PACKET", options->packet, "The packet, see below")->required()->type_name("FILE");
    verb->add_flag("--offline", options->offline, "Do not ask the kernel for its classifier's dry run");
    add_json(*verb, options->json);
    verb->footer(
        packet_help() +
        "\n\n"
        "What is said comes from two sides: from the port's rules and configuration by a matcher that shares no "
        "code with the classifier, and from a dry run of the classifier in the kernel. Exit code 1: they "
        "disagree.\n"
        "\n"
        "Examples:\n"
        "  tapflowctl explain dtap0 'udp 10.0.0.1:53 > 10.0.0.2:4000 vlan 5'\n"
        "  tapflowctl explain dtap0 trace.pcap:17\n"
        "  tapflowctl explain dtap0 trace.pcap --json | jq -c '[.number, .reference.queue]'");
    verb->callback([options, &run] { run.status = explain(*options); });
}

} // namespace tapflow::ctl
