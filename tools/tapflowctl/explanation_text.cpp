// SPDX-License-Identifier: BSD-3-Clause
#include "tapflowctl/explanation_text.h"

#include "flow/text.h"
#include "tapflowctl/port_text.h"

#include <array>
#include <cstdio>

namespace tapflow::ctl {
namespace {

constexpr size_t kMargin = 12;

/// A line with a word in the margin.
std::string line(const std::string &margin, const std::string &text) {
    return margin + std::string(margin.size() < kMargin ? kMargin - margin.size() : 1, ' ') + wrap(text, kMargin) +
           '\n';
}

std::string rule_line(const engine::Explainer &explainer, uint64_t id) {
    const engine::InspectedRule *rule = explainer.rule(id);
    return "rule " + std::to_string(id) + (rule ? ": " + flow::to_text(rule->rule) : "");
}

std::string headers_line(const engine::ParsedHeader &header) {
    std::string text;
    for (const auto &[name, value] : header.fields)
        text += (text.empty() ? "" : ", ") + name + " " + value;
    return text;
}

std::string mask_line(const engine::VisitedMask &mask) {
    std::string text =
        mask.compares + ": " + plural(mask.rules, "rule") + ", best priority " + std::to_string(mask.priority);
    if (mask.skipped)
        return text + "; not looked at, a better rule was found";
    return text + (mask.matched ? "; rule " + std::to_string(*mask.matched) + " matches" : "; no match");
}

std::string groups_text(const engine::Explanation &explanation, const engine::Explainer &explainer) {
    if (explanation.groups.empty())
        return line("rules", "none that a packet of this direction would meet");
    std::string text;
    for (const engine::VisitedGroup &group : explanation.groups) {
        text += line("group " + std::to_string(group.group), plural(group.masks.size(), "mask") + ", in this order:");
        for (const engine::VisitedMask &mask : group.masks)
            text += line("", mask_line(mask));
        text += line("  acts", group.acted ? rule_line(explainer, group.acted) : "no rule");
        for (const uint64_t id : group.shadowed)
            text += line("  shadowed", rule_line(explainer, id));
    }
    return text;
}

std::string hash_lines(const engine::Explanation &explanation) {
    const rss::HashInput &input = explanation.input;
    std::string text = rss::class_name(input.hashed_class);
    if (input.is_inner)
        text += ", the headers in the tunnel";
    if (input.fields.empty())
        return line("hash", "none: no type of " + text + " is among the RSS types");
    text += std::string(", ") + function_name(explanation.config.function);
    text += explanation.config_rule ? ", as rule " + std::to_string(*explanation.config_rule) + " says"
                                    : ", by the port's RSS";
    std::string lines = line("hash", text);
    for (const rss::HashField &field : input.fields)
        lines += line("", field.name + " " + hex(field.bytes));
    lines += line("  input", hex(input.bytes()));
    lines += line("  key", hex(explanation.config.key));
    lines += line("  result", hash_text(explanation.reference.hash));
    return lines;
}

std::string queue_line(const engine::Explanation &explanation) {
    const std::string queue = std::to_string(explanation.reference.queue);
    if (!explanation.reta_slot)
        return line("queue", queue + ", as the rule says");
    return line("queue", queue + ", slot " + std::to_string(*explanation.reta_slot) + " of the " +
                             std::to_string(explanation.config.reta.size()) + " of the RETA");
}

} // namespace

std::string hash_text(const std::optional<uint32_t> &hash) {
    if (!hash)
        return "none";
    std::array<char, 16> text{};
    std::snprintf(text.data(), text.size(), "0x%08x", *hash);
    return text.data();
}

std::string verdict_text(const engine::Decision &decision) {
    std::string text;
    if (decision.application) {
        text = std::string(decision.kernel ? "application and kernel" : "application") + ", queue " +
               std::to_string(decision.queue);
        if (decision.mark)
            text += ", mark " + std::to_string(*decision.mark);
        if (decision.flag)
            text += ", flagged";
        if (decision.rewrites)
            text += ", headers changed";
        return text;
    }
    return std::string(decision.kernel ? "kernel alone: " : "dropped: ") + engine::text_of(decision.obstacle);
}

Json decision_json(const engine::Decision &decision) {
    Json json{{"application", decision.application}, {"kernel", decision.kernel}};
    if (decision.obstacle != engine::Obstacle::None)
        json["obstacle"] = engine::text_of(decision.obstacle);
    json["class"] = rss::class_name(decision.packet_class);
    if (decision.hash)
        json["hash"] = *decision.hash;
    json["queue"] = decision.queue;
    if (decision.rule != 0)
        json["rule"] = decision.rule;
    if (decision.mark)
        json["mark"] = *decision.mark;
    json["flag"] = decision.flag;
    json["rewrites"] = decision.rewrites;
    return json;
}

std::string differences_text(const std::vector<engine::Difference> &differences) {
    Table table({{""}, {"REFERENCE"}, {"KERNEL"}});
    for (const auto &[what, reference, dry_run] : differences)
        table.add({what, reference, dry_run});
    return table.text();
}

Json differences_json(const std::vector<engine::Difference> &differences) {
    Json json = Json::array();
    for (const auto &[what, reference, dry_run] : differences)
        json.push_back({{"what", what}, {"reference", reference}, {"dry_run", dry_run}});
    return json;
}

std::string explanation_text(const engine::Explanation &explanation, const engine::Explainer &explainer,
                             std::span<const uint8_t> frame, uint64_t number) {
    std::string text = line(number ? "packet " + std::to_string(number) : "packet", plural(frame.size(), "byte"));
    for (const engine::ParsedHeader &header : explanation.headers)
        text += line((header.inner ? "  inner " : "  ") + header.name, headers_line(header));
    text += groups_text(explanation, explainer);
    text += hash_lines(explanation);
    text += queue_line(explanation);
    text += line("verdict", bold(verdict_text(explanation.reference)));
    if (!explanation.dry_run)
        return text + line("dry run", "none: " + explanation.no_dry_run);
    if (explanation.disagreements.empty())
        return text + line("dry run", "the kernel's classifier says the same");
    return text + line("dry run", bold("the kernel's classifier disagrees")) +
           differences_text(explanation.disagreements);
}

Json explanation_json(const engine::Explanation &explanation, const engine::Explainer &explainer,
                      std::span<const uint8_t> frame, uint64_t number) {
    Json json = document("explain");
    if (number != 0)
        json["number"] = number;
    json["length"] = frame.size();
    json["headers"] = Json::array();
    for (const engine::ParsedHeader &header : explanation.headers) {
        Json fields = Json::object();
        for (const auto &[name, value] : header.fields)
            fields[name] = value;
        json["headers"].push_back({{"header", header.name}, {"inner", header.inner}, {"fields", std::move(fields)}});
    }
    json["groups"] = Json::array();
    for (const engine::VisitedGroup &group : explanation.groups) {
        Json masks = Json::array();
        for (const engine::VisitedMask &mask : group.masks) {
            Json one{{"compares", mask.compares},
                     {"priority", mask.priority},
                     {"rules", mask.rules},
                     {"skipped", mask.skipped}};
            if (mask.matched)
                one["matched"] = *mask.matched;
            masks.push_back(std::move(one));
        }
        Json one{{"group", group.group}, {"masks", std::move(masks)}};
        if (const engine::InspectedRule *acted = explainer.rule(group.acted))
            one["acted"] = {{"id", group.acted}, {"rule", flow::to_text(acted->rule)}};
        one["shadowed"] = group.shadowed;
        json["groups"].push_back(std::move(one));
    }
    Json fields = Json::array();
    for (const rss::HashField &field : explanation.input.fields)
        fields.push_back({{"field", field.name}, {"bytes", hex(field.bytes)}});
    json["hash"] = {{"class", rss::class_name(explanation.input.hashed_class)},
                    {"inner", explanation.input.is_inner},
                    {"function", function_name(explanation.config.function)},
                    {"key", hex(explanation.config.key)},
                    {"fields", std::move(fields)},
                    {"input", hex(explanation.input.bytes())}};
    if (explanation.config_rule)
        json["hash"]["rule"] = *explanation.config_rule;
    if (explanation.reta_slot)
        json["reta_slot"] = *explanation.reta_slot;
    json["reference"] = decision_json(explanation.reference);
    if (explanation.dry_run)
        json["dry_run"] = decision_json(*explanation.dry_run);
    else
        json["no_dry_run"] = explanation.no_dry_run;
    json["disagreements"] = differences_json(explanation.disagreements);
    return json;
}

} // namespace tapflow::ctl
