// SPDX-License-Identifier: BSD-3-Clause
#include "kernel/membership.h"

#include <linux/if_packet.h>
#include <sys/socket.h>

#include <algorithm>

namespace tapflow::kernel {

Result<MembershipSocket> MembershipSocket::open(int ifindex, const std::string &interface_name) {
    Fd socket(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0)); // protocol 0: no packet is ever queued here
    if (!socket)
        return last_error("open packet socket for " + interface_name);
    return MembershipSocket(std::move(socket), ifindex, interface_name);
}

Result<void> MembershipSocket::add(Membership kind, const MacAddress &address) {
    return change(PACKET_ADD_MEMBERSHIP, kind, address, "add");
}

Result<void> MembershipSocket::drop(Membership kind, const MacAddress &address) {
    return change(PACKET_DROP_MEMBERSHIP, kind, address, "drop");
}

Result<void> MembershipSocket::change(int option, Membership kind, const MacAddress &address, const char *verb) {
    packet_mreq request{};
    std::string object;
    request.mr_ifindex = ifindex_;
    switch (kind) {
    case Membership::Promiscuous:
        request.mr_type = PACKET_MR_PROMISC;
        object = "promiscuity";
        break;
    case Membership::AllMulticast:
        request.mr_type = PACKET_MR_ALLMULTI;
        object = "all multicast";
        break;
    case Membership::Unicast:
    case Membership::Multicast:
        request.mr_type = kind == Membership::Unicast ? PACKET_MR_UNICAST : PACKET_MR_MULTICAST;
        request.mr_alen = static_cast<unsigned short>(address.bytes.size());
        std::copy(address.bytes.begin(), address.bytes.end(), request.mr_address);
        object = "address " + address.text();
        break;
    }
    if (setsockopt(socket_.get(), SOL_PACKET, option, &request, sizeof(request)) < 0)
        return last_error(std::string(verb) + " " + object + " at " + name_);
    return {};
}

} // namespace tapflow::kernel
