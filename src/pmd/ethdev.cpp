// SPDX-License-Identifier: BSD-3-Clause
#include "pmd/ethdev.h"

#include "kernel/release.h"
#include "pmd/events.h"
#include "pmd/flow.h"
#include "pmd/interrupts.h"
#include "pmd/log.h"
#include "pmd/queues.h"
#include "pmd/rss.h"
#include "pmd/rx.h"
#include "pmd/shared.h"
#include "pmd/stats.h"
#include "pmd/telemetry.h"
#include "pmd/tx.h"

#include <algorithm>
#include <cstdio>
#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace tapflow::pmd {
namespace {

MacAddress from_dpdk(const rte_ether_addr &address) {
    MacAddress mac;
    std::copy_n(std::begin(address.addr_bytes), mac.bytes.size(), mac.bytes.begin());
    return mac;
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
    info->max_rx_pktlen = info->max_mtu + (is_tun(dev) ? 0 : kFrameOverhead);
    info->min_rx_bufsize = 64;
    info->max_lro_pkt_size = TAPFLOW_FRAME_MAX;
    info->max_rx_queues = kMaxQueues;
    info->max_tx_queues = kMaxQueues;
    info->max_mac_addrs = kMaxMacAddresses;
    const uint64_t rx_not_here = is_tun(dev) ? kRxVlanOffloads : 0;
    const uint64_t tx_not_here = is_tun(dev) ? RTE_ETH_TX_OFFLOAD_VLAN_INSERT : 0;
    info->rx_offload_capa = kRxPortOffloads & ~rx_not_here;
    info->rx_queue_offload_capa = kRxOffloads & ~rx_not_here;
    info->tx_offload_capa = info->tx_queue_offload_capa = kTxOffloads & ~tx_not_here;
    info->hash_key_size = shared(dev).offered_key_size;
    info->reta_size = shared(dev).reta_size;
    info->flow_type_rss_offloads = kRssTypes;
    report_hash_functions(*info);
    info->dev_capa = RTE_ETH_DEV_CAPA_RUNTIME_RX_QUEUE_SETUP | RTE_ETH_DEV_CAPA_RUNTIME_TX_QUEUE_SETUP;
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

const uint32_t *supported_ptypes_get(rte_eth_dev *dev, size_t *count) {
    const auto ptypes = supported_ptypes(dev);
    *count = ptypes.size();
    return ptypes.data();
}

// ---- start, stop, close

int refresh_link(rte_eth_dev *dev) {
    const auto now = port(dev).link();
    return set_link_status(dev, now && now->up);
}

int link_update(rte_eth_dev *dev, int) {
    const LinkEventsHeld held(dev);
    return refresh_link(dev);
}

int is_removed(rte_eth_dev *dev) {
    const auto now = port(dev).link();
    return now && !now->exists;
}

int start(rte_eth_dev *dev) {
    LinkEventsHeld held(dev);
    port(dev).set_vlan_filter(dev->data->dev_conf.rxmode.offloads & RTE_ETH_RX_OFFLOAD_VLAN_FILTER);
    publish_rss(dev);
    if (int error = prepare_queues(dev))
        return error;
    if (int error = install_interrupts(dev))
        return error;
    if (int error = status(dev, port(dev).start(rss_config(shared(dev)), hash_is_asked_for(dev)))) {
        remove_interrupts(dev);
        return error;
    }
    report_queue_states(dev, true);
    refresh_link(dev);
    held.told();
    return 0;
}

int stop(rte_eth_dev *dev) {
    LinkEventsHeld held(dev);
    port(dev).stop();
    remove_interrupts(dev);
    reset_queues(dev);
    report_queue_states(dev, false);
    dev->data->dev_link.link_status = RTE_ETH_LINK_DOWN;
    held.told();
    return 0;
}

// ---- link, addresses, modes

/// The kernel reports a change of the carrier within a second; who asks for the status has it at once.
int set_link(rte_eth_dev *dev, bool up) {
    const LinkEventsHeld held(dev);
    const int error = status(dev, port(dev).set_link_up(up));
    refresh_link(dev);
    return error;
}

int set_link_up(rte_eth_dev *dev) { return set_link(dev, true); }
int set_link_down(rte_eth_dev *dev) { return set_link(dev, false); }
int promiscuous_enable(rte_eth_dev *dev) { return status(dev, port(dev).set_promiscuous(true)); }
int promiscuous_disable(rte_eth_dev *dev) { return status(dev, port(dev).set_promiscuous(false)); }
int allmulticast_enable(rte_eth_dev *dev) { return status(dev, port(dev).set_all_multicast(true)); }
int allmulticast_disable(rte_eth_dev *dev) { return status(dev, port(dev).set_all_multicast(false)); }

int mtu_set(rte_eth_dev *dev, uint16_t mtu) {
    if (int error = status(dev, port(dev).set_mtu(mtu)))
        return error;
    if (dev->data->dev_started)
        warn_of_small_mbufs(dev, mtu);
    return 0;
}

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

// ---- VLAN

int vlan_filter_set(rte_eth_dev *dev, uint16_t id, int on) {
    port(dev).set_vlan(id, on != 0);
    return 0;
}

void vlan_strip_queue_set(rte_eth_dev *dev, uint16_t index, int on) {
    RxQueue &queue = shared(dev).rx[index];
    queue.own_offloads &= ~RTE_ETH_RX_OFFLOAD_VLAN_STRIP;
    if (on)
        queue.own_offloads |= RTE_ETH_RX_OFFLOAD_VLAN_STRIP;
    queue.strip.store(on != 0, std::memory_order_relaxed);
}

/// `mask` says which of the offloads in the port's configuration have changed. ethdev lets no other pass.
int vlan_offload_set(rte_eth_dev *dev, int mask) {
    const uint64_t offloads = dev->data->dev_conf.rxmode.offloads;
    if (mask & RTE_ETH_VLAN_STRIP_MASK)
        for (uint16_t i = 0; i < dev->data->nb_rx_queues; i++)
            vlan_strip_queue_set(dev, i, (offloads & RTE_ETH_RX_OFFLOAD_VLAN_STRIP) != 0);
    if (mask & RTE_ETH_VLAN_FILTER_MASK)
        port(dev).set_vlan_filter(offloads & RTE_ETH_RX_OFFLOAD_VLAN_FILTER);
    return 0;
}

// ---- what else applications ask

/// A tap has no pause frames.
int flow_ctrl_get(rte_eth_dev *, rte_eth_fc_conf *conf) {
    *conf = {};
    conf->mode = RTE_ETH_FC_NONE;
    return 0;
}

int flow_ctrl_set(rte_eth_dev *dev, rte_eth_fc_conf *conf) {
    if (conf->mode == RTE_ETH_FC_NONE && !conf->autoneg)
        return 0;
    TAPFLOW_LOG(ERR, "%s: a tap sends no pause frames and obeys none", name(dev));
    return -ENOTSUP;
}

/// A port's firmware are its BPF programs and the kernel that runs them. testpmd shows no text of more than 31
/// characters, so the kernel's release is cut behind its numbers.
int fw_version_get(rte_eth_dev *dev, char *version, size_t size) {
    std::string release = kernel::release();
    release.erase(std::min(release.find_first_not_of("0123456789."), release.size()));
    const std::string text = TAPFLOW_VERSION ", " + std::string(by_ring(dev) ? "ring" : "fd") + ", Linux " + release;
    const auto length = static_cast<size_t>(std::snprintf(version, size, "%s", text.c_str()));
    return length < size ? 0 : static_cast<int>(length + 1);
}

int priv_dump(rte_eth_dev *dev, FILE *file) {
    const engine::Port &self = port(dev);
    const tapflow_port_config &config = self.state().config;
    std::fprintf(file, "tap: %s, interface %d\n", self.iface().c_str(), self.ifindex());
    std::fprintf(file, "remote: %s\n", self.is_remote() ? self.remote_name().c_str() : "none");
    std::fprintf(file, "delivery: %s%s%s\n", by_ring(dev) ? "ring" : "fd",
                 self.why_not_ring().empty() ? "" : ", no ring because: ", self.why_not_ring().c_str());
    std::fprintf(file, "classifier: flags %#x, stopped queues %#llx, cookie %#llx\n", config.flags,
                 config.stopped_queues, config.cookie);
    std::fprintf(file, "flow rules: %zu, %s\n", port(dev).flows().size(),
                 self.search() == kernel::RuleSearch::Flower ? "ingress by flower filters" : "in tables");
    for (uint16_t i = 0; by_ring(dev) && i < dev->data->nb_rx_queues; i++)
        if (self.is_set_up(i))
            std::fprintf(file, "rx queue %u: %zu bytes, %u records wait\n", i, self.ring_bytes(i),
                         self.ring(i).waiting(shared(dev).rx[i].descriptors));
    return 0;
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
    hide_from_telemetry(dev);
    stop_listening(dev);
    dev->rx_pkt_burst = rte_eth_pkt_burst_dummy;
    dev->tx_pkt_burst = rte_eth_pkt_burst_dummy;
    remove_interrupts(dev);
    dev->process_private = nullptr;
    delete local;
    rte_free(std::exchange(shared(dev).tables, nullptr));
    return 0;
}

constexpr eth_dev_ops kPrimaryOps = [] {
    eth_dev_ops ops{};
    ops.dev_configure = kHoldingTelemetry<configure>;
    ops.dev_infos_get = infos_get;
    ops.rx_metadata_negotiate = rx_metadata_negotiate;
    ops.dev_supported_ptypes_get = kSupportedPtypesOp<supported_ptypes_get>;
    ops.dev_start = start;
    ops.dev_stop = stop;
    ops.dev_close = close_port;
    ops.rx_queue_setup = kHoldingTelemetry<rx_queue_setup>;
    ops.tx_queue_setup = tx_queue_setup;
    ops.rx_queue_release = rx_queue_release;
    ops.tx_queue_release = tx_queue_release;
    ops.rx_queue_start = rx_queue_start;
    ops.rx_queue_stop = rx_queue_stop;
    ops.tx_queue_start = tx_queue_start;
    ops.tx_queue_stop = tx_queue_stop;
    ops.rx_queue_intr_enable = rx_queue_intr_enable;
    ops.rx_queue_intr_disable = rx_queue_intr_disable;
    ops.rxq_info_get = rxq_info_get;
    ops.txq_info_get = txq_info_get;
    ops.rx_burst_mode_get = rx_burst_mode_get;
    ops.tx_burst_mode_get = tx_burst_mode_get;
    ops.tx_done_cleanup = tx_done_cleanup;
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
    ops.vlan_filter_set = vlan_filter_set;
    ops.vlan_offload_set = vlan_offload_set;
    ops.vlan_strip_queue_set = vlan_strip_queue_set;
    ops.flow_ctrl_get = flow_ctrl_get;
    ops.flow_ctrl_set = flow_ctrl_set;
    ops.fw_version_get = fw_version_get;
    ops.eth_dev_priv_dump = priv_dump;
    ops.stats_get = kStatsOp<stats_get>;
    ops.stats_reset = stats_reset;
    ops.xstats_get = xstats_get;
    ops.xstats_get_names = xstats_get_names;
    ops.xstats_reset = stats_reset;
    ops.rss_hash_update = kHoldingTelemetry<rss_hash_update>;
    ops.rss_hash_conf_get = rss_hash_conf_get;
    ops.reta_update = kHoldingTelemetry<reta_update>;
    ops.reta_query = reta_query;
    ops.flow_ops_get = flow_ops_get;
    return ops;
}();

} // namespace tapflow::pmd
