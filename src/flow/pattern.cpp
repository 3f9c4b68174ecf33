// SPDX-License-Identifier: BSD-3-Clause
#include "flow/pattern.h"

#include <cerrno>

namespace tapflow::flow {

void Pattern::demand_layer(uint32_t layer, bool present) {
    match_.mask.layers |= layer;
    match_.value.layers = present ? match_.value.layers | layer : match_.value.layers & ~layer;
}

Error Pattern::misplaced(Item item, const std::string &why) const {
    std::string detail = why;
    if (detail.empty())
        detail = stage_ == Stage::Begin ? "it cannot come first" : "it cannot follow " + std::string(item_name(last_));
    return {EINVAL, "pattern item " + std::string(item_name(item)), detail};
}

Result<Place> Pattern::next_network(Item item) {
    // Behind an IP header: IP in IP.
    if (stage_ == Stage::Network && last_ != Item::Arp && item != Item::Arp) {
        if (inner_)
            return Error{ENOTSUP, "pattern item " + std::string(item_name(item)), "tunnels are looked into one deep"};
        inner_ = true;
        demand_layer(TAPFLOW_LAYER_GRE | TAPFLOW_LAYER_VXLAN | TAPFLOW_LAYER_GENEVE, false);
    } else if (stage_ == Stage::Tunnel || stage_ == Stage::Key) {
        inner_ = true;
        if (last_ != Item::Vxlan) // which always has Ethernet in it
            demand_layer(TAPFLOW_LAYER_ETH << TAPFLOW_LAYER_INNER_SHIFT, false);
    } else if (stage_ >= Stage::Network) {
        return misplaced(item);
    }
    stage_ = Stage::Network;
    return Place{inner_, false};
}

Result<Place> Pattern::next_transport(Item item) {
    if (stage_ == Stage::Fragment)
        return misplaced(item, "of fragments, no L4 header is looked at");
    if (stage_ > Stage::Network)
        return misplaced(item);
    if (stage_ == Stage::Network && (last_ == Item::Arp || (item == Item::Icmp && last_ == Item::Ipv6) ||
                                     (item == Item::Icmp6 && last_ == Item::Ipv4)))
        return misplaced(item);
    stage_ = Stage::Transport;
    return Place{inner_, false};
}

Result<Place> Pattern::next_tunnel(Item item) {
    if (inner_)
        return Error{ENOTSUP, "pattern item " + std::string(item_name(item)), "tunnels are looked into one deep"};
    const bool over_udp = item != Item::Gre;
    if (stage_ == Stage::Fragment || stage_ > Stage::Transport || (stage_ == Stage::Network && last_ == Item::Arp) ||
        (stage_ == Stage::Transport && !(over_udp && last_ == Item::Udp)))
        return misplaced(item);
    stage_ = Stage::Tunnel;
    return Place{};
}

Result<Place> Pattern::next(Item item) {
    Result<Place> place = Place{inner_, false};
    switch (item) {
    case Item::Eth:
        if (stage_ == Stage::Tunnel || stage_ == Stage::Key)
            inner_ = true;
        else if (stage_ != Stage::Begin)
            return misplaced(item);
        stage_ = Stage::Ether;
        place = Place{inner_, false};
        break;
    case Item::Vlan:
        if (stage_ == Stage::Tag2)
            return Error{ENOTSUP, "pattern item vlan", "a third tag is not looked at"};
        if (stage_ > Stage::Tag)
            return misplaced(item);
        place = Place{inner_, stage_ == Stage::Tag};
        stage_ = stage_ == Stage::Tag ? Stage::Tag2 : Stage::Tag;
        break;
    case Item::Arp:
    case Item::Ipv4:
    case Item::Ipv6:
        place = next_network(item);
        break;
    case Item::Ipv6Fragment:
        if (stage_ != Stage::Network || last_ != Item::Ipv6)
            return misplaced(item);
        stage_ = Stage::Fragment;
        break;
    case Item::Tcp:
    case Item::Udp:
    case Item::Sctp:
    case Item::Icmp:
    case Item::Icmp6:
    case Item::Esp:
    case Item::Ah:
        place = next_transport(item);
        break;
    case Item::Gre:
    case Item::Vxlan:
    case Item::Geneve:
        place = next_tunnel(item);
        break;
    case Item::GreKey:
        if (stage_ != Stage::Tunnel || last_ != Item::Gre)
            return misplaced(item);
        stage_ = Stage::Key;
        break;
    }
    if (!place)
        return place;
    last_ = item;
    // Every packet has an outer Ethernet header.
    if (item != Item::Eth || place->inner)
        demand_layer(layer_of(item, *place), true);
    return place;
}

Result<void> Pattern::any(unsigned layers) {
    for (; layers > 0; layers--) {
        if (stage_ == Stage::Fragment || (stage_ == Stage::Network && last_ == Item::Arp))
            return Error{EINVAL, "pattern item any", "nothing is behind " + std::string(item_name(last_))};
        if (stage_ == Stage::Begin) {
            stage_ = Stage::Ether;
            last_ = Item::Eth;
        } else if (stage_ < Stage::Network) {
            stage_ = Stage::Network;
            last_ = Item::Eth;
        } else if (stage_ < Stage::Transport) {
            stage_ = Stage::Transport;
            last_ = Item::Udp; // so that a tunnel over UDP may follow
        } else {
            return Error{ENOTSUP, "pattern item any", "behind L4 only tunnels that are named can be looked into"};
        }
    }
    return {};
}

void Pattern::compare(const Field &field, Place place, std::span<const uint8_t> value, std::span<const uint8_t> mask) {
    uint8_t *value_out = bytes_of(match_.value, field, place);
    uint8_t *mask_out = bytes_of(match_.mask, field, place);
    for (size_t i = 0; i < field.bytes; i++) {
        value_out[i] = static_cast<uint8_t>((value_out[i] & ~mask[i]) | (value[i] & mask[i]));
        mask_out[i] |= mask[i];
    }
}

void Pattern::compare(const Field &field, Place place, uint32_t value, uint32_t mask) {
    set_integer(match_.value, field, place, (get_integer(match_.value, field, place) & ~mask) | (value & mask));
    set_integer(match_.mask, field, place, get_integer(match_.mask, field, place) | mask);
}

Result<void> Pattern::has(const LayerFlag &flag, Place place, bool present) {
    if (flag.layer == TAPFLOW_LAYER_VLAN2 && place.second_tag)
        return Error{ENOTSUP, "pattern item vlan, has_more_vlan", "a third tag is not looked at"};
    if (flag.layer != 0) {
        demand_layer(place.inner ? flag.layer << TAPFLOW_LAYER_INNER_SHIFT : flag.layer, present);
        return {};
    }
    tapflow_flow_headers &value = place.inner ? match_.value.inner : match_.value.outer;
    tapflow_flow_headers &mask = place.inner ? match_.mask.inner : match_.mask.outer;
    mask.ip_extension |= flag.extension;
    value.ip_extension =
        static_cast<uint16_t>(present ? value.ip_extension | flag.extension : value.ip_extension & ~flag.extension);
    return {};
}

} // namespace tapflow::flow
