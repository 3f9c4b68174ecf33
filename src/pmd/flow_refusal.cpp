// SPDX-License-Identifier: BSD-3-Clause
#include "pmd/flow_refusal.h"

#include "pmd/flow_actions.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string>

namespace tapflow::pmd {
namespace {

struct Blamed {
    rte_flow_error_type type;
    const void *cause;
};

/// The first action that is of one kind: `belongs` tells.
template <typename Belongs> Blamed first_action(const rte_flow_action *actions, Belongs belongs) {
    for (const rte_flow_action *action = actions; action->type != RTE_FLOW_ACTION_TYPE_END; action++)
        if (belongs(*action))
            return {RTE_FLOW_ERROR_TYPE_ACTION_CONF, action};
    return {RTE_FLOW_ERROR_TYPE_ACTION, actions};
}

Blamed first_action_of(const rte_flow_action *actions, rte_flow_action_type type) {
    return first_action(actions, [type](const rte_flow_action &action) { return action.type == type; });
}

Blamed blame(const FlowRequest &request, flow::Part part) {
    switch (part) {
    case flow::Part::Group:
        return {RTE_FLOW_ERROR_TYPE_ATTR_GROUP, request.attr};
    case flow::Part::Priority:
        return {RTE_FLOW_ERROR_TYPE_ATTR_PRIORITY, request.attr};
    case flow::Part::Direction:
        return {request.attr->egress ? RTE_FLOW_ERROR_TYPE_ATTR_EGRESS : RTE_FLOW_ERROR_TYPE_ATTR_INGRESS,
                request.attr};
    case flow::Part::Pattern:
        return {RTE_FLOW_ERROR_TYPE_ITEM, request.pattern};
    case flow::Part::Actions:
        return {RTE_FLOW_ERROR_TYPE_ACTION, request.actions};
    case flow::Part::Mark:
        return first_action(request.actions, [](const rte_flow_action &action) {
            return action.type == RTE_FLOW_ACTION_TYPE_MARK || action.type == RTE_FLOW_ACTION_TYPE_FLAG;
        });
    case flow::Part::Queue:
        return first_action_of(request.actions, RTE_FLOW_ACTION_TYPE_QUEUE);
    case flow::Part::Rss:
        return first_action(request.actions, [](const rte_flow_action &action) {
            return action.type == RTE_FLOW_ACTION_TYPE_RSS || names_shared(action, SharedAction::Kind::Rss);
        });
    case flow::Part::Jump:
        return first_action_of(request.actions, RTE_FLOW_ACTION_TYPE_JUMP);
    case flow::Part::Rewrite:
        return first_action(request.actions, [](const rte_flow_action &action) { return is_rewrite(action.type); });
    case flow::Part::Other:
        break;
    }
    return {RTE_FLOW_ERROR_TYPE_UNSPECIFIED, nullptr};
}

} // namespace

int refuse(rte_flow_error *error, int code, rte_flow_error_type type, const void *cause, std::string_view what,
           std::string_view why) {
    thread_local std::array<char, 256> message;
    size_t size = 0;
    for (const std::string_view part : {what, std::string_view(why.empty() ? "" : ": "), why})
        size += part.substr(0, message.size() - 1 - size).copy(message.data() + size, message.size() - 1 - size);
    message[size] = 0;
    return rte_flow_error_set(error, code, type, cause, message.data());
}

int refuse(rte_flow_error *error, rte_flow_error_type type, const void *cause, const Error &reason) {
    return refuse(error, reason.code, type, cause, reason.what,
                  reason.detail.empty() ? std::strerror(reason.code) : reason.detail.c_str());
}

int refuse(rte_flow_error *error, const FlowRequest &request, const flow::Refusal &refusal) {
    const Blamed blamed = blame(request, refusal.part);
    return refuse(error, blamed.type, blamed.cause, refusal.error);
}

int refuse_action(rte_flow_error *error, int code, rte_flow_error_type type, const rte_flow_action &action,
                  std::string_view why) {
    std::array<char, 64> what{};
    snprintf(what.data(), what.size(), "action %s", name_of(action.type));
    return refuse(error, code, type, &action, what.data(), why);
}

const char *name_of(rte_flow_item_type type) {
    const char *name = nullptr;
    const auto number = static_cast<uintptr_t>(type);
    const int size = rte_flow_conv(RTE_FLOW_CONV_OP_ITEM_NAME_PTR, &name, sizeof(name),
                                   reinterpret_cast<const void *>(number), nullptr);
    return size > 0 && name ? name : "?";
}

const char *name_of(rte_flow_action_type type) {
    const char *name = nullptr;
    const auto number = static_cast<uintptr_t>(type);
    const int size = rte_flow_conv(RTE_FLOW_CONV_OP_ACTION_NAME_PTR, &name, sizeof(name),
                                   reinterpret_cast<const void *>(number), nullptr);
    return size > 0 && name ? name : "?";
}

} // namespace tapflow::pmd
