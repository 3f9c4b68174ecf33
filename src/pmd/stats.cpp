// SPDX-License-Identifier: BSD-3-Clause
#include "pmd/stats.h"

#include "engine/counters.h"
#include "pmd/shared.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>

namespace tapflow::pmd {
namespace {

using engine::read_counter;

const tapflow_port_state &kernel_state(const rte_eth_dev *dev) { return port(dev).state(); }

/// Rx packets that found their ring full, since the last reset.
uint64_t ring_drops(const rte_eth_dev *dev, uint16_t queue) {
    const auto &now = kernel_state(dev).queues[queue];
    const auto &base = shared(dev).queue_base[queue];
    return read_counter(now.ring_full) - base.ring_full;
}

uint64_t ring_stuck(const rte_eth_dev *dev, uint16_t queue) {
    return read_counter(kernel_state(dev).queues[queue].ring_stuck) - shared(dev).queue_base[queue].ring_stuck;
}

/// A port-wide counter of the classifier.
struct PortXstat {
    const char *name;
    __u64 tapflow_port_counters::*counter;
};
constexpr std::array kPortXstats{
    PortXstat{"rx_filtered", &tapflow_port_counters::filtered},
    PortXstat{"rx_bypass", &tapflow_port_counters::bypass},
    PortXstat{"rx_over_frame_max", &tapflow_port_counters::oversize},
    PortXstat{"rx_unsupported_gso", &tapflow_port_counters::unsupported_gso},
    PortXstat{"rx_lease_lost", &tapflow_port_counters::no_lease},
    PortXstat{"rx_forged", &tapflow_port_counters::forged},
    PortXstat{"rule_dropped", &tapflow_port_counters::rule_dropped},
    PortXstat{"rx_no_queue", &tapflow_port_counters::no_queue},
    PortXstat{"rx_queue_stopped", &tapflow_port_counters::queue_stopped},
};

uint64_t rx_errors(const rte_eth_dev *dev, uint16_t queue) {
    const RxQueue &state = shared(dev).rx[queue];
    return ring_drops(dev, queue) + state.oversize.get() + state.malformed.get();
}

/// A counter that each queue of a direction has. The first ones are those that ethdev would list, but for no more than
/// 16 queues.
struct QueueXstat {
    const char *name;
    uint64_t (*read)(const rte_eth_dev *dev, uint16_t queue);
};
template <Counter RxQueue::*Member> uint64_t read_rx(const rte_eth_dev *dev, uint16_t queue) {
    return (shared(dev).rx[queue].*Member).get();
}
template <Counter TxQueue::*Member> uint64_t read_tx(const rte_eth_dev *dev, uint16_t queue) {
    return (shared(dev).tx[queue].*Member).get();
}
constexpr std::array kRxXstats{
    QueueXstat{"packets", read_rx<&RxQueue::packets>},
    QueueXstat{"bytes", read_rx<&RxQueue::bytes>},
    QueueXstat{"errors", rx_errors},
    QueueXstat{"ring_full", ring_drops},
    QueueXstat{"ring_stuck", ring_stuck},
    QueueXstat{"no_mbuf", read_rx<&RxQueue::no_mbuf>},
    QueueXstat{"oversize", read_rx<&RxQueue::oversize>},
    QueueXstat{"malformed", read_rx<&RxQueue::malformed>},
};
constexpr std::array kTxXstats{
    QueueXstat{"packets", read_tx<&TxQueue::packets>},     QueueXstat{"bytes", read_tx<&TxQueue::bytes>},
    QueueXstat{"oversize", read_tx<&TxQueue::oversize>},   QueueXstat{"malformed", read_tx<&TxQueue::malformed>},
    QueueXstat{"link_down", read_tx<&TxQueue::link_down>},
};

unsigned xstat_count(const rte_eth_dev *dev) {
    return static_cast<unsigned>(kPortXstats.size() + kRxXstats.size() * dev->data->nb_rx_queues +
                                 kTxXstats.size() * dev->data->nb_tx_queues);
}

/// Calls `each(name, value)` for every statistic, in the order of their ids.
template <typename Each> void for_each_xstat(const rte_eth_dev *dev, Each each) {
    std::array<char, RTE_ETH_XSTATS_NAME_SIZE> name{};
    for (const PortXstat &xstat : kPortXstats)
        each(xstat.name,
             read_counter(kernel_state(dev).counters.*xstat.counter) - shared(dev).port_base.*xstat.counter);
    auto per_queue = [&](const char *direction, const auto &table, uint16_t queues) {
        for (uint16_t queue = 0; queue < queues; queue++)
            for (const QueueXstat &xstat : table) {
                std::snprintf(name.data(), name.size(), "%s_q%u_%s", direction, queue, xstat.name);
                each(name.data(), xstat.read(dev, queue));
            }
    };
    per_queue("rx", kRxXstats, dev->data->nb_rx_queues);
    per_queue("tx", kTxXstats, dev->data->nb_tx_queues);
}

} // namespace

uint64_t rx_missed(const rte_eth_dev *dev) {
    uint64_t missed = 0;
    if (!by_ring(dev)) { // the kernel keeps one number for all queues of a tap
        const uint64_t drops = port(dev).queue_drops();
        missed = drops - std::min(drops, shared(dev).queue_drops_base);
    }
    for (uint16_t i = 0; i < dev->data->nb_rx_queues; i++)
        missed += ring_drops(dev, i);
    return missed;
}

void for_each_rx_statistic(const rte_eth_dev *dev, uint16_t queue, const EachStatistic &each) {
    for (const QueueXstat &xstat : kRxXstats)
        each(xstat.name, xstat.read(dev, queue));
}

void for_each_tx_statistic(const rte_eth_dev *dev, uint16_t queue, const EachStatistic &each) {
    for (const QueueXstat &xstat : kTxXstats)
        each(xstat.name, xstat.read(dev, queue));
}

int stats_get(rte_eth_dev *dev, rte_eth_stats *stats, QueueStats *of_queues) {
    const Shared &state = shared(dev);
    stats->imissed = rx_missed(dev);
    for (uint16_t i = 0; i < dev->data->nb_rx_queues; i++) {
        const RxQueue &queue = state.rx[i];
        stats->ipackets += queue.packets.get();
        stats->ibytes += queue.bytes.get();
        stats->ierrors += queue.oversize.get() + queue.malformed.get();
        stats->rx_nombuf += queue.no_mbuf.get();
        if (of_queues && i < RTE_ETHDEV_QUEUE_STAT_CNTRS) {
            of_queues->q_ipackets[i] = queue.packets.get();
            of_queues->q_ibytes[i] = queue.bytes.get();
            of_queues->q_errors[i] = rx_errors(dev, i);
        }
    }
    for (uint16_t i = 0; i < dev->data->nb_tx_queues; i++) {
        const TxQueue &queue = state.tx[i];
        stats->opackets += queue.packets.get();
        stats->obytes += queue.bytes.get();
        stats->oerrors += queue.oversize.get() + queue.malformed.get() + queue.link_down.get();
        if (of_queues && i < RTE_ETHDEV_QUEUE_STAT_CNTRS) {
            of_queues->q_opackets[i] = queue.packets.get();
            of_queues->q_obytes[i] = queue.bytes.get();
        }
    }
    return 0;
}

int stats_reset(rte_eth_dev *dev) {
    Shared &state = shared(dev);
    for (RxQueue &queue : state.rx)
        for (Counter *counter : {&queue.packets, &queue.bytes, &queue.no_mbuf, &queue.oversize, &queue.malformed})
            counter->reset();
    for (TxQueue &queue : state.tx)
        for (Counter *counter : {&queue.packets, &queue.bytes, &queue.oversize, &queue.malformed, &queue.link_down})
            counter->reset();
    if (!by_ring(dev))
        state.queue_drops_base = port(dev).queue_drops();
    // The classifier goes on adding to its counters: what they show from here on is what they are above this.
    for (const PortXstat &xstat : kPortXstats)
        state.port_base.*xstat.counter = read_counter(kernel_state(dev).counters.*xstat.counter);
    for (uint16_t i = 0; i < kMaxQueues; i++) {
        state.queue_base[i].ring_full = read_counter(kernel_state(dev).queues[i].ring_full);
        state.queue_base[i].ring_stuck = read_counter(kernel_state(dev).queues[i].ring_stuck);
    }
    return 0;
}

int xstats_get(rte_eth_dev *dev, rte_eth_xstat *values, unsigned count) {
    const unsigned needed = xstat_count(dev);
    if (!values || count < needed)
        return static_cast<int>(needed);
    uint64_t id = 0;
    for_each_xstat(dev, [&](const char *, uint64_t value) {
        values[id] = {id, value};
        id++;
    });
    return static_cast<int>(needed);
}

int xstats_get_names(rte_eth_dev *dev, rte_eth_xstat_name *names, unsigned count) {
    const unsigned needed = xstat_count(dev);
    if (!names || count < needed)
        return static_cast<int>(needed);
    size_t id = 0;
    for_each_xstat(dev, [&](const char *name, uint64_t) {
        std::snprintf(names[id].name, sizeof(names[id].name), "%s", name);
        id++;
    });
    return static_cast<int>(needed);
}

} // namespace tapflow::pmd
