// SPDX-License-Identifier: BSD-3-Clause
#include "pmd/ethdev.h"

#include "pmd/flow.h"
#include "pmd/log.h"
#include "pmd/rss.h"
#include "pmd/rx.h"
#include "pmd/shared.h"
#include "pmd/stats.h"
#include "pmd/tx.h"

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

namespace tapflow::pmd {
namespace {

constexpr uint32_t kFrameOverhead = RTE_ETHER_HDR_LEN + 2 * RTE_VLAN_HLEN;

MacAddress from_dpdk(const rte_ether_addr &address) {
    MacAddress mac;
    std::copy_n(std::begin(address.addr_bytes), mac.bytes.size(), mac.bytes.begin());
    return mac;
}

int status(const rte_eth_dev *dev, const Result<void> &result) {
    return result ? 0 : log_error(name(dev), result.error());
}

// ---- configuration

int configure(rte_eth_dev *dev) {
    const auto mode = dev->data->dev_conf.rxmode.mq_mode;
    if (mode != RTE_ETH_MQ_RX_NONE && mode != RTE_ETH_MQ_RX_RSS) {
        TAPFLOW_LOG(ERR, "%s: Rx multi-queue mode %d is not supported, none and RSS are", name(dev), mode);
        return -ENOTSUP;
    }
    if (int error = configure_rss(dev))
        return error;
    // ethdev has put a default where the application asked for nothing: no reason to change a tap that is not ours.
    const uint32_t mtu = dev->data->dev_conf.rxmode.mtu;
    if (!port(dev).tap_was_there() && mtu != port(dev).mtu())
        if (int error = status(dev, port(dev).set_mtu(mtu)))
            return error;
    return status(dev, port(dev).set_queues(dev->data->nb_rx_queues, dev->data->nb_tx_queues));
}

int infos_get(rte_eth_dev *dev, rte_eth_dev_info *info) {
    info->if_index = static_cast<unsigned>(port(dev).ifindex());
    info->min_mtu = RTE_ETHER_MIN_MTU;
    info->max_mtu = static_cast<uint16_t>(port(dev).max_mtu());
    info->max_rx_pktlen = info->max_mtu + kFrameOverhead;
    info->min_rx_bufsize = 64;
    info->max_lro_pkt_size = TAPFLOW_FRAME_MAX;
    info->max_rx_queues = kMaxQueues;
    info->max_tx_queues = kMaxQueues;
    info->max_mac_addrs = kMaxMacAddresses;
    info->rx_offload_capa = info->rx_queue_offload_capa = kRxOffloads;
    info->tx_offload_capa = info->tx_queue_offload_capa = kTxOffloads;
    info->hash_key_size = shared(dev).offered_key_size;
    info->reta_size = shared(dev).reta_size;
    info->flow_type_rss_offloads = kRssTypes;
    report_hash_functions(*info);
    info->speed_capa = RTE_ETH_LINK_SPEED_10G;
    info->default_rxportconf.ring_size = kDefaultDescriptors;
    info->default_txportconf.ring_size = kDefaultDescriptors;
    info->rx_desc_lim.nb_min = kMinDescriptors;
    info->rx_desc_lim.nb_max = kMaxDescriptors;
    info->rx_desc_lim.nb_align = 1;
    info->tx_desc_lim.nb_min = 1; // the kernel queues behind write(): a number of descriptors means nothing here
    info->tx_desc_lim.nb_max = std::numeric_limits<uint16_t>::max();
    info->tx_desc_lim.nb_align = 1;
    info->tx_desc_lim.nb_seg_max = kMaxTxSegments;
    info->tx_desc_lim.nb_mtu_seg_max = kMaxTxSegments;
    return 0;
}

const uint32_t *supported_ptypes_get(rte_eth_dev *) { return supported_ptypes(); }

// ---- queues

int rx_queue_setup(rte_eth_dev *dev, uint16_t index, uint16_t descriptors, unsigned, const rte_eth_rxconf *conf,
                   rte_mempool *pool) {
    RxQueue &queue = shared(dev).rx[index];
    const auto set = by_ring(dev) ? port(dev).set_ring(index, ring_bytes(descriptors))
                                  : port(dev).set_reader(index, std::max(descriptors, kMinDescriptors));
    if (int error = status(dev, set))
        return error;
    queue.port = dev->data->port_id;
    queue.id = index;
    queue.room = static_cast<uint16_t>(rte_pktmbuf_data_room_size(pool) - RTE_PKTMBUF_HEADROOM);
    queue.segments = 0;
    queue.pool = pool;
    queue.own_offloads = conf->offloads;
    dev->data->rx_queues[index] = &queue;
    return 0;
}

int tx_queue_setup(rte_eth_dev *dev, uint16_t index, uint16_t, unsigned, const rte_eth_txconf *) {
    TxQueue &queue = shared(dev).tx[index];
    queue.port = dev->data->port_id;
    queue.id = index;
    dev->data->tx_queues[index] = &queue;
    return 0;
}

// Queues live in dev_private, rings and fds in the port: both last until the port is configured anew or closed.
void rx_queue_release(rte_eth_dev *, uint16_t) {}
void tx_queue_release(rte_eth_dev *, uint16_t) {}

// ---- start, stop, close

uint64_t offloads_of_any_queue(const rte_eth_dev *dev) {
    uint64_t offloads = 0;
    for (uint16_t i = 0; i < dev->data->nb_rx_queues; i++)
        offloads |= shared(dev).rx[i].offloads;
    return offloads;
}

void set_queue_states(rte_eth_dev *dev, uint8_t state) {
    std::fill_n(dev->data->rx_queue_state, dev->data->nb_rx_queues, state);
    std::fill_n(dev->data->tx_queue_state, dev->data->nb_tx_queues, state);
}

int link_update(rte_eth_dev *dev, int) {
    rte_eth_link link{};
    link.link_speed = RTE_ETH_SPEED_NUM_10G; // as DPDK's tap: a number that applications can live with
    link.link_duplex = RTE_ETH_LINK_FULL_DUPLEX;
    link.link_autoneg = RTE_ETH_LINK_FIXED;
    const auto now = port(dev).link();
    link.link_status = now && now->up ? RTE_ETH_LINK_UP : RTE_ETH_LINK_DOWN;
    return rte_eth_linkstatus_set(dev, &link);
}

int is_removed(rte_eth_dev *dev) {
    const auto now = port(dev).link();
    return now && !now->exists;
}

// A configuration may have changed rings and fds without any queue being set up again, so they are looked up here.
int start(rte_eth_dev *dev) {
    for (uint16_t i = 0; i < dev->data->nb_rx_queues; i++) {
        RxQueue &queue = shared(dev).rx[i];
        // ethdev leaves out of a queue's own what the port's configuration has for all.
        queue.offloads = queue.own_offloads | dev->data->dev_conf.rxmode.offloads;
        if (queue.room < dev->data->mtu + kFrameOverhead && !(queue.offloads & RTE_ETH_RX_OFFLOAD_SCATTER))
            TAPFLOW_LOG(WARNING,
                        "%s: queue %u drops frames over %u bytes: its mbufs hold no more, and scattered Rx is off",
                        name(dev), i, queue.room);
    }
    const uint64_t offloads = offloads_of_any_queue(dev);
    const bool with_hash = offloads & RTE_ETH_RX_OFFLOAD_RSS_HASH;
    publish_rss(dev);
    for (uint16_t i = 0; i < dev->data->nb_rx_queues; i++) {
        if (by_ring(dev))
            process(dev).rx[i] = make_ring_path(port(dev).ring(i), port(dev).flows());
        else
            process(dev).fd[i] = {.reader = &port(dev).reader(i),
                                  .hash = with_hash ? shared(dev).tables : nullptr,
                                  .rules = &port(dev).flows(),
                                  .cookie = port(dev).state().config.cookie};
    }
    for (uint16_t i = 0; i < dev->data->nb_tx_queues; i++)
        process(dev).tx[i] = make_tx_path(port(dev).tx_fd(i));
    dev->rx_pkt_burst = by_ring(dev) ? select_rx_burst(offloads) : rx_burst_fd;
    dev->tx_pkt_burst = tx_burst;
    if (int error = status(dev, port(dev).start(rss_config(shared(dev)), with_hash)))
        return error;
    set_queue_states(dev, RTE_ETH_QUEUE_STATE_STARTED);
    link_update(dev, 0);
    return 0;
}

int stop(rte_eth_dev *dev) {
    port(dev).stop();
    for (RxQueue &queue : shared(dev).rx)
        queue.segments = 0;
    for (FdPath &path : process(dev).fd)
        path.waiting = false;
    set_queue_states(dev, RTE_ETH_QUEUE_STATE_STOPPED);
    dev->data->dev_link.link_status = RTE_ETH_LINK_DOWN;
    return 0;
}

// ---- link, addresses, modes

int set_link_up(rte_eth_dev *dev) { return status(dev, port(dev).set_link_up(true)); }
int set_link_down(rte_eth_dev *dev) { return status(dev, port(dev).set_link_up(false)); }
int promiscuous_enable(rte_eth_dev *dev) { return status(dev, port(dev).set_promiscuous(true)); }
int promiscuous_disable(rte_eth_dev *dev) { return status(dev, port(dev).set_promiscuous(false)); }
int allmulticast_enable(rte_eth_dev *dev) { return status(dev, port(dev).set_all_multicast(true)); }
int allmulticast_disable(rte_eth_dev *dev) { return status(dev, port(dev).set_all_multicast(false)); }
int mtu_set(rte_eth_dev *dev, uint16_t mtu) { return status(dev, port(dev).set_mtu(mtu)); }

int mac_addr_set(rte_eth_dev *dev, rte_ether_addr *address) {
    return status(dev, port(dev).set_mac(from_dpdk(*address)));
}

int mac_addr_add(rte_eth_dev *dev, rte_ether_addr *address, uint32_t, uint32_t) {
    return status(dev, port(dev).add_unicast(from_dpdk(*address)));
}

void mac_addr_remove(rte_eth_dev *dev, uint32_t index) {
    status(dev, port(dev).remove_unicast(from_dpdk(dev->data->mac_addrs[index])));
}

int set_mc_addr_list(rte_eth_dev *dev, rte_ether_addr *addresses, uint32_t count) {
    std::vector<MacAddress> list(count);
    std::transform(addresses, addresses + count, list.begin(), from_dpdk);
    return status(dev, port(dev).set_multicast(list));
}

// ---- rte_flow

int flow_ops_get(rte_eth_dev *, const rte_flow_ops **ops) {
    *ops = &kFlowOps;
    return 0;
}

/// Marks and flags of flow rules come with every packet; nobody has to ask for them.
int rx_metadata_negotiate(rte_eth_dev *, uint64_t *features) {
    *features &= RTE_ETH_RX_METADATA_USER_FLAG | RTE_ETH_RX_METADATA_USER_MARK;
    return 0;
}

} // namespace

int close_port(rte_eth_dev *dev) {
    auto *local = static_cast<ProcessPrivate *>(dev->process_private);
    if (!local)
        return 0;
    dev->rx_pkt_burst = rte_eth_pkt_burst_dummy;
    dev->tx_pkt_burst = rte_eth_pkt_burst_dummy;
    dev->process_private = nullptr;
    delete local;
    rte_free(std::exchange(shared(dev).tables, nullptr));
    return 0;
}

constexpr eth_dev_ops kPrimaryOps = [] {
    eth_dev_ops ops{};
    ops.dev_configure = configure;
    ops.dev_infos_get = infos_get;
    ops.rx_metadata_negotiate = rx_metadata_negotiate;
    ops.dev_supported_ptypes_get = supported_ptypes_get;
    ops.dev_start = start;
    ops.dev_stop = stop;
    ops.dev_close = close_port;
    ops.rx_queue_setup = rx_queue_setup;
    ops.tx_queue_setup = tx_queue_setup;
    ops.rx_queue_release = rx_queue_release;
    ops.tx_queue_release = tx_queue_release;
    ops.link_update = link_update;
    ops.is_removed = is_removed;
    ops.dev_set_link_up = set_link_up;
    ops.dev_set_link_down = set_link_down;
    ops.promiscuous_enable = promiscuous_enable;
    ops.promiscuous_disable = promiscuous_disable;
    ops.allmulticast_enable = allmulticast_enable;
    ops.allmulticast_disable = allmulticast_disable;
    ops.mtu_set = mtu_set;
    ops.mac_addr_set = mac_addr_set;
    ops.mac_addr_add = mac_addr_add;
    ops.mac_addr_remove = mac_addr_remove;
    ops.set_mc_addr_list = set_mc_addr_list;
    ops.stats_get = stats_get;
    ops.stats_reset = stats_reset;
    ops.xstats_get = xstats_get;
    ops.xstats_get_names = xstats_get_names;
    ops.xstats_reset = stats_reset;
    ops.rss_hash_update = rss_hash_update;
    ops.rss_hash_conf_get = rss_hash_conf_get;
    ops.reta_update = reta_update;
    ops.reta_query = reta_query;
    ops.flow_ops_get = flow_ops_get;
    return ops;
}();

} // namespace tapflow::pmd
