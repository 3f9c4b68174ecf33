// SPDX-License-Identifier: BSD-3-Clause
// TC actions as values: what a filter does with the packets that it matches.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

struct nl_msg;
struct nlattr;

namespace tapflow::kernel {

/// What comes after an action (linux/pkt_cls.h: TC_ACT_*).
struct Control {
    enum class Code : int32_t {
        Continue = -1, ///< the next filter (TC_ACT_UNSPEC)
        Ok = 0,        ///< the packet goes on, past all other filters
        Reclassify = 1,
        Shot = 2,   ///< dropped, which a local sender is told
        Pipe = 3,   ///< the next action
        Stolen = 4, ///< dropped without a word
        GotoChain = 0x20000000,
    };
    Code code = Code::Pipe;
    uint32_t chain = 0; ///< with GotoChain; below 2^28

    bool operator==(const Control &) const = default;
};

/// act_gact: nothing but the control.
struct Gact {
    bool operator==(const Gact &) const = default;
};

/// act_mirred: the packet, or a copy of it, goes to another interface.
struct Mirred {
    int ifindex = 0;
    bool mirror = false;  ///< a copy
    bool ingress = false; ///< as if received there; else it is sent there

    bool operator==(const Mirred &) const = default;
};

/// act_skbedit: the packet's metadata. What is not given stays.
struct Skbedit {
    std::optional<uint32_t> priority;
    std::optional<uint32_t> mark;
    std::optional<uint32_t> mark_mask; ///< bits of the mark that change; none: all
    std::optional<uint16_t> queue_mapping;

    bool operator==(const Skbedit &) const = default;
};

/// act_bpf. The kernel tells the name, and of the program its id instead of our descriptor.
struct BpfAction {
    int program_fd = -1; ///< to be set; not owned
    uint32_t program_id = 0;
    std::string name;

    bool operator==(const BpfAction &) const = default;
};

/// act_vlan.
struct VlanEdit {
    enum class Verb : int32_t { Pop = 1, Push = 2, Modify = 3 } verb = Verb::Pop;
    std::optional<uint16_t> id;
    std::optional<uint16_t> protocol; ///< TPID, host byte order
    std::optional<uint8_t> priority;

    bool operator==(const VlanEdit &) const = default;
};

/// act_pedit: 32-bit words of a header become (word & mask) ^ value. Words, masks and values as in memory.
struct Pedit {
    enum class Header : uint16_t { Network = 0, Eth = 1, Ipv4 = 2, Ipv6 = 3, Tcp = 4, Udp = 5 };
    struct Key {
        Header header = Header::Network;
        bool add = false; ///< the value is added instead (TCA_PEDIT_KEY_EX_CMD_ADD)
        uint32_t offset = 0;
        uint32_t mask = 0; ///< bits that stay
        uint32_t value = 0;

        bool operator==(const Key &) const = default;
    };
    std::vector<Key> keys;

    bool operator==(const Pedit &) const = default;
};

/// act_csum: checksums to be made right again (linux/tc_act/tc_csum.h: TCA_CSUM_UPDATE_FLAG_*).
struct Csum {
    uint32_t flags = 0;

    bool operator==(const Csum &) const = default;
};

/// Packets and bytes as the kernel counts them: a super-frame's segments; at ingress without the Ethernet header.
struct ActionCount {
    uint64_t packets = 0;
    uint64_t bytes = 0;

    bool operator==(const ActionCount &) const = default;
};

/// An action. Those of one kind and index are one and the same, whichever filters use it.
struct TcAction {
    std::variant<Gact, Mirred, Skbedit, BpfAction, VlanEdit, Pedit, Csum> what;
    Control then;
    uint32_t index = 0; ///< 0: the kernel gives it one
    std::string cookie; ///< up to 16 bytes, of whatever meaning to who has set them

    bool operator==(const TcAction &) const = default;
};

/// What the kernel tells of an action. Nothing of kinds that TcAction has not.
struct ToldAction {
    std::optional<TcAction> action;
    std::string kind;
    std::string cookie;
    ActionCount count;
};

/// Appends the actions as attribute `type` (TCA_FLOWER_ACT and the like). False: out of room, or of
/// what an attribute can hold (64 KiB).
[[nodiscard]] bool put_actions(nl_msg *message, int type, const std::vector<TcAction> &actions);
/// What such an attribute holds.
[[nodiscard]] std::vector<ToldAction> parse_actions(const nlattr *attribute);

} // namespace tapflow::kernel
