// SPDX-License-Identifier: BSD-3-Clause
// Remote mode: the port's traffic is that of another interface.
#pragma once

#include "engine/bpf_classifier.h"
#include "engine/flower_filters.h"
#include "engine/lease.h"
#include "kernel/attachment.h"
#include "kernel/membership.h"
#include "kernel/netlink.h"
#include "tapflow/result.h"

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

namespace tapflow::engine {

/// Name of the filter, on kernels that have no TCX, by which the tap's Tx leaves.
constexpr const char *kTransmitFilter = "tapflow_tx";
/// ... and of the classifier at the remote.
constexpr const char *kReceiveFilter = "tapflow_rx";

/// What a port holds at its remote.
struct WantedMembership {
    kernel::Membership kind;
    MacAddress address;
};

/// An interface whose ingress is classified and through which the tap's Tx leaves.
///
/// The interface itself is never changed: promiscuity and addresses are memberships, the program is attached beside
/// its owner's. All of it goes with this object, and with the process.
class Remote {
  public:
    /// The objects referred to must outlive the remote. `filters`: the rules' at the remote, or null. `alive`: see
    /// Lease.
    static Result<std::unique_ptr<Remote>> attach(kernel::Netlink &netlink, const kernel::LinkInfo &tap,
                                                  const kernel::LinkInfo &remote, BpfClassifier &classifier,
                                                  FlowerFilters *filters, std::function<bool()> alive);

    /// 0 while it is lost.
    [[nodiscard]] int ifindex() const { return link_.index; }
    [[nodiscard]] const std::string &name() const { return link_.name; }
    /// Changes a membership; without effect while the remote is lost.
    Result<void> set(kernel::Membership kind, const MacAddress &address, bool on);
    Lease &lease() { return lease_; }

    /// The interface has been deleted, or moved to another namespace: nothing comes from it any more, and Tx is
    /// dropped.
    void lose();
    /// Another interface takes a lost one's place; rules have no filters there yet. On failure it is left as it was
    /// found. To be called in the interface's namespace.
    Result<void> adopt(kernel::Netlink &netlink, const kernel::LinkInfo &remote,
                       std::span<const WantedMembership> memberships);

  private:
    Remote(BpfClassifier &classifier, FlowerFilters *filters, kernel::Attachment transmit, std::function<bool()> alive);

    BpfClassifier &classifier_;
    FlowerFilters *filters_;
    kernel::LinkInfo link_;
    std::optional<kernel::MembershipSocket> memberships_;
    kernel::Attachment transmit_;
    std::optional<kernel::Attachment> receive_;
    Lease lease_;
};

} // namespace tapflow::engine
