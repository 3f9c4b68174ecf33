// SPDX-License-Identifier: BSD-3-Clause
#include "bench/interfaces.h"

#include "kernel/bpf.h"
#include "packet/build.h"
#include "support/system.h"

#include <bpf/bpf.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/pkt_cls.h>
#include <net/if.h>
#include <sys/ioctl.h>

#include <array>
#include <stdexcept>

namespace tapflow::bench {

kernel::Fd open_plain_tap(const std::string &name) {
    kernel::Fd fd = test::owned(::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC), "/dev/net/tun");
    ifreq request{};
    name.copy(request.ifr_name, IFNAMSIZ - 1);
    request.ifr_flags = IFF_TAP | IFF_NO_PI;
    if (ioctl(fd.get(), TUNSETIFF, &request) < 0)
        test::throw_errno("create tap " + name);
    return fd;
}

kernel::Fd drop_ingress(const std::string &interface) {
    std::array<bpf_insn, 2> drop{};
    drop[0].code = BPF_ALU64 | BPF_MOV | BPF_K;
    drop[0].imm = TC_ACT_SHOT;
    drop[1].code = BPF_JMP | BPF_EXIT;
    const kernel::Fd program =
        test::owned(bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "bench_drop", "GPL", drop.data(), drop.size(), nullptr),
                    "load bench_drop");
    auto attached = kernel::attach_tcx(static_cast<int>(if_nametoindex(interface.c_str())), kernel::Hook::Ingress,
                                       program.get(), "attach bench_drop to " + interface);
    if (!attached)
        throw std::runtime_error(attached.error().message());
    return *std::move(attached);
}

std::vector<uint8_t> udp_frame(const MacAddress &destination, unsigned size) {
    constexpr unsigned kHeaders = 14 + 20 + 8;
    return packet::Packet()
        .ether(destination)
        .ipv4("10.9.0.1", "10.9.0.2")
        .udp(4000, 4001)
        .checksum(0)
        .payload(size - kHeaders)
        .bytes();
}

} // namespace tapflow::bench
