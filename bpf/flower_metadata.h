/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* Where flower filters write what they have found, and where the packet's own words are meanwhile: see flower.h. */
#ifndef TAPFLOW_BPF_FLOWER_METADATA_H
#define TAPFLOW_BPF_FLOWER_METADATA_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "maps.h"

/* skb->cb, which programs of one hook share: whose the packet is, ... */
#define FLOWER_COOKIE 0 /* and 1: tapflow_port_config::cookie */
/* ... and what the words that the filters write into had before; behind flower_end() what the filters wrote. */
#define FLOWER_MARK 2
#define FLOWER_PRIORITY 3

static __always_inline void flower_sign(struct __sk_buff *skb, const struct tapflow_port_state *state) {
    skb->cb[FLOWER_COOKIE] = (__u32)state->config.cookie;
    skb->cb[FLOWER_COOKIE + 1] = (__u32)(state->config.cookie >> 32);
}

static __always_inline int flower_is_signed(struct __sk_buff *skb, const struct tapflow_port_state *state) {
    return skb->cb[FLOWER_COOKIE] == (__u32)state->config.cookie &&
           skb->cb[FLOWER_COOKIE + 1] == (__u32)(state->config.cookie >> 32);
}

static __always_inline void flower_begin(struct __sk_buff *skb, const struct tapflow_port_state *state) {
    flower_sign(skb, state);
    skb->cb[FLOWER_MARK] = skb->mark;
    skb->cb[FLOWER_PRIORITY] = skb->priority;
    skb->mark = 0;
    skb->priority = 0;
}

static __always_inline void flower_swap(struct __sk_buff *skb) {
    __u32 mark = skb->mark;
    __u32 priority = skb->priority;
    skb->mark = skb->cb[FLOWER_MARK];
    skb->priority = skb->cb[FLOWER_PRIORITY];
    skb->cb[FLOWER_MARK] = mark;
    skb->cb[FLOWER_PRIORITY] = priority;
}

#endif
