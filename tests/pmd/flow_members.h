// SPDX-License-Identifier: BSD-3-Clause
// The members of rte_flow's item structures, those that can be matched and those that cannot.
#pragma once

#include "flow/fields.h"
#include "pmd/compat.h"

#include <rte_flow.h>
#include <rte_icmp.h>
#include <rte_ip.h>
#include <rte_sctp.h>
#include <rte_tcp.h>
#include <rte_udp.h>

#include <array>
#include <cstddef>

namespace tapflow::test {

using flow::Item;

/// A member of a structure, and the field that it is.
struct MemberCase {
    rte_flow_item_type type;
    Item item;
    const char *name; ///< of the field, or in the refusal
    size_t offset;
    size_t bytes;
};
#define TAPFLOW_TEST_MEMBER(structure, member) offsetof(structure, member), sizeof(structure::member)

constexpr std::array kWholeMembers{
    MemberCase{RTE_FLOW_ITEM_TYPE_ETH, Item::Eth, "dst", TAPFLOW_TEST_MEMBER(rte_flow_item_eth, hdr.dst_addr)},
    MemberCase{RTE_FLOW_ITEM_TYPE_ETH, Item::Eth, "src", TAPFLOW_TEST_MEMBER(rte_flow_item_eth, hdr.src_addr)},
    MemberCase{RTE_FLOW_ITEM_TYPE_ETH, Item::Eth, "type", TAPFLOW_TEST_MEMBER(rte_flow_item_eth, hdr.ether_type)},
    MemberCase{RTE_FLOW_ITEM_TYPE_VLAN, Item::Vlan, "tci", TAPFLOW_TEST_MEMBER(rte_flow_item_vlan, hdr.vlan_tci)},
    MemberCase{RTE_FLOW_ITEM_TYPE_VLAN, Item::Vlan, "inner_type",
               TAPFLOW_TEST_MEMBER(rte_flow_item_vlan, hdr.eth_proto)},
    MemberCase{RTE_FLOW_ITEM_TYPE_ARP_ETH_IPV4, Item::Arp, "opcode",
               TAPFLOW_TEST_MEMBER(rte_flow_item_arp_eth_ipv4, op)},
    MemberCase{RTE_FLOW_ITEM_TYPE_ARP_ETH_IPV4, Item::Arp, "sha", TAPFLOW_TEST_MEMBER(rte_flow_item_arp_eth_ipv4, sha)},
    MemberCase{RTE_FLOW_ITEM_TYPE_ARP_ETH_IPV4, Item::Arp, "spa", pmd::kArpItemSpa, 4},
    MemberCase{RTE_FLOW_ITEM_TYPE_ARP_ETH_IPV4, Item::Arp, "tha", pmd::kArpItemTha, 6},
    MemberCase{RTE_FLOW_ITEM_TYPE_ARP_ETH_IPV4, Item::Arp, "tpa", pmd::kArpItemTpa, 4},
    MemberCase{RTE_FLOW_ITEM_TYPE_IPV4, Item::Ipv4, "version_ihl", TAPFLOW_TEST_MEMBER(rte_ipv4_hdr, version_ihl)},
    MemberCase{RTE_FLOW_ITEM_TYPE_IPV4, Item::Ipv4, "tos", TAPFLOW_TEST_MEMBER(rte_ipv4_hdr, type_of_service)},
    MemberCase{RTE_FLOW_ITEM_TYPE_IPV4, Item::Ipv4, "fragment_offset",
               TAPFLOW_TEST_MEMBER(rte_ipv4_hdr, fragment_offset)},
    MemberCase{RTE_FLOW_ITEM_TYPE_IPV4, Item::Ipv4, "ttl", TAPFLOW_TEST_MEMBER(rte_ipv4_hdr, time_to_live)},
    MemberCase{RTE_FLOW_ITEM_TYPE_IPV4, Item::Ipv4, "proto", TAPFLOW_TEST_MEMBER(rte_ipv4_hdr, next_proto_id)},
    MemberCase{RTE_FLOW_ITEM_TYPE_IPV4, Item::Ipv4, "src", TAPFLOW_TEST_MEMBER(rte_ipv4_hdr, src_addr)},
    MemberCase{RTE_FLOW_ITEM_TYPE_IPV4, Item::Ipv4, "dst", TAPFLOW_TEST_MEMBER(rte_ipv4_hdr, dst_addr)},
    MemberCase{RTE_FLOW_ITEM_TYPE_IPV6, Item::Ipv6, "proto", TAPFLOW_TEST_MEMBER(rte_ipv6_hdr, proto)},
    MemberCase{RTE_FLOW_ITEM_TYPE_IPV6, Item::Ipv6, "hop", TAPFLOW_TEST_MEMBER(rte_ipv6_hdr, hop_limits)},
    MemberCase{RTE_FLOW_ITEM_TYPE_IPV6, Item::Ipv6, "src", TAPFLOW_TEST_MEMBER(rte_ipv6_hdr, src_addr)},
    MemberCase{RTE_FLOW_ITEM_TYPE_IPV6, Item::Ipv6, "dst", TAPFLOW_TEST_MEMBER(rte_ipv6_hdr, dst_addr)},
    MemberCase{RTE_FLOW_ITEM_TYPE_IPV6_FRAG_EXT, Item::Ipv6Fragment, "next_hdr",
               TAPFLOW_TEST_MEMBER(rte_ipv6_fragment_ext, next_header)},
    MemberCase{RTE_FLOW_ITEM_TYPE_IPV6_FRAG_EXT, Item::Ipv6Fragment, "frag_data",
               TAPFLOW_TEST_MEMBER(rte_ipv6_fragment_ext, frag_data)},
    MemberCase{RTE_FLOW_ITEM_TYPE_IPV6_FRAG_EXT, Item::Ipv6Fragment, "packet_id",
               TAPFLOW_TEST_MEMBER(rte_ipv6_fragment_ext, id)},
    MemberCase{RTE_FLOW_ITEM_TYPE_TCP, Item::Tcp, "src", TAPFLOW_TEST_MEMBER(rte_tcp_hdr, src_port)},
    MemberCase{RTE_FLOW_ITEM_TYPE_TCP, Item::Tcp, "dst", TAPFLOW_TEST_MEMBER(rte_tcp_hdr, dst_port)},
    MemberCase{RTE_FLOW_ITEM_TYPE_TCP, Item::Tcp, "data_off", TAPFLOW_TEST_MEMBER(rte_tcp_hdr, data_off)},
    MemberCase{RTE_FLOW_ITEM_TYPE_TCP, Item::Tcp, "flags", TAPFLOW_TEST_MEMBER(rte_tcp_hdr, tcp_flags)},
    MemberCase{RTE_FLOW_ITEM_TYPE_UDP, Item::Udp, "src", TAPFLOW_TEST_MEMBER(rte_udp_hdr, src_port)},
    MemberCase{RTE_FLOW_ITEM_TYPE_UDP, Item::Udp, "dst", TAPFLOW_TEST_MEMBER(rte_udp_hdr, dst_port)},
    MemberCase{RTE_FLOW_ITEM_TYPE_SCTP, Item::Sctp, "src", TAPFLOW_TEST_MEMBER(rte_sctp_hdr, src_port)},
    MemberCase{RTE_FLOW_ITEM_TYPE_SCTP, Item::Sctp, "dst", TAPFLOW_TEST_MEMBER(rte_sctp_hdr, dst_port)},
    MemberCase{RTE_FLOW_ITEM_TYPE_SCTP, Item::Sctp, "tag", TAPFLOW_TEST_MEMBER(rte_sctp_hdr, tag)},
    MemberCase{RTE_FLOW_ITEM_TYPE_ICMP, Item::Icmp, "type", TAPFLOW_TEST_MEMBER(rte_icmp_hdr, icmp_type)},
    MemberCase{RTE_FLOW_ITEM_TYPE_ICMP, Item::Icmp, "code", TAPFLOW_TEST_MEMBER(rte_icmp_hdr, icmp_code)},
    MemberCase{RTE_FLOW_ITEM_TYPE_ICMP, Item::Icmp, "ident", TAPFLOW_TEST_MEMBER(rte_icmp_hdr, icmp_ident)},
    MemberCase{RTE_FLOW_ITEM_TYPE_ICMP, Item::Icmp, "seq", TAPFLOW_TEST_MEMBER(rte_icmp_hdr, icmp_seq_nb)},
    MemberCase{RTE_FLOW_ITEM_TYPE_ICMP6, Item::Icmp6, "type", TAPFLOW_TEST_MEMBER(rte_flow_item_icmp6, type)},
    MemberCase{RTE_FLOW_ITEM_TYPE_ICMP6, Item::Icmp6, "code", TAPFLOW_TEST_MEMBER(rte_flow_item_icmp6, code)},
    MemberCase{RTE_FLOW_ITEM_TYPE_ESP, Item::Esp, "spi", TAPFLOW_TEST_MEMBER(rte_esp_hdr, spi)},
    MemberCase{RTE_FLOW_ITEM_TYPE_AH, Item::Ah, "spi", TAPFLOW_TEST_MEMBER(rte_flow_item_ah, spi)},
    MemberCase{RTE_FLOW_ITEM_TYPE_GRE, Item::Gre, "c_rsvd0_ver", TAPFLOW_TEST_MEMBER(rte_flow_item_gre, c_rsvd0_ver)},
    MemberCase{RTE_FLOW_ITEM_TYPE_GRE, Item::Gre, "protocol", TAPFLOW_TEST_MEMBER(rte_flow_item_gre, protocol)},
    MemberCase{RTE_FLOW_ITEM_TYPE_GRE_KEY, Item::GreKey, "value", 0, 4},
    MemberCase{RTE_FLOW_ITEM_TYPE_GENEVE, Item::Geneve, "protocol",
               TAPFLOW_TEST_MEMBER(rte_flow_item_geneve, protocol)},
};

constexpr std::array kUnmatched{
    MemberCase{RTE_FLOW_ITEM_TYPE_IPV4, Item::Ipv4, "total_length", TAPFLOW_TEST_MEMBER(rte_ipv4_hdr, total_length)},
    MemberCase{RTE_FLOW_ITEM_TYPE_IPV4, Item::Ipv4, "packet_id", TAPFLOW_TEST_MEMBER(rte_ipv4_hdr, packet_id)},
    MemberCase{RTE_FLOW_ITEM_TYPE_IPV4, Item::Ipv4, "hdr_checksum", TAPFLOW_TEST_MEMBER(rte_ipv4_hdr, hdr_checksum)},
    MemberCase{RTE_FLOW_ITEM_TYPE_IPV6, Item::Ipv6, "payload_len", TAPFLOW_TEST_MEMBER(rte_ipv6_hdr, payload_len)},
    MemberCase{RTE_FLOW_ITEM_TYPE_IPV6_FRAG_EXT, Item::Ipv6Fragment, "reserved",
               TAPFLOW_TEST_MEMBER(rte_ipv6_fragment_ext, reserved)},
    MemberCase{RTE_FLOW_ITEM_TYPE_TCP, Item::Tcp, "sent_seq", TAPFLOW_TEST_MEMBER(rte_tcp_hdr, sent_seq)},
    MemberCase{RTE_FLOW_ITEM_TYPE_TCP, Item::Tcp, "recv_ack", TAPFLOW_TEST_MEMBER(rte_tcp_hdr, recv_ack)},
    MemberCase{RTE_FLOW_ITEM_TYPE_TCP, Item::Tcp, "rx_win", TAPFLOW_TEST_MEMBER(rte_tcp_hdr, rx_win)},
    MemberCase{RTE_FLOW_ITEM_TYPE_TCP, Item::Tcp, "cksum", TAPFLOW_TEST_MEMBER(rte_tcp_hdr, cksum)},
    MemberCase{RTE_FLOW_ITEM_TYPE_TCP, Item::Tcp, "tcp_urp", TAPFLOW_TEST_MEMBER(rte_tcp_hdr, tcp_urp)},
    MemberCase{RTE_FLOW_ITEM_TYPE_UDP, Item::Udp, "dgram_len", TAPFLOW_TEST_MEMBER(rte_udp_hdr, dgram_len)},
    MemberCase{RTE_FLOW_ITEM_TYPE_UDP, Item::Udp, "dgram_cksum", TAPFLOW_TEST_MEMBER(rte_udp_hdr, dgram_cksum)},
    MemberCase{RTE_FLOW_ITEM_TYPE_SCTP, Item::Sctp, "cksum", TAPFLOW_TEST_MEMBER(rte_sctp_hdr, cksum)},
    MemberCase{RTE_FLOW_ITEM_TYPE_ICMP, Item::Icmp, "cksum", TAPFLOW_TEST_MEMBER(rte_icmp_hdr, icmp_cksum)},
    MemberCase{RTE_FLOW_ITEM_TYPE_ICMP6, Item::Icmp6, "checksum", TAPFLOW_TEST_MEMBER(rte_flow_item_icmp6, checksum)},
    MemberCase{RTE_FLOW_ITEM_TYPE_ESP, Item::Esp, "seq", TAPFLOW_TEST_MEMBER(rte_esp_hdr, seq)},
    MemberCase{RTE_FLOW_ITEM_TYPE_AH, Item::Ah, "next_hdr", 0, 1},
    MemberCase{RTE_FLOW_ITEM_TYPE_AH, Item::Ah, "payload_len", 1, 1},
    MemberCase{RTE_FLOW_ITEM_TYPE_AH, Item::Ah, "reserved", 2, 2},
    MemberCase{RTE_FLOW_ITEM_TYPE_AH, Item::Ah, "seq_num", TAPFLOW_TEST_MEMBER(rte_flow_item_ah, seq_num)},
    MemberCase{RTE_FLOW_ITEM_TYPE_VXLAN, Item::Vxlan, "rsvd0", 1, 3},
    MemberCase{RTE_FLOW_ITEM_TYPE_VXLAN, Item::Vxlan, "rsvd1", 7, 1},
    MemberCase{RTE_FLOW_ITEM_TYPE_GENEVE, Item::Geneve, "ver_opt_len_o_c_rsvd0",
               TAPFLOW_TEST_MEMBER(rte_flow_item_geneve, ver_opt_len_o_c_rsvd0)},
    MemberCase{RTE_FLOW_ITEM_TYPE_GENEVE, Item::Geneve, "rsvd1", TAPFLOW_TEST_MEMBER(rte_flow_item_geneve, rsvd1)},
};

#undef TAPFLOW_TEST_MEMBER

} // namespace tapflow::test
