// SPDX-License-Identifier: BSD-3-Clause
#include "pmd/events.h"

#include "kernel/link_monitor.h"
#include "pmd/log.h"
#include "pmd/shared.h"

#include <rte_errno.h>
#include <rte_interrupts.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <new>
#include <utility>

namespace tapflow::pmd {
namespace {

struct HandleDeleter {
    void operator()(rte_intr_handle *handle) const { rte_intr_instance_free(handle); }
};

} // namespace

/// What is registered with EAL. It outlives the port when that ends while EAL is calling it, which goes by the file
/// descriptor of the monitor.
class LinkListener {
  public:
    LinkListener(rte_eth_dev *dev, std::shared_ptr<kernel::LinkMonitor> monitor,
                 std::unique_ptr<rte_intr_handle, HandleDeleter> handle)
        : dev_(dev), monitor_(std::move(monitor)), handle_(std::move(handle)) {}

    int start();
    /// The listener belongs to EAL then, or is gone.
    static void end(LinkListener *listener);

  private:
    friend LinkEventsHeld;
    void handle_event();
    [[nodiscard]] rte_eth_dev *still_there() {
        const std::lock_guard lock(mutex_);
        return dev_;
    }
    static void on_interrupt(void *listener) { static_cast<LinkListener *>(listener)->handle_event(); }

    std::mutex mutex_;     // never held while an application's callback runs
    rte_eth_dev *dev_;     ///< null: the port has ended
    bool up_ = false;      ///< as the application knows it
    bool removed_ = false; ///< as well
    std::shared_ptr<kernel::LinkMonitor> monitor_;
    std::unique_ptr<rte_intr_handle, HandleDeleter> handle_;
};

int LinkListener::start() {
    rte_intr_fd_set(handle_.get(), monitor_->fd());
    rte_intr_type_set(handle_.get(), RTE_INTR_HANDLE_EXT);
    return rte_intr_callback_register(handle_.get(), on_interrupt, this);
}

void LinkListener::end(LinkListener *listener) {
    {
        const std::lock_guard lock(listener->mutex_);
        listener->dev_ = nullptr;
    }
    int result = -EAGAIN;
    while (result == -EAGAIN) {
        result = rte_intr_callback_unregister(listener->handle_.get(), on_interrupt, listener);
        if (result != -EAGAIN)
            break;
        // EAL is in our callback, perhaps below us on this very stack. It frees the listener when that has returned.
        result = rte_intr_callback_unregister_pending(
            listener->handle_.get(), on_interrupt, listener,
            [](rte_intr_handle *, void *ended) { delete static_cast<LinkListener *>(ended); });
        if (result > 0)
            return;
    }
    delete listener;
}

void LinkListener::handle_event() {
    std::unique_lock lock(mutex_);
    if (!dev_)
        return;
    rte_eth_dev *const dev = dev_;
    const engine::LinkEvent event = port(dev).link_event();
    if (!event.concerned)
        return;
    if (event.did)
        TAPFLOW_LOG(NOTICE, "%s: %s", name(dev), event.did->c_str());
    if (event.trouble)
        log_error(name(dev), *event.trouble);
    dev->data->mtu = std::min(dev->data->mtu, static_cast<uint16_t>(port(dev).max_mtu()));
    set_link_status(dev, event.link.up);
    const bool changed = std::exchange(up_, event.link.up) != event.link.up;
    const bool removed = !event.link.exists && !std::exchange(removed_, true);
    const auto wanted = dev->data->dev_conf.intr_conf;
    lock.unlock();
    if (changed && wanted.lsc)
        rte_eth_dev_callback_process(dev, RTE_ETH_EVENT_INTR_LSC, nullptr);
    if (removed && wanted.rmv && still_there())
        rte_eth_dev_callback_process(dev, RTE_ETH_EVENT_INTR_RMV, nullptr);
}

int listen_to_links(rte_eth_dev *dev) {
    std::unique_ptr<rte_intr_handle, HandleDeleter> handle(rte_intr_instance_alloc(RTE_INTR_INSTANCE_F_PRIVATE));
    if (!handle)
        return log_error(name(dev), {ENOMEM, "allocate interrupt handle", {}});
    std::unique_ptr<LinkListener> listener(new (std::nothrow)
                                               LinkListener(dev, port(dev).link_monitor(), std::move(handle)));
    if (!listener)
        return log_error(name(dev), {ENOMEM, "listen to link messages", {}});
    if (int error = listener->start(); error < 0)
        return log_error(name(dev), {-error, "register with EAL's interrupt thread", {}});
    process(dev).listener = listener.release();
    return 0;
}

void stop_listening(rte_eth_dev *dev) {
    if (LinkListener *listener = std::exchange(process(dev).listener, nullptr))
        LinkListener::end(listener);
}

LinkEventsHeld::LinkEventsHeld(rte_eth_dev *dev) : dev_(dev), listener_(process(dev).listener) {
    if (listener_)
        listener_->mutex_.lock();
}

LinkEventsHeld::~LinkEventsHeld() {
    if (listener_)
        listener_->mutex_.unlock();
}

void LinkEventsHeld::told() {
    if (listener_)
        listener_->up_ = dev_->data->dev_link.link_status == RTE_ETH_LINK_UP;
}

int set_link_status(rte_eth_dev *dev, bool up) {
    rte_eth_link link{};
    link.link_speed = RTE_ETH_SPEED_NUM_10G; // as DPDK's tap: a number that applications can live with
    link.link_duplex = RTE_ETH_LINK_FULL_DUPLEX;
    link.link_autoneg = RTE_ETH_LINK_FIXED;
    link.link_status = up ? RTE_ETH_LINK_UP : RTE_ETH_LINK_DOWN;
    return rte_eth_linkstatus_set(dev, &link);
}

} // namespace tapflow::pmd
