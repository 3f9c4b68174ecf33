// SPDX-License-Identifier: BSD-3-Clause
// Remote mode: the port's traffic is that of another interface.
#pragma once

#include "engine/bpf_classifier.h"
#include "engine/lease.h"
#include "kernel/attachment.h"
#include "kernel/membership.h"
#include "kernel/netlink.h"
#include "tapflow/result.h"

#include <functional>
#include <memory>

namespace tapflow::engine {

/// Name of the filter, on kernels that have no TCX, by which the tap's Tx leaves.
constexpr const char *kTransmitFilter = "tapflow_tx";

/// An interface whose ingress is classified and through which the tap's Tx leaves.
///
/// The interface itself is never changed: promiscuity and addresses are memberships, the program is attached beside
/// its owner's. All of it goes with this object, and with the process.
class Remote {
  public:
    /// The objects referred to must outlive the remote. `alive`: see Lease.
    static Result<std::unique_ptr<Remote>> attach(kernel::Netlink &netlink, const kernel::LinkInfo &tap,
                                                  const kernel::LinkInfo &remote, BpfClassifier &classifier,
                                                  std::function<bool()> alive);

    [[nodiscard]] int ifindex() const { return link_.index; }
    [[nodiscard]] const std::string &name() const { return link_.name; }
    kernel::MembershipSocket &memberships() { return memberships_; }
    Lease &lease() { return lease_; }

  private:
    Remote(kernel::LinkInfo link, kernel::MembershipSocket memberships, kernel::Attachment transmit,
           kernel::Attachment receive, tapflow_port_config &config, std::function<bool()> alive);

    kernel::LinkInfo link_;
    kernel::MembershipSocket memberships_;
    kernel::Attachment transmit_;
    kernel::Attachment receive_;
    Lease lease_;
};

} // namespace tapflow::engine
