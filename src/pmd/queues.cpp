// SPDX-License-Identifier: BSD-3-Clause
#include "pmd/queues.h"

#include "pmd/interrupts.h"
#include "pmd/log.h"
#include "pmd/rss.h"
#include "pmd/rx.h"
#include "pmd/shared.h"
#include "pmd/tx.h"

#include <algorithm>
#include <cstdio>

namespace tapflow::pmd {
namespace {

// ---- what the application asks of queues

/// Records that wait, super-frames counted as one.
uint32_t waiting(const void *opaque, uint32_t limit) {
    const auto &queue = *static_cast<const RxQueue *>(opaque);
    return process(&rte_eth_devices[queue.port]).rx[queue.id].ring.waiting(limit);
}

QueueCount rx_queue_count(void *queue) {
    return static_cast<QueueCount>(waiting(queue, static_cast<const RxQueue *>(queue)->descriptors));
}

int rx_descriptor_status(void *queue, uint16_t offset) {
    if (offset >= static_cast<const RxQueue *>(queue)->descriptors)
        return -EINVAL;
    return waiting(queue, offset + 1U) > offset ? RTE_ETH_RX_DESC_DONE : RTE_ETH_RX_DESC_AVAIL;
}

/// The kernel has a packet when tx_burst() returns.
int tx_descriptor_status(void *queue, uint16_t offset) {
    return offset < static_cast<const TxQueue *>(queue)->descriptors ? RTE_ETH_TX_DESC_DONE : -EINVAL;
}

// ---- what a queue needs

bool has_offload(const RxQueue &queue, uint64_t offload) { return (queue.offloads & offload) != 0; }

uint64_t offloads_of_any_queue(const rte_eth_dev *dev) {
    uint64_t offloads = 0;
    for (uint16_t i = 0; i < dev->data->nb_rx_queues; i++)
        offloads |= shared(dev).rx[i].offloads;
    return offloads;
}

/// Makes what the burst function needs of a queue that is set up. A configuration may have changed rings and fds since.
void make_path(rte_eth_dev *dev, uint16_t index) {
    if (by_ring(dev))
        process(dev).rx[index] = make_ring_path(port(dev).ring(index), port(dev).received(index), port(dev).flows());
    else
        process(dev).fd[index] = {.reader = &port(dev).reader(index),
                                  .hash = hash_is_asked_for(dev) ? shared(dev).tables : nullptr,
                                  .rules = &port(dev).flows(),
                                  .traffic = &port(dev).received(index),
                                  .cookie = port(dev).state().config.cookie};
}

/// ethdev leaves out of a queue's own what the port's configuration has for all.
void merge_offloads(const rte_eth_dev *dev, RxQueue &queue) {
    queue.offloads = queue.own_offloads | dev->data->dev_conf.rxmode.offloads;
    queue.strip.store(has_offload(queue, RTE_ETH_RX_OFFLOAD_VLAN_STRIP), std::memory_order_relaxed);
}

void forget_what_is_under_way(rte_eth_dev *dev, uint16_t index) {
    shared(dev).rx[index].segments = 0;
    process(dev).fd[index].waiting = false;
}

/// True if the burst function that the port has started with can serve the queue: the one for checksums serves all.
bool fits_burst(const rte_eth_dev *dev, const RxQueue &queue) {
    return !has_offload(queue, RTE_ETH_RX_OFFLOAD_CHECKSUM) ||
           select_rx_burst(dev, queue.offloads) == dev->rx_pkt_burst;
}

} // namespace

bool hash_is_asked_for(const rte_eth_dev *dev) { return offloads_of_any_queue(dev) & RTE_ETH_RX_OFFLOAD_RSS_HASH; }

// ---- setting up

int rx_queue_setup(rte_eth_dev *dev, uint16_t index, uint16_t descriptors, unsigned, const rte_eth_rxconf *conf,
                   rte_mempool *pool) {
    RxQueue &queue = shared(dev).rx[index];
    const uint64_t former_offloads = queue.own_offloads;
    queue.own_offloads = conf->offloads;
    merge_offloads(dev, queue);
    if (dev->data->dev_started && !fits_burst(dev, queue)) {
        queue.own_offloads = former_offloads;
        merge_offloads(dev, queue);
        TAPFLOW_LOG(ERR, "%s: Rx queue %u: checksum offload cannot be added while the port runs", name(dev), index);
        return -EBUSY;
    }
    if (dev->data->dev_started)
        if (int error = pause_interrupt(dev, index))
            return error;
    const auto set = by_ring(dev) ? port(dev).set_ring(index, ring_bytes(descriptors))
                                  : port(dev).set_reader(index, std::max(descriptors, kMinDescriptors));
    if (int error = status(dev, set))
        return error;
    queue.port = dev->data->port_id;
    queue.id = index;
    queue.room = static_cast<uint16_t>(rte_pktmbuf_data_room_size(pool) - RTE_PKTMBUF_HEADROOM);
    queue.pool = pool;
    queue.descriptors = descriptors;
    queue.deferred = conf->rx_deferred_start;
    forget_what_is_under_way(dev, index);
    dev->data->rx_queues[index] = &queue;
    if (!dev->data->dev_started)
        return 0;
    make_path(dev, index);
    return change_interrupt(dev, index);
}

int tx_queue_setup(rte_eth_dev *dev, uint16_t index, uint16_t descriptors, unsigned, const rte_eth_txconf *conf) {
    TxQueue &queue = shared(dev).tx[index];
    queue.port = dev->data->port_id;
    queue.id = index;
    queue.descriptors = descriptors;
    queue.offloads = conf->offloads | dev->data->dev_conf.txmode.offloads;
    queue.deferred = conf->tx_deferred_start;
    dev->data->tx_queues[index] = &queue;
    if (dev->data->dev_started)
        process(dev).tx[index] = make_tx_path(port(dev).tx_fd(index), port(dev).sent(index), is_tun(dev));
    return 0;
}

// Queues live in dev_private, rings and fds in the port: both last until the port is configured anew or closed.
void rx_queue_release(rte_eth_dev *, uint16_t) {}
void tx_queue_release(rte_eth_dev *, uint16_t) {}

void warn_of_small_mbufs(const rte_eth_dev *dev, uint32_t mtu) {
    for (uint16_t i = 0; i < dev->data->nb_rx_queues; i++) {
        const RxQueue &queue = shared(dev).rx[i];
        if (queue.pool && queue.room < mtu + kFrameOverhead && !has_offload(queue, RTE_ETH_RX_OFFLOAD_SCATTER))
            TAPFLOW_LOG(WARNING,
                        "%s: queue %u drops frames over %u bytes: its mbufs hold no more, and scattered Rx is off",
                        name(dev), i, queue.room);
    }
}

// ---- starting and stopping

// A queue that is not set up stays stopped until it is: setting up is possible at run time.
int prepare_queues(rte_eth_dev *dev) {
    for (uint16_t i = 0; i < dev->data->nb_rx_queues; i++)
        merge_offloads(dev, shared(dev).rx[i]);
    warn_of_small_mbufs(dev, dev->data->mtu);
    for (uint16_t i = 0; i < dev->data->nb_rx_queues; i++) {
        const bool set_up = port(dev).is_set_up(i);
        if (set_up)
            make_path(dev, i);
        if (int error = status(dev, port(dev).set_queue_stopped(i, !set_up || shared(dev).rx[i].deferred)))
            return error;
    }
    for (uint16_t i = 0; i < dev->data->nb_tx_queues; i++) {
        shared(dev).tx[i].stopped.store(shared(dev).tx[i].deferred, std::memory_order_relaxed);
        process(dev).tx[i] = make_tx_path(port(dev).tx_fd(i), port(dev).sent(i), is_tun(dev));
    }
    dev->rx_pkt_burst = select_rx_burst(dev, offloads_of_any_queue(dev));
    dev->tx_pkt_burst = tx_burst;
    if (by_ring(dev)) { // a tap's fd does not tell
        dev->rx_queue_count = rx_queue_count;
        dev->rx_descriptor_status = rx_descriptor_status;
    }
    dev->tx_descriptor_status = tx_descriptor_status;
    return 0;
}

void reset_queues(rte_eth_dev *dev) {
    for (uint16_t i = 0; i < kMaxQueues; i++)
        forget_what_is_under_way(dev, i);
}

void report_queue_states(rte_eth_dev *dev, bool started) {
    const auto state = [started](bool stopped) {
        return static_cast<uint8_t>(started && !stopped ? RTE_ETH_QUEUE_STATE_STARTED : RTE_ETH_QUEUE_STATE_STOPPED);
    };
    for (uint16_t i = 0; i < dev->data->nb_rx_queues; i++)
        dev->data->rx_queue_state[i] = state(port(dev).is_queue_stopped(i));
    for (uint16_t i = 0; i < dev->data->nb_tx_queues; i++)
        dev->data->tx_queue_state[i] = state(shared(dev).tx[i].stopped.load(std::memory_order_relaxed));
}

int rx_queue_start(rte_eth_dev *dev, uint16_t index) {
    if (int error = status(dev, port(dev).set_queue_stopped(index, false)))
        return error;
    dev->data->rx_queue_state[index] = RTE_ETH_QUEUE_STATE_STARTED;
    return 0;
}

int rx_queue_stop(rte_eth_dev *dev, uint16_t index) {
    if (int error = status(dev, port(dev).set_queue_stopped(index, true)))
        return error;
    forget_what_is_under_way(dev, index);
    dev->data->rx_queue_state[index] = RTE_ETH_QUEUE_STATE_STOPPED;
    return 0;
}

int tx_queue_start(rte_eth_dev *dev, uint16_t index) {
    shared(dev).tx[index].stopped.store(false, std::memory_order_relaxed);
    dev->data->tx_queue_state[index] = RTE_ETH_QUEUE_STATE_STARTED;
    return 0;
}

int tx_queue_stop(rte_eth_dev *dev, uint16_t index) {
    shared(dev).tx[index].stopped.store(true, std::memory_order_relaxed);
    dev->data->tx_queue_state[index] = RTE_ETH_QUEUE_STATE_STOPPED;
    return 0;
}

// ---- asking

void rxq_info_get(rte_eth_dev *dev, uint16_t index, rte_eth_rxq_info *info) {
    const RxQueue &queue = shared(dev).rx[index];
    info->mp = queue.pool;
    info->conf.offloads = queue.offloads & ~RTE_ETH_RX_OFFLOAD_VLAN_STRIP;
    if (queue.strip.load(std::memory_order_relaxed))
        info->conf.offloads |= RTE_ETH_RX_OFFLOAD_VLAN_STRIP;
    info->conf.rx_deferred_start = queue.deferred;
    info->scattered_rx = has_offload(queue, RTE_ETH_RX_OFFLOAD_SCATTER);
    info->nb_desc = queue.descriptors;
    info->rx_buf_size = queue.room;
}

void txq_info_get(rte_eth_dev *dev, uint16_t index, rte_eth_txq_info *info) {
    const TxQueue &queue = shared(dev).tx[index];
    info->conf.offloads = queue.offloads;
    info->conf.tx_deferred_start = queue.deferred;
    info->nb_desc = queue.descriptors;
}

int rx_burst_mode_get(rte_eth_dev *dev, uint16_t index, rte_eth_burst_mode *mode) {
    const RxQueue &queue = shared(dev).rx[index];
    std::snprintf(mode->info, sizeof(mode->info), "%s%s%s%s%s", by_ring(dev) ? "BPF ring" : "Tap fd",
                  has_offload(queue, RTE_ETH_RX_OFFLOAD_SCATTER) ? ", scattered" : "",
                  has_offload(queue, RTE_ETH_RX_OFFLOAD_TCP_LRO) ? ", LRO" : "",
                  has_offload(queue, RTE_ETH_RX_OFFLOAD_CHECKSUM) ? ", checksum" : "",
                  queue.strip.load(std::memory_order_relaxed) ? ", VLAN strip" : "");
    return 0;
}

int tx_burst_mode_get(rte_eth_dev *, uint16_t, rte_eth_burst_mode *mode) {
    std::snprintf(mode->info, sizeof(mode->info), "Tap write");
    return 0;
}

int tx_done_cleanup(void *, uint32_t) { return 0; }

} // namespace tapflow::pmd
