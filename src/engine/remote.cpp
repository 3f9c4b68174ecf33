// SPDX-License-Identifier: BSD-3-Clause
#include "engine/remote.h"

namespace tapflow::engine {

Result<std::unique_ptr<Remote>> Remote::attach(kernel::Netlink &netlink, const kernel::LinkInfo &tap,
                                               const kernel::LinkInfo &remote, BpfClassifier &classifier,
                                               FlowerFilters *filters, std::function<bool()> alive) {
    auto transmit = kernel::Attachment::tcx_or_filter(netlink, tap, kernel::Hook::Ingress,
                                                      classifier.programs().tx_redirect(), kTransmitFilter);
    if (!transmit)
        return transmit.error();
    std::unique_ptr<Remote> result(new Remote(classifier, filters, *std::move(transmit), std::move(alive)));
    if (auto adopted = result->adopt(netlink, remote, {}); !adopted)
        return adopted.error();
    return result;
}

Remote::Remote(BpfClassifier &classifier, FlowerFilters *filters, kernel::Attachment transmit,
               std::function<bool()> alive)
    : classifier_(classifier), filters_(filters), transmit_(std::move(transmit)),
      lease_(classifier.state().config, std::move(alive)) {}

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
    if (filters_)
        filters_->abandon();
    link_.index = 0;
}

Result<void> Remote::adopt(kernel::Netlink &netlink, const kernel::LinkInfo &remote,
                           std::span<const WantedMembership> memberships) {
    auto socket = kernel::MembershipSocket::open(remote.index, remote.name);
    if (!socket)
        return socket.error();
    // In front of the memberships, which make the kernel report a change of the interface: what fails here would be
    // tried again for ever.
    std::optional<kernel::Attachment> receive;
    if (filters_) {
        if (auto attached = filters_->attach(remote, kernel::Hook::Ingress); !attached)
            return attached;
    } else {
        if (auto removed =
                FlowerFilters::remove_left(netlink, remote, kernel::Hook::Ingress, kernel::RuleSearch::Tables);
            !removed)
            return removed;
        auto attached = kernel::Attachment::tcx_or_filter(netlink, remote, kernel::Hook::Ingress,
                                                          classifier_.programs().remote_ingress(), kReceiveFilter);
        if (!attached)
            return attached.error();
        receive.emplace(*std::move(attached));
    }
    for (const WantedMembership &membership : memberships)
        if (auto added = socket->add(membership.kind, membership.address); !added) {
            if (filters_)
                filters_->detach();
            return added.error();
        }
    link_ = remote;
    memberships_.emplace(*std::move(socket));
    if (receive)
        receive_.emplace(*std::move(receive));
    classifier_.set_remote(remote.index);
    return {};
}

} // namespace tapflow::engine
