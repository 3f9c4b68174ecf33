// SPDX-License-Identifier: BSD-3-Clause
// A rule as an application hands it to rte_flow.
#pragma once

#include <rte_byteorder.h>
#include <rte_flow.h>

#include <cstdint>
#include <cstring>
#include <list>
#include <type_traits>
#include <vector>

namespace tapflow::test {

/// Keeps the structures that items and actions point to. Ingress, unless `attr` is changed.
class FlowRequest {
  public:
    FlowRequest() = default;
    FlowRequest(FlowRequest &&) = default; // what it keeps stays where it is
    FlowRequest &operator=(FlowRequest &&) = default;
    ~FlowRequest() = default;

    rte_flow_attr attr = ingress();

    FlowRequest &item(rte_flow_item_type type) { return item_at(type, nullptr, nullptr, nullptr); }
    template <typename T> FlowRequest &item(rte_flow_item_type type, const T &spec) {
        return item_at(type, keep(spec), nullptr, nullptr);
    }
    template <typename T> FlowRequest &item(rte_flow_item_type type, const T &spec, const T &mask) {
        return item_at(type, keep(spec), keep(mask), nullptr);
    }
    template <typename T> FlowRequest &item(rte_flow_item_type type, const T &spec, const T &mask, const T &last) {
        return item_at(type, keep(spec), keep(mask), keep(last));
    }
    FlowRequest &item_at(rte_flow_item_type type, const void *spec, const void *mask, const void *last) {
        items_.back() = {.type = type, .spec = spec, .last = last, .mask = mask};
        items_.push_back({});
        return *this;
    }

    FlowRequest &action(rte_flow_action_type type, const void *conf = nullptr) {
        actions_.back() = {.type = type, .conf = conf};
        actions_.push_back({});
        return *this;
    }
    template <typename T>
    requires(!std::is_pointer_v<T> && !std::is_same_v<T, std::nullptr_t>) FlowRequest &action(rte_flow_action_type type,
                                                                                              const T &conf) {
        return action(type, keep(conf));
    }
    FlowRequest &queue(uint16_t index) {
        return action(RTE_FLOW_ACTION_TYPE_QUEUE, rte_flow_action_queue{.index = index});
    }

    /// A copy that stays as long as the request.
    template <typename T> const void *keep(const T &structure) {
        static_assert(std::is_trivially_copyable_v<T>);
        auto &bytes = kept_.emplace_back((sizeof(T) + 7) / 8);
        std::memcpy(bytes.data(), &structure, sizeof(T));
        return bytes.data();
    }

    [[nodiscard]] const rte_flow_item *pattern() const { return items_.data(); }
    [[nodiscard]] const rte_flow_action *actions() const { return actions_.data(); }

  private:
    static rte_flow_attr ingress() {
        rte_flow_attr attr{};
        attr.ingress = 1;
        return attr;
    }

    std::list<std::vector<uint64_t>> kept_;
    std::vector<rte_flow_item> items_ = std::vector<rte_flow_item>(1);
    std::vector<rte_flow_action> actions_ = std::vector<rte_flow_action>(1);
};

/// IPv4 UDP packets to a port.
inline FlowRequest to_udp_port(uint16_t number) {
    rte_flow_item_udp spec{};
    rte_flow_item_udp mask{};
    spec.hdr.dst_port = rte_cpu_to_be_16(number);
    mask.hdr.dst_port = RTE_BE16(0xffff);
    FlowRequest request;
    request.item(RTE_FLOW_ITEM_TYPE_ETH).item(RTE_FLOW_ITEM_TYPE_IPV4).item(RTE_FLOW_ITEM_TYPE_UDP, spec, mask);
    return request;
}

} // namespace tapflow::test
