// SPDX-License-Identifier: BSD-3-Clause
#include "tapflowctl/watch_sample.h"

#include "engine/counters.h"
#include "engine/trace.h"
#include "kernel/clock.h"

#include <algorithm>
#include <tuple>

namespace tapflow::ctl {
namespace {

using engine::read_counter;

Traffic read_traffic(const tapflow_queue_traffic &traffic) {
    return {read_counter(traffic.packets), read_counter(traffic.bytes)};
}

bool is_same_port(const Sample &a, const Sample &b) {
    const auto key = [](const Sample &sample) {
        const engine::PortIdentity &identity = sample.identity;
        return std::tuple(identity.pid, identity.process_start, identity.opened_ns, identity.tap_ifindex);
    };
    return a.present && b.present && key(a) == key(b);
}

/// How fast counters have grown.
class Growth {
  public:
    explicit Growth(double seconds) : seconds_(seconds) {}
    [[nodiscard]] std::optional<double> of(uint64_t before, uint64_t now) const {
        return now >= before ? std::optional(static_cast<double>(now - before) / seconds_) : std::nullopt;
    }
    template <typename Count> [[nodiscard]] std::optional<Rate> of(const Count &before, const Count &now) const {
        const auto packets = of(before.packets, now.packets);
        const auto bytes = of(before.bytes, now.bytes);
        return packets && bytes ? std::optional(Rate{*packets, *bytes}) : std::nullopt;
    }

  private:
    double seconds_;
};

QueueRow queue_row(const Sample &now, unsigned queue) {
    QueueRow row;
    row.queue = queue;
    if (queue < now.rx.size()) {
        row.stopped = now.rx[queue].stopped;
        if (const auto &ring = now.rx[queue].ring; ring && ring->bytes > 0)
            row.fill = static_cast<double>(ring->used) / static_cast<double>(ring->bytes);
    }
    return row;
}

void add_rates(const Growth &growth, const Sample &before, const Sample &now, QueueRow &row) {
    const unsigned queue = row.queue;
    if (queue < before.rx.size() && queue < now.rx.size()) {
        row.received = growth.of(before.rx[queue].received, now.rx[queue].received);
        row.ring_full = growth.of(before.rx[queue].ring_full, now.rx[queue].ring_full);
        row.ring_stuck = growth.of(before.rx[queue].ring_stuck, now.rx[queue].ring_stuck);
    }
    if (queue < before.tx.size() && queue < now.tx.size())
        row.sent = growth.of(before.tx[queue], now.tx[queue]);
}

/// Both are by id.
std::vector<RuleRow> rule_rows(const Sample &now) {
    std::vector<RuleRow> rows;
    if (!now.rules)
        return rows;
    auto rule = now.rules->rules.begin();
    for (const RuleSample &each : now.counts) {
        rule =
            std::find_if(rule, now.rules->rules.end(), [&](const auto &candidate) { return candidate.id >= each.id; });
        if (rule != now.rules->rules.end() && rule->id == each.id)
            rows.push_back({&*rule, each.count, std::nullopt});
    }
    return rows;
}

void add_rates(const Growth &growth, const Sample &before, std::vector<RuleRow> &rows) {
    auto former = before.counts.begin();
    for (RuleRow &row : rows) {
        former = std::find_if(former, before.counts.end(), [&](const auto &each) { return each.id >= row.rule->id; });
        if (former != before.counts.end() && former->id == row.rule->id)
            row.rate = growth.of(former->count, row.count);
    }
}

} // namespace

// ---- taking samples

Sample Sampler::take() {
    if (!port_) {
        auto found = engine::find_port(wanted_);
        if (found && engine::is_attached(*found))
            port_ = *std::move(found);
    }
    if (port_)
        look_at_port();
    last_.time_ns = kernel::monotonic_ns();
    last_.realtime_ns = kernel::realtime_ns();
    // What the kernel keeps for who has it open would be found beside the port's successor.
    if (!last_.present)
        port_.reset();
    return last_;
}

void Sampler::look_at_port() {
    Sample sample;
    const auto tap = port_->tap();
    sample.present = engine::is_attached(*port_);
    sample.identity = port_->identity();
    sample.name = tap ? tap->name : last_.name.empty() ? port_->name() : last_.name;
    sample.owner = port_->owner();
    sample.lease = port_->has_lease();
    const tapflow_port_state &state = port_->state();
    for (unsigned queue = 0; queue < sample.identity.rx_queues; queue++)
        sample.rx.push_back({read_traffic(state.received[queue]), read_counter(state.queues[queue].ring_full),
                             read_counter(state.queues[queue].ring_stuck), port_->ring(queue),
                             (state.config.stopped_queues >> queue & 1) != 0});
    for (unsigned queue = 0; queue < sample.identity.tx_queues; queue++)
        sample.tx.push_back(read_traffic(state.sent[queue]));
    for (size_t i = 0; i < kCounters.size(); i++)
        sample.counters[i] = read_counter(state.counters.*kCounters[i].member);
    if (sample.identity.delivery == kernel::Delivery::Fd && tap)
        sample.tap_drops = tap->tx_dropped;
    if (is_same_port(last_, sample))
        sample.rules = std::move(last_.rules);
    last_ = std::move(sample);
    look_at_rules();
}

void Sampler::look_at_rules() {
    const auto generation = port_->rule_generation();
    const bool is_new =
        !last_.rules || !last_.rules->consistent || !generation || *generation != last_.rules->generation;
    const uint64_t begin = kernel::monotonic_ns();
    if (!last_.rules || (is_new && begin >= rules_again_ns_)) {
        auto rules = port_->rules();
        last_.rules = rules ? std::make_shared<const engine::RuleSet>(*std::move(rules)) : nullptr;
        // Rules that are changed all the time take a tenth of ours at most.
        const uint64_t end = kernel::monotonic_ns();
        rules_again_ns_ = end + 9 * (end - begin);
    }
    if (!last_.rules)
        return;
    const auto counts = port_->counts(*last_.rules);
    for (const engine::InspectedRule &rule : last_.rules->rules)
        if (const auto found = counts.find(rule.index); found != counts.end())
            last_.counts.push_back({rule.id, found->second});
}

// ---- what two of them tell

Traffic received(const Sample &sample) {
    Traffic sum;
    for (const RxQueueSample &queue : sample.rx) {
        sum.packets += queue.received.packets;
        sum.bytes += queue.received.bytes;
    }
    return sum;
}

Traffic sent(const Sample &sample) {
    Traffic sum;
    for (const Traffic &queue : sample.tx) {
        sum.packets += queue.packets;
        sum.bytes += queue.bytes;
    }
    return sum;
}

uint64_t dropped(const Sample &sample) {
    uint64_t sum = sample.tap_drops;
    for (const RxQueueSample &queue : sample.rx)
        sum += queue.ring_full;
    return sum;
}

Activity activity(const Sample *before, const Sample &now) {
    Activity result;
    const bool has_rates = before && is_same_port(*before, now) && now.time_ns > before->time_ns;
    if (has_rates)
        result.seconds = static_cast<double>(now.time_ns - before->time_ns) / 1e9;
    const Growth growth(result.seconds);
    for (unsigned queue = 0; queue < std::max(now.rx.size(), now.tx.size()); queue++) {
        result.queues.push_back(queue_row(now, queue));
        if (has_rates)
            add_rates(growth, *before, now, result.queues.back());
    }
    result.rules = rule_rows(now);
    if (!has_rates)
        return result;
    add_rates(growth, *before, result.rules);
    result.received = growth.of(received(*before), received(now));
    result.sent = growth.of(sent(*before), sent(now));
    result.dropped = growth.of(dropped(*before), dropped(now));
    for (size_t i = 0; i < now.counters.size(); i++)
        result.counters[i] = growth.of(before->counters[i], now.counters[i]);
    return result;
}

} // namespace tapflow::ctl
