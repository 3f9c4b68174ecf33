// SPDX-License-Identifier: BSD-3-Clause
#include "kernel/tun.h"

#include "kernel/port_fixture.h"

#include <nlohmann/json.hpp>

namespace tapflow::test {
namespace {

using kernel::Tun;

class Taps : public InNetNs {
  protected:
    nlohmann::json tun_info(const std::string &name) {
        return nlohmann::json::parse(ns.ip_json({"link", "show", "dev", name}))[0]["linkinfo"]["info_data"];
    }
};

TEST_F(Taps, ExistAsLongAsTheyAreOpenWithTheCarrierOff) {
    {
        const Tun tun = must(Tun::open("tap7"));
        EXPECT_EQ(tun.name(), "tap7");
        EXPECT_EQ(tun.queues(), 1U);
        ns.must_run({"ip", "link", "set", "tap7", "up"});
        EXPECT_FALSE(ns.link("tap7").carrier);
        const auto info = tun_info("tap7");
        EXPECT_EQ(info["type"], "tap");
        EXPECT_EQ(info["multi_queue"], true);
        EXPECT_EQ(info["vnet_hdr"], true);
        EXPECT_EQ(info["persist"], false);
    }
    EXPECT_FALSE(ns.find_link("tap7"));
}

TEST_F(Taps, TheKernelFillsInANumber) {
    const Tun first = must(Tun::open("dtap%d"));
    const Tun second = must(Tun::open("dtap%d"));
    EXPECT_EQ(first.name(), "dtap0");
    EXPECT_EQ(second.name(), "dtap1");
}

TEST_F(Taps, TheCarrierIsAsSetAlsoAfterQueuesWereAdded) {
    Tun tun = must(Tun::open("tap0"));
    ns.must_run({"ip", "link", "set", "tap0", "up"});
    must(tun.set_carrier(true));
    EXPECT_TRUE(ns.link("tap0").carrier);
    must(tun.set_carrier(false));
    must(tun.set_queues(4));
    EXPECT_FALSE(ns.link("tap0").carrier) << "attaching a queue does not switch it on";
    must(tun.set_carrier(true));
    must(tun.set_queues(2));
    EXPECT_TRUE(ns.link("tap0").carrier);
}

TEST_F(Taps, QueuesAreOpenedAndClosed) {
    Tun tun = must(Tun::open("tap0"));
    for (const size_t count : {8U, 3U, 64U, 1U}) {
        must(tun.set_queues(count));
        EXPECT_EQ(tun.queues(), count);
        EXPECT_EQ(tun_info("tap0")["numqueues"], count);
    }
    must(tun.set_queues(0));
    EXPECT_EQ(tun.queues(), 1U) << "the device would go with its last queue";
}

TEST_F(Taps, MoreQueuesThanTheKernelHasAreRefusedAndNothingChanges) {
    Tun tun = must(Tun::open("tap0"));
    must(tun.set_queues(2));
    const auto refused = tun.set_queues(300); // MAX_TAP_QUEUES is 256
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, E2BIG);
    EXPECT_EQ(tun.queues(), 2U);
    EXPECT_EQ(tun_info("tap0")["numqueues"], 2);
}

TEST_F(Taps, QueuesAreOpenedOfTheSameDeviceAfterItWasRenamed) {
    Tun tun = must(Tun::open("tap0"));
    ns.must_run({"ip", "link", "set", "tap0", "name", "renamed0"});
    must(tun.set_queues(3));
    EXPECT_EQ(tun_info("renamed0")["numqueues"], 3);
    EXPECT_FALSE(ns.find_link("tap0"));
}

TEST_F(Taps, NoQueueIsOpenedOfASuccessorOfADeletedDevice) {
    Tun tun = must(Tun::open("tap0"));
    ns.must_run({"ip", "link", "delete", "tap0"});
    const auto refused = tun.set_queues(2);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, EBADFD);
    EXPECT_EQ(refused.error().what, "look up present name of tap tap0");
    EXPECT_FALSE(ns.find_link("tap0"));
}

TEST_F(Taps, APersistentOneStaysAndIsTakenUpAgain) {
    {
        Tun tun = must(Tun::open("tap0"));
        must(tun.set_persistent(true));
    }
    const int index = ns.link("tap0").index;
    Tun again = must(Tun::open("tap0"));
    EXPECT_EQ(ns.link("tap0").index, index);
    must(again.set_persistent(false));
    { const Tun last = std::move(again); }
    EXPECT_FALSE(ns.find_link("tap0"));
}

TEST_F(Taps, ANameThatBelongsToAnotherKindOfInterfaceIsRefusedWithTheReason) {
    add_veth(ns, "v0", ns, "v1");
    ns.must_run({"ip", "tuntap", "add", "single", "mode", "tap"});
    for (const char *name : {"v0", "lo", "single"}) {
        const auto tun = Tun::open(name);
        ASSERT_FALSE(tun) << name;
        EXPECT_EQ(tun.error().code, EINVAL) << name;
        EXPECT_EQ(tun.error().what, std::string("open tap ") + name);
        EXPECT_EQ(tun.error().detail, "the name belongs to an interface that is no multi-queue tap") << name;
    }
}

TEST_F(Taps, ANameOfTheWrongLengthIsRefused) {
    for (const char *name : {"", "sixteen-letters-"}) {
        const auto tun = Tun::open(name);
        ASSERT_FALSE(tun);
        EXPECT_EQ(tun.error().detail, "an interface name has 1 to 15 characters");
    }
    EXPECT_TRUE(Tun::open("fifteen-letters"));
}

TEST_F(Taps, DrainingThrowsAwayWhatWasQueued) {
    Tun tun = must(Tun::open("tap0"));
    must(tun.set_carrier(true));
    ns.must_run({"ip", "link", "set", "tap0", "up"});
    ns.wait_operstate_up("tap0");
    PacketSocket sender(ns, "tap0", {.receive = false});
    for (int i = 0; i < 10; i++)
        ASSERT_TRUE(sender.send(packet::Packet().ether().next_type(0x88b5).payload(100).bytes()));
    std::array<char, 256> buffer{};
    EXPECT_GT(read(tun.queue(0), buffer.data(), buffer.size()), 0) << "something was queued";
    tun.drain();
    EXPECT_EQ(read(tun.queue(0), buffer.data(), buffer.size()), -1);
    EXPECT_EQ(errno, EAGAIN);
}

} // namespace
} // namespace tapflow::test
