/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * Tells what the classifier would do with a frame in the packet's cb words. Attached nowhere; run by BPF_PROG_TEST_RUN.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_helpers.h>

#include "dry_run.h"

static __always_inline int explain(struct __sk_buff *skb, int remote) {
    struct decision decision = {};
    decide(skb, remote, &decision);
    if (!decision.flags)
        return 0;
    skb->cb[TAPFLOW_DECISION_FLAGS] = decision.flags | (__u32)decision.packet_class << TAPFLOW_DECISION_CLASS_SHIFT;
    skb->cb[TAPFLOW_DECISION_HASH] = decision.hash;
    skb->cb[TAPFLOW_DECISION_MARK] = decision.mark;
    skb->cb[TAPFLOW_DECISION_RULE] = decision.rule;
    skb->cb[TAPFLOW_DECISION_QUEUE] = decision.queue | (__u32)decision.rewrite << 16;
    return 0;
}

SEC("tc")
int explain_at_tap(struct __sk_buff *skb) { return explain(skb, 0); }

SEC("tc")
int explain_at_remote(struct __sk_buff *skb) { return explain(skb, 1); }

char _license[] SEC("license") = "Dual BSD/GPL";
