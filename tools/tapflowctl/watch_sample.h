// SPDX-License-Identifier: BSD-3-Clause
// What a port has counted at one moment, and what it does between two.
#pragma once

#include "engine/inspect.h"
#include "tapflowctl/port_text.h"

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace tapflow::ctl {

struct Traffic {
    uint64_t packets = 0;
    uint64_t bytes = 0;
};

struct RxQueueSample {
    Traffic received;
    uint64_t ring_full = 0;
    uint64_t ring_stuck = 0;
    std::optional<engine::RingFill> ring;
    bool stopped = false;
};

struct RuleSample {
    uint64_t id = 0;
    engine::FlowCount count;
};

/// A port, as plain values: what is left of it when it is gone.
struct Sample {
    uint64_t time_ns = 0;     ///< CLOCK_MONOTONIC
    uint64_t realtime_ns = 0; ///< since 1970
    bool present = true;      ///< packets meet its classifier
    std::string name;
    engine::PortIdentity identity;
    engine::Owner owner = engine::Owner::Unknown;
    bool lease = true; ///< remote mode: the process has renewed it in time
    std::vector<RxQueueSample> rx;
    std::vector<Traffic> tx;
    std::array<uint64_t, kCounters.size()> counters{};
    uint64_t tap_drops = 0;                       ///< rx=fd: by the tap's own queues
    std::shared_ptr<const engine::RuleSet> rules; ///< none: they cannot be read
    std::vector<RuleSample> counts;               ///< of the rules that count, by id
};

/// Takes samples of the port of a name: of the next one that is called so when it is gone.
class Sampler {
  public:
    Sampler(engine::InspectedPort port, std::string name) : port_(std::move(port)), wanted_(std::move(name)) {}
    Sample take();

  private:
    void look_at_port();
    void look_at_rules();

    std::optional<engine::InspectedPort> port_;
    std::string wanted_;
    Sample last_;
    uint64_t rules_again_ns_ = 0; ///< when the rules may be read again
};

/// Per second.
struct Rate {
    double packets = 0;
    double bytes = 0;
};

/// What has no rate was not there before, or has been reset meanwhile.
struct QueueRow {
    unsigned queue = 0;
    std::optional<Rate> received;
    std::optional<Rate> sent;
    std::optional<double> ring_full;
    std::optional<double> ring_stuck;
    std::optional<double> fill; ///< share of the ring, 0 to 1
    bool stopped = false;
};
struct RuleRow {
    const engine::InspectedRule *rule = nullptr; ///< of the sample's rules
    engine::FlowCount count;
    std::optional<Rate> rate;
};

struct Activity {
    double seconds = 0; ///< that rates are of; 0: there is one sample alone
    std::vector<QueueRow> queues;
    std::vector<RuleRow> rules; ///< that count, by id
    std::optional<Rate> received;
    std::optional<Rate> sent;
    std::optional<double> dropped;
    std::array<std::optional<double>, kCounters.size()> counters;
};

/// Of all queues.
Traffic received(const Sample &sample);
Traffic sent(const Sample &sample);
/// Packets that no queue had room for.
uint64_t dropped(const Sample &sample);

/// `before` may be null, or of another port. Refers to the rules of `now`.
Activity activity(const Sample *before, const Sample &now);

} // namespace tapflow::ctl
