/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* The memory that a port's process and its BPF programs share besides the rings. */
#ifndef TAPFLOW_ABI_PORT_STATE_H
#define TAPFLOW_ABI_PORT_STATE_H

#include <linux/types.h>

#include "tapflow/abi/rss.h"
#include "tapflow/abi/static_assert.h"

/*
 * Silence after which the application counts as dead or hung and a remote's packets go to the kernel again. The
 * control thread renews the lease every TAPFLOW_LEASE_RENEW_NS.
 */
#define TAPFLOW_LEASE_NS 1500000000ull
#define TAPFLOW_LEASE_RENEW_NS 250000000ull

#define TAPFLOW_VLANS 4096

enum tapflow_port_flag {
    TAPFLOW_PORT_STARTED = 1 << 0,
    TAPFLOW_PORT_PROMISCUOUS = 1 << 1,
    TAPFLOW_PORT_ALLMULTICAST = 1 << 2,
    TAPFLOW_PORT_ISOLATED = 1 << 3, /* rte_flow isolated mode: only rules take packets */
    TAPFLOW_PORT_TRAILER = 1 << 4,  /* rx=fd: the hash is asked for */
    TAPFLOW_PORT_RULES = 1 << 5,    /* there are ingress rules */
    TAPFLOW_PORT_VLAN_FILTER = 1 << 6,
};

/* Written by the process, read by BPF: each word is read on its own, so each change is one aligned store. */
struct tapflow_port_config {
    __u64 lease_ns;       /* CLOCK_MONOTONIC of the last renewal */
    __u64 mac;            /* the port's own address, first byte lowest, upper two bytes zero */
    __u64 cookie;         /* random; ends tapflow_trailer, and never changes */
    __u32 flags;          /* enum tapflow_port_flag */
    __u32 remote_ifindex; /* remote mode: where Tx goes; 0 while there is no remote */
    __u64 stopped_queues; /* bit i: queue i takes no packets */
    __u32 reserved[6];
};
TAPFLOW_STATIC_ASSERT(sizeof(struct tapflow_port_config) == 64, "a cache line that only the process writes");

/* Written by BPF with atomic adds, read by the process. Only events that end a packet's way are counted here. */
struct tapflow_port_counters {
    __u64 filtered;        /* local mode: the address filter did not want the packet */
    __u64 bypass;          /* reached a tap queue past the classifier (PACKET_QDISC_BYPASS) */
    __u64 oversize;        /* longer than TAPFLOW_FRAME_MAX */
    __u64 unsupported_gso; /* a super-frame of a kind that cannot be segmented */
    __u64 no_lease;        /* went to the kernel because the lease had run out */
    __u64 forged;          /* rx=fd: ended in the port's cookie without having a trailer */
    __u64 rule_dropped;    /* a rule's action */
    __u64 no_queue;        /* rx=ring: for a queue that there is not; a rule may name one that has gone */
    __u64 queue_stopped;   /* for a queue that the application has stopped */
    __u64 reserved[7];
};

/* Written by BPF for itself. */
struct tapflow_lease_check {
    __u64 good_tick; /* the kernel's tick (jiffies) in which the lease was last found good */
    __u64 reserved[7];
};

struct tapflow_queue_counters {
    __u64 ring_full;         /* packets dropped because the ring was full */
    __u64 ring_stuck;        /* a remote's that went to the kernel: the ring was full and its consumer at rest */
    __u64 consumer_position; /* of the ring when it was last found full */
    __u64 full_since_ns;     /* when that position was first seen with a full ring */
};

/* How a queue's reader is woken: `armed`, if it is neither 0 nor `rung`, says that it sleeps. */
struct tapflow_queue_doorbell {
    __u32 armed; /* written by the process: a new number for each sleep, 0 when awake */
    __u32 rung;  /* written by BPF: the number of the sleep from which it has woken the reader */
};

/*
 * What has passed a queue since the port was opened, for who looks at it from outside: written by the thread that polls
 * the queue.
 */
struct tapflow_queue_traffic {
    __u64 packets;
    __u64 bytes;
    __u64 reserved[6];
};
TAPFLOW_STATIC_ASSERT(sizeof(struct tapflow_queue_traffic) == 64, "a cache line for each queue");

struct tapflow_port_state {
    struct tapflow_port_config config;
    struct tapflow_port_counters counters;
    struct tapflow_lease_check lease_check;
    struct tapflow_queue_counters queues[TAPFLOW_QUEUES_MAX];
    struct tapflow_queue_doorbell doorbells[TAPFLOW_QUEUES_MAX]; /* rx=ring */
    __u64 vlans[TAPFLOW_VLANS / 64];                             /* bit i of word j: VLAN ID 64 j + i is let in */
    struct tapflow_queue_traffic received[TAPFLOW_QUEUES_MAX];
    struct tapflow_queue_traffic sent[TAPFLOW_QUEUES_MAX];
};
TAPFLOW_STATIC_ASSERT(sizeof(struct tapflow_port_state) == 256 + (40 + 2 * 64) * TAPFLOW_QUEUES_MAX + TAPFLOW_VLANS / 8,
                      "layout shared with BPF");

/* Room for the unicast and multicast addresses that the application adds to the port's own. */
#define TAPFLOW_ADDRESSES_MAX 256

#endif
