// SPDX-License-Identifier: BSD-3-Clause
#include "pmd/flow.h"

#include "engine/flow_rules.h"
#include "flow/text.h"
#include "pmd/flow_actions.h"
#include "pmd/flow_convert.h"
#include "pmd/shared.h"

#include <rte_errno.h>

#include <cstdio>
#include <new>
#include <string>
#include <utility>
#include <vector>

namespace tapflow::pmd {
namespace {

using engine::FlowRules;

/// Runs an operation that returns 0 or -errno with `error` filled in.
template <typename Operation> int guarded(rte_flow_error *error, Operation operation) noexcept {
    try {
        const int status = operation();
        if (status == 0)
            rte_errno = 0;
        return status;
    } catch (const std::bad_alloc &) {
        return refuse(error, ENOMEM, RTE_FLOW_ERROR_TYPE_UNSPECIFIED, nullptr, "flow rules", "out of memory");
    } catch (...) {
        return refuse(error, EIO, RTE_FLOW_ERROR_TYPE_UNSPECIFIED, nullptr, "flow rules", "unexpected error");
    }
}

int report(rte_flow_error *error, rte_flow_error_type type, const void *cause, const Result<void> &result) {
    return result ? 0 : refuse(error, type, cause, result.error());
}

const engine::Flow *to_flow(const rte_flow *handle) { return reinterpret_cast<const engine::Flow *>(handle); }

// ---- rules

/// What `ask` says of a rule: nothing, or why not.
template <typename Ask> int ask_for(const FlowRequest &request, rte_flow_error *error, Ask ask) noexcept {
    return guarded(error, [&] {
        flow::Rule rule;
        if (int status = convert(request, rule, error))
            return status;
        const std::optional<flow::Refusal> refusal = ask(rule);
        return refusal ? refuse(error, request, *refusal) : 0;
    });
}

int validate(rte_eth_dev *dev, const rte_flow_attr *attr, const rte_flow_item *pattern, const rte_flow_action *actions,
             rte_flow_error *error) {
    return ask_for({attr, pattern, actions}, error,
                   [dev](const flow::Rule &rule) { return port(dev).flows().check(rule); });
}

rte_flow *create(rte_eth_dev *dev, const rte_flow_attr *attr, const rte_flow_item *pattern,
                 const rte_flow_action *actions, rte_flow_error *error) {
    engine::Flow *flow = nullptr;
    ask_for({attr, pattern, actions}, error, [&](const flow::Rule &rule) -> std::optional<flow::Refusal> {
        FlowRules::Created created = port(dev).flows().create(rule);
        flow = created.flow;
        if (!flow)
            return std::move(created.refusal);
        return std::nullopt;
    });
    return reinterpret_cast<rte_flow *>(flow);
}

int destroy(rte_eth_dev *dev, rte_flow *flow, rte_flow_error *error) {
    return guarded(error, [&] {
        return report(error, RTE_FLOW_ERROR_TYPE_HANDLE, flow, port(dev).flows().destroy(to_flow(flow)));
    });
}

int flush(rte_eth_dev *dev, rte_flow_error *error) {
    return guarded(error,
                   [&] { return report(error, RTE_FLOW_ERROR_TYPE_UNSPECIFIED, nullptr, port(dev).flows().flush()); });
}

bool asks_for_reset(const void *data) { return static_cast<const rte_flow_query_count *>(data)->reset != 0; }

int answer(void *data, const engine::FlowCount &count) {
    auto *out = static_cast<rte_flow_query_count *>(data);
    out->hits_set = 1;
    out->bytes_set = 1;
    out->hits = count.packets;
    out->bytes = count.bytes;
    return 0;
}

int query(rte_eth_dev *dev, rte_flow *flow, const rte_flow_action *action, void *data, rte_flow_error *error) {
    return guarded(error, [&] {
        if (!action || !data)
            return refuse(error, EINVAL, RTE_FLOW_ERROR_TYPE_ACTION, action, "query flow rule",
                          "there is no action, or no place for the answer");
        if (action->type != RTE_FLOW_ACTION_TYPE_COUNT)
            return refuse_action(error, ENOTSUP, RTE_FLOW_ERROR_TYPE_ACTION, *action, "only COUNT can be queried");
        const auto count = port(dev).flows().query(to_flow(flow), asks_for_reset(data));
        if (!count && count.error().code == ENOENT)
            return refuse(error, RTE_FLOW_ERROR_TYPE_HANDLE, flow, count.error());
        return count ? answer(data, *count) : refuse(error, RTE_FLOW_ERROR_TYPE_ACTION, action, count.error());
    });
}

int isolate(rte_eth_dev *dev, int on, rte_flow_error *error) {
    return guarded(error, [&] {
        port(dev).set_isolated(on != 0);
        return 0;
    });
}

// ---- showing them

/// One line: the rule as testpmd takes it, and behind it what it has counted.
int print(FlowRules &flows, const flow::Rule &rule, const engine::Flow *flow, FILE *file) {
    std::string line = flow::to_text(rule);
    if (rule.actions.count)
        if (const auto count = flows.query(flow, false))
            line += " # " + std::to_string(count->packets) + " packets, " + std::to_string(count->bytes) + " bytes";
    line += '\n';
    return std::fputs(line.c_str(), file) < 0 ? EIO : 0;
}

int dev_dump(rte_eth_dev *dev, rte_flow *flow, FILE *file, rte_flow_error *error) {
    return guarded(error, [&] {
        FlowRules &flows = port(dev).flows();
        std::vector<std::pair<flow::Rule, const engine::Flow *>> shown;
        if (flow) {
            auto rule = flows.rule(to_flow(flow));
            if (!rule)
                return refuse(error, RTE_FLOW_ERROR_TYPE_HANDLE, flow, rule.error());
            shown.emplace_back(*std::move(rule), to_flow(flow));
        } else {
            flows.for_each([&](const flow::Rule &rule, const engine::Flow *each) { shown.emplace_back(rule, each); });
        }
        for (const auto &[rule, each] : shown)
            if (int code = print(flows, rule, each, file))
                return refuse(error, code, RTE_FLOW_ERROR_TYPE_UNSPECIFIED, nullptr, "dump flow rules",
                              "the file cannot be written");
        return 0;
    });
}

// ---- indirect actions

int check_indirect(const rte_flow_indir_action_conf *conf, const rte_flow_action *action, rte_flow_error *error) {
    if (!conf || !action)
        return refuse(error, EINVAL, RTE_FLOW_ERROR_TYPE_ACTION, action, "indirect action",
                      "there is no configuration, or no action");
    if (conf->transfer)
        return refuse(error, ENOTSUP, RTE_FLOW_ERROR_TYPE_ATTR_TRANSFER, conf, "indirect action",
                      "there is no switch behind this port");
    if (!conf->ingress && !conf->egress)
        return refuse(error, EINVAL, RTE_FLOW_ERROR_TYPE_ATTR, conf, "indirect action",
                      "one of ingress and egress is needed");
    return 0;
}

/// The handle of what was made, or why not.
int hand_out(const Result<uint32_t> &number, SharedAction::Kind kind, const rte_flow_action &action,
             rte_flow_error *error, rte_flow_action_handle *&handle) {
    if (!number)
        return refuse(error, RTE_FLOW_ERROR_TYPE_ACTION_CONF, &action, number.error());
    handle = to_handle({kind, *number});
    return 0;
}

rte_flow_action_handle *action_handle_create(rte_eth_dev *dev, const rte_flow_indir_action_conf *conf,
                                             const rte_flow_action *action, rte_flow_error *error) {
    rte_flow_action_handle *handle = nullptr;
    guarded(error, [&] {
        if (int status = check_indirect(conf, action, error))
            return status;
        FlowRules &flows = port(dev).flows();
        if (action->type == RTE_FLOW_ACTION_TYPE_COUNT)
            return hand_out(flows.create_shared_count(), SharedAction::Kind::Count, *action, error, handle);
        if (action->type != RTE_FLOW_ACTION_TYPE_RSS)
            return refuse_action(error, ENOTSUP, RTE_FLOW_ERROR_TYPE_ACTION, *action,
                                 "only RSS and COUNT can be indirect");
        flow::RssAction rss;
        if (int status = convert_rss(*action, rss, error))
            return status;
        return hand_out(flows.create_shared_rss(rss), SharedAction::Kind::Rss, *action, error, handle);
    });
    return handle;
}

int action_handle_destroy(rte_eth_dev *dev, rte_flow_action_handle *handle, rte_flow_error *error) {
    return guarded(error, [&] {
        return report(error, RTE_FLOW_ERROR_TYPE_HANDLE, handle,
                      port(dev).flows().destroy_shared(from_handle(handle).number));
    });
}

/// `update` is an action of the handle's type.
int action_handle_update(rte_eth_dev *dev, rte_flow_action_handle *handle, const void *update, rte_flow_error *error) {
    return guarded(error, [&] {
        const auto *action = static_cast<const rte_flow_action *>(update);
        const SharedAction shared = from_handle(handle);
        if (shared.kind != SharedAction::Kind::Rss)
            return refuse(error, ENOTSUP, RTE_FLOW_ERROR_TYPE_HANDLE, handle, "update indirect action",
                          "of a COUNT there is nothing to update");
        if (!action || action->type != RTE_FLOW_ACTION_TYPE_RSS)
            return refuse(error, EINVAL, RTE_FLOW_ERROR_TYPE_ACTION, action, "update indirect action",
                          "it is an RSS action and can become no other");
        flow::RssAction rss;
        if (int status = convert_rss(*action, rss, error))
            return status;
        const auto updated = port(dev).flows().update_shared_rss(shared.number, rss);
        if (!updated && updated.error().code == ENOENT)
            return refuse(error, RTE_FLOW_ERROR_TYPE_HANDLE, handle, updated.error());
        return report(error, RTE_FLOW_ERROR_TYPE_ACTION_CONF, action, updated);
    });
}

int action_handle_query(rte_eth_dev *dev, const rte_flow_action_handle *handle, void *data, rte_flow_error *error) {
    return guarded(error, [&] {
        const SharedAction shared = from_handle(handle);
        if (shared.kind != SharedAction::Kind::Count)
            return refuse(error, ENOTSUP, RTE_FLOW_ERROR_TYPE_HANDLE, handle, "query indirect action",
                          "only COUNT can be queried");
        if (!data)
            return refuse(error, EINVAL, RTE_FLOW_ERROR_TYPE_UNSPECIFIED, nullptr, "query indirect action",
                          "there is no place for the answer");
        const auto count = port(dev).flows().query_shared_count(shared.number, asks_for_reset(data));
        return count ? answer(data, *count) : refuse(error, RTE_FLOW_ERROR_TYPE_HANDLE, handle, count.error());
    });
}

} // namespace

constexpr rte_flow_ops kFlowOps = [] {
    rte_flow_ops ops{};
    ops.validate = validate;
    ops.create = create;
    ops.destroy = destroy;
    ops.flush = flush;
    ops.query = query;
    ops.isolate = isolate;
    ops.dev_dump = dev_dump;
    ops.action_handle_create = action_handle_create;
    ops.action_handle_destroy = action_handle_destroy;
    ops.action_handle_update = action_handle_update;
    ops.action_handle_query = action_handle_query;
    return ops;
}();

} // namespace tapflow::pmd
