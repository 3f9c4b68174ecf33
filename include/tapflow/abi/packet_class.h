/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* What the parser says a packet is, as far as RSS is concerned. */
#ifndef TAPFLOW_ABI_PACKET_CLASS_H
#define TAPFLOW_ABI_PACKET_CLASS_H

/*
 * The values index tapflow_rss::input; the IPv6 classes are in the order of the IPv4 ones. An IP packet whose L4 header
 * is unknown, cut off, or beyond the parse window is "other"; every fragment, the first and atomic ones too, is
 * "fragment".
 */
enum tapflow_packet_class {
    TAPFLOW_CLASS_NOT_IP = 0,
    TAPFLOW_CLASS_IPV4_OTHER = 1,
    TAPFLOW_CLASS_IPV4_FRAGMENT = 2,
    TAPFLOW_CLASS_IPV4_TCP = 3,
    TAPFLOW_CLASS_IPV4_UDP = 4,
    TAPFLOW_CLASS_IPV4_SCTP = 5,
    TAPFLOW_CLASS_IPV4_ESP = 6,
    TAPFLOW_CLASS_IPV4_AH = 7,
    TAPFLOW_CLASS_IPV6_OTHER = 8,
    TAPFLOW_CLASS_IPV6_FRAGMENT = 9,
    TAPFLOW_CLASS_IPV6_TCP = 10,
    TAPFLOW_CLASS_IPV6_UDP = 11,
    TAPFLOW_CLASS_IPV6_SCTP = 12,
    TAPFLOW_CLASS_IPV6_ESP = 13,
    TAPFLOW_CLASS_IPV6_AH = 14,
    TAPFLOW_CLASS_COUNT = 15,
};

#endif
