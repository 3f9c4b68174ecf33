// SPDX-License-Identifier: BSD-3-Clause
#include "engine/remote.h"

namespace tapflow::engine {

Result<std::unique_ptr<Remote>> Remote::attach(kernel::Netlink &netlink, const kernel::LinkInfo &tap,
                                               const kernel::LinkInfo &remote, BpfClassifier &classifier,
                                               std::function<bool()> alive) {
    auto memberships = kernel::MembershipSocket::open(remote.index, remote.name);
    if (!memberships)
        return memberships.error();
    auto transmit = kernel::Attachment::tcx_or_filter(netlink, tap, kernel::Hook::Ingress,
                                                      classifier.programs().tx_redirect(), kTransmitFilter);
    if (!transmit)
        return transmit.error();
    auto receive = kernel::Attachment::tcx_or_filter(netlink, remote, kernel::Hook::Ingress,
                                                     classifier.programs().remote_ingress(), "tapflow_rx");
    if (!receive)
        return receive.error();
    return std::unique_ptr<Remote>(new Remote(remote, *std::move(memberships), *std::move(transmit),
                                              *std::move(receive), classifier.state().config, std::move(alive)));
}

Remote::Remote(kernel::LinkInfo link, kernel::MembershipSocket memberships, kernel::Attachment transmit,
               kernel::Attachment receive, tapflow_port_config &config, std::function<bool()> alive)
    : link_(std::move(link)), memberships_(std::move(memberships)), transmit_(std::move(transmit)),
      receive_(std::move(receive)), lease_(config, std::move(alive)) {}

} // namespace tapflow::engine
