// SPDX-License-Identifier: BSD-3-Clause
// Rx interrupts (rte_eth_dev_rx_intr_*): a file descriptor for each queue, on which an application sleeps.
#pragma once

#include "pmd/compat.h"

namespace tapflow::pmd {

/// Makes them for a port that starts, if its configuration asks for them.
int install_interrupts(rte_eth_dev *dev);
/// Takes them off a port that has stopped.
void remove_interrupts(rte_eth_dev *dev);
/// Before, and after, a queue is set up in a port that runs.
int pause_interrupt(rte_eth_dev *dev, uint16_t queue);
int change_interrupt(rte_eth_dev *dev, uint16_t queue);

int rx_queue_intr_enable(rte_eth_dev *dev, uint16_t queue);
int rx_queue_intr_disable(rte_eth_dev *dev, uint16_t queue);

} // namespace tapflow::pmd
