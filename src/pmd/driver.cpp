// SPDX-License-Identifier: BSD-3-Clause
// The vdev driver "net_tap": registration, probe and remove.
#include "pmd/compat.h"
#include "pmd/devargs.h"
#include "pmd/ethdev.h"
#include "pmd/events.h"
#include "pmd/log.h"
#include "pmd/shared.h"
#include "pmd/telemetry.h"

#include <algorithm>
#include <memory>
#include <new>
#include <string_view>

namespace tapflow::pmd {

RTE_LOG_REGISTER(log_type, pmd.net.tapflow, NOTICE);

namespace {

constexpr const char *kTapDriver = "net_tap";
constexpr const char *kTunDriver = "net_tun";

struct RteDeleter {
    void operator()(void *memory) const { rte_free(memory); }
};

/// Zeroed memory that DPDK's processes share; null also for a count of 0.
template <typename T> std::unique_ptr<T[], RteDeleter> rte_allocate(const char *device, size_t count) {
    return std::unique_ptr<T[], RteDeleter>(
        count == 0 ? nullptr : static_cast<T *>(rte_zmalloc(device, sizeof(T) * count, RTE_CACHE_LINE_SIZE)));
}

int probe_primary(rte_vdev_device *vdev) {
    static unsigned index = 0; // probing is serialised by the bus
    const char *device = rte_vdev_device_name(vdev);
    const bool tun = std::string_view(device).starts_with(kTunDriver);
    auto devargs = parse_devargs(rte_vdev_device_args(vdev), index, tun ? kernel::Layer::Ip : kernel::Layer::Ethernet);
    if (!devargs)
        return log_error(device, devargs.error());
    devargs->port.device = device;
    auto opened = engine::Port::open(devargs->port);
    if (!opened)
        return log_error(device, opened.error());

    const bool by_fd = (*opened)->delivery() == kernel::Delivery::Fd;
    // ethdev frees the addresses with rte_free(), so they are ours only until the port is allocated.
    auto macs = rte_allocate<rte_ether_addr>(device, kMaxMacAddresses);
    auto tables = rte_allocate<rss::PublishedTables>(device, by_fd ? 1 : 0);
    auto local = std::unique_ptr<ProcessPrivate>(new (std::nothrow) ProcessPrivate);
    const bool memory = macs && local && (tables || !by_fd);
    rte_eth_dev *dev = memory ? rte_eth_vdev_allocate(vdev, sizeof(Shared)) : nullptr;
    if (!dev)
        return log_error(device, {ENOMEM, "allocate port", "out of memory or of ports"});
    local->port = *std::move(opened);
    auto *state = new (dev->data->dev_private) Shared;
    state->reta_size = devargs->reta_size;
    state->offered_key_size = devargs->rss_key_size;
    state->default_function = devargs->rss_function;
    const MacAddress mac = local->port->mac();
    std::copy(mac.bytes.begin(), mac.bytes.end(), macs[0].addr_bytes);
    dev->data->mac_addrs = macs.release();
    state->tables = by_fd ? new (tables.release()) rss::PublishedTables : nullptr;
    dev->data->mtu = static_cast<uint16_t>(local->port->mtu());
    dev->data->promiscuous = 0;
    dev->data->all_multicast = 0;
    dev->data->dev_flags |= RTE_ETH_DEV_FLOW_OPS_THREAD_SAFE | RTE_ETH_DEV_INTR_LSC | RTE_ETH_DEV_INTR_RMV;
    dev->data->numa_node = vdev->device.numa_node;
    dev->process_private = local.release();
    dev->dev_ops = &kPrimaryOps;
    dev->rx_pkt_burst = rte_eth_pkt_burst_dummy;
    dev->tx_pkt_burst = rte_eth_pkt_burst_dummy;
    if (const int error = listen_to_links(dev)) {
        close_port(dev);
        rte_eth_dev_release_port(dev);
        return error;
    }
    show_in_telemetry(dev);
    rte_eth_dev_probing_finish(dev);
    if (!port(dev).why_not_ring().empty())
        TAPFLOW_LOG(NOTICE, "%s: delivers by fd, because rings cannot be had here: %s", device,
                    port(dev).why_not_ring().c_str());
    TAPFLOW_LOG(INFO, "%s: tap %s%s%s", device, port(dev).iface().c_str(),
                devargs->port.remote.empty() ? "" : ", remote ", devargs->port.remote.c_str());
    index++;
    return 0;
}

int probe(rte_vdev_device *vdev) {
    if (rte_eal_process_type() == RTE_PROC_SECONDARY)
        return log_error(rte_vdev_device_name(vdev),
                         {ENOTSUP, "attach in a secondary process", "only the primary process can use this port"});
    return probe_primary(vdev);
}

int remove(rte_vdev_device *vdev) {
    rte_eth_dev *dev = rte_eth_dev_allocated(rte_vdev_device_name(vdev));
    if (!dev)
        return 0; // closed before
    close_port(dev);
    return rte_eth_dev_release_port(dev);
}

constexpr rte_vdev_driver make_driver(const char *driver_name, const char *alias) {
    rte_vdev_driver d{};
    d.driver.name = driver_name;
    d.driver.alias = alias;
    d.probe = probe;
    d.remove = remove;
    return d;
}

constinit rte_vdev_driver tap_driver = make_driver(kTapDriver, "eth_tap");
constinit rte_vdev_driver tun_driver = make_driver(kTunDriver, "eth_tun");

/// The bus takes the first driver whose name is a prefix of the device's, so an in-tree one that was registered before
/// us must go. The bus has no way to list drivers; the list's own links lead back from our entry.
void evict_in_tree_driver(rte_vdev_driver &ours) {
    rte_vdev_driver *former = driver_before(ours);
    while (former) {
        rte_vdev_driver *before = driver_before(*former);
        if (former->driver.name && std::string_view(former->driver.name) == ours.driver.name)
            rte_vdev_unregister(former);
        former = before;
    }
}

} // namespace

RTE_INIT(tapflow_register) {
    if (!is_compiled_for_this_dpdk()) {
        TAPFLOW_LOG(ERR, "not loaded: it is compiled for another release of DPDK than %s", rte_version());
        return;
    }
    for (rte_vdev_driver *driver : {&tap_driver, &tun_driver}) {
        rte_vdev_register(driver);
        evict_in_tree_driver(*driver);
    }
    register_telemetry();
}

} // namespace tapflow::pmd

TAPFLOW_EXPORT_NAME(net_tap);
RTE_PMD_REGISTER_PARAM_STRING(
    net_tap, "iface=<string> remote=<string> mac=<address>|fixed persist=<0|1> readopt=<0|1> rx=auto|ring|fd "
             "reta_size=128|256|512 rss_key_size=40|52 "
             "rss_function=toeplitz|simple_xor|symmetric_toeplitz|symmetric_toeplitz_sort");
TAPFLOW_EXPORT_NAME(net_tun);
RTE_PMD_REGISTER_PARAM_STRING(net_tun,
                              "iface=<string> persist=<0|1> rx=auto|ring|fd reta_size=128|256|512 rss_key_size=40|52 "
                              "rss_function=toeplitz|simple_xor|symmetric_toeplitz|symmetric_toeplitz_sort");
