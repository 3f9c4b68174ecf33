// SPDX-License-Identifier: BSD-3-Clause
#include "pmd/flow_items.h"

#include "flow/fields.h"
#include "flow/pattern.h"
#include "packet/byte_order.h"
#include "pmd/flow_refusal.h"

#include <rte_icmp.h>
#include <rte_ip.h>
#include <rte_sctp.h>
#include <rte_tcp.h>
#include <rte_udp.h>
#include <rte_vxlan.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstring>
#include <span>
#include <string>
#include <vector>

namespace tapflow::pmd {
namespace {

enum class Use : uint8_t {
    Default,  ///< a field; whole in the default mask
    Field,    ///< a field; not in the default mask
    Only,     ///< has one value in all packets that the item stands for
    Demanded, ///< a field that must have one value, whatever else is asked
    Never,    ///< cannot be matched
};

/// A member of an item's structure, or some bits of one. Integers are big-endian.
struct Member {
    Use use;
    const char *name; ///< a field's own
    uint16_t offset;
    uint8_t bytes;
    uint32_t bits = ~uint32_t{0}; ///< of a member of up to four bytes, right-aligned
    uint32_t value = 0;           ///< Only, Demanded
};

#define TAPFLOW_MEMBER(structure, member) offsetof(structure, member), sizeof(structure::member)

constexpr std::array kEth{
    Member{Use::Default, "dst", TAPFLOW_MEMBER(rte_ether_hdr, dst_addr)},
    Member{Use::Default, "src", TAPFLOW_MEMBER(rte_ether_hdr, src_addr)},
    Member{Use::Field, "type", TAPFLOW_MEMBER(rte_ether_hdr, ether_type)},
};
constexpr std::array kVlan{
    Member{Use::Field, "pcp", TAPFLOW_MEMBER(rte_vlan_hdr, vlan_tci), 0xe000},
    Member{Use::Field, "dei", TAPFLOW_MEMBER(rte_vlan_hdr, vlan_tci), 0x1000},
    Member{Use::Default, "vid", TAPFLOW_MEMBER(rte_vlan_hdr, vlan_tci), 0x0fff},
    Member{Use::Field, "inner_type", TAPFLOW_MEMBER(rte_vlan_hdr, eth_proto)},
};
constexpr std::array kArp{
    Member{Use::Only, "hrd", TAPFLOW_MEMBER(rte_flow_item_arp_eth_ipv4, hrd), 0xffff, 1},
    Member{Use::Only, "pro", TAPFLOW_MEMBER(rte_flow_item_arp_eth_ipv4, pro), 0xffff, RTE_ETHER_TYPE_IPV4},
    Member{Use::Only, "hln", TAPFLOW_MEMBER(rte_flow_item_arp_eth_ipv4, hln), 0xff, RTE_ETHER_ADDR_LEN},
    Member{Use::Only, "pln", TAPFLOW_MEMBER(rte_flow_item_arp_eth_ipv4, pln), 0xff, sizeof(rte_be32_t)},
    Member{Use::Field, "opcode", TAPFLOW_MEMBER(rte_flow_item_arp_eth_ipv4, op)},
    Member{Use::Default, "sha", TAPFLOW_MEMBER(rte_flow_item_arp_eth_ipv4, sha)},
    Member{Use::Default, "spa", kArpItemSpa, sizeof(rte_be32_t)},
    Member{Use::Default, "tha", kArpItemTha, RTE_ETHER_ADDR_LEN},
    Member{Use::Default, "tpa", kArpItemTpa, sizeof(rte_be32_t)},
};
constexpr std::array kIpv4{
    Member{Use::Field, "version_ihl", TAPFLOW_MEMBER(rte_ipv4_hdr, version_ihl)},
    Member{Use::Field, "tos", TAPFLOW_MEMBER(rte_ipv4_hdr, type_of_service)},
    Member{Use::Never, "total_length", TAPFLOW_MEMBER(rte_ipv4_hdr, total_length)},
    Member{Use::Never, "packet_id", TAPFLOW_MEMBER(rte_ipv4_hdr, packet_id)},
    Member{Use::Field, "fragment_offset", TAPFLOW_MEMBER(rte_ipv4_hdr, fragment_offset)},
    Member{Use::Field, "ttl", TAPFLOW_MEMBER(rte_ipv4_hdr, time_to_live)},
    Member{Use::Field, "proto", TAPFLOW_MEMBER(rte_ipv4_hdr, next_proto_id)},
    Member{Use::Never, "hdr_checksum", TAPFLOW_MEMBER(rte_ipv4_hdr, hdr_checksum)},
    Member{Use::Default, "src", TAPFLOW_MEMBER(rte_ipv4_hdr, src_addr)},
    Member{Use::Default, "dst", TAPFLOW_MEMBER(rte_ipv4_hdr, dst_addr)},
};
constexpr std::array kIpv6{
    Member{Use::Only, "version", TAPFLOW_MEMBER(rte_ipv6_hdr, vtc_flow), 0xf0000000, 6},
    Member{Use::Field, "tc", TAPFLOW_MEMBER(rte_ipv6_hdr, vtc_flow), 0x0ff00000},
    Member{Use::Field, "flow", TAPFLOW_MEMBER(rte_ipv6_hdr, vtc_flow), 0x000fffff},
    Member{Use::Never, "payload_len", TAPFLOW_MEMBER(rte_ipv6_hdr, payload_len)},
    Member{Use::Field, "proto", TAPFLOW_MEMBER(rte_ipv6_hdr, proto)},
    Member{Use::Field, "hop", TAPFLOW_MEMBER(rte_ipv6_hdr, hop_limits)},
    Member{Use::Default, "src", TAPFLOW_MEMBER(rte_ipv6_hdr, src_addr)},
    Member{Use::Default, "dst", TAPFLOW_MEMBER(rte_ipv6_hdr, dst_addr)},
};
constexpr std::array kIpv6Fragment{
    Member{Use::Field, "next_hdr", TAPFLOW_MEMBER(rte_ipv6_fragment_ext, next_header)},
    Member{Use::Never, "reserved", TAPFLOW_MEMBER(rte_ipv6_fragment_ext, reserved)},
    Member{Use::Field, "frag_data", TAPFLOW_MEMBER(rte_ipv6_fragment_ext, frag_data)},
    Member{Use::Field, "packet_id", TAPFLOW_MEMBER(rte_ipv6_fragment_ext, id)},
};
constexpr std::array kTcp{
    Member{Use::Default, "src", TAPFLOW_MEMBER(rte_tcp_hdr, src_port)},
    Member{Use::Default, "dst", TAPFLOW_MEMBER(rte_tcp_hdr, dst_port)},
    Member{Use::Never, "sent_seq", TAPFLOW_MEMBER(rte_tcp_hdr, sent_seq)},
    Member{Use::Never, "recv_ack", TAPFLOW_MEMBER(rte_tcp_hdr, recv_ack)},
    Member{Use::Field, "data_off", TAPFLOW_MEMBER(rte_tcp_hdr, data_off)},
    Member{Use::Field, "flags", TAPFLOW_MEMBER(rte_tcp_hdr, tcp_flags)},
    Member{Use::Never, "rx_win", TAPFLOW_MEMBER(rte_tcp_hdr, rx_win)},
    Member{Use::Never, "cksum", TAPFLOW_MEMBER(rte_tcp_hdr, cksum)},
    Member{Use::Never, "tcp_urp", TAPFLOW_MEMBER(rte_tcp_hdr, tcp_urp)},
};
constexpr std::array kUdp{
    Member{Use::Default, "src", TAPFLOW_MEMBER(rte_udp_hdr, src_port)},
    Member{Use::Default, "dst", TAPFLOW_MEMBER(rte_udp_hdr, dst_port)},
    Member{Use::Never, "dgram_len", TAPFLOW_MEMBER(rte_udp_hdr, dgram_len)},
    Member{Use::Never, "dgram_cksum", TAPFLOW_MEMBER(rte_udp_hdr, dgram_cksum)},
};
constexpr std::array kSctp{
    Member{Use::Default, "src", TAPFLOW_MEMBER(rte_sctp_hdr, src_port)},
    Member{Use::Default, "dst", TAPFLOW_MEMBER(rte_sctp_hdr, dst_port)},
    Member{Use::Field, "tag", TAPFLOW_MEMBER(rte_sctp_hdr, tag)},
    Member{Use::Never, "cksum", TAPFLOW_MEMBER(rte_sctp_hdr, cksum)},
};
constexpr std::array kIcmp{
    Member{Use::Default, "type", TAPFLOW_MEMBER(rte_icmp_hdr, icmp_type)},
    Member{Use::Default, "code", TAPFLOW_MEMBER(rte_icmp_hdr, icmp_code)},
    Member{Use::Never, "cksum", TAPFLOW_MEMBER(rte_icmp_hdr, icmp_cksum)},
    Member{Use::Field, "ident", TAPFLOW_MEMBER(rte_icmp_hdr, icmp_ident)},
    Member{Use::Field, "seq", TAPFLOW_MEMBER(rte_icmp_hdr, icmp_seq_nb)},
};
constexpr std::array kIcmp6{
    Member{Use::Default, "type", TAPFLOW_MEMBER(rte_flow_item_icmp6, type)},
    Member{Use::Default, "code", TAPFLOW_MEMBER(rte_flow_item_icmp6, code)},
    Member{Use::Never, "checksum", TAPFLOW_MEMBER(rte_flow_item_icmp6, checksum)},
};
/// ICMPv6 echo messages (RFC 4443, 4) have ICMP's layout.
template <uint8_t Type>
constexpr std::array kIcmp6Echo{
    Member{Use::Demanded, "type", TAPFLOW_MEMBER(rte_icmp_hdr, icmp_type), 0xff, Type},
    Member{Use::Field, "code", TAPFLOW_MEMBER(rte_icmp_hdr, icmp_code)},
    Member{Use::Never, "checksum", TAPFLOW_MEMBER(rte_icmp_hdr, icmp_cksum)},
    Member{Use::Field, "ident", TAPFLOW_MEMBER(rte_icmp_hdr, icmp_ident)},
    Member{Use::Field, "seq", TAPFLOW_MEMBER(rte_icmp_hdr, icmp_seq_nb)},
};
constexpr std::array kEsp{
    Member{Use::Default, "spi", TAPFLOW_MEMBER(rte_esp_hdr, spi)},
    Member{Use::Never, "seq", TAPFLOW_MEMBER(rte_esp_hdr, seq)},
};
constexpr std::array kAh{
    // Bit-fields in the order of the header.
    Member{Use::Never, "next_hdr", 0, 1},
    Member{Use::Never, "payload_len", 1, 1},
    Member{Use::Never, "reserved", 2, 2},
    Member{Use::Default, "spi", TAPFLOW_MEMBER(rte_flow_item_ah, spi)},
    Member{Use::Never, "seq_num", TAPFLOW_MEMBER(rte_flow_item_ah, seq_num)},
};
constexpr std::array kGre{
    Member{Use::Field, "c_rsvd0_ver", TAPFLOW_MEMBER(rte_flow_item_gre, c_rsvd0_ver)},
    Member{Use::Default, "protocol", TAPFLOW_MEMBER(rte_flow_item_gre, protocol)},
};
constexpr std::array kGreKey{
    Member{Use::Default, "value", 0, sizeof(rte_be32_t)},
};
constexpr std::array kVxlan{
    // Of the flags, all packets with a VNI have one (RFC 7348, 5).
    Member{Use::Only, "flags, bit 0x08", TAPFLOW_MEMBER(rte_vxlan_hdr, vx_flags), 0x08000000, 1},
    Member{Use::Never, "flags", TAPFLOW_MEMBER(rte_vxlan_hdr, vx_flags), 0xf7000000},
    Member{Use::Never, "rsvd0", TAPFLOW_MEMBER(rte_vxlan_hdr, vx_flags), 0x00ffffff},
    Member{Use::Default, "vni", TAPFLOW_MEMBER(rte_vxlan_hdr, vx_vni), 0xffffff00},
    Member{Use::Never, "rsvd1", TAPFLOW_MEMBER(rte_vxlan_hdr, vx_vni), 0x000000ff},
};
constexpr std::array kGeneve{
    Member{Use::Never, "ver_opt_len_o_c_rsvd0", TAPFLOW_MEMBER(rte_flow_item_geneve, ver_opt_len_o_c_rsvd0)},
    Member{Use::Field, "protocol", TAPFLOW_MEMBER(rte_flow_item_geneve, protocol)},
    Member{Use::Default, "vni", offsetof(rte_flow_item_geneve, vni), sizeof(rte_be32_t), 0xffffff00},
    Member{Use::Never, "rsvd1", TAPFLOW_MEMBER(rte_flow_item_geneve, rsvd1)},
};

#undef TAPFLOW_MEMBER

/// The bit-fields of a structure: the item's layer flags in their order from the lowest bit on; reserved ones are on
/// top.
using BitFields = uint32_t (*)(const void *structure);
constexpr uint32_t kReserved = uint32_t{1} << 31;

uint32_t eth_bit_fields(const void *structure) {
    const auto *eth = static_cast<const rte_flow_item_eth *>(structure);
    return eth->has_vlan | (eth->reserved != 0 ? kReserved : 0);
}

uint32_t vlan_bit_fields(const void *structure) {
    const auto *vlan = static_cast<const rte_flow_item_vlan *>(structure);
    return vlan->has_more_vlan | (vlan->reserved != 0 ? kReserved : 0);
}

uint32_t ipv6_bit_fields(const void *structure) {
    const auto *ipv6 = static_cast<const rte_flow_item_ipv6 *>(structure);
    uint32_t bits = ipv6->reserved != 0 ? kReserved : 0;
    bits |= uint32_t{ipv6->has_hop_ext} << 0 | uint32_t{ipv6->has_route_ext} << 1;
    bits |= uint32_t{ipv6->has_frag_ext} << 2 | uint32_t{ipv6->has_auth_ext} << 3;
    bits |= uint32_t{ipv6->has_esp_ext} << 4 | uint32_t{ipv6->has_dest_ext} << 5;
    bits |= uint32_t{ipv6->has_mobil_ext} << 6 | uint32_t{ipv6->has_hip_ext} << 7;
    return bits | uint32_t{ipv6->has_shim6_ext} << 8;
}

/// A structure of rte_flow and the item that it stands for.
struct Layout {
    int type; ///< enum rte_flow_item_type
    flow::Item item;
    std::span<const Member> members;
    BitFields bit_fields = nullptr;
    bool has_default_mask = true;
};

constexpr std::array kLayouts{
    Layout{RTE_FLOW_ITEM_TYPE_ETH, flow::Item::Eth, kEth, eth_bit_fields},
    Layout{RTE_FLOW_ITEM_TYPE_VLAN, flow::Item::Vlan, kVlan, vlan_bit_fields},
    Layout{RTE_FLOW_ITEM_TYPE_ARP_ETH_IPV4, flow::Item::Arp, kArp},
    Layout{RTE_FLOW_ITEM_TYPE_IPV4, flow::Item::Ipv4, kIpv4},
    Layout{RTE_FLOW_ITEM_TYPE_IPV6, flow::Item::Ipv6, kIpv6, ipv6_bit_fields},
    Layout{RTE_FLOW_ITEM_TYPE_IPV6_FRAG_EXT, flow::Item::Ipv6Fragment, kIpv6Fragment, nullptr, false},
    Layout{RTE_FLOW_ITEM_TYPE_TCP, flow::Item::Tcp, kTcp},
    Layout{RTE_FLOW_ITEM_TYPE_UDP, flow::Item::Udp, kUdp},
    Layout{RTE_FLOW_ITEM_TYPE_SCTP, flow::Item::Sctp, kSctp},
    Layout{RTE_FLOW_ITEM_TYPE_ICMP, flow::Item::Icmp, kIcmp},
    Layout{RTE_FLOW_ITEM_TYPE_ICMP6, flow::Item::Icmp6, kIcmp6},
    Layout{kItemIcmp6EchoRequest, flow::Item::Icmp6, kIcmp6Echo<128>, nullptr, false},
    Layout{kItemIcmp6EchoReply, flow::Item::Icmp6, kIcmp6Echo<129>, nullptr, false},
    Layout{RTE_FLOW_ITEM_TYPE_ESP, flow::Item::Esp, kEsp},
    Layout{RTE_FLOW_ITEM_TYPE_AH, flow::Item::Ah, kAh},
    Layout{RTE_FLOW_ITEM_TYPE_GRE, flow::Item::Gre, kGre},
    Layout{RTE_FLOW_ITEM_TYPE_GRE_KEY, flow::Item::GreKey, kGreKey},
    Layout{RTE_FLOW_ITEM_TYPE_VXLAN, flow::Item::Vxlan, kVxlan},
    Layout{RTE_FLOW_ITEM_TYPE_GENEVE, flow::Item::Geneve, kGeneve},
};

bool is_integer(const Member &member) { return member.bytes <= sizeof(uint32_t); }

/// A layout with what the field table has for it.
struct KnownItem {
    static constexpr size_t kLargest = sizeof(rte_flow_item_ipv6);

    const Layout *layout = nullptr;
    std::vector<const flow::Field *> fields; ///< of each member; null for what is none
    std::vector<const flow::LayerFlag *> flags;
    alignas(rte_flow_item_ipv6) std::array<uint8_t, kLargest> default_mask{};

    explicit KnownItem(const Layout &known) : layout(&known) {
        for (const Member &member : known.members) {
            fields.push_back(flow::field_by_name(known.item, member.name));
            if (member.use != Use::Default)
                continue;
            for (size_t i = 0; i < member.bytes; i++) {
                const uint32_t bits = is_integer(member) ? member.bits >> 8 * (member.bytes - 1 - i) : ~uint32_t{0};
                default_mask[member.offset + i] |= static_cast<uint8_t>(bits);
            }
        }
        for (const flow::LayerFlag &flag : flow::layer_flags())
            if (flag.item == known.item)
                flags.push_back(&flag);
    }
};

/// Null for what cannot be matched.
const KnownItem *known_item(rte_flow_item_type type) {
    struct Table {
        std::vector<KnownItem> known;
        std::array<const KnownItem *, 256> by_type{};
        Table() : known(kLayouts.begin(), kLayouts.end()) {
            for (const KnownItem &item : known)
                if (item.layout->type != kNoItem)
                    by_type[static_cast<size_t>(item.layout->type)] = &item;
        }
    };
    static const Table table;
    const auto index = static_cast<size_t>(type);
    return index < table.by_type.size() ? table.by_type[index] : nullptr;
}

/// One item on its way into a pattern.
class ItemReader {
  public:
    ItemReader(const KnownItem &known, const rte_flow_item &item, flow::Pattern &pattern, rte_flow_error *error)
        : known_(known), item_(item), pattern_(pattern), error_(error) {}

    int read();

  private:
    int read_integer(const Member &member, const flow::Field *field);
    int read_bytes(const Member &member, const flow::Field &field);
    int read_bit_fields();
    int refuse_field(int code, rte_flow_error_type type, const char *name, std::string_view why) const;
    int cannot_match(const char *name) const {
        return refuse_field(ENOTSUP, RTE_FLOW_ERROR_TYPE_ITEM_MASK, name, "it cannot be matched");
    }

    const KnownItem &known_;
    const rte_flow_item &item_;
    flow::Pattern &pattern_;
    rte_flow_error *error_;
    flow::Place place_;
    const uint8_t *spec_ = nullptr;
    const uint8_t *last_ = nullptr;
    const uint8_t *mask_ = nullptr;
};

int ItemReader::refuse_field(int code, rte_flow_error_type type, const char *name, std::string_view why) const {
    std::array<char, 64> what{};
    snprintf(what.data(), what.size(), "%s %s", flow::item_name(known_.layout->item).data(), name);
    return refuse(error_, code, type, &item_, what.data(), why);
}

int ItemReader::read_integer(const Member &member, const flow::Field *field) {
    const uint32_t bits = packet::load_be(mask_ + member.offset, member.bytes) & member.bits;
    if (bits == 0)
        return 0;
    if (member.use == Use::Never)
        return cannot_match(member.name);
    const int shift = std::countr_zero(member.bits);
    const uint32_t mask = bits >> shift;
    const uint32_t low = (packet::load_be(spec_ + member.offset, member.bytes) & bits) >> shift;
    const uint32_t high = last_ ? (packet::load_be(last_ + member.offset, member.bytes) & bits) >> shift : 0;
    const bool ranged = high != 0 && high != low;
    if (member.use == Use::Only || member.use == Use::Demanded) {
        if (low == (member.value & mask) && !ranged)
            return 0;
        return refuse_field(ENOTSUP, ranged ? RTE_FLOW_ERROR_TYPE_ITEM_LAST : RTE_FLOW_ERROR_TYPE_ITEM_SPEC,
                            member.name, "it is always " + std::to_string(member.value));
    }
    if (!ranged) {
        if (member.bits == ~uint32_t{0})
            pattern_.compare(*field, place_, std::span(spec_ + member.offset, member.bytes),
                             std::span(mask_ + member.offset, member.bytes));
        else
            pattern_.compare(*field, place_, low, mask);
        return 0;
    }
    if (field->type == flow::FieldType::Bits)
        return refuse_field(ENOTSUP, RTE_FLOW_ERROR_TYPE_ITEM_LAST, member.name, "it has no range");
    if (const auto set = pattern_.between(*field, place_, mask, low, high); !set)
        return refuse(error_, RTE_FLOW_ERROR_TYPE_ITEM_LAST, &item_, set.error());
    return 0;
}

/// MAC and IPv6 addresses.
int ItemReader::read_bytes(const Member &member, const flow::Field &field) {
    const std::span mask(mask_ + member.offset, member.bytes);
    const std::span spec(spec_ + member.offset, member.bytes);
    if (std::all_of(mask.begin(), mask.end(), [](uint8_t byte) { return byte == 0; }))
        return 0;
    if (last_) {
        bool zero = true;
        bool equal = true;
        for (size_t i = 0; i < member.bytes; i++) {
            const auto high = static_cast<uint8_t>(last_[member.offset + i] & mask[i]);
            zero = zero && high == 0;
            equal = equal && high == (spec[i] & mask[i]);
        }
        if (!zero && !equal)
            return refuse_field(ENOTSUP, RTE_FLOW_ERROR_TYPE_ITEM_LAST, member.name,
                                "ranges of such addresses cannot be matched");
    }
    pattern_.compare(field, place_, spec, mask);
    return 0;
}

int ItemReader::read_bit_fields() {
    const uint32_t mask = known_.layout->bit_fields(mask_);
    if (mask == 0)
        return 0;
    if (mask & kReserved)
        return cannot_match("reserved");
    const uint32_t spec = known_.layout->bit_fields(spec_) & mask;
    const uint32_t last = last_ ? known_.layout->bit_fields(last_) & mask : 0;
    for (size_t i = 0; i < known_.flags.size(); i++) {
        const uint32_t bit = uint32_t{1} << i;
        const flow::LayerFlag &flag = *known_.flags[i];
        if (!(mask & bit))
            continue;
        if (last & ~spec & bit)
            return refuse_field(ENOTSUP, RTE_FLOW_ERROR_TYPE_ITEM_LAST, flag.name, "it has no range");
        if (const auto set = pattern_.has(flag, place_, (spec & bit) != 0); !set)
            return refuse(error_, RTE_FLOW_ERROR_TYPE_ITEM_MASK, &item_, set.error());
    }
    return 0;
}

int ItemReader::read() {
    const Layout &layout = *known_.layout;
    const auto place = pattern_.next(layout.item);
    if (!place)
        return refuse(error_, RTE_FLOW_ERROR_TYPE_ITEM, &item_, place.error());
    place_ = *place;
    for (size_t i = 0; i < layout.members.size(); i++)
        if (layout.members[i].use == Use::Demanded)
            pattern_.compare(*known_.fields[i], place_, layout.members[i].value, ~uint32_t{0});
    spec_ = static_cast<const uint8_t *>(item_.spec);
    last_ = static_cast<const uint8_t *>(item_.last);
    mask_ = static_cast<const uint8_t *>(item_.mask);
    if (!spec_) {
        if (mask_)
            return refuse_field(EINVAL, RTE_FLOW_ERROR_TYPE_ITEM_MASK, "mask", "there is no spec with it");
        return last_ ? refuse_field(EINVAL, RTE_FLOW_ERROR_TYPE_ITEM_LAST, "last", "there is no spec with it") : 0;
    }
    if (!mask_) {
        if (!layout.has_default_mask)
            return refuse_field(EINVAL, RTE_FLOW_ERROR_TYPE_ITEM_MASK, "mask", "this item has no default one");
        mask_ = known_.default_mask.data();
    }
    for (size_t i = 0; i < layout.members.size(); i++) {
        const Member &member = layout.members[i];
        const int status =
            is_integer(member) ? read_integer(member, known_.fields[i]) : read_bytes(member, *known_.fields[i]);
        if (status != 0)
            return status;
    }
    return layout.bit_fields ? read_bit_fields() : 0;
}

/// Its default mask is 0: any number of layers.
int read_any(const rte_flow_item &item, flow::Pattern &pattern, rte_flow_error *error) {
    const auto *spec = static_cast<const rte_flow_item_any *>(item.spec);
    const auto *last = static_cast<const rte_flow_item_any *>(item.last);
    const auto *mask = static_cast<const rte_flow_item_any *>(item.mask);
    if (!spec && mask)
        return refuse(error, EINVAL, RTE_FLOW_ERROR_TYPE_ITEM_MASK, &item, "any mask", "there is no spec with it");
    if (!spec && last)
        return refuse(error, EINVAL, RTE_FLOW_ERROR_TYPE_ITEM_LAST, &item, "any last", "there is no spec with it");
    if (!mask || mask->num == 0)
        return 0;
    if (mask->num != ~uint32_t{0})
        return refuse(error, ENOTSUP, RTE_FLOW_ERROR_TYPE_ITEM_MASK, &item, "any num", "it has no mask but a full one");
    if (last && last->num != 0 && last->num != spec->num)
        return refuse(error, ENOTSUP, RTE_FLOW_ERROR_TYPE_ITEM_LAST, &item, "any num", "it has no range");
    if (const auto set = pattern.any(spec->num); !set)
        return refuse(error, RTE_FLOW_ERROR_TYPE_ITEM, &item, set.error());
    return 0;
}

/// Why an item is not one of ours.
const char *why_not(rte_flow_item_type type) {
    switch (type) {
    case RTE_FLOW_ITEM_TYPE_INVERT:
        return "a pattern cannot be inverted; give what it excludes a rule of better priority";
    case RTE_FLOW_ITEM_TYPE_RAW:
        return "only named fields of headers are matched, no bytes at an offset";
    case RTE_FLOW_ITEM_TYPE_MARK:
    case RTE_FLOW_ITEM_TYPE_META:
    case RTE_FLOW_ITEM_TYPE_TAG:
        return "only headers are matched, not what belongs to a packet beside them";
    case RTE_FLOW_ITEM_TYPE_PORT_ID:
    case RTE_FLOW_ITEM_TYPE_PORT_REPRESENTOR:
    case RTE_FLOW_ITEM_TYPE_REPRESENTED_PORT:
        return "a rule sees its own port's packets only, there is no switch behind it";
    default:
        return "this header is not looked at";
    }
}

int refuse_item(const rte_flow_item &item, rte_flow_error *error) {
    std::array<char, 64> what{};
    snprintf(what.data(), what.size(), "pattern item %s", name_of(item.type));
    return refuse(error, ENOTSUP, RTE_FLOW_ERROR_TYPE_ITEM, &item, what.data(), why_not(item.type));
}

} // namespace

int convert_pattern(const rte_flow_item *pattern, flow::Match &match, rte_flow_error *error) {
    flow::Pattern headers;
    for (const rte_flow_item *item = pattern; item->type != RTE_FLOW_ITEM_TYPE_END; item++) {
        int status = 0;
        if (const KnownItem *known = known_item(item->type))
            status = ItemReader(*known, *item, headers, error).read();
        else if (item->type == RTE_FLOW_ITEM_TYPE_ANY)
            status = read_any(*item, headers, error);
        else if (item->type != RTE_FLOW_ITEM_TYPE_VOID)
            status = refuse_item(*item, error);
        if (status != 0)
            return status;
    }
    match = headers.match();
    return 0;
}

} // namespace tapflow::pmd
