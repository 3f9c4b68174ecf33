// SPDX-License-Identifier: BSD-3-Clause
#include "tapflowctl/watch_json.h"

#include "flow/text.h"
#include "tapflowctl/watch_view.h"

#include <algorithm>

namespace tapflow::ctl {
namespace {

/// Without rates where there are none.
void add_traffic(Json &json, const Traffic &total, const std::optional<Rate> &rate) {
    json["packets"] = total.packets;
    json["bytes"] = total.bytes;
    if (rate) {
        json["packets_per_second"] = rate->packets;
        json["bytes_per_second"] = rate->bytes;
    }
}

Json traffic_json(const Traffic &total, const std::optional<Rate> &rate) {
    Json json;
    add_traffic(json, total, rate);
    return json;
}

void add_count(Json &json, const std::string &name, uint64_t count, const std::optional<double> &rate) {
    json[name] = count;
    if (rate)
        json[name + "_per_second"] = *rate;
}

Json rx_queue_json(const RxQueueSample &queue, const QueueRow &row) {
    Json json{{"queue", row.queue}, {"stopped", queue.stopped}};
    add_traffic(json, queue.received, row.received);
    if (queue.ring) {
        json["ring_bytes"] = queue.ring->bytes;
        json["ring_used"] = queue.ring->used;
    }
    add_count(json, "ring_full", queue.ring_full, row.ring_full);
    add_count(json, "ring_stuck", queue.ring_stuck, row.ring_stuck);
    return json;
}

Json rule_json(const RuleRow &row) {
    Json json{{"id", row.rule->id}, {"text", flow::to_text(row.rule->rule)}};
    json["hits"] = row.count.packets;
    json["bytes"] = row.count.bytes;
    if (row.rate) {
        json["packets_per_second"] = row.rate->packets;
        json["bytes_per_second"] = row.rate->bytes;
    }
    return json;
}

} // namespace

Json watch_json(const Sample &now, Activity activity, size_t rules) {
    const engine::PortIdentity &identity = now.identity;
    Json json = document("watch");
    json["time_ns"] = now.realtime_ns;
    json["seconds"] = activity.seconds;
    json["port"] = now.name;
    json["present"] = now.present;
    json["process"] = {{"name", identity.process}, {"pid", identity.pid}, {"owner", owner_name(now.owner)}};
    json["delivery"] = delivery_name(identity);
    if (identity.is_remote)
        json["lease"] = now.lease;
    json["received"] = traffic_json(received(now), activity.received);
    json["sent"] = traffic_json(sent(now), activity.sent);
    add_count(json, "dropped", dropped(now), activity.dropped);
    json["counters"] = Json::object();
    for (size_t i = 0; i < kCounters.size(); i++) {
        Json counter{{"packets", now.counters[i]}};
        if (activity.counters[i])
            counter["packets_per_second"] = *activity.counters[i];
        json["counters"][kCounters[i].name] = std::move(counter);
    }
    json["rx_queues"] = Json::array();
    for (size_t queue = 0; queue < now.rx.size(); queue++)
        json["rx_queues"].push_back(rx_queue_json(now.rx[queue], activity.queues[queue]));
    json["tx_queues"] = Json::array();
    for (size_t queue = 0; queue < now.tx.size(); queue++) {
        Json one{{"queue", queue}};
        add_traffic(one, now.tx[queue], activity.queues[queue].sent);
        json["tx_queues"].push_back(std::move(one));
    }
    if (!now.rules)
        return json;
    json["rule_count"] = now.rules->rules.size();
    sort(activity.rules, RuleOrder::Packets);
    json["rules"] = Json::array();
    for (size_t i = 0; i < std::min(activity.rules.size(), rules); i++)
        json["rules"].push_back(rule_json(activity.rules[i]));
    return json;
}

} // namespace tapflow::ctl
