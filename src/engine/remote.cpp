// SPDX-License-Identifier: BSD-3-Clause
#include "engine/remote.h"

namespace tapflow::engine {

Result<std::unique_ptr<Remote>> Remote::attach(kernel::Netlink &netlink, const kernel::LinkInfo &tap,
                                               const kernel::LinkInfo &remote, BpfClassifier &classifier,
                                               std::function<bool()> alive) {
    auto transmit = kernel::Attachment::tcx_or_filter(netlink, tap, kernel::Hook::Ingress,
                                                      classifier.programs().tx_redirect(), kTransmitFilter);
    if (!transmit)
        return transmit.error();
    std::unique_ptr<Remote> result(new Remote(classifier, *std::move(transmit), std::move(alive)));
    if (auto adopted = result->adopt(netlink, remote, {}); !adopted)
        return adopted.error();
    return result;
}

Remote::Remote(BpfClassifier &classifier, kernel::Attachment transmit, std::function<bool()> alive)
    : classifier_(classifier), transmit_(std::move(transmit)), lease_(classifier.state().config, std::move(alive)) {}

Result<void> Remote::set(kernel::Membership kind, const MacAddress &address, bool on) {
    if (!memberships_)
        return {};
    return on ? memberships_->add(kind, address) : memberships_->drop(kind, address);
}

void Remote::lose() {
    classifier_.set_remote(0);
    memberships_.reset();
    if (receive_)
        receive_->abandon();
    receive_.reset();
    link_.index = 0;
}

Result<void> Remote::adopt(kernel::Netlink &netlink, const kernel::LinkInfo &remote,
                           std::span<const WantedMembership> memberships) {
    auto socket = kernel::MembershipSocket::open(remote.index, remote.name);
    if (!socket)
        return socket.error();
    // In front of the memberships, which make the kernel report a change of the interface: what fails here would be
    // tried again for ever.
    auto receive = kernel::Attachment::tcx_or_filter(netlink, remote, kernel::Hook::Ingress,
                                                     classifier_.programs().remote_ingress(), "tapflow_rx");
    if (!receive)
        return receive.error();
    for (const WantedMembership &membership : memberships)
        if (auto added = socket->add(membership.kind, membership.address); !added)
            return added.error();
    link_ = remote;
    memberships_.emplace(*std::move(socket));
    receive_.emplace(*std::move(receive));
    classifier_.set_remote(remote.index);
    return {};
}

} // namespace tapflow::engine
