/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* The RSS configuration as the classifier reads it. */
#ifndef TAPFLOW_ABI_RSS_H
#define TAPFLOW_ABI_RSS_H

#include <linux/types.h>

#include "tapflow/abi/packet_class.h"
#include "tapflow/abi/static_assert.h"

#define TAPFLOW_QUEUES_MAX 64
#define TAPFLOW_RETA_MAX 512
#define TAPFLOW_RSS_KEY_MAX 52

/* Which fields of a packet are hashed: tapflow_rss::input. 0: the packet is not hashed, goes to reta[0], no hash. */
enum tapflow_hash_input {
    TAPFLOW_INPUT_L2 = 1 << 0,        /* destination address, source address, EtherType behind the tags */
    TAPFLOW_INPUT_ADDRESSES = 1 << 1, /* IP source address, destination address */
    TAPFLOW_INPUT_PORTS = 1 << 2,     /* ... source port, destination port */
    TAPFLOW_INPUT_SPI = 1 << 3,       /* ... SPI of ESP or AH */
    TAPFLOW_INPUT_EXTENSION = 1 << 4, /* the addresses are those of a mobile node, see tapflow_rss_fields() */
};

/* What has to be done to a packet's fields before they are hashed: tapflow_rss::flags. */
enum tapflow_rss_flag {
    TAPFLOW_RSS_INNERMOST = 1 << 0, /* a tunnel's inner headers are hashed */
    TAPFLOW_RSS_EXTENSION = 1 << 1, /* some class has TAPFLOW_INPUT_EXTENSION */
    /* The lower comes first, of ... */
    TAPFLOW_RSS_SORT_L2 = 1 << 2,        /* ... MAC addresses */
    TAPFLOW_RSS_SORT_ADDRESSES = 1 << 3, /* ... IP addresses */
    TAPFLOW_RSS_SORT_PORTS = 1 << 4,     /* ... ports */
    TAPFLOW_RSS_SORT = TAPFLOW_RSS_SORT_L2 | TAPFLOW_RSS_SORT_ADDRESSES | TAPFLOW_RSS_SORT_PORTS,
};

/* Where the tables of a field's bytes begin in tapflow_rss::table. */
enum tapflow_hash_row {
    TAPFLOW_ROW_IPV4 = 0, /* source, destination */
    TAPFLOW_ROW_PORTS4 = 8,
    TAPFLOW_ROW_IPV6 = 12, /* source, destination */
    TAPFLOW_ROW_PORTS6 = 44,
    TAPFLOW_ROW_SPI4 = 48,
    TAPFLOW_ROW_SPI6 = 52,
    TAPFLOW_ROW_L2 = 56, /* destination, source, EtherType, two bytes of zero */
    TAPFLOW_ROW_COUNT = 72,
};

/* Which of an RSS action's words were said: tapflow_rss_source::said. */
enum tapflow_rss_said {
    TAPFLOW_RSS_SAID_KEY = 1 << 0,
    TAPFLOW_RSS_SAID_FUNCTION = 1 << 1,
};

/* What the tables of a configuration were made from, for who looks at them: packets have no use for it. */
struct tapflow_rss_source {
    __u64 types; /* of DPDK's RTE_ETH_RSS_* bits, see rss/rss_config.h */
    __u8 key[TAPFLOW_RSS_KEY_MAX];
    __u8 key_size;
    __u8 function; /* of DPDK's enum rte_eth_hash_function */
    __u8 reserved[2];
    /* Of a rule's action, what was said, which the port's own configuration has filled up. */
    __u64 said_types;
    __u32 said_level;
    __u16 said_queues; /* the first so many of the RETA are its list; 0: all queues */
    __u16 said;        /* enum tapflow_rss_said */
};
TAPFLOW_STATIC_ASSERT(sizeof(struct tapflow_rss_source) == 80, "layout shared between processes");

/*
 * The value of a one-entry array map. A new configuration is a new map, put into its outer map in one step, so a
 * packet sees all of the old one or all of the new one.
 */
struct tapflow_rss {
    /* table[row][b]: what a byte of value b adds (exclusive-or) to the hash. Toeplitz, its symmetric form over the
     * exclusive-or of source and destination, and simple XOR are all linear, so they differ in nothing but this; the
     * table of a byte that is not hashed (source only, destination only) is zero. */
    __u32 table[TAPFLOW_ROW_COUNT][256];
    __u16 reta[TAPFLOW_RETA_MAX]; /* queue of each slot */
    __u32 reta_mask;              /* RETA size - 1; the size is a power of two */
    __u8 input[16];               /* enum tapflow_hash_input by enum tapflow_packet_class */
    __u32 flags;                  /* enum tapflow_rss_flag */
    __u8 reserved[8];
    struct tapflow_rss_source source;
};
TAPFLOW_STATIC_ASSERT(sizeof(struct tapflow_rss) == 72 * 1024 + 1024 + 32 + 80, "layout shared with BPF");
TAPFLOW_STATIC_ASSERT(TAPFLOW_CLASS_COUNT <= 16, "one input for each class");

#endif
