// SPDX-License-Identifier: BSD-3-Clause
#include "flow/stored_rule.h"

#include <algorithm>
#include <cstring>

namespace tapflow::flow {

Attributes stored_attributes(const tapflow_flow_rule &rule, uint32_t list) {
    return {list % TAPFLOW_FLOW_GROUPS, static_cast<uint32_t>(rule.rank >> 48),
            list < TAPFLOW_FLOW_EGRESS ? Direction::Ingress : Direction::Egress};
}

// The counts are cut to what there can be: the memory may be another process's.
Match stored_match(const tapflow_flow_rule &rule, const tapflow_flow_mask &mask) {
    Match match;
    const auto put = [](tapflow_flow_key &key, size_t word, uint64_t value) {
        if (word < TAPFLOW_FLOW_WORDS)
            std::memcpy(reinterpret_cast<uint8_t *>(&key) + 8 * word, &value, sizeof(value));
    };
    const size_t words = std::min<size_t>(mask.word_count, TAPFLOW_FLOW_WORDS);
    for (size_t i = 0; i < words; i++) {
        put(match.mask, mask.word[i], mask.bits[i]);
        put(match.value, mask.word[i], rule.words[i]);
    }
    match.range_count = static_cast<uint8_t>(
        std::min<size_t>({mask.range_count, TAPFLOW_FLOW_RANGES, size_t{TAPFLOW_FLOW_WORDS} - words}));
    for (size_t i = 0; i < match.range_count; i++) {
        const uint64_t limits = rule.words[words + i];
        match.ranges[i] = {mask.range[i].word, mask.range[i].shift, mask.range[i].bits, static_cast<uint32_t>(limits),
                           static_cast<uint32_t>(limits >> 32)};
    }
    return match;
}

Actions stored_actions(const tapflow_flow_rule &rule) {
    Actions actions;
    const auto does = [&](tapflow_flow_action action) { return (rule.actions & action) != 0; };
    if (does(TAPFLOW_FLOW_QUEUE)) {
        actions.fate = Fate::Queue;
        actions.queue = rule.queue;
    } else if (does(TAPFLOW_FLOW_RSS)) {
        actions.fate = Fate::Rss;
        if (rule.indirect_rss != 0)
            actions.shared_rss = rule.indirect_rss;
    } else if (does(TAPFLOW_FLOW_DROP)) {
        actions.fate = Fate::Drop;
    } else if (does(TAPFLOW_FLOW_JUMP)) {
        actions.fate = Fate::Jump;
        actions.group = rule.group;
    } else if (rule.pass_through) {
        actions.fate = Fate::PassThrough;
    }
    if (does(TAPFLOW_FLOW_MARK))
        actions.mark = rule.mark;
    actions.flag = does(TAPFLOW_FLOW_FLAG);
    actions.count = does(TAPFLOW_FLOW_COUNT);
    if (actions.count && rule.counter >= TAPFLOW_FLOW_SHARED_COUNTERS)
        actions.shared_count = rule.counter - TAPFLOW_FLOW_SHARED_COUNTERS + 1;
    return actions;
}

void store(const RssAction &action, tapflow_rss &tables) {
    tapflow_rss_source &source = tables.source;
    source.said_types = action.types;
    source.said_level = action.level;
    source.said_queues = static_cast<uint16_t>(action.queues.size());
    source.said = static_cast<uint16_t>((action.key.empty() ? 0 : TAPFLOW_RSS_SAID_KEY) |
                                        (action.function ? TAPFLOW_RSS_SAID_FUNCTION : 0));
}

RssAction stored_rss_action(const tapflow_rss &tables) {
    const tapflow_rss_source &source = tables.source;
    const rss::RssConfig config = rss::config_of(tables);
    RssAction action;
    if (source.said & TAPFLOW_RSS_SAID_FUNCTION)
        action.function = config.function;
    action.types = source.said_types;
    action.level = source.said_level;
    if (source.said & TAPFLOW_RSS_SAID_KEY)
        action.key = config.key;
    const auto queues = static_cast<ptrdiff_t>(std::min<size_t>(source.said_queues, config.reta.size()));
    action.queues.assign(config.reta.begin(), config.reta.begin() + queues);
    return action;
}

void store(const std::vector<Rewrite> &changes, tapflow_flow_rewrites &out) {
    out = {};
    out.count = static_cast<uint32_t>(changes.size());
    for (size_t i = 0; i < std::min<size_t>(changes.size(), TAPFLOW_FLOW_REWRITES_MAX); i++) {
        out.list[i].kind = static_cast<uint8_t>(changes[i].kind);
        out.list[i].value = changes[i].value;
        std::copy(changes[i].bytes.begin(), changes[i].bytes.end(), out.list[i].bytes);
    }
}

std::vector<Rewrite> stored_rewrites(const tapflow_flow_rewrites &changes) {
    std::vector<Rewrite> result;
    for (size_t i = 0; i < std::min<size_t>(changes.count, TAPFLOW_FLOW_REWRITES_MAX); i++) {
        const tapflow_flow_rewrite &change = changes.list[i];
        if (change.kind > static_cast<uint8_t>(Rewrite::Kind::DecTtl))
            continue;
        Rewrite rewrite{.kind = static_cast<Rewrite::Kind>(change.kind), .value = change.value};
        std::copy(std::begin(change.bytes), std::end(change.bytes), rewrite.bytes.begin());
        result.push_back(rewrite);
    }
    return result;
}

} // namespace tapflow::flow
