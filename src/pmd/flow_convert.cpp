// SPDX-License-Identifier: BSD-3-Clause
#include "pmd/flow_convert.h"

#include "pmd/flow_actions.h"
#include "pmd/flow_items.h"

namespace tapflow::pmd {
namespace {

int convert_attributes(const rte_flow_attr &attr, flow::Attributes &out, rte_flow_error *error) {
    // rte_flow_validate() says this without asking us, rte_flow_create() does not.
    if (attr.transfer && (attr.ingress || attr.egress))
        return refuse(error, EINVAL, RTE_FLOW_ERROR_TYPE_ATTR, &attr,
                      "cannot use attr ingress/egress with attr transfer", {});
    if (attr.transfer)
        return refuse(error, ENOTSUP, RTE_FLOW_ERROR_TYPE_ATTR_TRANSFER, &attr, "transfer",
                      "there is no switch behind this port");
    if (!attr.ingress && !attr.egress)
        return refuse(error, EINVAL, RTE_FLOW_ERROR_TYPE_ATTR, &attr, "direction",
                      "one of ingress and egress is needed");
    if (attr.ingress && attr.egress)
        return refuse(error, ENOTSUP, RTE_FLOW_ERROR_TYPE_ATTR_EGRESS, &attr, "direction",
                      "a rule is for ingress or for egress, not for both");
    if (attr.reserved)
        return refuse(error, EINVAL, RTE_FLOW_ERROR_TYPE_ATTR, &attr, "reserved attributes", "they must be 0");
    out.group = attr.group;
    out.priority = attr.priority;
    out.direction = attr.egress ? flow::Direction::Egress : flow::Direction::Ingress;
    return 0;
}

} // namespace

int convert(const FlowRequest &request, flow::Rule &rule, rte_flow_error *error) {
    if (!request.attr)
        return refuse(error, EINVAL, RTE_FLOW_ERROR_TYPE_ATTR, nullptr, "attributes", "there are none");
    if (!request.pattern)
        return refuse(error, EINVAL, RTE_FLOW_ERROR_TYPE_ITEM_NUM, nullptr, "pattern", "there is none");
    if (!request.actions)
        return refuse(error, EINVAL, RTE_FLOW_ERROR_TYPE_ACTION_NUM, nullptr, "actions", "there are none");
    if (int status = convert_attributes(*request.attr, rule.attributes, error))
        return status;
    if (int status = convert_pattern(request.pattern, rule.match, error))
        return status;
    return convert_actions(request.actions, rule.actions, error);
}

} // namespace tapflow::pmd
