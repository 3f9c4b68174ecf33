/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * Flow rules as the classifier reads them: what of a packet is compared, and the tables that are searched. Written by
 * the process while packets are matched; src/flow/tuple_space.h has the rules of that.
 */
#ifndef TAPFLOW_ABI_FLOW_H
#define TAPFLOW_ABI_FLOW_H

#include <linux/types.h>

#include "tapflow/abi/static_assert.h"

#define TAPFLOW_FLOW_GROUPS 16
#define TAPFLOW_FLOW_PRIORITIES 4096

/*
 * One stack of headers, outer or inner. Bytes are as on the wire; fields of headers that a packet does not have are
 * zero, so they can share places. Fragments have no L4 header.
 */
struct tapflow_flow_headers {
    __u8 eth_dst[6];
    __u16 eth_type; /* the Ethernet header's own: a TPID in tagged frames */
    __u8 eth_src[6];
    __u16 vlan_tci;
    __u16 vlan_type; /* behind the tag */
    __u16 vlan2_tci;
    __u16 vlan2_type;
    __u8 ip_proto;    /* of what follows IP and its extension headers */
    __u8 ip_ttl;      /* or hop limit */
    __u8 ip_src[16];  /* IPv4: the first four bytes; ARP: sender protocol address, then sender hardware address */
    __u8 ip_dst[16];  /* ... target */
    __u8 l4[4];       /* ports; ICMP type and code; SPI; GRE flags and protocol; ARP operation; IPv6 fragment: id */
    __u8 l4_more[4];  /* TCP data offset and flags; SCTP tag; ICMP identifier and sequence number; first half of VXLAN's
                         or GENEVE's header */
    __u8 ip_first[4]; /* IPv4: version and IHL, TOS, zeros; IPv6: version, traffic class, flow label */
    __u16 ip_fragment;  /* IPv4: flags and fragment offset; IPv6: the fragment header's offset and M flag */
    __u16 ip_extension; /* IPv6: enum tapflow_flow_extension, in host byte order */
};
TAPFLOW_STATIC_ASSERT(sizeof(struct tapflow_flow_headers) == 72, "whole words");

/* Headers that a packet has, in tapflow_flow_key::layers; inner ones are shifted by TAPFLOW_LAYER_INNER_SHIFT. */
enum tapflow_flow_layer {
    TAPFLOW_LAYER_ETH = 1 << 0, /* outer: always */
    TAPFLOW_LAYER_VLAN = 1 << 1,
    TAPFLOW_LAYER_VLAN2 = 1 << 2,
    TAPFLOW_LAYER_ARP = 1 << 3, /* IPv4 over Ethernet */
    TAPFLOW_LAYER_IPV4 = 1 << 4,
    TAPFLOW_LAYER_IPV6 = 1 << 5,
    TAPFLOW_LAYER_FRAGMENT = 1 << 6, /* IPv6 fragment header */
    TAPFLOW_LAYER_TCP = 1 << 7,
    TAPFLOW_LAYER_UDP = 1 << 8,
    TAPFLOW_LAYER_SCTP = 1 << 9,
    TAPFLOW_LAYER_ICMP = 1 << 10,
    TAPFLOW_LAYER_ICMP6 = 1 << 11,
    TAPFLOW_LAYER_ESP = 1 << 12,
    TAPFLOW_LAYER_AH = 1 << 13,
    /* Outer headers only. */
    TAPFLOW_LAYER_GRE = 1 << 14,
    TAPFLOW_LAYER_GRE_KEY = 1 << 15,
    TAPFLOW_LAYER_VXLAN = 1 << 16,
    TAPFLOW_LAYER_GENEVE = 1 << 17,
};
#define TAPFLOW_LAYER_INNER_SHIFT 18
#define TAPFLOW_LAYER_INNER_MASK (0x3fffu << TAPFLOW_LAYER_INNER_SHIFT)

/* IPv6 extension headers, in tapflow_flow_headers::ip_extension. */
enum tapflow_flow_extension {
    TAPFLOW_EXTENSION_HOP = 1 << 0,
    TAPFLOW_EXTENSION_ROUTE = 1 << 1,
    TAPFLOW_EXTENSION_FRAGMENT = 1 << 2,
    TAPFLOW_EXTENSION_AUTH = 1 << 3,
    TAPFLOW_EXTENSION_ESP = 1 << 4,
    TAPFLOW_EXTENSION_DEST = 1 << 5,
    TAPFLOW_EXTENSION_MOBIL = 1 << 6,
    TAPFLOW_EXTENSION_HIP = 1 << 7,
    TAPFLOW_EXTENSION_SHIM6 = 1 << 8,
};

#define TAPFLOW_FLOW_WORDS 19

/* Everything of a packet that a rule can ask for. */
struct tapflow_flow_key {
    struct tapflow_flow_headers outer;
    struct tapflow_flow_headers inner; /* behind VXLAN, GENEVE, GRE or IP in IP */
    __u32 layers;                      /* enum tapflow_flow_layer, in host byte order */
    __u8 tunnel[4];                    /* VXLAN, GENEVE: VNI and a reserved byte; GRE: key */
};
TAPFLOW_STATIC_ASSERT(sizeof(struct tapflow_flow_key) == 8 * TAPFLOW_FLOW_WORDS, "whole words");

/* What a rule does with a packet. */
enum tapflow_flow_action {
    TAPFLOW_FLOW_QUEUE = 1 << 0,
    TAPFLOW_FLOW_RSS = 1 << 1, /* by a context of its own */
    TAPFLOW_FLOW_DROP = 1 << 2,
    TAPFLOW_FLOW_JUMP = 1 << 3,
    TAPFLOW_FLOW_MARK = 1 << 4,
    TAPFLOW_FLOW_FLAG = 1 << 5,
    TAPFLOW_FLOW_COUNT = 1 << 6,
    TAPFLOW_FLOW_REWRITE = 1 << 7,
    TAPFLOW_FLOW_TAKE = 1 << 8, /* the application gets the packet, whatever its address */

    TAPFLOW_FLOW_FINAL = TAPFLOW_FLOW_QUEUE | TAPFLOW_FLOW_RSS | TAPFLOW_FLOW_DROP, /* ends the search */
};

/*
 * A rule. Rules of one mask whose words are equal are a chain, in the order of their ranks. Index 0 is none. A rule in
 * the tables never changes but for `next`.
 */
struct tapflow_flow_rule {
    __u64 rank;    /* the lower wins: priority << 48 | number of the rule */
    __u32 mask;    /* tapflow_flow_mask::id */
    __u32 next;    /* in its chain */
    __u32 mark;    /* with MARK */
    __u32 counter; /* with COUNT: index of its tapflow_flow_counter */
    __u16 actions; /* enum tapflow_flow_action */
    __u16 queue;   /* with QUEUE */
    __u16 context; /* with RSS: index of its tapflow_rss */
    __u16 rewrite; /* with REWRITE: number of its list of changes */
    __u32 group;   /* with JUMP */
    /* For who looks at the rule from outside. */
    __u16 indirect_rss; /* number of the indirect action that its context is; 0: its own */
    __u8 pass_through;  /* PASSTHRU was said */
    __u8 reserved;
    /* The words of the key that the mask has, masked, in its order; behind them the ranges, low | high << 32. */
    __u64 words[TAPFLOW_FLOW_WORDS];
};
TAPFLOW_STATIC_ASSERT(sizeof(struct tapflow_flow_rule) == 192, "layout shared with BPF");

#define TAPFLOW_FLOW_RULE_CHUNK 4096 /* rules in one inner map */
#define TAPFLOW_FLOW_RULE_CHUNKS 32
#define TAPFLOW_FLOW_RULES_MAX (TAPFLOW_FLOW_RULE_CHUNK * TAPFLOW_FLOW_RULE_CHUNKS)
#define TAPFLOW_FLOW_CHAIN_MAX 256 /* rules that differ in nothing but rank and ranges */

/*
 * Hash table over all masks' rules. A slot is tag << 32 | index of a chain's first rule; 0 is empty, TAPFLOW_FLOW_GONE
 * was used. What finds no room in its bucket goes into the ones behind it; a search ends at an empty slot.
 */
#define TAPFLOW_FLOW_BUCKETS (1 << 15)
#define TAPFLOW_FLOW_SLOTS 8
#define TAPFLOW_FLOW_PROBES 8
#define TAPFLOW_FLOW_GONE (1ull << 32)
struct tapflow_flow_bucket {
    __u64 slots[TAPFLOW_FLOW_SLOTS];
};

/* An integer field that lies between two values: (big-endian word >> shift) & bits. */
struct tapflow_flow_range {
    __u32 bits;
    __u8 word; /* of the key */
    __u8 shift;
    __u8 reserved[2];
};
#define TAPFLOW_FLOW_RANGES 4

/*
 * A set of bits that rules of one group compare. The masks of a group are a list, in the order of their best
 * priorities; so one may be in it twice for a moment. Index 0 is none. Only `next` changes while it is in a list.
 */
struct tapflow_flow_mask {
    __u32 id;       /* never used again */
    __u32 next;     /* index */
    __u16 priority; /* none of its rules has a better one */
    __u8 word_count;
    __u8 range_count;
    __u8 word[TAPFLOW_FLOW_WORDS + 1]; /* index in the key of each word */
    struct tapflow_flow_range range[TAPFLOW_FLOW_RANGES];
    __u64 bits[TAPFLOW_FLOW_WORDS]; /* of each word */
    __u64 reserved[5];
};
TAPFLOW_STATIC_ASSERT(sizeof(struct tapflow_flow_mask) == 256, "layout shared with BPF");

#define TAPFLOW_FLOW_MASKS_MAX 128  /* in use */
#define TAPFLOW_FLOW_MASK_SLOTS 256 /* ... and those that a packet may still be looking at */
#define TAPFLOW_FLOW_INGRESS 0      /* list of the first group of that direction */
#define TAPFLOW_FLOW_EGRESS TAPFLOW_FLOW_GROUPS
#define TAPFLOW_FLOW_LISTS (2 * TAPFLOW_FLOW_GROUPS)

/* Where the searches begin. */
struct tapflow_flow_directory {
    __u64 generation; /* counted up after each change: results that were kept from before are void */
    __u32 inner;      /* some mask has bits of inner headers or a tunnel */
    __u32 reserved[5];
    __u32 used_count;                    /* words of the key that any mask has */
    __u32 mask_count;                    /* in use */
    __u8 used[TAPFLOW_FLOW_WORDS + 5];   /* indices of those words, */
    __u64 used_bits[TAPFLOW_FLOW_WORDS]; /* ... and the bits of each that any mask has, or range */
    __u64 reserved2;
    __u32 head[TAPFLOW_FLOW_LISTS]; /* index of each list's first mask */
    struct tapflow_flow_mask masks[TAPFLOW_FLOW_MASK_SLOTS];
};

/*
 * What has been found for a packet, kept by each CPU for the next one that looks the same to all masks. Two to a set.
 */
#define TAPFLOW_FLOW_CACHE_FROM 3 /* masks: with fewer, looking for the rules costs no more */
#define TAPFLOW_FLOW_CACHE_WORDS 11
#define TAPFLOW_FLOW_CACHE_COUNTERS 2
#define TAPFLOW_FLOW_CACHE_SETS 1024
struct tapflow_flow_cached {
    __u64 generation;                      /* tapflow_flow_directory's then */
    __u64 words[TAPFLOW_FLOW_CACHE_WORDS]; /* of the key, as tapflow_flow_directory::used and used_bits say */
    __u32 rule;
    __u32 mark;
    __u32 counters[TAPFLOW_FLOW_CACHE_COUNTERS];
    __u16 actions;
    __u16 queue;
    __u16 context;
    __u16 rewrite;
    __u8 list;
    __u8 counter_count;
    __u8 reserved[6];
};
struct tapflow_flow_cache_set {
    struct tapflow_flow_cached way[2];
};
TAPFLOW_STATIC_ASSERT(sizeof(struct tapflow_flow_cache_set) == 256, "layout shared with BPF");

struct tapflow_flow_counter {
    __u64 packets; /* on the wire: a super-frame's segments */
    __u64 bytes;
};
/* Counters have the indices of their rules; those that rules share come behind, in a chunk of their own. */
#define TAPFLOW_FLOW_COUNTER_CHUNKS (TAPFLOW_FLOW_RULE_CHUNKS + 1)
#define TAPFLOW_FLOW_SHARED_COUNTERS TAPFLOW_FLOW_RULES_MAX
#define TAPFLOW_FLOW_CONTEXTS 256

/* A change to a packet's headers: see flow::Rewrite. */
struct tapflow_flow_rewrite {
    __u16 value;
    __u8 kind;
    __u8 reserved;
    __u8 bytes[16];
};
/* The changes of one number, for who looks at them from outside: value of a hash map. */
#define TAPFLOW_FLOW_REWRITES_MAX 32
struct tapflow_flow_rewrites {
    __u32 count;
    struct tapflow_flow_rewrite list[TAPFLOW_FLOW_REWRITES_MAX];
};
#define TAPFLOW_FLOW_REWRITES_MAP "flow_rewrites"

/* Rules that can act on one packet: searches that JUMP, PASSTHRU and rules without a fate begin anew. */
#define TAPFLOW_FLOW_STEPS 32

/*
 * The classifier by flower filters: what they write for the program behind them. Into skb->mark the index of the last
 * rule that acts, and what those before it have asked for; into skb->priority the index of the last of these that
 * marks.
 */
#define TAPFLOW_FLOWER_RULE 0x00ffffffu
#define TAPFLOW_FLOWER_TAKE 0x40000000u
#define TAPFLOW_FLOWER_FLAG 0x80000000u
TAPFLOW_STATIC_ASSERT(TAPFLOW_FLOW_RULES_MAX - 1 <= TAPFLOW_FLOWER_RULE, "every rule can be named");

/* What the rules say of a packet. */
struct tapflow_flow_verdict {
    __u32 actions; /* enum tapflow_flow_action of all rules that acted */
    __u32 rule;    /* index of the last one that acted; 0: none did */
    __u32 mark;
    __u16 queue;
    __u16 context;
    __u16 rewrite;
    __u16 counter_count;
    __u32 counters[TAPFLOW_FLOW_STEPS];
};

#endif
