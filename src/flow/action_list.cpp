// SPDX-License-Identifier: BSD-3-Clause
#include "flow/action_list.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>

namespace tapflow::flow {
namespace {

constexpr FieldType kInteger = FieldType::Integer;
constexpr ActionKind kRewrite = ActionKind::Rewrite;
constexpr auto kActionNames = std::to_array<ActionName>({
    {ActionKind::PassThrough, "passthru"},
    {ActionKind::Queue, "queue", "index", kInteger, 16},
    {ActionKind::Rss, "rss"},
    {ActionKind::Drop, "drop"},
    {ActionKind::Jump, "jump", "group", kInteger, 32},
    {ActionKind::Mark, "mark", "id", kInteger, 32},
    {ActionKind::Flag, "flag"},
    {ActionKind::Count, "count"},
    {ActionKind::Indirect, "indirect", "id", kInteger, 32},
    {kRewrite, "of_pop_vlan", nullptr, kInteger, 0, Rewrite::Kind::PopVlan},
    {kRewrite, "of_push_vlan", "ethertype", kInteger, 16, Rewrite::Kind::PushVlan},
    {kRewrite, "of_set_vlan_vid", "vlan_vid", kInteger, 12, Rewrite::Kind::SetVlanVid},
    {kRewrite, "of_set_vlan_pcp", "vlan_pcp", kInteger, 3, Rewrite::Kind::SetVlanPcp},
    {kRewrite, "set_mac_src", "mac_addr", FieldType::Mac, 48, Rewrite::Kind::SetMacSrc},
    {kRewrite, "set_mac_dst", "mac_addr", FieldType::Mac, 48, Rewrite::Kind::SetMacDst},
    {kRewrite, "set_ipv4_src", "ipv4_addr", FieldType::Ipv4, 32, Rewrite::Kind::SetIpv4Src},
    {kRewrite, "set_ipv4_dst", "ipv4_addr", FieldType::Ipv4, 32, Rewrite::Kind::SetIpv4Dst},
    {kRewrite, "set_ipv6_src", "ipv6_addr", FieldType::Ipv6, 128, Rewrite::Kind::SetIpv6Src},
    {kRewrite, "set_ipv6_dst", "ipv6_addr", FieldType::Ipv6, 128, Rewrite::Kind::SetIpv6Dst},
    {kRewrite, "set_tp_src", "port", kInteger, 16, Rewrite::Kind::SetTpSrc},
    {kRewrite, "set_tp_dst", "port", kInteger, 16, Rewrite::Kind::SetTpDst},
    {kRewrite, "set_ttl", "ttl_value", kInteger, 8, Rewrite::Kind::SetTtl},
    {kRewrite, "dec_ttl", nullptr, kInteger, 0, Rewrite::Kind::DecTtl},
});

// Every kind is in the table.
const ActionName *name_of(ActionKind kind) { return &*std::ranges::find(kActionNames, kind, &ActionName::kind); }

const ActionName *name_of(Rewrite::Kind kind) {
    const auto is_it = [kind](const ActionName &name) { return name.kind == kRewrite && name.rewrite == kind; };
    return &*std::ranges::find_if(kActionNames, is_it);
}

Action listed(const Rewrite &rewrite) {
    Action action{.name = name_of(rewrite.kind), .value = rewrite.value, .rss = {}};
    if (action.name->type != kInteger) {
        action.value = 0;
        for (size_t i = 0; i < action.name->width / 8U; i++)
            action.value = action.value << 8 | rewrite.bytes[i];
    }
    return action;
}

Rewrite rewrite_of(const Action &action) {
    Rewrite rewrite{.kind = action.name->rewrite};
    if (action.name->type == kInteger)
        rewrite.value = static_cast<uint16_t>(action.value);
    else
        for (size_t i = action.name->width / 8U, shift = 0; i-- > 0; shift += 8)
            rewrite.bytes[i] = static_cast<uint8_t>(action.value >> shift);
    return rewrite;
}

Action listed(ActionKind kind, FieldBits value = 0) { return {.name = name_of(kind), .value = value, .rss = {}}; }

Action listed_fate(const Actions &actions) {
    switch (actions.fate) {
    case Fate::Queue:
        return listed(ActionKind::Queue, actions.queue);
    case Fate::Drop:
        return listed(ActionKind::Drop);
    case Fate::Jump:
        return listed(ActionKind::Jump, actions.group);
    case Fate::Rss: {
        if (actions.shared_rss)
            return listed(ActionKind::Indirect, *actions.shared_rss);
        Action action = listed(ActionKind::Rss);
        action.rss = actions.rss ? actions.rss : std::make_shared<RssAction>();
        return action;
    }
    default:
        return listed(ActionKind::PassThrough);
    }
}

/// Remembers a fate, of which a rule has one.
Result<void> set_fate(Actions &actions, Fate fate) {
    if (actions.fate != Fate::None)
        return Error{EINVAL, "add action", "the actions before have said already what becomes of the packet"};
    actions.fate = fate;
    return {};
}

Result<void> only_once(bool there) {
    if (there)
        return Error{EINVAL, "add action", "the rule has one already"};
    return {};
}

} // namespace

std::span<const ActionName> action_names() { return kActionNames; }

const ActionName *action_by_name(std::string_view name) {
    for (const ActionName &known : kActionNames)
        if (name == known.name)
            return &known;
    return nullptr;
}

std::vector<Action> actions_of(const Actions &actions) {
    std::vector<Action> list;
    if (actions.mark)
        list.push_back(listed(ActionKind::Mark, *actions.mark));
    if (actions.flag)
        list.push_back(listed(ActionKind::Flag));
    if (actions.count && actions.shared_count) {
        list.push_back(listed(ActionKind::Indirect, *actions.shared_count));
        list.back().shared = ActionKind::Count;
    } else if (actions.count) {
        list.push_back(listed(ActionKind::Count));
    }
    for (const Rewrite &rewrite : actions.rewrites)
        list.push_back(listed(rewrite));
    if (actions.fate != Fate::None)
        list.push_back(listed_fate(actions));
    return list;
}

Result<void> add_action(Actions &actions, const Action &action) {
    const bool shared = action.name->kind == ActionKind::Indirect;
    Result<void> added;
    switch (shared ? action.shared : action.name->kind) {
    case ActionKind::PassThrough:
        return set_fate(actions, Fate::PassThrough);
    case ActionKind::Drop:
        return set_fate(actions, Fate::Drop);
    case ActionKind::Queue:
        if (added = set_fate(actions, Fate::Queue); added)
            actions.queue = static_cast<uint16_t>(action.value);
        return added;
    case ActionKind::Jump:
        if (added = set_fate(actions, Fate::Jump); added)
            actions.group = static_cast<uint32_t>(action.value);
        return added;
    case ActionKind::Mark:
        if (added = only_once(actions.mark.has_value()); added)
            actions.mark = static_cast<uint32_t>(action.value);
        return added;
    case ActionKind::Flag:
        added = only_once(actions.flag);
        actions.flag = true;
        return added;
    case ActionKind::Rewrite:
        actions.rewrites.push_back(rewrite_of(action));
        return added;
    case ActionKind::Count:
        if (added = only_once(actions.count); !added)
            return added;
        actions.count = true;
        if (shared)
            actions.shared_count = static_cast<uint32_t>(action.value);
        return added;
    default:
        break;
    }
    if (added = set_fate(actions, Fate::Rss); !added)
        return added;
    if (shared)
        actions.shared_rss = static_cast<uint32_t>(action.value);
    else
        actions.rss = action.rss;
    return added;
}

std::string key_text(const std::vector<uint8_t> &key) {
    static constexpr std::string_view digits = "0123456789abcdef";
    std::string text;
    for (const uint8_t byte : key) {
        text += digits[byte >> 4];
        text += digits[byte & 0xf];
    }
    return text;
}

Result<std::vector<uint8_t>> parse_key(std::string_view text) {
    if (text.starts_with("0x") || text.starts_with("0X"))
        text.remove_prefix(2);
    std::vector<uint8_t> key(text.size() / 2);
    bool good = !text.empty() && text.size() % 2 == 0;
    for (size_t i = 0; good && i < key.size(); i++) {
        const char *digits = text.data() + 2 * i;
        const auto [end, error] = std::from_chars(digits, digits + 2, key[i], 16);
        good = error == std::errc{} && end == digits + 2;
    }
    if (!good)
        return Error{EINVAL, "read RSS key", "expected an even number of hexadecimal digits"};
    return key;
}

} // namespace tapflow::flow
