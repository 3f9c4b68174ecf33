// SPDX-License-Identifier: BSD-3-Clause
// A port: the tap, the classifier and, in remote mode, the remote, brought up and down together.
#pragma once

#include "engine/bpf_classifier.h"
#include "engine/flow_rules.h"
#include "engine/flower_filters.h"
#include "engine/queue_interrupt.h"
#include "engine/remote.h"
#include "kernel/attachment.h"
#include "kernel/link.h"
#include "kernel/link_monitor.h"
#include "kernel/namespace.h"
#include "kernel/netlink.h"
#include "kernel/ring.h"
#include "kernel/tun.h"
#include "kernel/tun_reader.h"
#include "rss/rss_config.h"
#include "tapflow/mac_address.h"
#include "tapflow/result.h"

#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace tapflow::engine {

/// How packets are delivered.
enum class RxMode : uint8_t {
    Auto, ///< by ring where the kernel can, else by fd
    Ring, ///< one BPF ring for each queue
    Fd,   ///< the tap's queues, read frame by frame; tcpdump and counters on the tap see every packet
};

/// Who looks for the ingress rules of a packet. The rules are the same.
enum class RuleClassifier : uint8_t {
    Auto,   ///< Bpf
    Bpf,    ///< the port's own program, in tables
    Flower, ///< flower filters, which tc(8) shows, and other filters can be beside
};

/// What a port is to be.
struct PortOptions {
    kernel::Layer layer = kernel::Layer::Ethernet; ///< of the tap; a tun has no remote
    std::string iface = "dtap%d";                  ///< name of the tap; "%d" is filled in by the kernel
    std::string device;                            ///< what the application calls the port; for who looks at it only
    std::string remote;                            ///< interface to stand in for; empty: local mode
    std::optional<MacAddress> mac;                 ///< the port's address; default: the remote's, or the tap's
    RxMode rx = RxMode::Auto;
    RuleClassifier classifier = RuleClassifier::Auto;
    kernel::Offload offload = kernel::Offload::Auto; ///< of flower filters
    bool persist = false;                            ///< leave the tap behind when the port closes
    bool readopt = false; ///< a remote that is gone comes back: the next interface of its name
};

/// What the link is like now.
struct PortLink {
    bool exists = false; ///< false once the tap or, without PortOptions::readopt, the remote has been deleted
    bool up = false;     ///< administratively up and with carrier

    bool operator==(const PortLink &) const = default;
};

/// What Port::link_event() has come to.
struct LinkEvent {
    bool concerned = false;         ///< a message was about the port's interfaces; the rest is void otherwise
    PortLink link;                  ///< as it is now
    std::optional<Error> trouble;   ///< why an interface could not be followed or adopted, if that is new
    std::optional<std::string> did; ///< what has been done about an interface, for the log
};

/// Control plane of a port. Destroying it in any state takes everything back: the tap (unless persistent), the
/// filters, the remote's memberships.
///
/// Thread safety: every member function may be called from any thread. The data path uses ring() views, reader() and
/// tx_fd(), which stay valid until the queue is released or reconfigured.
class Port {
  public:
    /// Opens the tap, loads the programs and attaches them. Nothing is delivered before start().
    /// Errors: ENODEV for a missing remote, EINVAL for one that cannot be used, what the kernel refuses.
    static Result<std::unique_ptr<Port>> open(const PortOptions &options);
    ~Port();
    Port(const Port &) = delete;
    Port &operator=(const Port &) = delete;

    [[nodiscard]] const std::string &iface() const { return tun_.name(); }
    [[nodiscard]] int ifindex() const; ///< of the tap, in the namespace that it is in
    [[nodiscard]] kernel::Delivery delivery() const { return classifier_->programs().delivery(); }
    /// Where it is IP, packets come with an Ethernet header without addresses in front, which is to be taken off.
    [[nodiscard]] kernel::Layer layer() const { return classifier_->programs().layer(); }
    [[nodiscard]] kernel::RuleSearch search() const { return classifier_->programs().search(); }
    /// Why RxMode::Auto came to deliver by fd; empty otherwise.
    [[nodiscard]] const std::string &why_not_ring() const { return why_not_ring_; }
    [[nodiscard]] bool is_remote() const { return remote_ != nullptr; }
    /// As it was when the port was opened; empty in local mode.
    [[nodiscard]] const std::string &remote_name() const { return remote_name_; }
    [[nodiscard]] MacAddress mac() const;
    /// True if the tap was there before us: its MTU, addresses and MAC are its owner's.
    [[nodiscard]] bool tap_was_there() const { return existed_; }

    Result<PortLink> link() const;
    /// Where messages about links come in; link_event() reads them. It may outlive the port.
    [[nodiscard]] const std::shared_ptr<kernel::LinkMonitor> &link_monitor() const { return monitor_; }
    /// Reads a limited number of messages from the monitor and does what they ask for: follows a local tap that was
    /// moved to another network namespace, lets a remote go that is gone, takes over one that has come back.
    LinkEvent link_event();

    [[nodiscard]] unsigned mtu() const;
    /// Largest MTU: the remote's own in remote mode, which is not ours to change.
    [[nodiscard]] unsigned max_mtu() const;
    Result<void> set_mtu(unsigned mtu);

    /// Sets the number of queues; only while stopped. Rings of queues that are no more are freed, and none is stopped.
    Result<void> set_queues(unsigned rx, unsigned tx);
    /// Delivery by ring: makes the ring of an Rx queue; only while the port or the queue is stopped. `bytes`: a power
    /// of two.
    Result<void> set_ring(unsigned queue, size_t bytes);
    /// Delivery by fd: makes the reader of an Rx queue; only while the port or the queue is stopped. `frames` may wait
    /// in it; of several queues the largest number counts at the port's next start, and a tap that was there before us
    /// keeps its own.
    Result<void> set_reader(unsigned queue, unsigned frames);
    [[nodiscard]] size_t ring_bytes(unsigned queue) const { return rings_[queue]->bytes(); }
    /// Where the data path reads; the queue must have been set up.
    [[nodiscard]] const kernel::RingView &ring(unsigned queue) const { return rings_[queue]->view(); }
    [[nodiscard]] kernel::TunReader &reader(unsigned queue) const { return *readers_[queue]; }
    /// Where the data path writes; owned by the port.
    [[nodiscard]] int tx_fd(unsigned queue) const { return tun_.queue(queue); }

    /// True if an Rx queue has been set up.
    [[nodiscard]] bool is_set_up(unsigned queue) const;
    /// Packets for a stopped queue are dropped and counted; what waits in it is thrown away. In any state of the port.
    /// Errors: EINVAL for starting a queue that is not set up.
    Result<void> set_queue_stopped(unsigned queue, bool stopped);
    [[nodiscard]] bool is_queue_stopped(unsigned queue) const { return classifier_->is_queue_stopped(queue); }
    /// An interrupt for a queue that is set up; it must go before the queue's ring or reader does.
    Result<QueueInterrupt> make_interrupt(unsigned queue);
    /// After the queue was set up again. Disable the interrupt before.
    Result<void> change_interrupt(unsigned queue, QueueInterrupt &interrupt);

    /// All queues that are not stopped must be set up. `with_hash`: delivery by fd puts a tapflow_trailer behind frames
    /// (a ring's record always has the hash).
    Result<void> start(const rss::RssConfig &config, bool with_hash);
    /// Always succeeds as far as the port is concerned, also on a dead interface.
    void stop();
    Result<void> set_link_up(bool up);

    Result<void> set_rss(const rss::RssConfig &config);
    Result<void> set_promiscuous(bool on);
    Result<void> set_all_multicast(bool on);
    /// rte_flow isolated mode: nothing but rules takes packets. May be called in any state.
    void set_isolated(bool on);
    /// With the filter on, tagged packets of other VLANs than those let in are not the application's. Rules come
    /// before.
    void set_vlan_filter(bool on);
    void set_vlan(uint16_t id, bool let_in);
    Result<void> set_mac(const MacAddress &mac);
    /// Adding an address that is there, and removing one that is not, is no error.
    Result<void> add_unicast(const MacAddress &address);
    Result<void> remove_unicast(const MacAddress &address);
    /// Replaces the list of joined multicast addresses. On failure the former list stays.
    Result<void> set_multicast(std::span<const MacAddress> addresses);

    /// Rules may be made in any state, and are kept until the port closes.
    [[nodiscard]] FlowRules &flows() { return *flows_; }

    /// Delivery by fd: frames for which a queue had no room since the tap was made. A tap that is gone has none.
    [[nodiscard]] uint64_t queue_drops() const;
    /// Where the thread that polls a queue counts, for who looks at the port from outside.
    [[nodiscard]] tapflow_queue_traffic &received(unsigned queue) const { return classifier_->state().received[queue]; }
    [[nodiscard]] tapflow_queue_traffic &sent(unsigned queue) const { return classifier_->state().sent[queue]; }
    /// Counters of the classifier, in memory that it writes while one reads.
    [[nodiscard]] const tapflow_port_state &state() const { return classifier_->state(); }

  private:
    Port(std::unique_ptr<kernel::Netlink> netlink, kernel::Tun tun, kernel::LinkInfo tap, bool existed,
         const PortOptions &options);
    Result<void> build(const PortOptions &options, const std::optional<kernel::LinkInfo> &remote);
    Result<void> load_programs(const PortOptions &options);
    Result<void> identify(const PortOptions &options);
    bool readers_are_alive();
    Result<void> attach_transmit_rules(bool on);
    Result<void> let_rules_act(bool on);

    // port_links.cpp, with mutex_ held
    [[nodiscard]] Result<PortLink> present_link() const;
    [[nodiscard]] Result<kernel::NamespaceId> where_tap_is() const;
    [[nodiscard]] bool has_tap_filter() const;
    [[nodiscard]] std::vector<WantedMembership> wanted_memberships(const MacAddress &own) const;
    void check_tap(bool gone, bool lost, LinkEvent &event);
    Result<void> follow_tap(const kernel::NamespaceId &where);
    Result<void> attach_anew(const kernel::NamespaceId &where);
    Result<void> attach_at_tap();
    Result<void> attach_rules_at_tap(); ///< with tap_mutex_ held
    void lose_tap();
    void abandon_tap();
    void check_remote(bool gone, LinkEvent &event);
    Result<void> adopt_remote(const kernel::LinkInfo &found);

    [[nodiscard]] Result<std::vector<uint64_t>> written_records() const;
    [[nodiscard]] bool has_read_up_to(std::span<const uint64_t> records) const;
    [[nodiscard]] unsigned rx_queues() const; ///< at least 1
    Result<void> set_membership(kernel::Membership kind, const MacAddress &address, bool on);
    Result<void> add_address(kernel::Membership kind, const MacAddress &address);
    Result<void> remove_address(kernel::Membership kind, const MacAddress &address);

    mutable std::mutex mutex_;
    std::unique_ptr<kernel::Netlink> netlink_;
    kernel::Tun tun_;
    mutable std::mutex tap_mutex_; ///< taken last: of what sits at the tap, and where that is
    kernel::LinkInfo tap_;         ///< as it was when the port was opened; index and name identify it, and follow it
    kernel::NamespaceId tap_namespace_{};
    kernel::Fd home_; ///< the namespace of open()'s thread and of the remote; none: the kernel has but one
    bool existed_;
    bool persist_;
    bool readopt_;
    std::string remote_name_;
    std::shared_ptr<kernel::LinkMonitor> monitor_;
    bool removed_ = false;      ///< for good
    bool unattached_ = false;   ///< the tap has been moved, and could not be followed
    bool doomed_ = false;       ///< the tap is in a namespace that goes
    bool egress_rules_ = false; ///< there are some
    std::string last_trouble_;
    unsigned mtu_ = 0;
    unsigned max_mtu_ = 0;
    MacAddress mac_;
    std::unique_ptr<BpfClassifier> classifier_;
    std::unique_ptr<FlowerFilters> filters_; ///< null: rules are searched in tables
    std::optional<kernel::Attachment> tap_egress_;
    std::optional<kernel::Attachment> transmit_rules_; ///< while there are egress rules
    std::unique_ptr<Remote> remote_;
    std::string why_not_ring_;
    mutable std::mutex rings_mutex_; ///< taken last
    std::vector<std::unique_ptr<kernel::Ring>> rings_;
    std::vector<std::unique_ptr<kernel::TunReader>> readers_;
    std::vector<uint64_t> polls_;   ///< of the readers, when the lease last asked
    unsigned queue_length_ = 0;     ///< frames, for the tap's queues
    unsigned set_queue_length_ = 0; ///< that the tap has been given
    std::vector<MacAddress> unicast_;
    std::vector<MacAddress> multicast_;
    bool started_ = false;
    bool promiscuous_ = false;
    bool all_multicast_ = false;
    std::unique_ptr<FlowRules> flows_; ///< calls back into the port
};

} // namespace tapflow::engine
