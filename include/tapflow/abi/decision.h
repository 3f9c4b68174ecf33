/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* What the classifier would do with a packet, as its dry run (bpf/explain.bpf.c) leaves it in the packet's cb words. */
#ifndef TAPFLOW_ABI_DECISION_H
#define TAPFLOW_ABI_DECISION_H

/* Words of __sk_buff::cb. */
enum tapflow_decision_word {
    TAPFLOW_DECISION_FLAGS = 0, /* enum tapflow_decision_flag, and packet class << TAPFLOW_DECISION_CLASS_SHIFT */
    TAPFLOW_DECISION_HASH = 1,
    TAPFLOW_DECISION_MARK = 2,
    TAPFLOW_DECISION_RULE = 3,  /* index of the last one that acts; 0: none */
    TAPFLOW_DECISION_QUEUE = 4, /* and number of the list of header changes << 16 */
};

enum tapflow_decision_flag {
    TAPFLOW_DECIDED = 1 << 0, /* the dry run came to its end */
    TAPFLOW_DECIDED_KERNEL = 1 << 1,
    TAPFLOW_DECIDED_APPLICATION = 1 << 2,
    TAPFLOW_DECIDED_HASH = 1 << 3,
    TAPFLOW_DECIDED_MARK = 1 << 4,
    TAPFLOW_DECIDED_FLAG = 1 << 5,
    TAPFLOW_DECIDED_REWRITE = 1 << 6,
    /* Why the application does not get the packet. */
    TAPFLOW_DECIDED_NOT_STARTED = 1 << 8,
    TAPFLOW_DECIDED_RULE_DROP = 1 << 9,
    TAPFLOW_DECIDED_FILTERED = 1 << 10, /* by its address, VLAN, or isolated mode */
    TAPFLOW_DECIDED_NO_LEASE = 1 << 11,
    TAPFLOW_DECIDED_QUEUE_STOPPED = 1 << 12,
    TAPFLOW_DECIDED_NO_QUEUE = 1 << 13,
    TAPFLOW_DECIDED_OVERSIZE = 1 << 14,
    TAPFLOW_DECIDED_UNSUPPORTED_GSO = 1 << 15,
    TAPFLOW_DECIDED_RING_FULL = 1 << 16,
    TAPFLOW_DECIDED_RING_STUCK = 1 << 17, /* the kernel gets it instead */

    TAPFLOW_DECIDED_QUEUE = 1 << 18, /* there is a queue, whether the packet has reached it or not */
};
#define TAPFLOW_DECISION_CLASS_SHIFT 24

#endif
