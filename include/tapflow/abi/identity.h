/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * What a port says of itself to who looks at it from outside (src/engine/inspect.h): the value of a one-entry array
 * map that is bound to its classifier.
 */
#ifndef TAPFLOW_ABI_IDENTITY_H
#define TAPFLOW_ABI_IDENTITY_H

#include <linux/types.h>

#include "tapflow/abi/static_assert.h"

/* The map's name, and the first two words of its value, are the same in every version. */
#define TAPFLOW_IDENTITY_MAP "tapflow_port"
/*
 * To be counted up with each change of what is in this directory or of the maps' names: who looks at a port from
 * outside can read no other version than its own.
 */
#define TAPFLOW_ABI_VERSION 1

enum tapflow_identity_flag {
    TAPFLOW_IDENTITY_RING = 1 << 0,    /* delivery by ring, else by fd */
    TAPFLOW_IDENTITY_FLOWER = 1 << 1,  /* ingress rules are flower filters, too */
    TAPFLOW_IDENTITY_TUN = 1 << 2,     /* its packets begin with the IP header */
    TAPFLOW_IDENTITY_REMOTE = 1 << 3,  /* remote mode */
    TAPFLOW_IDENTITY_PERSIST = 1 << 4, /* the tap stays when the port closes */
    TAPFLOW_IDENTITY_READOPT = 1 << 5, /* a remote that has gone may come back */
    TAPFLOW_IDENTITY_FOUND = 1 << 6,   /* the tap was there before the port */
};

/* A network namespace, as namespaces(7) tells them from each other while they exist. */
struct tapflow_namespace {
    __u64 device;
    __u64 inode;  /* may be another's when this one is gone */
    __u64 cookie; /* SO_NETNS_COOKIE: never another's; 0: not known */
};

/* Texts end with a zero byte. */
struct tapflow_port_identity {
    __u32 abi;      /* TAPFLOW_ABI_VERSION */
    __u32 size;     /* of this structure */
    __u64 sequence; /* odd while it is being written */
    char version[16];
    char device[64]; /* the name that the application knows it by */
    __u64 opened_ns; /* CLOCK_REALTIME */
    /* The process, and what tells it from a later one of the same number: field 22 of proc(5)'s stat. */
    __u64 process_start;
    __u64 pid_namespace; /* inode, in which `pid` is meant */
    __u32 pid;
    __u32 flags; /* enum tapflow_identity_flag */
    char process[16];
    struct tapflow_namespace tap_namespace;
    struct tapflow_namespace home; /* of the process when it opened the port, and of the remote */
    __u32 tap_ifindex;             /* in tap_namespace */
    __u16 rx_queues;
    __u16 tx_queues;
    char remote[16];        /* its name when the port was opened */
    char why_not_ring[160]; /* why rx=auto came to deliver by fd */
    __u64 reserved[8];
};
TAPFLOW_STATIC_ASSERT(sizeof(struct tapflow_port_identity) == 440, "layout shared between processes");

#endif
