// SPDX-License-Identifier: BSD-3-Clause
// Link and removal events of a port, in EAL's interrupt thread.
#pragma once

#include "pmd/compat.h"

#include <mutex>

namespace tapflow::pmd {

class LinkListener;

/// Begins to notice what becomes of the port's interfaces; process_private and its port must be there.
/// Returns 0 or -errno, logged.
int listen_to_links(rte_eth_dev *dev);

/// Ends that; the port may go at once. May be called from everywhere, also from within a callback that the listener
/// itself has called, and waits for no callback.
void stop_listening(rte_eth_dev *dev);

/// While this lives no event is handled.
class LinkEventsHeld {
  public:
    explicit LinkEventsHeld(rte_eth_dev *dev);
    ~LinkEventsHeld();
    LinkEventsHeld(const LinkEventsHeld &) = delete;
    LinkEventsHeld &operator=(const LinkEventsHeld &) = delete;

    /// The application knows the link status as it is: the operation's return has told it, no event will.
    void told();

  private:
    rte_eth_dev *dev_;
    LinkListener *listener_;
};

/// The port's link status; returns as rte_eth_linkstatus_set() does.
int set_link_status(rte_eth_dev *dev, bool up);

} // namespace tapflow::pmd
