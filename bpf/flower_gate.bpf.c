/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* What is in front of the flower filters: see flower.h. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_helpers.h>

#include "flower_metadata.h"
#include "packet/parse.h"

/*
 * A tag in the frame itself, as packet sockets send it, goes beside it: the kernel's dissector would begin behind the
 * tag, and take what is there for another one (packet_parse_headers() in net/packet/af_packet.c). Returns 0 unless the
 * packet has lost its tag.
 */
static __always_inline int put_tag_beside(struct __sk_buff *skb) {
    __u16 tag[2]; /* EtherType and TCI */
    if (skb->vlan_present || bpf_skb_load_bytes(skb, 12, tag, sizeof(tag)) ||
        (tag[0] != TAPFLOW_TPID_8021Q && tag[0] != TAPFLOW_TPID_8021AD))
        return 0;
    return bpf_skb_vlan_pop(skb) == 0 && bpf_skb_vlan_push(skb, tag[0], TAPFLOW_BE16(tag[1]));
}

/* Local mode, at the tap's egress. */
SEC("tc")
int flower_gate_egress(struct __sk_buff *skb) {
    const struct tapflow_port_state *state = port();
    if (!state || !(state->config.flags & TAPFLOW_PORT_STARTED) || put_tag_beside(skb))
        return TC_ACT_SHOT;
    flower_begin(skb, state);
    return TC_ACT_UNSPEC;
}

/* Remote mode, at the remote's ingress, where the kernel has put tags beside already. */
SEC("tc")
int flower_gate_ingress(struct __sk_buff *skb) {
    const struct tapflow_port_state *state = port();
    if (state)
        flower_begin(skb, state);
    return TC_ACT_UNSPEC;
}

char _license[] SEC("license") = "Dual BSD/GPL";
