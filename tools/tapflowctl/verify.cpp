// SPDX-License-Identifier: BSD-3-Clause
#include "tapflowctl/explanation_text.h"
#include "tapflowctl/options.h"
#include "tapflowctl/output.h"
#include "tapflowctl/packet_argument.h"
#include "tapflowctl/port_text.h"
#include "tapflowctl/verbs.h"

#include "engine/explain.h"
#include "flow/example_frame.h"
#include "packet/random_packets.h"

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

namespace tapflow::ctl {
namespace {

// What BPF_PROG_TEST_RUN takes of a frame everywhere (net/bpf/test_run.c).
constexpr size_t kShortest = 15;
constexpr size_t kLongest = 1514;

struct VerifyOptions {
    std::string port;
    uint64_t count = 10'000;
    uint64_t seed = 0; ///< 0: any
    std::string capture;
    uint64_t show = 10;
    bool json = false;
};

struct Disagreement {
    uint64_t number = 0;
    std::string frame; ///< hexadecimal
    std::vector<engine::Difference> differences;
};

struct Verified {
    uint64_t packets = 0;
    uint64_t compared = 0;
    uint64_t delivered = 0; ///< to the application
    uint64_t by_rule = 0;   ///< on which a rule acts
    uint64_t disagreeing = 0;
    std::map<std::string, uint64_t> not_run; ///< by the kernel's reason
    std::vector<Disagreement> disagreements; ///< the first ones
};

/// Packets of all kinds; every other one such that a rule of the port's, or the port itself, has some use for it.
class Packets {
  public:
    Packets(const engine::InspectedPort &port, const engine::RuleSet &rules, uint64_t seed)
        : mac_(port.state().config.mac), of_tun_(port.identity().layer == kernel::Layer::Ip), rules_(rules),
          packets_(std::mt19937_64(seed)) {}

    packet::Bytes next() {
        packet::Bytes frame = fitting();
        if (frame.empty())
            frame = packets_.next(kShortest, kLongest);
        frame.resize(std::clamp(frame.size(), kShortest, kLongest));
        if (packets_.chance(40))
            for (size_t i = 0; i < 6; i++)
                frame[i] = static_cast<uint8_t>(mac_ >> (8 * i));
        if (of_tun_ && frame.size() > 14 + kShortest)
            frame.erase(frame.begin(), frame.begin() + 14);
        return frame;
    }

  private:
    packet::Bytes fitting() {
        if (rules_.rules.empty() || packets_.chance(50))
            return {};
        const engine::InspectedRule &rule = rules_.rules[packets_.below(rules_.rules.size())];
        auto frame = flow::example_frame(rule.rule.match, packets_.random());
        if (!frame)
            return {};
        // What is almost one of a rule's packets finds more than what is one.
        if (packets_.chance(30))
            (*frame)[packets_.below(frame->size())] ^= static_cast<uint8_t>(1U << packets_.below(8));
        return *std::move(frame);
    }

    uint64_t mac_;
    bool of_tun_;
    const engine::RuleSet &rules_;
    packet::RandomPackets packets_;
};

Result<void> verify_one(engine::Explainer &explainer, std::span<const uint8_t> frame, uint64_t number, uint64_t show,
                        Verified &verified) {
    const auto compared = explainer.compare(frame);
    if (!compared)
        return compared.error();
    verified.packets++;
    verified.delivered += compared->reference.application ? 1U : 0U;
    verified.by_rule += compared->reference.rule != 0 ? 1U : 0U;
    if (!compared->dry_run) {
        verified.not_run[compared->no_dry_run]++;
        return {};
    }
    verified.compared++;
    if (compared->disagreements.empty())
        return {};
    if (verified.disagreeing++ < show)
        verified.disagreements.push_back({number, hex({frame.begin(), frame.end()}), compared->disagreements});
    return {};
}

void print_text(const Verified &verified, const VerifyOptions &options) {
    for (const Disagreement &disagreement : verified.disagreements)
        print("packet " + std::to_string(disagreement.number) + ": " + disagreement.frame + '\n' +
              differences_text(disagreement.differences) + '\n');
    std::string text = plural(verified.compared, "packet") + " compared, " +
                       plural(verified.disagreeing, "disagreement") + "; " + std::to_string(verified.delivered) +
                       " of them for the application, rules act on " + std::to_string(verified.by_rule);
    if (options.capture.empty())
        text += " (--seed " + std::to_string(options.seed) + ")";
    print(wrap(text, 0) + '\n');
    for (const auto &[reason, count] : verified.not_run)
        print(wrap(plural(count, "packet") + " the kernel did not run: " + reason, 0) + '\n');
}

void print_json(const Verified &verified, const VerifyOptions &options) {
    Json json = document("verify");
    if (options.capture.empty())
        json["seed"] = options.seed;
    json["packets"] = verified.packets;
    json["compared"] = verified.compared;
    json["delivered"] = verified.delivered;
    json["by_rule"] = verified.by_rule;
    json["disagreeing"] = verified.disagreeing;
    json["not_run"] = Json::array();
    for (const auto &[reason, count] : verified.not_run)
        json["not_run"].push_back({{"reason", reason}, {"packets", count}});
    json["disagreements"] = Json::array();
    for (const Disagreement &disagreement : verified.disagreements)
        json["disagreements"].push_back({{"number", disagreement.number},
                                         {"frame", disagreement.frame},
                                         {"differences", differences_json(disagreement.differences)}});
    print_document(json);
}

int verify(VerifyOptions options) {
    const auto port = engine::find_port(options.port);
    if (!port)
        return fail(port.error());
    auto explainer = engine::Explainer::create(*port, false);
    if (!explainer)
        return fail(explainer.error());
    Verified verified;
    Result<void> result;
    if (!options.capture.empty()) {
        const bool of_tun = port->identity().layer == kernel::Layer::Ip;
        auto read = for_each_in_capture(options.capture, of_tun, [&](const GivenPacket &packet) {
            result = verify_one(*explainer, packet.bytes, packet.number, options.show, verified);
            return static_cast<bool>(result);
        });
        if (!read)
            return fail(read.error());
    } else {
        if (options.seed == 0)
            options.seed = std::random_device()();
        // The explainer's rules are read anew when they have changed.
        const auto rules = port->rules();
        if (!rules)
            return fail(rules.error());
        Packets packets(*port, *rules, options.seed);
        for (uint64_t number = 1; result && number <= options.count; number++)
            result = verify_one(*explainer, packets.next(), number, options.show, verified);
    }
    if (!result)
        return fail(result.error());
    if (verified.compared == 0 && verified.packets > 0)
        return fail("verify " + options.port,
                    "the kernel has run none of the packets: " + verified.not_run.begin()->first);
    if (options.json)
        print_json(verified, options);
    else
        print_text(verified, options);
    return verified.disagreeing > 0 ? kFound : kDone;
}

} // namespace

void add_verify(CLI::App &app, Invocation &run) {
    CLI::App *verb = app.add_subcommand("verify", "Compare what the classifier decides with what it should");
    const auto options = std::make_shared<VerifyOptions>();
    add_port(*verb, options->port)->required();
    verb->add_option("-n,--count", options->count, "Random packets to compare")
        ->type_name("N")
        ->check(CLI::Range(uint64_t{1}, uint64_t{1'000'000'000'000}))
        ->capture_default_str();
    verb->add_option("--seed", options->seed, "Of the random packets")->type_name("N");
    verb->add_option("--pcap", options->capture, "Compare the packets of this capture instead (- is stdin)")
        ->type_name("FILE")
        ->excludes("--count")
        ->excludes("--seed");
    verb->add_option("--show", options->show, "Disagreements to print")
        ->type_name("N")
        ->check(CLI::Range(uint64_t{0}, uint64_t{1'000'000}))
        ->capture_default_str();
    add_json(*verb, options->json);
    verb->footer("Each packet is decided twice: by the reference matcher, and by a dry run of the classifier in the "
                 "kernel. The port's traffic and counters do not notice. Exit code 1: they disagree.\n"
                 "\n"
                 "Examples:\n"
                 "  tapflowctl verify dtap0 -n 100000\n"
                 "  tapflowctl verify dtap0 --pcap trace.pcap");
    verb->callback([options, &run] { run.status = verify(*options); });
}

} // namespace tapflow::ctl
