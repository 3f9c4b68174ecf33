// SPDX-License-Identifier: BSD-3-Clause
// Messages about links: which come, how many at a time, and what is said of those that do not.
#include "kernel/link.h"
#include "kernel/link_monitor.h"
#include "kernel/namespace.h"
#include "kernel/netlink.h"
#include "kernel/tun.h"
#include "support/must.h"
#include "support/netns.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <optional>
#include <string>
#include <vector>

namespace tapflow::test {
namespace {

class LinkMessages : public testing::Test {
  protected:
    LinkMessages() { ns.must_run({"ip", "link", "add", "other0", "type", "ifb"}); }

    [[nodiscard]] bool readable(int timeout = 0) const {
        pollfd event{monitor->fd(), POLLIN, 0};
        return poll(&event, 1, timeout) == 1;
    }

    struct Read {
        std::vector<std::string> said; ///< "NAME" or "-NAME"
        bool lost = false;
        bool namespace_gone = false;
    };
    Read read() {
        Read result;
        const auto heard = monitor->read([&](const kernel::LinkMessage &message) {
            result.said.push_back((message.gone ? "-" : "") + std::string(message.name));
        });
        result.lost = heard.lost;
        result.namespace_gone = heard.namespace_gone;
        return result;
    }
    void read_all() {
        while (readable())
            (void)read();
    }
    void change_mtu(const NetNs &where, const std::string &name, unsigned times) {
        const NetNsGuard there = where.enter();
        const auto netlink = must(kernel::Netlink::open());
        const auto link = must(kernel::get_link(*netlink, name));
        for (unsigned i = 0; i < times; i++)
            must(kernel::set_link_mtu(*netlink, link, 1400 + ++mtus % 2));
    }

    /// At least one message, and none that says anything else: the kernel may repeat itself (linkwatch).
    void expect_only(const std::string &wanted) {
        const Read all = read();
        EXPECT_FALSE(all.said.empty());
        for (const std::string &said : all.said)
            EXPECT_EQ(said, wanted);
        EXPECT_FALSE(readable());
    }

    unsigned mtus = 0;
    NetNs ns;
    NetNsGuard inside{ns.fd()};
    std::unique_ptr<kernel::LinkMonitor> monitor = must(kernel::LinkMonitor::open());
};

TEST_F(LinkMessages, TellWhatHasChangedAndWhatIsGone) {
    read_all();
    ns.must_run({"ip", "link", "set", "other0", "mtu", "1400"});
    expect_only("other0");
    ns.must_run({"ip", "link", "set", "other0", "name", "other1"});
    expect_only("other1");
    ns.must_run({"ip", "link", "del", "other1"});
    expect_only("-other1");
    EXPECT_FALSE(readable());
}

TEST_F(LinkMessages, InterfaceThatLeavesABridgeIsNotGone) {
    ns.must_run({"ip", "link", "add", "bridge0", "type", "bridge"});
    ns.must_run({"ip", "link", "add", "port0", "type", "veth", "peer", "name", "port1"});
    ns.must_run({"ip", "link", "set", "port0", "master", "bridge0"});
    read_all();
    ns.must_run({"ip", "link", "set", "port0", "nomaster"});
    while (readable())
        for (const std::string &said : read().said)
            EXPECT_NE(said, "-port0");
}

/// Otherwise a storm would have the thread that reads for itself.
TEST_F(LinkMessages, ComeInLimitedNumbers) {
    read_all();
    change_mtu(ns, "other0", kernel::LinkMonitor::kBatch + 10);
    const Read first = read();
    EXPECT_EQ(first.said.size(), static_cast<size_t>(kernel::LinkMonitor::kBatch));
    EXPECT_FALSE(first.lost);
    EXPECT_TRUE(readable());
    EXPECT_GE(read().said.size(), 10U);
    EXPECT_FALSE(readable());
}

/// Once there is no room the kernel drops all messages until everything is read, and says so at the beginning only.
TEST_F(LinkMessages, LossIsToldWhenNothingCanBeLostAnyMore) {
    change_mtu(ns, "other0", 10'000);
    bool lost_at_first = false;
    bool lost_at_last = false;
    while (readable()) {
        const Read some = read();
        lost_at_first = lost_at_first || some.lost;
        lost_at_last = some.lost;
    }
    EXPECT_TRUE(lost_at_first);
    if (!lost_at_last) { // the last batch was full to the brim
        EXPECT_TRUE(read().lost);
    }
    EXPECT_FALSE(read().lost);
    change_mtu(ns, "other0", 1);
    expect_only("other0");
}

TEST_F(LinkMessages, ComeFromAnotherNamespaceThatMayGo) {
    std::optional<NetNs> other(std::in_place);
    other->must_run({"ip", "link", "add", "other1", "type", "ifb"});
    read_all();
    change_mtu(*other, "other1", 1);
    for (const std::string &said : read().said)
        EXPECT_NE(said, "other1");
    must(monitor->listen_to(kernel::Fd(dup(other->fd()))));
    read_all();
    change_mtu(*other, "other1", 1);
    expect_only("other1");
    auto tap = [&] {
        const NetNsGuard there = other->enter();
        return must(kernel::Tun::open("tap0"));
    }();
    EXPECT_EQ(must(kernel::namespace_id(must(tap.netns()))), must(kernel::namespace_id(kernel::Fd(dup(other->fd())))));
    read_all();
    // A tap's fd keeps the namespace in which it was opened; this one's goes.
    std::optional<NetNs> last(std::in_place);
    other->must_run({"ip", "link", "set", "tap0", "netns", last->path()});
    must(monitor->listen_to(must(tap.netns())));
    read_all();
    last.reset();
    Read gone;
    while (!gone.namespace_gone) {
        ASSERT_TRUE(readable(static_cast<int>(kDefaultTimeout.count())));
        gone = read();
    }
    EXPECT_FALSE(tap.netns());
    monitor->watch_queue(tap.queue(0));
    ASSERT_TRUE(readable(static_cast<int>(kDefaultTimeout.count())));
    EXPECT_TRUE(wait_until([&] { return !tap.exists(); }));
    monitor->forget_queue(tap.queue(0));
    read_all();
}

} // namespace
} // namespace tapflow::test
