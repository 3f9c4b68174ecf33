// SPDX-License-Identifier: BSD-3-Clause
#include "flow/validate.h"

#include "flow/rewrite.h"
#include "rss/rss_config.h"
#include "tapflow/abi/rss.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <string>

namespace tapflow::flow {
namespace {

using Verdict = std::optional<Refusal>;

Verdict refuse(Part part, int code, std::string what, std::string detail) {
    return Refusal{part, Error{code, std::move(what), std::move(detail)}};
}

std::string below(uint64_t limit) { return "0 to " + std::to_string(limit - 1); }

Verdict check_attributes(const Attributes &attributes) {
    if (attributes.group >= TAPFLOW_FLOW_GROUPS)
        return refuse(Part::Group, ENOTSUP, "group " + std::to_string(attributes.group),
                      "groups are " + below(TAPFLOW_FLOW_GROUPS));
    if (attributes.priority >= TAPFLOW_FLOW_PRIORITIES)
        return refuse(Part::Priority, ENOTSUP, "priority " + std::to_string(attributes.priority),
                      "priorities are " + below(TAPFLOW_FLOW_PRIORITIES));
    return std::nullopt;
}

uint64_t big_endian_word(const tapflow_flow_key &key, size_t index) {
    const uint64_t word = word_of(key, index);
    return std::endian::native == std::endian::little ? __builtin_bswap64(word) : word;
}

/// See Match: what a range says, mask and value cannot say as well.
bool is_normal(const Range &range, const Match &match) {
    if (range.word >= TAPFLOW_FLOW_WORDS || range.shift + std::bit_width(range.bits) > 64)
        return false;
    const bool inside = ((range.low | range.high) & ~range.bits) == 0;
    const bool says_something = range.low < range.high && !(range.low == 0 && range.high == range.bits);
    const uint64_t bits = uint64_t{range.bits} << range.shift;
    return inside && says_something && (big_endian_word(match.mask, range.word) & bits) == 0;
}

Verdict check_match(const Match &match) {
    unsigned words = 0;
    for (size_t i = 0; i < TAPFLOW_FLOW_WORDS; i++) {
        if (word_of(match.value, i) & ~word_of(match.mask, i))
            return refuse(Part::Pattern, EINVAL, "match", "it has a value where nothing is compared");
        words += word_of(match.mask, i) != 0;
    }
    if (match.range_count > TAPFLOW_FLOW_RANGES)
        return refuse(Part::Pattern, ENOTSUP, "match of " + std::to_string(match.range_count) + " ranges",
                      "a rule has at most " + std::to_string(TAPFLOW_FLOW_RANGES));
    for (size_t i = 0; i < match.range_count; i++)
        if (!is_normal(match.ranges[i], match))
            return refuse(Part::Pattern, EINVAL, "match",
                          "a range is empty, says nothing, or its field is compared as well");
    if (words + match.range_count > TAPFLOW_FLOW_WORDS)
        return refuse(Part::Pattern, ENOTSUP, "match over too many fields",
                      "compared words and ranges are " + std::to_string(words + match.range_count) + ", at most " +
                          std::to_string(TAPFLOW_FLOW_WORDS) + " will do");
    return std::nullopt;
}

Verdict check_queue(Part part, uint16_t queue, const Capabilities &capabilities) {
    const unsigned queues = capabilities.queues != 0 ? capabilities.queues : TAPFLOW_QUEUES_MAX;
    if (queue < queues)
        return std::nullopt;
    return refuse(part, ERANGE, "queue " + std::to_string(queue),
                  (capabilities.queues != 0 ? "the port has " : "a port has at most ") + std::to_string(queues) +
                      " Rx queues");
}

Verdict check_rss(const RssAction &rss, const Capabilities &capabilities) {
    if (!rss.key.empty() && rss.key.size() != rss::kKeySize && rss.key.size() != rss::kLongKeySize)
        return refuse(Part::Rss, EINVAL, "RSS key of " + std::to_string(rss.key.size()) + " bytes",
                      "keys have " + std::to_string(rss::kKeySize) + " or " + std::to_string(rss::kLongKeySize));
    if (rss.types & ~(rss::kAllTypes | rss::kAllModifiers))
        return refuse(Part::Rss, ENOTSUP, "RSS types " + std::to_string(rss.types),
                      "some of these types are not hashed by");
    if (rss.level > 2)
        return refuse(Part::Rss, ENOTSUP, "RSS level " + std::to_string(rss.level),
                      "levels are 0 and 1 (outermost headers) and 2 (innermost)");
    if (rss.queues.size() > TAPFLOW_RETA_MAX)
        return refuse(Part::Rss, ENOTSUP, "RSS over a list of " + std::to_string(rss.queues.size()) + " queues",
                      "lists have at most " + std::to_string(TAPFLOW_RETA_MAX));
    for (const uint16_t queue : rss.queues)
        if (auto refusal = check_queue(Part::Rss, queue, capabilities))
            return refusal;
    return std::nullopt;
}

Verdict check_fate(const Rule &rule, const Capabilities &capabilities) {
    const Actions &actions = rule.actions;
    switch (actions.fate) {
    case Fate::Queue:
        return check_queue(Part::Queue, actions.queue, capabilities);
    case Fate::Rss:
        if (actions.rss && actions.shared_rss)
            return refuse(Part::Rss, EINVAL, "RSS", "it is either the rule's own or an indirect action");
        if (!actions.rss && !actions.shared_rss)
            return refuse(Part::Rss, EINVAL, "RSS", "nothing says how packets are spread");
        return actions.rss ? check_rss(*actions.rss, capabilities) : std::nullopt;
    case Fate::Jump: {
        const std::string what = "jump to group " + std::to_string(actions.group);
        if (actions.group >= TAPFLOW_FLOW_GROUPS)
            return refuse(Part::Jump, ENOTSUP, what, "groups are " + below(TAPFLOW_FLOW_GROUPS));
        if (actions.group == rule.attributes.group)
            return refuse(Part::Jump, EINVAL, what, "the rule is in that group itself");
        return std::nullopt;
    }
    default:
        return std::nullopt;
    }
}

Verdict check_marks(const Actions &actions) {
    if (actions.fate == Fate::Drop && (actions.mark || actions.flag))
        return refuse(Part::Mark, EINVAL, actions.mark ? "mark with drop" : "flag with drop",
                      "a dropped packet has no mark");
    if (actions.mark && actions.flag)
        return refuse(Part::Mark, ENOTSUP, "mark with flag", "a packet's mark tells that it is flagged already");
    return std::nullopt;
}

Verdict check_rewrite(const Rewrite &rewrite) {
    const std::string value = std::to_string(rewrite.value);
    switch (rewrite.kind) {
    case Rewrite::Kind::PushVlan:
        if (rewrite.value != 0x8100 && rewrite.value != 0x88a8)
            return refuse(Part::Rewrite, ENOTSUP, "push VLAN tag with TPID " + value,
                          "TPIDs are 33024 (0x8100) and 34984 (0x88a8)");
        break;
    case Rewrite::Kind::SetVlanVid:
        if (rewrite.value > 4095)
            return refuse(Part::Rewrite, EINVAL, "set VLAN VID " + value, "VIDs are 0 to 4095");
        break;
    case Rewrite::Kind::SetVlanPcp:
        if (rewrite.value > 7)
            return refuse(Part::Rewrite, EINVAL, "set VLAN PCP " + value, "PCPs are 0 to 7");
        break;
    case Rewrite::Kind::SetTtl:
        if (rewrite.value > 255)
            return refuse(Part::Rewrite, EINVAL, "set TTL " + value, "TTLs are 0 to 255");
        break;
    default:
        break;
    }
    return std::nullopt;
}

Verdict check_rewrites(const Actions &actions, const Capabilities &capabilities) {
    if (actions.rewrites.empty())
        return std::nullopt;
    const std::string what = "rewrite headers";
    if (actions.fate == Fate::Drop)
        return refuse(Part::Rewrite, EINVAL, what, "a dropped packet has no headers");
    if (actions.fate != Fate::Queue && actions.fate != Fate::Rss)
        return refuse(Part::Rewrite, ENOTSUP, what,
                      "headers are rewritten by the rule that ends the search: it needs QUEUE or RSS");
    if (!capabilities.rewrites)
        return refuse(Part::Rewrite, ENOTSUP, what, "needs delivery by ring (rx=ring), and a tap");
    for (const Rewrite &rewrite : actions.rewrites)
        if (auto refusal = check_rewrite(rewrite))
            return refusal;
    const auto pushes = std::count_if(actions.rewrites.begin(), actions.rewrites.end(),
                                      [](const Rewrite &rewrite) { return rewrite.kind == Rewrite::Kind::PushVlan; });
    if (pushes > static_cast<ptrdiff_t>(kRewritePushesMax))
        return refuse(Part::Rewrite, ENOTSUP, "push " + std::to_string(pushes) + " VLAN tags",
                      "at most " + std::to_string(kRewritePushesMax) + " can be pushed");
    return std::nullopt;
}

/// What the application sends has no queue to go to, and nobody reads its mark.
Verdict check_egress(const Actions &actions) {
    const std::string detail = "not for egress, where rules DROP, COUNT, JUMP and PASSTHRU";
    if (actions.fate == Fate::Queue)
        return refuse(Part::Queue, ENOTSUP, "QUEUE", detail);
    if (actions.fate == Fate::Rss)
        return refuse(Part::Rss, ENOTSUP, "RSS", detail);
    if (actions.mark || actions.flag)
        return refuse(Part::Mark, ENOTSUP, actions.mark ? "MARK" : "FLAG", detail);
    if (!actions.rewrites.empty())
        return refuse(Part::Rewrite, ENOTSUP, "rewrite headers", detail);
    return std::nullopt;
}

Verdict check_actions(const Rule &rule, const Capabilities &capabilities) {
    const Actions &actions = rule.actions;
    const bool nothing = actions.fate == Fate::None && !actions.mark && !actions.flag && !actions.count;
    if (nothing && actions.rewrites.empty())
        return refuse(Part::Actions, EINVAL, "rule", "no action");
    if (actions.shared_count && !actions.count)
        return refuse(Part::Actions, EINVAL, "indirect counter " + std::to_string(*actions.shared_count),
                      "the rule does not count");
    if (rule.attributes.direction == Direction::Egress && !capabilities.egress)
        return refuse(Part::Direction, ENOTSUP, "egress", "not on a tun device");
    if (rule.attributes.direction == Direction::Egress)
        if (auto refusal = check_egress(actions))
            return refusal;
    if (auto refusal = check_fate(rule, capabilities))
        return refusal;
    if (auto refusal = check_marks(actions))
        return refusal;
    return check_rewrites(actions, capabilities);
}

} // namespace

std::optional<Error> validate(const RssAction &action, const Capabilities &capabilities) {
    const Verdict verdict = check_rss(action, capabilities);
    return verdict ? std::optional<Error>(verdict->error) : std::nullopt;
}

std::optional<Refusal> validate(const Rule &rule, const Capabilities &capabilities) {
    if (auto refusal = check_attributes(rule.attributes))
        return refusal;
    if (auto refusal = check_match(rule.match))
        return refusal;
    return check_actions(rule, capabilities);
}

} // namespace tapflow::flow
