// SPDX-License-Identifier: BSD-3-Clause
#include "engine/port.h"

#include "engine/counters.h"
#include "engine/port_internal.h"
#include "kernel/clock.h"
#include "kernel/process.h"

#include <algorithm>
#include <array>
#include <cerrno>

namespace tapflow::engine {
namespace {

/// True for what the kernel refuses now and not for good: rights, memory, descriptors.
bool may_pass(const Error &error) {
    constexpr std::array kCodes{EPERM, ENOMEM, EMFILE, ENFILE, EAGAIN};
    return std::find(kCodes.begin(), kCodes.end(), error.code) != kCodes.end();
}

bool contains(std::span<const MacAddress> list, const MacAddress &address) {
    return std::find(list.begin(), list.end(), address) != list.end();
}

} // namespace

Result<std::unique_ptr<Port>> Port::open(const PortOptions &options) {
    if (options.layer == kernel::Layer::Ip && !options.remote.empty())
        return Error{EINVAL, "use " + options.remote + " as remote", "a tun device has no Ethernet frames"};
    if (options.layer == kernel::Layer::Ip && options.mac)
        return Error{EINVAL, "use address " + options.mac->text(), "a tun device has none"};
    const bool by_flower = options.classifier == RuleClassifier::Flower;
    if (by_flower && options.layer == kernel::Layer::Ip)
        return Error{EINVAL, "use flower filters", "a tun device has no Ethernet frames"};
    if (!by_flower && options.offload != kernel::Offload::Auto)
        return Error{EINVAL, "keep rules in or out of hardware", "only those of the flower classifier can be in it"};
    auto netlink = kernel::Netlink::open();
    if (!netlink)
        return netlink.error();
    auto monitor = kernel::LinkMonitor::open(); // before anything is looked up that may change
    if (!monitor)
        return monitor.error();
    std::optional<kernel::LinkInfo> remote;
    if (!options.remote.empty()) {
        auto found = kernel::get_link(**netlink, options.remote);
        if (!found)
            return found.error();
        if (auto usable = check_usable_as_remote(*found); !usable)
            return usable.error();
        if (options.remote == options.iface)
            return Error{EINVAL, "use " + options.remote + " as remote", "it is the tap itself"};
        remote = *std::move(found);
    }
    // The kernel would let us in beside whoever has a multi-queue tap open, and take their packets.
    const auto former = kernel::get_link(**netlink, options.iface);
    const bool existed = static_cast<bool>(former);
    if (existed && former->tun_queues > 0)
        return Error{EBUSY, "open tap " + options.iface, "another port or process has it open"};
    auto tun = kernel::Tun::open(options.iface, options.layer);
    if (!tun)
        return tun.error();
    auto tap = kernel::get_link(**netlink, tun->name());
    if (!tap)
        return tap.error();
    std::unique_ptr<Port> port(new Port(*std::move(netlink), *std::move(tun), *std::move(tap), existed, options));
    port->monitor_ = *std::move(monitor);
    if (auto home = port->tun_.netns()) {
        auto id = kernel::namespace_id(*home);
        if (!id)
            return id.error();
        port->tap_namespace_ = *id;
        port->home_ = *std::move(home);
    }
    if (auto built = port->build(options, remote); !built)
        return built.error();
    return port;
}

Port::Port(std::unique_ptr<kernel::Netlink> netlink, kernel::Tun tun, kernel::LinkInfo tap, bool existed,
           const PortOptions &options)
    : netlink_(std::move(netlink)), tun_(std::move(tun)), tap_(std::move(tap)), existed_(existed),
      persist_(options.persist), readopt_(options.readopt), remote_name_(options.remote) {}

Result<void> Port::build(const PortOptions &options, const std::optional<kernel::LinkInfo> &remote) {
    if (auto loaded = load_programs(options); !loaded)
        return loaded.error();
    if (search() == kernel::RuleSearch::Flower)
        filters_ = std::make_unique<FlowerFilters>(*netlink_, *classifier_, options.offload);

    // What a killed process of ours has left on a persistent tap would still see packets that nobody reads, drop what
    // its rules said, and send what is written out of its remote.
    for (const char *left : {kTransmitRules, kTransmitFilter}) {
        if (!existed_)
            break;
        if (auto removed = kernel::Attachment::remove_left(*netlink_, tap_, kernel::Hook::Ingress, left); !removed)
            return removed.error();
    }
    if (auto set = tun_.set_steering(classifier_->programs().steer()); !set)
        return set.error();
    if (existed_)
        if (auto removed = FlowerFilters::remove_left(*netlink_, tap_, kernel::Hook::Egress, search()); !removed)
            return removed;
    {
        const std::lock_guard lock(tap_mutex_);
        if (auto attached = attach_at_tap(); !attached)
            return attached.error();
    }
    if (auto set = tun_.set_filter(classifier_->programs().tap_filter()); !set)
        return set.error();
    tun_.drain();

    max_mtu_ = kTapMaxMtu;
    mtu_ = tap_.mtu;
    mac_ = options.mac.value_or(remote ? remote->mac : tap_.mac);
    if (remote) {
        auto attached = Remote::attach(*netlink_, tap_, *remote, *classifier_, filters_.get(),
                                       [this] { return readers_are_alive(); });
        if (!attached)
            return attached.error();
        remote_ = *std::move(attached);
        mtu_ = remote->mtu;
        max_mtu_ = std::min(kTapMaxMtu, remote->mtu);
    }
    // The tap of a remote port is only a way out: nothing of the kernel's own belongs on it.
    if (remote_ && !existed_)
        if (auto quiet = kernel::set_link_no_ipv6_autoconf(*netlink_, tap_); !quiet)
            return quiet.error();
    if (layer() == kernel::Layer::Ethernet && (!existed_ || options.mac))
        if (auto set = kernel::set_link_mac(*netlink_, tap_, mac_); !set)
            return set.error();
    if (remote_ && !existed_)
        if (auto set = kernel::set_link_mtu(*netlink_, tap_, mtu_); !set)
            return set.error();
    if (remote_ && mac_ != remote->mac)
        if (auto joined = remote_->set(kernel::Membership::Unicast, mac_, true); !joined)
            return joined.error();
    classifier_->set_mac(mac_);
    auto flows = FlowRules::create(
        *classifier_, [this](bool on) { return attach_transmit_rules(on); },
        {[this] { return written_records(); },
         [this](std::span<const uint64_t> records) { return has_read_up_to(records); }},
        filters_.get());
    if (!flows)
        return flows.error();
    flows_ = *std::move(flows);
    if (auto identified = identify(options); !identified)
        return identified;
    // Last of all: a tap that outlives its port must have been worth keeping.
    if (persist_)
        return tun_.set_persistent(true);
    return {};
}

Result<void> Port::load_programs(const PortOptions &options) {
    const auto search =
        options.classifier == RuleClassifier::Flower ? kernel::RuleSearch::Flower : kernel::RuleSearch::Tables;
    const auto load = [&](kernel::Delivery delivery) {
        return BpfClassifier::create(delivery, tap_.index, options.layer, search, !options.remote.empty());
    };
    auto classifier = load(options.rx == RxMode::Fd ? kernel::Delivery::Fd : kernel::Delivery::Ring);
    if (!classifier && options.rx == RxMode::Auto && !may_pass(classifier.error())) {
        auto other = load(kernel::Delivery::Fd);
        if (!other) {
            Error error = other.error();
            error.detail += "; and " + classifier.error().message();
            return error;
        }
        why_not_ring_ = classifier.error().message();
        classifier = std::move(other);
    }
    if (!classifier)
        return classifier.error();
    classifier_ = *std::move(classifier);
    return {};
}

Result<void> Port::identify(const PortOptions &options) {
    const auto process = kernel::this_process();
    if (!process)
        return process.error();
    auto home = home_ ? kernel::namespace_id(home_) : tap_namespace_;
    if (!home)
        return home.error();
    uint32_t flags = 0;
    const auto flag = [&flags](bool on, tapflow_identity_flag bit) { flags |= on ? uint32_t{bit} : 0U; };
    flag(delivery() == kernel::Delivery::Ring, TAPFLOW_IDENTITY_RING);
    flag(search() == kernel::RuleSearch::Flower, TAPFLOW_IDENTITY_FLOWER);
    flag(layer() == kernel::Layer::Ip, TAPFLOW_IDENTITY_TUN);
    flag(is_remote(), TAPFLOW_IDENTITY_REMOTE);
    flag(persist_, TAPFLOW_IDENTITY_PERSIST);
    flag(readopt_, TAPFLOW_IDENTITY_READOPT);
    flag(existed_, TAPFLOW_IDENTITY_FOUND);
    const auto put = [](auto &text, const std::string &from) { from.copy(text, sizeof(text) - 1); };
    classifier_->identify([&](tapflow_port_identity &identity) {
        put(identity.version, TAPFLOW_VERSION);
        put(identity.device, options.device);
        put(identity.process, kernel::this_process_name());
        put(identity.remote, options.remote);
        put(identity.why_not_ring, why_not_ring_);
        identity.opened_ns = kernel::realtime_ns();
        identity.pid = process->pid;
        identity.pid_namespace = process->pid_namespace;
        identity.process_start = process->start;
        identity.flags = flags;
        identity.home = {home->device, home->inode, kernel::this_namespace_cookie()};
        identity.tap_namespace = identity.home;
        identity.tap_ifindex = static_cast<uint32_t>(tap_.index);
    });
    return {};
}

Port::~Port() {
    stop();
    flows_.reset();
    filters_.reset();
    remote_.reset(); // its lease's thread asks for our readers
    // A tap that stays behind must work for its next user.
    (void)tun_.set_steering(kernel::Tun::kNoProgram);
    (void)tun_.set_filter(kernel::Tun::kNoProgram);
}

MacAddress Port::mac() const {
    std::lock_guard lock(mutex_);
    return mac_;
}

unsigned Port::mtu() const {
    std::lock_guard lock(mutex_);
    return mtu_;
}

unsigned Port::max_mtu() const {
    std::lock_guard lock(mutex_);
    return max_mtu_;
}

Result<void> Port::set_mtu(unsigned mtu) {
    std::lock_guard lock(mutex_);
    if (mtu > max_mtu_)
        return Error{EINVAL, "set MTU to " + std::to_string(mtu),
                     remote_ ? "the remote " + remote_->name() + " carries " + std::to_string(max_mtu_)
                             : "a tap carries at most " + std::to_string(max_mtu_)};
    if (auto set = kernel::set_link_mtu(*netlink_, tap_, mtu); !set)
        return set.error();
    mtu_ = mtu;
    return {};
}

Result<void> Port::set_queues(unsigned rx, unsigned tx) {
    std::lock_guard lock(mutex_);
    if (rx > TAPFLOW_QUEUES_MAX || tx > TAPFLOW_QUEUES_MAX)
        return Error{EINVAL, "set number of queues", "at most " + std::to_string(TAPFLOW_QUEUES_MAX)};
    const bool by_fd = delivery() == kernel::Delivery::Fd;
    flows_->set_queues(rx);
    for (unsigned i = 0; i < TAPFLOW_QUEUES_MAX; i++)
        classifier_->set_queue_stopped(i, false);
    if (auto set = tun_.set_queues(by_fd ? std::max(rx, tx) : tx); !set)
        return set.error();
    classifier_->identify([=](tapflow_port_identity &identity) {
        identity.rx_queues = static_cast<uint16_t>(rx);
        identity.tx_queues = static_cast<uint16_t>(tx);
    });
    if (by_fd) {
        readers_.clear(); // their queues may have gone
        readers_.resize(rx);
        polls_.assign(rx, 0);
        queue_length_ = 0;
        return {};
    }
    if (auto removed = classifier_->remove_rings(rx); !removed)
        return removed.error();
    const std::lock_guard rings_lock(rings_mutex_);
    rings_.resize(rx);
    return {};
}

Result<void> Port::set_reader(unsigned queue, unsigned frames) {
    std::lock_guard lock(mutex_);
    if (queue >= readers_.size())
        return Error{EINVAL, "set up Rx queue " + std::to_string(queue), "there is no such queue"};
    if (!readers_[queue])
        readers_[queue] = std::make_unique<kernel::TunReader>(tun_.queue(queue));
    queue_length_ = std::max(queue_length_, frames);
    return {};
}

// A queue in which frames wait and that nobody polls has an application that hangs; a tap that has been deleted would
// swallow what the remote sends to it.
bool Port::readers_are_alive() {
    std::lock_guard lock(mutex_);
    bool alive = !removed_ || readers_.empty();
    for (size_t i = 0; i < readers_.size(); i++) {
        if (!readers_[i])
            continue;
        const uint64_t polls = readers_[i]->polls();
        const auto waiting = readers_[i]->waiting();
        if (waiting == kernel::TunReader::Waiting::Gone ||
            (waiting == kernel::TunReader::Waiting::Frame && polls == polls_[i]))
            alive = false;
        polls_[i] = polls;
    }
    return alive;
}

Result<std::vector<uint64_t>> Port::written_records() const {
    if (auto waited = classifier_->quiesce(); !waited)
        return waited.error();
    const std::lock_guard lock(rings_mutex_);
    std::vector<uint64_t> written(rings_.size());
    for (size_t i = 0; i < rings_.size(); i++)
        written[i] = rings_[i] ? rings_[i]->view().begin().producer : 0;
    return written;
}

/// A ring that has been replaced since has nothing of then.
bool Port::has_read_up_to(std::span<const uint64_t> records) const {
    const std::lock_guard lock(rings_mutex_);
    for (size_t i = 0; i < std::min(records.size(), rings_.size()); i++) {
        if (!rings_[i])
            continue;
        const auto now = rings_[i]->view().begin();
        if (now.position < records[i] && now.producer >= records[i])
            return false;
    }
    return true;
}

Result<void> Port::set_ring(unsigned queue, size_t bytes) {
    std::lock_guard lock(mutex_);
    if (queue >= rings_.size())
        return Error{EINVAL, "set up Rx queue " + std::to_string(queue), "there is no such queue"};
    if (rings_[queue] && rings_[queue]->bytes() == bytes)
        return {};
    auto created = kernel::Ring::create(bytes);
    if (!created)
        return created.error();
    auto ring = std::make_unique<kernel::Ring>(*std::move(created));
    if (started_)
        if (auto set = classifier_->set_ring(queue, *ring); !set)
            return set.error();
    const std::lock_guard rings_lock(rings_mutex_);
    rings_[queue] = std::move(ring);
    return {};
}

bool Port::is_set_up(unsigned queue) const {
    return (queue < rings_.size() && rings_[queue]) || (queue < readers_.size() && readers_[queue]);
}

Result<void> Port::set_queue_stopped(unsigned queue, bool stopped) {
    std::lock_guard lock(mutex_);
    if (queue >= rx_queues())
        return Error{EINVAL, "stop or start Rx queue " + std::to_string(queue), "there is no such queue"};
    if (!stopped && !is_set_up(queue))
        return Error{EINVAL, "start Rx queue " + std::to_string(queue), "it is not set up"};
    if (stopped == classifier_->is_queue_stopped(queue))
        return {};
    classifier_->set_queue_stopped(queue, stopped);
    if (!stopped || !started_ || !is_set_up(queue))
        return {};
    if (auto waited = classifier_->quiesce(); !waited) {
        classifier_->set_queue_stopped(queue, false);
        return waited.error();
    }
    if (delivery() == kernel::Delivery::Ring)
        rings_[queue]->view().discard();
    else
        tun_.drain(queue);
    return {};
}

Result<QueueInterrupt> Port::make_interrupt(unsigned queue) {
    std::lock_guard lock(mutex_);
    if (!is_set_up(queue))
        return Error{EINVAL, "make an interrupt for Rx queue " + std::to_string(queue), "it is not set up"};
    if (delivery() == kernel::Delivery::Ring)
        return QueueInterrupt::of_ring(*rings_[queue], classifier_->state().doorbells[queue]);
    return QueueInterrupt::of_fd(tun_.queue(queue));
}

Result<void> Port::change_interrupt(unsigned queue, QueueInterrupt &interrupt) {
    std::lock_guard lock(mutex_);
    return delivery() == kernel::Delivery::Ring ? interrupt.change_ring(*rings_[queue]) : Result<void>();
}

Result<void> Port::start(const rss::RssConfig &config, bool with_hash) {
    std::lock_guard lock(mutex_);
    if (auto valid = rss::validate(config, rx_queues()); !valid)
        return valid.error();
    for (unsigned i = 0; i < std::max(rings_.size(), readers_.size()); i++)
        if (!is_set_up(i) && !classifier_->is_queue_stopped(i))
            return Error{EINVAL, "start port", "queue " + std::to_string(i) + " is not set up"};
    if (delivery() == kernel::Delivery::Ring) {
        if (auto set = classifier_->set_rings(rings_); !set)
            return set.error();
    } else {
        // Once for each number: between starts the length is the user's to change.
        if (queue_length_ != set_queue_length_ && !existed_) {
            if (auto set = kernel::set_link_tx_queue_length(*netlink_, tap_, queue_length_); !set)
                return set.error();
            set_queue_length_ = queue_length_;
        }
        classifier_->set_flag(TAPFLOW_PORT_TRAILER, with_hash);
    }
    if (auto set = classifier_->set_rss(config); !set)
        return set.error();
    if (auto set = flows_->set_port_rss(config, rx_queues()); !set)
        return set.error();
    if (auto up = kernel::set_link_up(*netlink_, tap_, true); !up)
        return up.error();
    if (remote_)
        remote_->lease().renew();
    if (auto active = let_rules_act(true); !active)
        return active;
    classifier_->set_flag(TAPFLOW_PORT_STARTED, true);
    started_ = true;
    if (auto on = tun_.set_carrier(true); !on) {
        classifier_->set_flag(TAPFLOW_PORT_STARTED, false);
        (void)let_rules_act(false);
        started_ = false;
        return on.error();
    }
    return {};
}

/// A stopped port's remote has no filters of rules: a packet that one matches would miss the owner's filters behind.
Result<void> Port::let_rules_act(bool on) {
    if (!remote_ || !filters_)
        return {};
    if (on)
        return flows_->resume_filters();
    flows_->suspend_filters();
    return {};
}

// The tap stays administratively up: taking it down would cost its IPv6 addresses and routes.
void Port::stop() {
    std::lock_guard lock(mutex_);
    if (!started_)
        return;
    started_ = false;
    (void)tun_.set_carrier(false);
    classifier_->set_flag(TAPFLOW_PORT_STARTED, false);
    (void)let_rules_act(false);
    (void)classifier_->quiesce();
    for (const auto &ring : rings_)
        if (ring)
            ring->view().discard();
    if (delivery() == kernel::Delivery::Fd)
        tun_.drain();
}

unsigned Port::rx_queues() const {
    return static_cast<unsigned>(std::max<size_t>({rings_.size(), readers_.size(), 1}));
}

uint64_t Port::queue_drops() const {
    const auto tap = kernel::get_link(*netlink_, ifindex());
    if (!tap)
        return 0;
    // The tap counts what its filter refuses as well.
    const tapflow_port_counters &counters = classifier_->state().counters;
    const uint64_t refused = read_counter(counters.bypass) + read_counter(counters.forged);
    return tap->tx_dropped - std::min(refused, tap->tx_dropped);
}

Result<void> Port::set_link_up(bool up) {
    std::lock_guard lock(mutex_);
    if (auto carrier = tun_.set_carrier(up && started_); !carrier)
        return carrier.error();
    // What passes while rules come or go is no application's.
    if (!up)
        classifier_->set_flag(TAPFLOW_PORT_STARTED, false);
    if (auto active = let_rules_act(up && started_); !active)
        return active;
    classifier_->set_flag(TAPFLOW_PORT_STARTED, up && started_);
    return {};
}

Result<void> Port::set_rss(const rss::RssConfig &config) {
    std::lock_guard lock(mutex_);
    if (auto valid = rss::validate(config, rx_queues()); !valid)
        return valid.error();
    if (auto set = classifier_->set_rss(config); !set)
        return set.error();
    return flows_->set_port_rss(config, rx_queues());
}

Result<void> Port::set_membership(kernel::Membership kind, const MacAddress &address, bool on) {
    if (!remote_)
        return {};
    return remote_->set(kind, address, on);
}

Result<void> Port::set_promiscuous(bool on) {
    std::lock_guard lock(mutex_);
    if (on == promiscuous_)
        return {};
    if (auto set = set_membership(kernel::Membership::Promiscuous, {}, on); !set)
        return set.error();
    classifier_->set_flag(TAPFLOW_PORT_PROMISCUOUS, on);
    promiscuous_ = on;
    return {};
}

Result<void> Port::set_all_multicast(bool on) {
    std::lock_guard lock(mutex_);
    if (on == all_multicast_)
        return {};
    if (auto set = set_membership(kernel::Membership::AllMulticast, {}, on); !set)
        return set.error();
    classifier_->set_flag(TAPFLOW_PORT_ALLMULTICAST, on);
    all_multicast_ = on;
    return {};
}

void Port::set_isolated(bool on) { classifier_->set_flag(TAPFLOW_PORT_ISOLATED, on); }
void Port::set_vlan_filter(bool on) { classifier_->set_flag(TAPFLOW_PORT_VLAN_FILTER, on); }
void Port::set_vlan(uint16_t id, bool let_in) { classifier_->set_vlan(id, let_in); }

Result<void> Port::set_mac(const MacAddress &mac) {
    std::lock_guard lock(mutex_);
    if (mac == mac_)
        return {};
    if (auto set = set_membership(kernel::Membership::Unicast, mac, true); !set)
        return set.error();
    if (auto set = kernel::set_link_mac(*netlink_, tap_, mac); !set) {
        (void)set_membership(kernel::Membership::Unicast, mac, false);
        return set.error();
    }
    // Without effect for the remote's own address, which never was a membership.
    (void)set_membership(kernel::Membership::Unicast, mac_, false);
    classifier_->set_mac(mac);
    mac_ = mac;
    return {};
}

Result<void> Port::add_address(kernel::Membership kind, const MacAddress &address) {
    if (auto set = set_membership(kind, address, true); !set)
        return set.error();
    if (auto added = classifier_->add_address(address); !added) {
        (void)set_membership(kind, address, false);
        return added.error();
    }
    return {};
}

Result<void> Port::remove_address(kernel::Membership kind, const MacAddress &address) {
    auto removed = classifier_->remove_address(address);
    auto dropped = set_membership(kind, address, false);
    return !removed ? removed : dropped;
}

Result<void> Port::add_unicast(const MacAddress &address) {
    std::lock_guard lock(mutex_);
    // ethdev adds every address again whenever the port starts, and memberships are counted.
    if (contains(unicast_, address))
        return {};
    if (auto added = add_address(kernel::Membership::Unicast, address); !added)
        return added.error();
    unicast_.push_back(address);
    return {};
}

Result<void> Port::remove_unicast(const MacAddress &address) {
    std::lock_guard lock(mutex_);
    if (std::erase(unicast_, address) == 0)
        return {};
    return remove_address(kernel::Membership::Unicast, address);
}

Result<void> Port::set_multicast(std::span<const MacAddress> addresses) {
    std::lock_guard lock(mutex_);
    std::vector<MacAddress> added;
    for (const MacAddress &address : addresses) {
        if (contains(multicast_, address) || contains(added, address))
            continue;
        if (auto done = add_address(kernel::Membership::Multicast, address); !done) {
            for (const MacAddress &undo : added)
                (void)remove_address(kernel::Membership::Multicast, undo);
            return done.error();
        }
        added.push_back(address);
    }
    std::vector<MacAddress> now = added;
    for (const MacAddress &address : multicast_) {
        if (contains(addresses, address))
            now.push_back(address);
        else
            (void)remove_address(kernel::Membership::Multicast, address);
    }
    multicast_ = std::move(now);
    return {};
}

} // namespace tapflow::engine
