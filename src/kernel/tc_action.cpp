// SPDX-License-Identifier: BSD-3-Clause
#include "kernel/tc_action.h"

#include "kernel/attribute.h"

#include <arpa/inet.h>
#include <linux/gen_stats.h>
#include <linux/pkt_cls.h>
#include <linux/tc_act/tc_bpf.h>
#include <linux/tc_act/tc_csum.h>
#include <linux/tc_act/tc_gact.h>
#include <linux/tc_act/tc_mirred.h>
#include <linux/tc_act/tc_pedit.h>
#include <linux/tc_act/tc_skbedit.h>
#include <linux/tc_act/tc_vlan.h>

#include <array>
#include <limits>

namespace tapflow::kernel {
namespace {

constexpr uint32_t kGotoChain = static_cast<uint32_t>(Control::Code::GotoChain);
constexpr uint32_t kChainMask = 0x0fffffff; // TC_ACT_EXT_VAL_MASK

int32_t to_wire(const Control &control) {
    if (control.code != Control::Code::GotoChain)
        return static_cast<int32_t>(control.code);
    return static_cast<int32_t>(kGotoChain | (control.chain & kChainMask));
}

Control control_from_wire(int32_t action) {
    const auto bits = static_cast<uint32_t>(action);
    if ((bits & ~kChainMask) == kGotoChain)
        return {Control::Code::GotoChain, bits & kChainMask};
    return {static_cast<Control::Code>(action), 0};
}

/// What all actions' parameters begin with (tc_gen).
template <typename Parameters> Parameters parameters_of(const TcAction &action) {
    Parameters parameters{};
    parameters.index = action.index;
    parameters.action = to_wire(action.then);
    return parameters;
}

template <typename Parameters>
std::optional<Parameters> parse_parameters(const nlattr *options, int type, TcAction &action) {
    const auto parameters = value_in<Parameters>(options, type);
    if (parameters) {
        action.index = parameters->index;
        action.then = control_from_wire(parameters->action);
    }
    return parameters;
}

template <typename T> bool put(nl_msg *message, int type, const T &value) {
    static_assert(std::is_trivially_copyable_v<T>);
    return nla_put(message, type, sizeof(value), &value) == 0;
}
template <typename T> bool put_if_given(nl_msg *message, int type, const std::optional<T> &value) {
    return !value || put(message, type, *value);
}

bool put_options(nl_msg *message, const TcAction &action, const Gact & /*gact*/) {
    return put(message, TCA_GACT_PARMS, parameters_of<tc_gact>(action));
}

bool parse(const nlattr *options, TcAction &action, Gact & /*gact*/) {
    return parse_parameters<tc_gact>(options, TCA_GACT_PARMS, action).has_value();
}

bool put_options(nl_msg *message, const TcAction &action, const Mirred &mirred) {
    auto parameters = parameters_of<tc_mirred>(action);
    parameters.ifindex = static_cast<uint32_t>(mirred.ifindex);
    if (mirred.ingress)
        parameters.eaction = mirred.mirror ? TCA_INGRESS_MIRROR : TCA_INGRESS_REDIR;
    else
        parameters.eaction = mirred.mirror ? TCA_EGRESS_MIRROR : TCA_EGRESS_REDIR;
    return put(message, TCA_MIRRED_PARMS, parameters);
}

bool parse(const nlattr *options, TcAction &action, Mirred &mirred) {
    const auto parameters = parse_parameters<tc_mirred>(options, TCA_MIRRED_PARMS, action);
    if (!parameters)
        return false;
    mirred.ifindex = static_cast<int>(parameters->ifindex);
    mirred.mirror = parameters->eaction == TCA_EGRESS_MIRROR || parameters->eaction == TCA_INGRESS_MIRROR;
    mirred.ingress = parameters->eaction == TCA_INGRESS_REDIR || parameters->eaction == TCA_INGRESS_MIRROR;
    return true;
}

bool put_options(nl_msg *message, const TcAction &action, const Skbedit &skbedit) {
    return put(message, TCA_SKBEDIT_PARMS, parameters_of<tc_skbedit>(action)) &&
           put_if_given(message, TCA_SKBEDIT_PRIORITY, skbedit.priority) &&
           put_if_given(message, TCA_SKBEDIT_QUEUE_MAPPING, skbedit.queue_mapping) &&
           put_if_given(message, TCA_SKBEDIT_MARK, skbedit.mark) &&
           put_if_given(message, TCA_SKBEDIT_MASK, skbedit.mark_mask);
}

bool parse(const nlattr *options, TcAction &action, Skbedit &skbedit) {
    skbedit.priority = value_in<uint32_t>(options, TCA_SKBEDIT_PRIORITY);
    skbedit.queue_mapping = value_in<uint16_t>(options, TCA_SKBEDIT_QUEUE_MAPPING);
    skbedit.mark = value_in<uint32_t>(options, TCA_SKBEDIT_MARK);
    skbedit.mark_mask = value_in<uint32_t>(options, TCA_SKBEDIT_MASK);
    return parse_parameters<tc_skbedit>(options, TCA_SKBEDIT_PARMS, action).has_value();
}

bool put_options(nl_msg *message, const TcAction &action, const BpfAction &bpf) {
    return put(message, TCA_ACT_BPF_PARMS, parameters_of<tc_act_bpf>(action)) &&
           put(message, TCA_ACT_BPF_FD, bpf.program_fd) &&
           nla_put_string(message, TCA_ACT_BPF_NAME, bpf.name.c_str()) == 0;
}

bool parse(const nlattr *options, TcAction &action, BpfAction &bpf) {
    bpf.program_fd = value_in<int>(options, TCA_ACT_BPF_FD).value_or(-1);
    bpf.program_id = value_in<uint32_t>(options, TCA_ACT_BPF_ID).value_or(0);
    bpf.name = text_of(find_in(options, TCA_ACT_BPF_NAME));
    return parse_parameters<tc_act_bpf>(options, TCA_ACT_BPF_PARMS, action).has_value();
}

bool put_options(nl_msg *message, const TcAction &action, const VlanEdit &vlan) {
    auto parameters = parameters_of<tc_vlan>(action);
    parameters.v_action = static_cast<int>(vlan.verb);
    auto protocol = vlan.protocol;
    if (protocol)
        protocol = htons(*protocol);
    return put(message, TCA_VLAN_PARMS, parameters) && put_if_given(message, TCA_VLAN_PUSH_VLAN_ID, vlan.id) &&
           put_if_given(message, TCA_VLAN_PUSH_VLAN_PROTOCOL, protocol) &&
           put_if_given(message, TCA_VLAN_PUSH_VLAN_PRIORITY, vlan.priority);
}

bool parse(const nlattr *options, TcAction &action, VlanEdit &vlan) {
    const auto parameters = parse_parameters<tc_vlan>(options, TCA_VLAN_PARMS, action);
    if (!parameters || parameters->v_action > TCA_VLAN_ACT_MODIFY) // of those behind, VlanEdit has none
        return false;
    vlan.verb = static_cast<VlanEdit::Verb>(parameters->v_action);
    vlan.id = value_in<uint16_t>(options, TCA_VLAN_PUSH_VLAN_ID);
    vlan.protocol = value_in<uint16_t>(options, TCA_VLAN_PUSH_VLAN_PROTOCOL);
    if (vlan.protocol)
        vlan.protocol = ntohs(*vlan.protocol);
    vlan.priority = value_in<uint8_t>(options, TCA_VLAN_PUSH_VLAN_PRIORITY);
    return true;
}

bool put_header_type(nl_msg *message, const Pedit::Key &key) {
    return put_nest(message, TCA_PEDIT_KEY_EX, [&] {
        return put(message, TCA_PEDIT_KEY_EX_HTYPE, key.header) &&
               put<uint16_t>(message, TCA_PEDIT_KEY_EX_CMD,
                             key.add ? TCA_PEDIT_KEY_EX_CMD_ADD : TCA_PEDIT_KEY_EX_CMD_SET);
    });
}

bool put_options(nl_msg *message, const TcAction &action, const Pedit &pedit) {
    auto selector = parameters_of<tc_pedit_sel>(action);
    if (pedit.keys.size() > std::numeric_limits<decltype(selector.nkeys)>::max())
        return false;
    selector.nkeys = static_cast<decltype(selector.nkeys)>(pedit.keys.size());
    const size_t bytes = sizeof(selector) + pedit.keys.size() * sizeof(tc_pedit_key);
    nlattr *parameters = nla_reserve(message, TCA_PEDIT_PARMS_EX, static_cast<int>(bytes));
    if (!parameters)
        return false;
    auto *at = static_cast<char *>(nla_data(parameters));
    std::memcpy(at, &selector, sizeof(selector));
    at += sizeof(selector);
    for (const Pedit::Key &key : pedit.keys) {
        tc_pedit_key word{};
        word.mask = key.mask;
        word.val = key.value;
        word.off = key.offset;
        std::memcpy(at, &word, sizeof(word));
        at += sizeof(word);
    }
    return put_nest(message, TCA_PEDIT_KEYS_EX, [&] {
        for (const Pedit::Key &key : pedit.keys)
            if (!put_header_type(message, key))
                return false;
        return true;
    });
}

bool parse(const nlattr *options, TcAction &action, Pedit &pedit) {
    const auto selector = parse_parameters<tc_pedit_sel>(options, TCA_PEDIT_PARMS_EX, action);
    if (!selector)
        return false;
    const nlattr *parameters = find_in(options, TCA_PEDIT_PARMS_EX);
    const size_t bytes = sizeof(*selector) + selector->nkeys * sizeof(tc_pedit_key);
    if (static_cast<size_t>(nla_len(parameters)) < bytes)
        return false;
    const char *at = static_cast<const char *>(nla_data(parameters)) + sizeof(*selector);
    for (unsigned i = 0; i < selector->nkeys; i++, at += sizeof(tc_pedit_key)) {
        tc_pedit_key word;
        std::memcpy(&word, at, sizeof(word));
        pedit.keys.push_back({Pedit::Header::Network, false, word.off, word.mask, word.val});
    }
    size_t i = 0;
    const nlattr *types = find_in(options, TCA_PEDIT_KEYS_EX);
    const nlattr *type = types ? static_cast<const nlattr *>(nla_data(types)) : nullptr;
    int remaining = types ? nla_len(types) : 0;
    for (; nla_ok(type, remaining) && i < pedit.keys.size(); type = nla_next(type, &remaining), i++) {
        pedit.keys[i].header = static_cast<Pedit::Header>(value_in<uint16_t>(type, TCA_PEDIT_KEY_EX_HTYPE).value_or(0));
        pedit.keys[i].add = value_in<uint16_t>(type, TCA_PEDIT_KEY_EX_CMD) == uint16_t{TCA_PEDIT_KEY_EX_CMD_ADD};
    }
    return true;
}

bool put_options(nl_msg *message, const TcAction &action, const Csum &csum) {
    auto parameters = parameters_of<tc_csum>(action);
    parameters.update_flags = csum.flags;
    return put(message, TCA_CSUM_PARMS, parameters);
}

bool parse(const nlattr *options, TcAction &action, Csum &csum) {
    const auto parameters = parse_parameters<tc_csum>(options, TCA_CSUM_PARMS, action);
    csum.flags = parameters ? parameters->update_flags : 0;
    return parameters.has_value();
}

template <typename What> bool parse_as(const nlattr *options, TcAction &action) {
    return parse(options, action, action.what.emplace<What>());
}

struct Kind {
    const char *name; ///< TCA_ACT_KIND
    bool (*parse)(const nlattr *options, TcAction &action);
};
/// In the order of TcAction::what.
constexpr std::array kKinds{
    Kind{"gact", parse_as<Gact>},     Kind{"mirred", parse_as<Mirred>}, Kind{"skbedit", parse_as<Skbedit>},
    Kind{"bpf", parse_as<BpfAction>}, Kind{"vlan", parse_as<VlanEdit>}, Kind{"pedit", parse_as<Pedit>},
    Kind{"csum", parse_as<Csum>},
};
static_assert(kKinds.size() == std::variant_size_v<decltype(TcAction::what)>);

bool put_action(nl_msg *message, int order, const TcAction &action) {
    return put_nest(message, order, [&] {
        if (nla_put_string(message, TCA_ACT_KIND, kKinds[action.what.index()].name) < 0)
            return false;
        if (!put_nest(message, TCA_ACT_OPTIONS, [&] {
                return std::visit([&](const auto &what) { return put_options(message, action, what); }, action.what);
            }))
            return false;
        return action.cookie.empty() ||
               nla_put(message, TCA_ACT_COOKIE, static_cast<int>(action.cookie.size()), action.cookie.data()) == 0;
    });
}

ActionCount parse_count(const nlattr *statistics) {
    const auto basic = value_in<gnet_stats_basic>(statistics, TCA_STATS_BASIC);
    if (!basic)
        return {};
    return {value_in<uint64_t>(statistics, TCA_STATS_PKT64).value_or(basic->packets), basic->bytes};
}

ToldAction parse_action(const nlattr *attribute) {
    ToldAction told;
    told.kind = text_of(find_in(attribute, TCA_ACT_KIND));
    if (const nlattr *cookie = find_in(attribute, TCA_ACT_COOKIE))
        told.cookie.assign(static_cast<const char *>(nla_data(cookie)), static_cast<size_t>(nla_len(cookie)));
    told.count = parse_count(find_in(attribute, TCA_ACT_STATS));
    for (const Kind &kind : kKinds) {
        TcAction action;
        if (told.kind != kind.name || !kind.parse(find_in(attribute, TCA_ACT_OPTIONS), action))
            continue;
        action.cookie = told.cookie;
        told.action = std::move(action);
    }
    return told;
}

} // namespace

bool put_actions(nl_msg *message, int type, const std::vector<TcAction> &actions) {
    return put_nest(message, type, [&] {
        int order = 0;
        for (const TcAction &action : actions)
            if (!put_action(message, ++order, action))
                return false;
        return true;
    });
}

std::vector<ToldAction> parse_actions(const nlattr *attribute) {
    std::vector<ToldAction> actions;
    if (!attribute)
        return actions;
    int remaining = nla_len(attribute);
    const auto *each = static_cast<const nlattr *>(nla_data(attribute));
    for (; nla_ok(each, remaining); each = nla_next(each, &remaining))
        actions.push_back(parse_action(each));
    return actions;
}

} // namespace tapflow::kernel
