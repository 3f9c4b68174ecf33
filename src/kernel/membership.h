// SPDX-License-Identifier: BSD-3-Clause
// Promiscuity and addresses on an interface that is not ours, taken back by the kernel when we are gone (packet(7)).
#pragma once

#include "kernel/fd.h"
#include "tapflow/mac_address.h"
#include "tapflow/result.h"

#include <string>

namespace tapflow::kernel {

enum class Membership : unsigned char { Promiscuous, AllMulticast, Unicast, Multicast };

/// An AF_PACKET socket that receives nothing and holds memberships of one interface.
class MembershipSocket {
  public:
    static Result<MembershipSocket> open(int ifindex, const std::string &interface_name);

    /// Memberships are counted by the kernel: one drop for each add.
    Result<void> add(Membership kind, const MacAddress &address = {});
    Result<void> drop(Membership kind, const MacAddress &address = {});

  private:
    MembershipSocket(Fd socket, int ifindex, std::string name)
        : socket_(std::move(socket)), ifindex_(ifindex), name_(std::move(name)) {}
    Result<void> change(int option, Membership kind, const MacAddress &address, const char *verb);

    Fd socket_;
    int ifindex_;
    std::string name_;
};

} // namespace tapflow::kernel
