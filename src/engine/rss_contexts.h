// SPDX-License-Identifier: BSD-3-Clause
// RSS configurations of rules, shared by those that say the same.
#pragma once

#include "engine/bpf_classifier.h"
#include "flow/rule.h"
#include "kernel/fd.h"
#include "rss/rss_config.h"
#include "tapflow/result.h"

#include <array>
#include <cstdint>
#include <memory>
#include <optional>

namespace tapflow::engine {

/// What an action's packets are hashed by, on a port with that configuration and so many queues.
rss::RssConfig resolve(const flow::RssAction &action, const rss::RssConfig &port, unsigned queues);

/// Thread safety: none.
class RssContexts {
  public:
    explicit RssContexts(BpfClassifier &classifier) : classifier_(classifier) {}

    /// Whether acquire() would find room.
    [[nodiscard]] bool has_room_for(const flow::RssAction &action) const;
    /// The context of an action, made if there is none; `own`: one that is not shared with others that say the same.
    /// Errors: ENOSPC when all are in use, what the kernel says.
    Result<uint16_t> acquire(const flow::RssAction &action, bool own = false);
    void add_use(uint16_t context) { contexts_[context].uses++; }
    void release(uint16_t context) { contexts_[context].uses--; }
    [[nodiscard]] const flow::RssAction &action(uint16_t context) const { return contexts_[context].action; }
    /// Replaces what a context does, for all that use it.
    Result<void> update(uint16_t context, const flow::RssAction &action);

    /// What actions go by where they say nothing, as FlowRules::set_port_rss(). All contexts follow.
    Result<void> set_port(const rss::RssConfig &config, unsigned queues);

  private:
    struct Context {
        flow::RssAction action;
        uint32_t uses = 0;
        bool own = false;
        kernel::Fd map; ///< null: never used. Kept when its last user has gone, for the next who says the same
    };
    [[nodiscard]] Result<kernel::Fd> make_map(const flow::RssAction &action) const;
    [[nodiscard]] const Context *find(const flow::RssAction &action) const;
    [[nodiscard]] Context *unused();

    BpfClassifier &classifier_;
    rss::RssConfig port_{{rss::default_key().begin(), rss::default_key().end()}, 0, {0}, rss::Function::Toeplitz};
    unsigned queues_ = 0;
    std::array<Context, TAPFLOW_FLOW_CONTEXTS> contexts_;
};

} // namespace tapflow::engine
