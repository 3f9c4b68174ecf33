// SPDX-License-Identifier: BSD-3-Clause
#include "pmd/interrupts.h"

#include "pmd/log.h"
#include "pmd/shared.h"

#include <rte_interrupts.h>

#include <memory>
#include <utility>

namespace tapflow::pmd {
namespace {

int out_of_memory(const rte_eth_dev *dev) {
    return log_error(name(dev), {ENOMEM, "make Rx interrupts", "out of memory"});
}

/// A queue that is not set up has none.
int make_interrupt(rte_eth_dev *dev, uint16_t queue) {
    process(dev).interrupts[queue].reset();
    if (!port(dev).is_set_up(queue))
        return 0;
    auto made = port(dev).make_interrupt(queue);
    if (!made)
        return log_error(name(dev), made.error());
    process(dev).interrupts[queue].emplace(*std::move(made));
    return 0;
}

/// Tells EAL on which descriptor a queue's sleeper waits, and that there is nothing to read from it.
int describe_interrupts(rte_eth_dev *dev) {
    const uint16_t queues = dev->data->nb_rx_queues;
    rte_intr_handle *handle = dev->intr_handle;
    if (rte_intr_vec_list_alloc(handle, nullptr, queues) != 0)
        return out_of_memory(dev);
    rte_intr_type_set(handle, RTE_INTR_HANDLE_VDEV);
    rte_intr_efd_counter_size_set(handle, 0);
    rte_intr_nb_efd_set(handle, queues);
    rte_intr_max_intr_set(handle, queues + 1);
    for (uint16_t i = 0; i < queues; i++) {
        const auto &interrupt = process(dev).interrupts[i];
        if (rte_intr_vec_list_index_set(handle, i, RTE_INTR_VEC_RXTX_OFFSET + i) != 0 ||
            rte_intr_efds_index_set(handle, i, interrupt ? interrupt->fd() : -1) != 0)
            return out_of_memory(dev);
    }
    return 0;
}

} // namespace

int install_interrupts(rte_eth_dev *dev) {
    remove_interrupts(dev);
    if (!dev->data->dev_conf.intr_conf.rxq)
        return 0;
    dev->intr_handle = rte_intr_instance_alloc(RTE_INTR_INSTANCE_F_PRIVATE);
    if (!dev->intr_handle)
        return out_of_memory(dev);
    int error = 0;
    for (uint16_t i = 0; i < dev->data->nb_rx_queues && error == 0; i++)
        error = make_interrupt(dev, i);
    if (error == 0)
        error = describe_interrupts(dev);
    if (error != 0)
        remove_interrupts(dev);
    return error;
}

void remove_interrupts(rte_eth_dev *dev) {
    for (auto &interrupt : process(dev).interrupts)
        interrupt.reset();
    if (!dev->intr_handle)
        return;
    rte_intr_free_epoll_fd(dev->intr_handle);
    rte_intr_vec_list_free(dev->intr_handle);
    rte_intr_instance_free(std::exchange(dev->intr_handle, nullptr));
}

int pause_interrupt(rte_eth_dev *dev, uint16_t queue) {
    return process(dev).interrupts[queue] ? rx_queue_intr_disable(dev, queue) : 0;
}

int change_interrupt(rte_eth_dev *dev, uint16_t queue) {
    auto &interrupt = process(dev).interrupts[queue];
    if (!dev->intr_handle)
        return 0;
    if (interrupt) // its descriptor stays, on which somebody may wait
        return status(dev, port(dev).change_interrupt(queue, *interrupt));
    if (int error = make_interrupt(dev, queue))
        return error;
    return rte_intr_efds_index_set(dev->intr_handle, queue, interrupt->fd()) == 0 ? 0 : out_of_memory(dev);
}

int rx_queue_intr_enable(rte_eth_dev *dev, uint16_t queue) {
    auto &interrupt = process(dev).interrupts[queue];
    if (!interrupt)
        return -ENOTSUP;
    return status(dev, interrupt->enable());
}

int rx_queue_intr_disable(rte_eth_dev *dev, uint16_t queue) {
    auto &interrupt = process(dev).interrupts[queue];
    if (!interrupt)
        return -ENOTSUP;
    return status(dev, interrupt->disable());
}

} // namespace tapflow::pmd
