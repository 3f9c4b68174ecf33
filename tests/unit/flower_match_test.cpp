// SPDX-License-Identifier: BSD-3-Clause
// Matches in flower's words, and those that it has no words for.
#include "engine/flower_match.h"
#include "flow/text.h"
#include "support/must.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace tapflow::test {
namespace {

using kernel::FlowerKey;

std::string hex_of(const uint8_t *bytes, size_t count) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    std::string text;
    for (size_t i = 0; i < count; i++)
        text += {kDigits[bytes[i] >> 4U], kDigits[bytes[i] & 15U]};
    return text;
}

/// "eth_type=0800 udp dst_port=0035/00ff"
std::string text_of(const std::vector<FlowerKey> &keys) {
    std::string text;
    for (const FlowerKey &key : keys) {
        const size_t bytes = kernel::flower_field_bytes(key.field);
        const std::string mask = hex_of(key.mask.data(), bytes);
        text += (text.empty() ? "" : " ") + std::string(kernel::flower_field_name(key.field)) + "=" +
                hex_of(key.value.data(), bytes) + (mask == std::string(2 * bytes, 'f') ? "" : "/" + mask);
    }
    return text;
}

Result<std::vector<std::vector<FlowerKey>>> keys_of(const std::string &pattern) {
    return engine::flower_keys(
        must(flow::parse_rule("ingress pattern " + pattern + " / end actions drop / end")).match);
}

struct Case {
    const char *pattern;
    std::vector<std::string> filters;
};

TEST(FlowerMatch, IsOneFilterOrSeveral) {
    const std::vector<Case> cases{
        {"eth", {""}},
        {"eth dst is 02:00:00:00:00:01", {"dst_mac=020000000001"}},
        {"eth src spec 02:00:00:00:00:00 src mask ff:00:00:00:00:00", {"src_mac=020000000000/ff0000000000"}},
        // What stands in the Ethernet header is a TPID in tagged frames.
        {"eth type is 0x0800", {"eth_type=0800 num_of_vlans=00"}},
        {"eth / ipv4", {"eth_type=0800"}},
        {"eth has_vlan is 0 / ipv4", {"eth_type=0800 num_of_vlans=00"}},
        {"eth / vlan vid is 5 / ipv4",
         {"vlan_id=0005 vlan_ethtype=0800 num_of_vlans=01", "vlan_id=0005 cvlan_ethtype=0800 num_of_vlans=02"}},
        {"eth type is 0x88a8 / vlan pcp is 3",
         {"eth_type=88a8 vlan_prio=03 num_of_vlans=01", "eth_type=88a8 vlan_prio=03 num_of_vlans=02"}},
        {"eth / vlan vid is 5 / vlan vid is 7 / ipv6",
         {"vlan_id=0005 cvlan_id=0007 cvlan_ethtype=86dd num_of_vlans=02"}},
        {"eth / ipv4 src spec 10.0.0.0 src mask 255.0.0.0 ttl is 64",
         {"eth_type=0800 ip_ttl=40 ipv4 src_ip=0a000000/ff000000"}},
        {"eth / ipv6 dst is ::1", {"eth_type=86dd ipv6 dst_ip=00000000000000000000000000000001"}},
        {"eth / ipv4 fragment_offset spec 0 fragment_offset mask 0x3fff", {"eth_type=0800 ip_flags=00000000/00000001"}},
        {"eth / ipv4 fragment_offset spec 0 fragment_offset mask 0x1fff",
         {"eth_type=0800 ip_flags=00000003/00000003", "eth_type=0800 ip_flags=00000000/00000001"}},
        {"eth / ipv6 has_frag_ext is 1", {"eth_type=86dd ip_flags=00000001/00000001"}},
        // L4 headers are not those of fragments.
        {"eth / ipv4 / udp dst is 53", {"eth_type=0800 ip_proto=11 ip_flags=00000000/00000001 udp dst_port=0035"}},
        {"eth / udp",
         {"eth_type=0800 ip_proto=11 ip_flags=00000000/00000001",
          "eth_type=86dd ip_proto=11 ip_flags=00000000/00000001"}},
        {"eth / ipv4 / tcp src spec 16 src mask 0xfff0 flags is 2",
         {"eth_type=0800 ip_proto=06 ip_flags=00000000/00000001 tcp src_port=0010/fff0 tcp_flags=0002/00ff"}},
        {"eth / ipv4 / udp dst spec 100 dst last 200 dst mask 0xffff",
         {"eth_type=0800 ip_proto=11 ip_flags=00000000/00000001 dst_port minimum=0064 dst_port maximum=00c8"}},
        {"eth / icmp6 type is 135", {"eth_type=86dd ip_proto=3a ip_flags=00000000/00000001 icmpv6 type=87"}},
        {"eth / arp_eth_ipv4 opcode is 1 tpa is 10.0.0.1", {"eth_type=0806 arp_tip=0a000001 arp_op=01"}},
        {"eth / ipv4 / esp spi is 7", {"eth_type=0800 ip_proto=32 ip_flags=00000000/00000001 spi=00000007"}},
        // Contradictions match no packet.
        {"eth type is 0x0806 / ipv4", {}},
        {"eth / ipv4 proto is 6 / udp", {}},
    };
    for (const Case &tested : cases) {
        const auto keys = keys_of(tested.pattern);
        ASSERT_TRUE(keys) << tested.pattern << ": " << keys.error().message();
        std::vector<std::string> filters;
        for (const auto &filter : *keys)
            filters.push_back(text_of(filter));
        EXPECT_EQ(filters, tested.filters) << tested.pattern;
    }
}

TEST(FlowerMatch, RefusesWhatFlowerCannotCompareByItsName) {
    for (const auto &[pattern, why] : std::vector<std::pair<const char *, const char *>>{
             {"eth / ipv4 / udp / vxlan vni is 7", "tunnels"},
             {"eth / ipv4 / gre / ipv4 src is 1.2.3.4", "tunnels"},
             {"eth type spec 0x0800 type mask 0x0f00", "Ethernet type"},
             {"eth / vlan vid spec 4 vid mask 4", "VLAN ID"},
             {"eth / vlan dei is 1", "DEI"},
             {"eth / ipv4 proto spec 4 proto mask 4", "protocol"},
             {"eth / ipv4 version_ihl is 0x45", "version_ihl"},
             {"eth / ipv4 fragment_offset spec 0x2000 fragment_offset mask 0x2000", "fragments"},
             {"eth / ipv6 flow is 5", "ipv6 flow"},
             {"eth / ipv6 has_route_ext is 1", "extension headers"},
             {"eth / ipv4 ttl spec 3 ttl last 5", "ranges"},
             {"eth / ipv4 / tcp data_off is 0x50", "data offset"},
             {"eth / ipv4 / sctp tag is 5", "sctp tag"},
             {"eth / ipv4 / icmp ident is 5", "icmp ident"},
             {"eth / arp_eth_ipv4 opcode is 3", "ARP"},
         }) {
        const auto keys = keys_of(pattern);
        ASSERT_FALSE(keys) << pattern;
        EXPECT_EQ(keys.error().code, ENOTSUP);
        EXPECT_NE(keys.error().message().find(why), std::string::npos) << pattern << ": " << keys.error().message();
    }
}

} // namespace
} // namespace tapflow::test
