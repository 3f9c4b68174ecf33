// SPDX-License-Identifier: BSD-3-Clause
// What becomes of a port when something becomes of its interfaces.
#include "engine/port.h"

#include "engine/port_internal.h"

#include <algorithm>
#include <utility>

namespace tapflow::engine {
namespace {

// Somebody who moves a tap back and forth will be followed at the next message.
constexpr int kFollowAttempts = 4;

} // namespace

int Port::ifindex() const {
    const std::lock_guard lock(tap_mutex_);
    return tap_.index;
}

Result<kernel::NamespaceId> Port::where_tap_is() const {
    if (!home_)
        return tap_namespace_;
    auto netns = tun_.netns();
    return netns ? kernel::namespace_id(*netns) : netns.error();
}

Result<PortLink> Port::link() const {
    const std::lock_guard lock(mutex_);
    return present_link();
}

Result<PortLink> Port::present_link() const {
    if (removed_ || !tun_.exists())
        return PortLink{};
    const auto where = where_tap_is();
    if (!where || *where != tap_namespace_ || unattached_)
        return PortLink{!remote_, false};
    const auto tap = kernel::get_link(*netlink_, tap_.index);
    if (!tap && tap.error().code != ENODEV)
        return tap.error();
    PortLink link{true, tap && tap->up && tap->carrier};
    if (!remote_)
        return link;
    const auto remote = remote_->ifindex() ? kernel::get_link(*netlink_, remote_->ifindex())
                                           : Result<kernel::LinkInfo>(Error{ENODEV, {}, {}});
    if (!remote && remote.error().code != ENODEV)
        return remote.error();
    link.exists = remote || readopt_;
    link.up = link.up && remote && remote->up && remote->carrier;
    return link;
}

LinkEvent Port::link_event() {
    const std::lock_guard lock(mutex_);
    bool tap_gone = false;
    bool remote_gone = false;
    LinkEvent event;
    const auto heard = monitor_->read([&](const kernel::LinkMessage &message) {
        const bool is_tap = message.index == tap_.index;
        const bool is_remote = remote_ && message.index == remote_->ifindex();
        const bool is_awaited = remote_ && remote_->ifindex() == 0 && message.name == remote_name_;
        event.concerned = event.concerned || is_tap || is_remote || is_awaited;
        tap_gone = tap_gone || (is_tap && message.gone);
        remote_gone = remote_gone || (is_remote && message.gone);
    });
    event.concerned = event.concerned || heard.lost || heard.namespace_gone || doomed_ || unattached_;
    if (!event.concerned)
        return event;
    if (!removed_)
        check_tap(tap_gone, heard.lost, event);
    if (!removed_ && remote_)
        check_remote(remote_gone, event);
    if (event.trouble && event.trouble->message() == std::exchange(last_trouble_, event.trouble->message()))
        event.trouble.reset();
    if (event.did)
        last_trouble_.clear();
    auto link = present_link();
    event.link = link ? *link : PortLink{!removed_, false};
    return event;
}

// ---- the tap

bool Port::has_tap_filter() const {
    const auto filters = kernel::list_filters(*netlink_, tap_, kernel::Hook::Egress);
    return filters && std::any_of(filters->begin(), filters->end(),
                                  [](const kernel::BpfFilter &filter) { return filter.name == kTapFilter; });
}

void Port::check_tap(bool gone, bool lost, LinkEvent &event) {
    // A remote's tap that was moved is no use any more, as bpf_redirect() ends at a namespace's border.
    if (!tun_.exists() || (remote_ && gone)) {
        lose_tap();
        return;
    }
    for (int attempt = 0; attempt < kFollowAttempts; attempt++) {
        const auto where = where_tap_is();
        if (!where) { // its namespace goes, and the tap with it: see LinkMonitor::watch_queue()
            monitor_->watch_queue(tun_.queue(0));
            doomed_ = true;
            if (!tun_.exists())
                lose_tap();
            return;
        }
        const bool moved = *where != tap_namespace_;
        // There and back before we looked: the same place, but nothing of ours.
        const bool unharmed = !moved && !unattached_ && !((gone || lost) && !has_tap_filter());
        if (remote_ && moved)
            lose_tap();
        if (remote_ || unharmed)
            return;
        if (auto followed = follow_tap(*where); !followed)
            event.trouble = followed.error();
        else
            event.did = "tap " + tap_.name + " was moved to another network namespace, and is index " +
                        std::to_string(tap_.index) + " there";
    }
}

Result<void> Port::follow_tap(const kernel::NamespaceId &where) {
    unattached_ = true;
    if (auto attached = attach_anew(where); !attached)
        return attached;
    // Without tap_mutex_, which FlowRules takes within its own lock.
    if (filters_)
        if (auto restored = flows_->restore_filters(true); !restored)
            return restored;
    unattached_ = false;
    return {};
}

/// Nothing that sat at the tap has come along but the programs of the tun device itself.
Result<void> Port::attach_anew(const kernel::NamespaceId &where) {
    const std::lock_guard lock(tap_mutex_);
    abandon_tap();
    tap_egress_.reset();
    transmit_rules_.reset();
    auto home = kernel::namespace_id(home_);
    if (!home)
        return home.error();
    if (where == *home) {
        netlink_->ask_in(nullptr);
        monitor_->listen_at_home();
    } else {
        auto there = tun_.netns();
        if (!there)
            return there.error();
        netlink_->ask_in([this] { return tun_.netns(); });
        if (auto listening = monitor_->listen_to(*there); !listening)
            return listening.error();
    }
    auto name = tun_.current_name();
    if (!name)
        return name.error();
    auto found = kernel::get_link(*netlink_, *name);
    if (!found)
        return found.error();
    tap_.index = found->index;
    tap_.name = found->name;
    tap_namespace_ = where;
    uint64_t cookie = 0;
    if (const auto there = tun_.netns())
        (void)kernel::in_namespace(*there, [&cookie]() -> Result<void> {
            cookie = kernel::this_namespace_cookie();
            return {};
        });
    classifier_->identify([this, cookie](tapflow_port_identity &identity) {
        identity.tap_namespace = {tap_namespace_.device, tap_namespace_.inode, cookie};
        identity.tap_ifindex = static_cast<uint32_t>(tap_.index);
    });
    return attach_at_tap();
}

/// With tap_mutex_ held. In remote mode flower filters are at the remote.
Result<void> Port::attach_at_tap() {
    if (filters_ && remote_name_.empty()) {
        if (auto attached = filters_->attach(tap_, kernel::Hook::Egress); !attached)
            return attached;
        return egress_rules_ ? attach_rules_at_tap() : Result<void>();
    }
    auto egress = kernel::Attachment::filter(*netlink_, tap_, kernel::Hook::Egress,
                                             classifier_->programs().tap_egress(), kTapFilter);
    if (!egress)
        return egress.error();
    tap_egress_.emplace(*std::move(egress));
    return egress_rules_ ? attach_rules_at_tap() : Result<void>();
}

/// In front of what sends a remote's packets on their way.
Result<void> Port::attach_rules_at_tap() {
    auto attach = [&]() -> Result<void> {
        auto rules = kernel::Attachment::tcx_or_filter(*netlink_, tap_, kernel::Hook::Ingress,
                                                       classifier_->programs().transmit_rules(), kTransmitRules,
                                                       kernel::kEarlyFilterPreference);
        if (!rules)
            return rules.error();
        transmit_rules_.emplace(*std::move(rules));
        return {};
    };
    if (!home_)
        return attach();
    auto there = tun_.netns();
    if (!there)
        return there.error();
    return kernel::in_namespace(*there, attach); // bpf(2) takes an index for one of the thread's namespace
}

Result<void> Port::attach_transmit_rules(bool on) {
    const std::lock_guard lock(tap_mutex_);
    transmit_rules_.reset();
    egress_rules_ = false;
    if (!on)
        return {};
    auto attached = attach_rules_at_tap();
    egress_rules_ = static_cast<bool>(attached);
    return attached;
}

void Port::lose_tap() {
    const std::lock_guard lock(tap_mutex_);
    removed_ = true;
    classifier_->set_remote(0);
    monitor_->forget_queue(tun_.queue(0));
    doomed_ = false;
    abandon_tap();
}

/// What was attached to the tap is not there any more. With tap_mutex_ held.
void Port::abandon_tap() {
    if (tap_egress_)
        tap_egress_->abandon();
    if (transmit_rules_)
        transmit_rules_->abandon();
    if (filters_ && remote_name_.empty())
        filters_->abandon();
}

// ---- the remote

void Port::check_remote(bool gone, LinkEvent &event) {
    if (remote_->ifindex() != 0) {
        const auto present = kernel::get_link(*netlink_, remote_->ifindex());
        if (!gone && (present || present.error().code != ENODEV))
            return;
        remote_->lose();
        if (!readopt_) {
            removed_ = true;
            return;
        }
        event.did = "remote " + remote_name_ + " is gone";
    }
    const auto found = kernel::get_link(*netlink_, remote_name_);
    if (!found)
        return;
    if (auto adopted = adopt_remote(*found); !adopted)
        event.trouble = adopted.error();
    else
        event.did = "remote " + remote_name_ + " is back, as index " + std::to_string(found->index);
}

std::vector<WantedMembership> Port::wanted_memberships(const MacAddress &own) const {
    std::vector<WantedMembership> wanted;
    if (mac_ != own)
        wanted.push_back({kernel::Membership::Unicast, mac_});
    for (const MacAddress &address : unicast_)
        wanted.push_back({kernel::Membership::Unicast, address});
    for (const MacAddress &address : multicast_)
        wanted.push_back({kernel::Membership::Multicast, address});
    if (all_multicast_)
        wanted.push_back({kernel::Membership::AllMulticast, {}});
    if (promiscuous_)
        wanted.push_back({kernel::Membership::Promiscuous, {}});
    return wanted;
}

Result<void> Port::adopt_remote(const kernel::LinkInfo &found) {
    if (auto usable = check_usable_as_remote(found); !usable)
        return usable;
    if (found.index == tap_.index)
        return Error{EINVAL, "use " + found.name + " as remote", "it is the tap itself"};
    const auto wanted = wanted_memberships(found.mac);
    auto adopt = [&] { return remote_->adopt(*netlink_, found, wanted); };
    if (auto adopted = home_ ? kernel::in_namespace(home_, adopt) : adopt(); !adopted)
        return adopted;
    if (filters_)
        if (auto restored = flows_->restore_filters(started_); !restored) {
            remote_->lose();
            return restored;
        }
    max_mtu_ = std::min(kTapMaxMtu, found.mtu);
    if (mtu_ > max_mtu_) {
        mtu_ = max_mtu_;
        if (!existed_)
            return kernel::set_link_mtu(*netlink_, tap_, mtu_);
    }
    return {};
}

} // namespace tapflow::engine
