// SPDX-License-Identifier: BSD-3-Clause
#include "pmd/flow_actions.h"

#include "pmd/flow_refusal.h"
#include "rss/rss_config.h"

#include <rte_byteorder.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <memory>
#include <utility>

namespace tapflow::pmd {
namespace {

int misconfigured(rte_flow_error *error, int code, const rte_flow_action &action, std::string_view why) {
    return refuse_action(error, code, RTE_FLOW_ERROR_TYPE_ACTION_CONF, action, why);
}

/// One rule's actions on their way.
class ActionReader {
  public:
    ActionReader(flow::Actions &out, rte_flow_error *error) : out_(out), error_(error) {}

    int read(const rte_flow_action &action);

  private:
    /// The action's configuration; null has been refused.
    template <typename Conf> const Conf *conf_of(const rte_flow_action &action) const {
        if (!action.conf)
            misconfigured(error_, EINVAL, action, "its configuration is missing");
        return static_cast<const Conf *>(action.conf);
    }

    int refused() const { return -rte_errno; }
    int contradiction(const rte_flow_action &action, std::string_view why) const {
        return refuse_action(error_, EINVAL, RTE_FLOW_ERROR_TYPE_ACTION, action, why);
    }
    int set_fate(const rte_flow_action &action, flow::Fate fate);
    int set_count(const rte_flow_action &action);
    int read_fate(const rte_flow_action &action);
    int read_mark(const rte_flow_action &action);
    int read_rss(const rte_flow_action &action);
    int read_indirect(const rte_flow_action &action);
    int read_rewrite(const rte_flow_action &action);
    template <typename Conf> int rewrite_bytes(const rte_flow_action &action, flow::Rewrite::Kind kind);
    /// With the value that `value` takes from the configuration.
    template <typename Conf, typename Value>
    int rewrite_value(const rte_flow_action &action, flow::Rewrite::Kind kind, Value value);

    flow::Actions &out_;
    rte_flow_error *error_;
};

int ActionReader::set_fate(const rte_flow_action &action, flow::Fate fate) {
    if (out_.fate != flow::Fate::None)
        return contradiction(action, "a rule has one of QUEUE, RSS, DROP, PASSTHRU and JUMP");
    out_.fate = fate;
    return 0;
}

int ActionReader::set_count(const rte_flow_action &action) {
    if (out_.count)
        return contradiction(action, "a rule has one COUNT");
    out_.count = true;
    return 0;
}

int ActionReader::read_fate(const rte_flow_action &action) {
    switch (action.type) {
    case RTE_FLOW_ACTION_TYPE_DROP:
        return set_fate(action, flow::Fate::Drop);
    case RTE_FLOW_ACTION_TYPE_PASSTHRU:
        return set_fate(action, flow::Fate::PassThrough);
    case RTE_FLOW_ACTION_TYPE_QUEUE:
        if (const auto *queue = conf_of<rte_flow_action_queue>(action)) {
            out_.queue = queue->index;
            return set_fate(action, flow::Fate::Queue);
        }
        return refused();
    default:
        if (const auto *jump = conf_of<rte_flow_action_jump>(action)) {
            out_.group = jump->group;
            return set_fate(action, flow::Fate::Jump);
        }
        return refused();
    }
}

int ActionReader::read_mark(const rte_flow_action &action) {
    if (action.type == RTE_FLOW_ACTION_TYPE_FLAG) {
        if (out_.flag)
            return contradiction(action, "a rule has one FLAG");
        out_.flag = true;
        return 0;
    }
    const auto *mark = conf_of<rte_flow_action_mark>(action);
    if (!mark)
        return refused();
    if (out_.mark)
        return contradiction(action, "a rule has one MARK");
    out_.mark = mark->id;
    return 0;
}

int ActionReader::read_rss(const rte_flow_action &action) {
    auto rss = std::make_shared<flow::RssAction>();
    if (int status = convert_rss(action, *rss, error_))
        return status;
    if (int status = set_fate(action, flow::Fate::Rss))
        return status;
    out_.rss = std::move(rss);
    return 0;
}

int ActionReader::read_indirect(const rte_flow_action &action) {
    if (!action.conf)
        return misconfigured(error_, EINVAL, action, "its handle is missing");
    const SharedAction shared = from_handle(static_cast<const rte_flow_action_handle *>(action.conf));
    if (shared.kind == SharedAction::Kind::Count) {
        if (int status = set_count(action))
            return status;
        out_.shared_count = shared.number;
        return 0;
    }
    if (int status = set_fate(action, flow::Fate::Rss))
        return status;
    out_.shared_rss = shared.number;
    return 0;
}

template <typename Conf> int ActionReader::rewrite_bytes(const rte_flow_action &action, flow::Rewrite::Kind kind) {
    flow::Rewrite rewrite{.kind = kind};
    static_assert(sizeof(Conf) <= sizeof(rewrite.bytes)); // nothing but an address
    const auto *conf = conf_of<Conf>(action);
    if (!conf)
        return refused();
    std::memcpy(rewrite.bytes.data(), conf, sizeof(*conf));
    out_.rewrites.push_back(rewrite);
    return 0;
}

template <typename Conf, typename Value>
int ActionReader::rewrite_value(const rte_flow_action &action, flow::Rewrite::Kind kind, Value value) {
    const auto *conf = conf_of<Conf>(action);
    if (!conf)
        return refused();
    out_.rewrites.push_back({.kind = kind, .value = value(*conf)});
    return 0;
}

int ActionReader::read_rewrite(const rte_flow_action &action) {
    using Kind = flow::Rewrite::Kind;
    const auto port = [](const rte_flow_action_set_tp &conf) { return rte_be_to_cpu_16(conf.port); };
    switch (action.type) {
    case RTE_FLOW_ACTION_TYPE_OF_POP_VLAN:
        out_.rewrites.push_back({.kind = Kind::PopVlan});
        return 0;
    case RTE_FLOW_ACTION_TYPE_OF_PUSH_VLAN:
        return rewrite_value<rte_flow_action_of_push_vlan>(
            action, Kind::PushVlan, [](const auto &conf) { return rte_be_to_cpu_16(conf.ethertype); });
    case RTE_FLOW_ACTION_TYPE_OF_SET_VLAN_VID:
        return rewrite_value<rte_flow_action_of_set_vlan_vid>(
            action, Kind::SetVlanVid, [](const auto &conf) { return rte_be_to_cpu_16(conf.vlan_vid); });
    case RTE_FLOW_ACTION_TYPE_OF_SET_VLAN_PCP:
        return rewrite_value<rte_flow_action_of_set_vlan_pcp>(action, Kind::SetVlanPcp,
                                                              [](const auto &conf) { return conf.vlan_pcp; });
    case RTE_FLOW_ACTION_TYPE_SET_MAC_SRC:
        return rewrite_bytes<rte_flow_action_set_mac>(action, Kind::SetMacSrc);
    case RTE_FLOW_ACTION_TYPE_SET_MAC_DST:
        return rewrite_bytes<rte_flow_action_set_mac>(action, Kind::SetMacDst);
    case RTE_FLOW_ACTION_TYPE_SET_IPV4_SRC:
        return rewrite_bytes<rte_flow_action_set_ipv4>(action, Kind::SetIpv4Src);
    case RTE_FLOW_ACTION_TYPE_SET_IPV4_DST:
        return rewrite_bytes<rte_flow_action_set_ipv4>(action, Kind::SetIpv4Dst);
    case RTE_FLOW_ACTION_TYPE_SET_IPV6_SRC:
        return rewrite_bytes<rte_flow_action_set_ipv6>(action, Kind::SetIpv6Src);
    case RTE_FLOW_ACTION_TYPE_SET_IPV6_DST:
        return rewrite_bytes<rte_flow_action_set_ipv6>(action, Kind::SetIpv6Dst);
    case RTE_FLOW_ACTION_TYPE_SET_TP_SRC:
        return rewrite_value<rte_flow_action_set_tp>(action, Kind::SetTpSrc, port);
    case RTE_FLOW_ACTION_TYPE_SET_TP_DST:
        return rewrite_value<rte_flow_action_set_tp>(action, Kind::SetTpDst, port);
    case RTE_FLOW_ACTION_TYPE_SET_TTL:
        return rewrite_value<rte_flow_action_set_ttl>(action, Kind::SetTtl,
                                                      [](const auto &conf) { return conf.ttl_value; });
    default:
        out_.rewrites.push_back({.kind = Kind::DecTtl});
        return 0;
    }
}

/// Why an action is not one of ours.
const char *why_not(rte_flow_action_type type) {
    switch (type) {
    case RTE_FLOW_ACTION_TYPE_PORT_ID:
    case RTE_FLOW_ACTION_TYPE_PORT_REPRESENTOR:
    case RTE_FLOW_ACTION_TYPE_REPRESENTED_PORT:
    case RTE_FLOW_ACTION_TYPE_PF:
    case RTE_FLOW_ACTION_TYPE_VF:
        return "a rule cannot send packets to another port, there is no switch behind this one";
    case RTE_FLOW_ACTION_TYPE_METER:
        return "packets are not policed";
    case RTE_FLOW_ACTION_TYPE_VXLAN_ENCAP:
    case RTE_FLOW_ACTION_TYPE_VXLAN_DECAP:
    case RTE_FLOW_ACTION_TYPE_NVGRE_ENCAP:
    case RTE_FLOW_ACTION_TYPE_NVGRE_DECAP:
    case RTE_FLOW_ACTION_TYPE_RAW_ENCAP:
    case RTE_FLOW_ACTION_TYPE_RAW_DECAP:
        return "of headers, only VLAN tags are added and taken off";
    case RTE_FLOW_ACTION_TYPE_SET_TAG:
    case RTE_FLOW_ACTION_TYPE_SET_META:
        return "packets carry a MARK and nothing else from rule to application";
    default:
        return "it is not supported";
    }
}

int ActionReader::read(const rte_flow_action &action) {
    switch (action.type) {
    case RTE_FLOW_ACTION_TYPE_VOID:
        return 0;
    case RTE_FLOW_ACTION_TYPE_QUEUE:
    case RTE_FLOW_ACTION_TYPE_DROP:
    case RTE_FLOW_ACTION_TYPE_PASSTHRU:
    case RTE_FLOW_ACTION_TYPE_JUMP:
        return read_fate(action);
    case RTE_FLOW_ACTION_TYPE_RSS:
        return read_rss(action);
    case RTE_FLOW_ACTION_TYPE_MARK:
    case RTE_FLOW_ACTION_TYPE_FLAG:
        return read_mark(action);
    case RTE_FLOW_ACTION_TYPE_COUNT: // its configuration is a number for applications that share counters
        return set_count(action);
    case RTE_FLOW_ACTION_TYPE_INDIRECT:
        return read_indirect(action);
    default:
        return is_rewrite(action.type)
                   ? read_rewrite(action)
                   : refuse_action(error_, ENOTSUP, RTE_FLOW_ERROR_TYPE_ACTION, action, why_not(action.type));
    }
}

} // namespace

int convert_actions(const rte_flow_action *actions, flow::Actions &out, rte_flow_error *error) {
    ActionReader reader(out, error);
    for (const rte_flow_action *action = actions; action->type != RTE_FLOW_ACTION_TYPE_END; action++)
        if (int status = reader.read(*action))
            return status;
    return 0;
}

int convert_rss(const rte_flow_action &action, flow::RssAction &out, rte_flow_error *error) {
    const auto *conf = static_cast<const rte_flow_action_rss *>(action.conf);
    if (!conf)
        return misconfigured(error, EINVAL, action, "its configuration is missing");
    if (conf->func != RTE_ETH_HASH_FUNCTION_DEFAULT) {
        out.function = hash_function(conf->func, {});
        if (!out.function)
            return misconfigured(error, ENOTSUP, action, "func: this hash function is not known");
    }
    if (const uint64_t unknown = conf->types & ~(rss::kAllTypes | rss::kAllModifiers)) {
        std::array<char, 64> why{};
        snprintf(why.data(), why.size(), "types: 0x%" PRIx64 " cannot be hashed by", unknown);
        return misconfigured(error, ENOTSUP, action, why.data());
    }
    if (conf->key_len != 0) {
        if (!conf->key)
            return misconfigured(error, EINVAL, action, "key: there is a length but no key");
        if (conf->key_len != rss::kKeySize && conf->key_len != rss::kLongKeySize)
            return misconfigured(error, EINVAL, action, "key: needed are 40 or 52 bytes");
        out.key.assign(conf->key, conf->key + conf->key_len);
    }
    if (conf->queue_num != 0) {
        if (!conf->queue)
            return misconfigured(error, EINVAL, action, "queues: there is a number but no list");
        if (conf->queue_num > TAPFLOW_RETA_MAX)
            return misconfigured(error, EINVAL, action, "queues: the list is longer than a redirection table");
        out.queues.assign(conf->queue, conf->queue + conf->queue_num);
    }
    out.types = conf->types;
    out.level = conf->level;
    return 0;
}

bool is_rewrite(rte_flow_action_type type) {
    switch (type) {
    case RTE_FLOW_ACTION_TYPE_OF_POP_VLAN:
    case RTE_FLOW_ACTION_TYPE_OF_PUSH_VLAN:
    case RTE_FLOW_ACTION_TYPE_OF_SET_VLAN_VID:
    case RTE_FLOW_ACTION_TYPE_OF_SET_VLAN_PCP:
    case RTE_FLOW_ACTION_TYPE_SET_MAC_SRC:
    case RTE_FLOW_ACTION_TYPE_SET_MAC_DST:
    case RTE_FLOW_ACTION_TYPE_SET_IPV4_SRC:
    case RTE_FLOW_ACTION_TYPE_SET_IPV4_DST:
    case RTE_FLOW_ACTION_TYPE_SET_IPV6_SRC:
    case RTE_FLOW_ACTION_TYPE_SET_IPV6_DST:
    case RTE_FLOW_ACTION_TYPE_SET_TP_SRC:
    case RTE_FLOW_ACTION_TYPE_SET_TP_DST:
    case RTE_FLOW_ACTION_TYPE_SET_TTL:
    case RTE_FLOW_ACTION_TYPE_DEC_TTL:
        return true;
    default:
        return false;
    }
}

// The number, and below it one bit for the kind.

rte_flow_action_handle *to_handle(SharedAction action) {
    const uint64_t bits = uint64_t{action.number} << 1 | (action.kind == SharedAction::Kind::Count ? 1 : 0);
    return reinterpret_cast<rte_flow_action_handle *>(static_cast<uintptr_t>(bits));
}

SharedAction from_handle(const rte_flow_action_handle *handle) {
    const auto bits = reinterpret_cast<uintptr_t>(handle);
    const bool possible = bits >> 1 <= std::numeric_limits<uint32_t>::max();
    return {bits & 1 ? SharedAction::Kind::Count : SharedAction::Kind::Rss,
            possible ? static_cast<uint32_t>(bits >> 1) : 0};
}

bool names_shared(const rte_flow_action &action, SharedAction::Kind kind) {
    return action.type == RTE_FLOW_ACTION_TYPE_INDIRECT &&
           from_handle(static_cast<const rte_flow_action_handle *>(action.conf)).kind == kind;
}

} // namespace tapflow::pmd
