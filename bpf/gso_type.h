/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
#ifndef TAPFLOW_BPF_GSO_TYPE_H
#define TAPFLOW_BPF_GSO_TYPE_H

#include "kernel_types.h"
#include "tapflow/abi/record.h"

/* How the segments of a kernel's super-frame are cut; TAPFLOW_GSO_NONE: they cannot be. */
static __always_inline __u8 gso_type_of(__u32 kernel_type) {
    __u32 type = kernel_type & ~(__u32)(KERNEL_GSO_INDIFFERENT | KERNEL_GSO_TUNNELS);
    if (type == KERNEL_GSO_TCPV4 || type == KERNEL_GSO_TCPV6)
        return TAPFLOW_GSO_TCP;
    return type == KERNEL_GSO_UDP_L4 ? TAPFLOW_GSO_UDP : TAPFLOW_GSO_NONE;
}

#endif
