// SPDX-License-Identifier: BSD-3-Clause
// What is attached to an interface, as others see it.
#pragma once

#include "kernel/tc.h"
#include "support/netns.h"

#include <linux/bpf.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <string>

namespace tapflow::test {

/// Programs at a TCX hook of an interface in the calling thread's namespace; 0 on kernels without TCX.
inline unsigned tcx_programs(int ifindex, kernel::Hook hook) {
    bpf_attr attributes{};
    attributes.query.target_fd = static_cast<uint32_t>(ifindex);            // target_ifindex of Linux 6.6's bpf.h
    attributes.query.attach_type = hook == kernel::Hook::Ingress ? 46 : 47; // BPF_TCX_INGRESS, BPF_TCX_EGRESS
    const long result = syscall(SYS_bpf, BPF_PROG_QUERY, &attributes, sizeof(attributes));
    return result == 0 ? attributes.query.prog_cnt : 0;
}

/// Everything of an interface that a guest has to leave as it was: text to compare.
inline std::string interface_state(const NetNs &ns, const std::string &name) {
    const Link link = ns.link(name);
    return ns.must_run({"tc", "qdisc", "show", "dev", name}) +
           ns.must_run({"tc", "filter", "show", "dev", name, "ingress"}) +
           ns.must_run({"tc", "filter", "show", "dev", name, "egress"}) +
           ns.must_run({"ip", "maddress", "show", "dev", name}) + ns.must_run({"bridge", "fdb", "show", "dev", name}) +
           "MAC " + link.mac.text() + ", MTU " + std::to_string(link.mtu) + ", flags " + std::to_string(link.flags) +
           ", promiscuity " + std::to_string(link.promiscuity) + ", TCX " +
           std::to_string(tcx_programs(link.index, kernel::Hook::Ingress)) + "/" +
           std::to_string(tcx_programs(link.index, kernel::Hook::Egress));
}

} // namespace tapflow::test
