// SPDX-License-Identifier: BSD-3-Clause
#include "flow/tuple_space.h"

#include "flow/stored_rule.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <string>

namespace tapflow::flow {
namespace {

// Waiting takes a grace period (some 10 ms), so what is freed is collected until it is worth one.
constexpr size_t kWorthWaitingFor = 1024;

void publish(__u32 &where, __u32 value) { std::atomic_ref<__u32>(where).store(value, std::memory_order_release); }
void publish(__u64 &where, __u64 value) { std::atomic_ref<__u64>(where).store(value, std::memory_order_release); }

uint64_t slot_value(uint32_t tag, uint32_t index) { return uint64_t{tag} << 32 | index; }
uint32_t index_in(uint64_t slot) { return static_cast<uint32_t>(slot); }

uint32_t list_of(const Attributes &attributes) {
    return (attributes.direction == Direction::Egress ? TAPFLOW_FLOW_EGRESS : TAPFLOW_FLOW_INGRESS) + attributes.group;
}

uint32_t priority_of(const tapflow_flow_rule &rule) { return static_cast<uint32_t>(rule.rank >> 48); }

Error full(const char *detail) { return {ENOSPC, "add flow rule", detail}; }

} // namespace

uint16_t record_actions(const Actions &actions) {
    uint32_t bits = 0;
    if (actions.mark)
        bits |= TAPFLOW_FLOW_MARK | TAPFLOW_FLOW_TAKE;
    if (actions.flag)
        bits |= TAPFLOW_FLOW_FLAG | TAPFLOW_FLOW_TAKE;
    if (actions.count)
        bits |= TAPFLOW_FLOW_COUNT;
    switch (actions.fate) {
    case Fate::None:
    case Fate::PassThrough:
        break;
    case Fate::Queue:
        bits |= TAPFLOW_FLOW_QUEUE | TAPFLOW_FLOW_TAKE;
        break;
    case Fate::Rss:
        bits |= TAPFLOW_FLOW_RSS | TAPFLOW_FLOW_TAKE;
        break;
    case Fate::Drop:
        bits |= TAPFLOW_FLOW_DROP;
        break;
    case Fate::Jump:
        bits |= TAPFLOW_FLOW_JUMP;
        break;
    }
    return static_cast<uint16_t>(bits);
}

/// Marks the tables as being changed for as long as it lives.
class TupleSpace::Change {
  public:
    explicit Change(TupleSpace &space) : generation_(space.tables_.directory->generation) { step(); }
    ~Change() { step(); }
    Change(const Change &) = delete;
    Change &operator=(const Change &) = delete;

  private:
    void step() {
        const std::atomic_ref<__u64> generation(generation_);
        generation.store(generation.load(std::memory_order_relaxed) + 1, std::memory_order_seq_cst);
    }
    __u64 &generation_;
};

TupleSpace::TupleSpace(tapflow_flow_tables &tables, TableMemory memory)
    : tables_(tables), memory_(std::move(memory)), passed_(TAPFLOW_FLOW_BUCKETS) {
    for (auto *masks : {&free_masks_, &pending_masks_})
        masks->reserve(TAPFLOW_FLOW_MASK_SLOTS);
    moved_.reserve(TAPFLOW_FLOW_MASK_SLOTS);
    for (uint32_t index = TAPFLOW_FLOW_MASK_SLOTS - 1; index > 0; index--)
        free_masks_.push_back(index);
}

tapflow_flow_rule &TupleSpace::at(uint32_t index) const {
    return tables_.chunks[index / TAPFLOW_FLOW_RULE_CHUNK][index % TAPFLOW_FLOW_RULE_CHUNK];
}

TupleSpace::Shape TupleSpace::shape_of(const Match &match) {
    Shape shape;
    uint8_t count = 0;
    for (size_t word = 0; word < TAPFLOW_FLOW_WORDS; word++) {
        const uint64_t bits = word_of(match.mask, word);
        if (bits == 0)
            continue;
        shape.mask.word[count] = static_cast<uint8_t>(word);
        shape.mask.bits[count] = bits;
        shape.words[count] = word_of(match.value, word);
        count++;
    }
    shape.mask.word_count = count;
    shape.mask.range_count = match.range_count;
    for (size_t i = 0; i < match.range_count && count < TAPFLOW_FLOW_WORDS; i++) {
        const Range &range = match.ranges[i];
        shape.mask.range[i] = {range.bits, range.word, range.shift, {}};
        shape.words[count++] = uint64_t{range.high} << 32 | range.low;
    }
    return shape;
}

uint64_t TupleSpace::hash_of(uint32_t list, const tapflow_flow_mask &mask) {
    uint64_t hash = list;
    for (size_t i = 0; i < mask.word_count; i++)
        hash = tapflow_flow_mix(tapflow_flow_mix(hash, mask.word[i]), mask.bits[i]);
    for (size_t i = 0; i < mask.range_count; i++)
        hash =
            tapflow_flow_mix(hash, uint64_t{mask.range[i].bits} << 16 | mask.range[i].word << 8U | mask.range[i].shift);
    return hash;
}

tapflow_flow_mask *TupleSpace::find_mask(uint32_t list, const Shape &shape, uint64_t hash) {
    const tapflow_flow_mask &wanted = shape.mask;
    for (const MaskUse &use : uses_) {
        if (use.hash != hash || use.index == 0 || use.list != list)
            continue;
        tapflow_flow_mask &mask = tables_.directory->masks[use.index];
        if (mask.word_count == wanted.word_count && mask.range_count == wanted.range_count &&
            std::memcmp(mask.word, wanted.word, sizeof(mask.word)) == 0 &&
            std::memcmp(mask.bits, wanted.bits, sizeof(mask.bits)) == 0 &&
            std::memcmp(mask.range, wanted.range, sizeof(mask.range)) == 0)
            return &mask;
    }
    return nullptr;
}

TupleSpace::Place TupleSpace::find(const tapflow_flow_mask &mask, const __u64 *words) const {
    uint64_t hash = mask.id;
    for (size_t i = 0; i < mask.word_count; i++)
        hash = tapflow_flow_mix(hash, words[i]);
    Place unused;
    const uint32_t tag = tapflow_flow_tag_of(hash);
    for (uint32_t probe = 0; probe < TAPFLOW_FLOW_PROBES; probe++) {
        const uint32_t bucket = (static_cast<uint32_t>(hash) + probe) & (TAPFLOW_FLOW_BUCKETS - 1);
        bool bucket_full = true;
        for (__u64 &slot : tables_.buckets[bucket].slots) {
            if (slot == 0 || slot == TAPFLOW_FLOW_GONE) {
                bucket_full = bucket_full && slot != 0;
                if (!unused.slot)
                    unused = {&slot, bucket, probe, 0, tag};
            } else if (slot >> 32 == tag) {
                const tapflow_flow_rule &rule = at(index_in(slot));
                if (rule.mask == mask.id && std::memcmp(rule.words, words, 8 * mask.word_count) == 0)
                    return {&slot, bucket, probe, index_in(slot), tag};
            }
        }
        if (!bucket_full)
            break;
    }
    return unused;
}

std::optional<Error> TupleSpace::refusal_of(const Plan &plan) const {
    const Shape &shape = plan.shape_;
    if (plan.mask_) {
        const size_t ranges = 8 * size_t{shape.mask.range_count};
        const size_t words = shape.mask.word_count;
        size_t length = 0;
        for (uint32_t index = plan.place_.head; index != 0; index = at(index).next) {
            const tapflow_flow_rule &rule = at(index);
            if (priority_of(rule) == plan.attributes_.priority &&
                std::memcmp(rule.words + words, shape.words.data() + words, ranges) == 0)
                return Error{EEXIST, "add flow rule", "there is one with the same pattern, group and priority"};
            length++;
        }
        if (length >= TAPFLOW_FLOW_CHAIN_MAX)
            return full("too many rules differ only in priority and ranges (256)");
        if (!plan.place_.slot)
            return full("too many rules fall into one part of the table");
    } else if (masks_ >= TAPFLOW_FLOW_MASKS_MAX) {
        return full("too many different masks (128)");
    }
    if (size_ >= TAPFLOW_FLOW_RULES_MAX - 1)
        return full("too many rules (131071)");
    return std::nullopt;
}

TupleSpace::Plan TupleSpace::plan(const Attributes &attributes, const Match &match) {
    Plan plan;
    plan.shape_ = shape_of(match);
    plan.attributes_ = attributes;
    plan.list_ = list_of(attributes);
    plan.hash_ = hash_of(plan.list_, plan.shape_.mask);
    plan.mask_ = find_mask(plan.list_, plan.shape_, plan.hash_);
    if (plan.mask_)
        plan.place_ = find(*plan.mask_, plan.shape_.words.data());
    plan.refusal_ = refusal_of(plan);
    return plan;
}

// ---- what a search may still be looking at

Result<void> TupleSpace::reclaim() {
    if (auto waited = memory_.wait(); !waited)
        return waited.error();
    free_.insert(free_.end(), pending_.begin(), pending_.end());
    pending_.clear();
    free_masks_.insert(free_masks_.end(), pending_masks_.begin(), pending_masks_.end());
    pending_masks_.clear();
    for (const Moved &moved : moved_) {
        unlink(moved.list, moved.index);
        pending_masks_.push_back(moved.index);
    }
    moved_.clear();
    return {};
}

Result<uint32_t> TupleSpace::reserve() {
    if (free_.empty()) {
        const bool chunk_there =
            tables_.chunks[std::min<uint32_t>(unused_ / TAPFLOW_FLOW_RULE_CHUNK, TAPFLOW_FLOW_RULE_CHUNKS - 1)] !=
            nullptr;
        const bool used_up = unused_ >= TAPFLOW_FLOW_RULES_MAX;
        if ((used_up || !chunk_there) && (used_up || pending_.size() >= kWorthWaitingFor)) {
            if (auto reclaimed = reclaim(); !reclaimed)
                return reclaimed.error();
        } else if (!chunk_there) {
            if (auto grown = memory_.grow(); !grown)
                return grown.error();
        }
    }
    // Whoever made the chunks: what they hold comes back through these lists, and that must not need memory.
    const auto chunks = std::count_if(tables_.chunks.begin(), tables_.chunks.end(), [](auto *chunk) { return chunk; });
    for (auto *rules : {&free_, &pending_})
        rules->reserve(static_cast<size_t>(chunks) * TAPFLOW_FLOW_RULE_CHUNK);
    if (free_.empty())
        return unused_++;
    const uint32_t index = free_.back();
    free_.pop_back();
    return index;
}

Result<uint32_t> TupleSpace::take_mask() {
    // Twice, because former places come to be pending only then.
    for (int i = 0; i < 2 && free_masks_.empty(); i++)
        if (auto reclaimed = reclaim(); !reclaimed)
            return reclaimed.error();
    const uint32_t index = free_masks_.back();
    free_masks_.pop_back();
    return index;
}

// ---- masks

void TupleSpace::link(uint32_t list, uint32_t index) {
    tapflow_flow_directory &directory = *tables_.directory;
    __u32 *place = &directory.head[list];
    while (*place != 0 && directory.masks[*place].priority < directory.masks[index].priority)
        place = &directory.masks[*place].next;
    directory.masks[index].next = *place;
    publish(*place, index);
}

void TupleSpace::unlink(uint32_t list, uint32_t index) {
    tapflow_flow_directory &directory = *tables_.directory;
    __u32 *place = &directory.head[list];
    while (*place != index)
        place = &directory.masks[*place].next;
    publish(*place, directory.masks[index].next);
}

tapflow_flow_mask &TupleSpace::add_mask(uint32_t index, uint32_t list, const Shape &shape, uint64_t hash,
                                        uint32_t priority) {
    tapflow_flow_mask &mask = tables_.directory->masks[index];
    mask = shape.mask;
    auto *use = std::find_if(uses_.begin(), uses_.end(), [](const MaskUse &other) { return other.index == 0; });
    *use = {index, list, 0, hash};
    masks_++;
    mask.id = next_mask_++ * TAPFLOW_FLOW_MASKS_MAX + static_cast<uint32_t>(use - uses_.begin());
    mask.priority = static_cast<__u16>(priority);
    update_summary();
    link(list, index);
    return mask;
}

// Half way to the best there can be, and not just as far as asked for: so rules that each are better than the last one
// make a mask move a dozen times, and not each time.
void TupleSpace::promote(uint32_t index, const tapflow_flow_mask &mask, uint32_t priority) {
    MaskUse &use = use_of(mask.id);
    tapflow_flow_mask &better = tables_.directory->masks[index];
    better = mask;
    better.priority = static_cast<__u16>(std::min<uint32_t>(priority, mask.priority / 2U));
    link(use.list, index);
    moved_.push_back({use.list, use.index});
    use.index = index;
}

/// What all masks together need of a packet.
void TupleSpace::update_summary() {
    tapflow_flow_directory &directory = *tables_.directory;
    constexpr size_t kFirstInner = sizeof(tapflow_flow_headers) / 8;
    tapflow_flow_key inner_layers{};
    inner_layers.layers = TAPFLOW_LAYER_INNER_MASK;
    std::array<uint64_t, TAPFLOW_FLOW_WORDS> used{};
    for (const MaskUse &use : uses_) {
        if (use.index == 0)
            continue;
        const tapflow_flow_mask &mask = directory.masks[use.index];
        for (size_t i = 0; i < mask.word_count; i++)
            used[mask.word[i]] |= mask.bits[i];
        for (size_t i = 0; i < mask.range_count; i++)
            used[mask.range[i].word] |= tapflow_flow_from_be64(uint64_t{mask.range[i].bits} << mask.range[i].shift);
    }
    bool inner = (used[TAPFLOW_FLOW_WORDS - 1] & word_of(inner_layers, TAPFLOW_FLOW_WORDS - 1)) != 0;
    uint32_t count = 0;
    for (size_t word = 0; word < used.size(); word++) {
        if (used[word] == 0)
            continue;
        inner = inner || (word >= kFirstInner && word < 2 * kFirstInner);
        directory.used[count] = static_cast<__u8>(word);
        directory.used_bits[count++] = used[word];
    }
    directory.used_count = count;
    directory.mask_count = static_cast<__u32>(masks_);
    publish(directory.inner, inner ? 1 : 0);
}

// ---- rules

Result<void> TupleSpace::insert(uint32_t index, const Plan &plan, const tapflow_flow_rule &actions) {
    if (plan.refusal_)
        return *plan.refusal_;
    const Shape &shape = plan.shape_;
    const Attributes &attributes = plan.attributes_;
    tapflow_flow_mask *mask = plan.mask_;
    Place place = plan.place_;
    // This may wait, so it comes before the tables are marked as being changed.
    uint32_t mask_index = 0;
    if (!mask || attributes.priority < mask->priority) {
        auto taken = take_mask();
        if (!taken)
            return taken.error();
        mask_index = *taken;
    }
    const Change change(*this);
    if (!mask) {
        mask = &add_mask(mask_index, plan.list_, shape, plan.hash_, attributes.priority);
        place = find(*mask, shape.words.data());
    } else if (mask_index != 0) {
        promote(mask_index, *mask, attributes.priority);
    }
    if (!place.slot) {
        drop_mask(mask->id);
        return full("too many rules fall into one part of the table");
    }

    tapflow_flow_rule &rule = at(index);
    rule = actions;
    rule.rank = uint64_t{attributes.priority} << 48 | next_number_++;
    rule.mask = mask->id;
    std::copy(shape.words.begin(), shape.words.end(), rule.words);
    uint32_t before = 0;
    rule.next = place.head;
    while (rule.next != 0 && at(rule.next).rank < rule.rank) {
        before = rule.next;
        rule.next = at(before).next;
    }
    if (before != 0)
        publish(at(before).next, index);
    else
        publish(*place.slot, slot_value(place.tag, index));
    if (place.head == 0)
        for (uint32_t i = 0; i < place.probes; i++)
            passed_[(place.bucket - place.probes + i) & (TAPFLOW_FLOW_BUCKETS - 1)]++;
    use_of(rule.mask).rules++;
    size_++;
    return {};
}

/// Empties a chain's slot. A search goes on behind a bucket only while that is full, so a slot whose bucket rules have
/// been passed over for others stays used.
void TupleSpace::release_slot(const Place &place) {
    publish(*place.slot, passed_[place.bucket] > 0 ? TAPFLOW_FLOW_GONE : 0);
    for (uint32_t i = 0; i < place.probes; i++) {
        const uint32_t bucket = (place.bucket - place.probes + i) & (TAPFLOW_FLOW_BUCKETS - 1);
        if (--passed_[bucket] > 0)
            continue;
        for (__u64 &slot : tables_.buckets[bucket].slots)
            if (slot == TAPFLOW_FLOW_GONE)
                publish(slot, __u64{0});
    }
}

void TupleSpace::drop_mask(uint32_t id) {
    MaskUse &use = use_of(id);
    std::erase_if(moved_, [&](const Moved &moved) {
        if (tables_.directory->masks[moved.index].id != id)
            return false;
        unlink(moved.list, moved.index);
        pending_masks_.push_back(moved.index);
        return true;
    });
    unlink(use.list, use.index);
    pending_masks_.push_back(use.index);
    use = {};
    masks_--;
    update_summary();
}

void TupleSpace::remove(uint32_t index) {
    Change change(*this);
    const tapflow_flow_rule &rule = at(index);
    MaskUse &use = use_of(rule.mask);
    const Place place = find(tables_.directory->masks[use.index], rule.words);
    if (place.head != index) {
        uint32_t before = place.head;
        while (at(before).next != index)
            before = at(before).next;
        publish(at(before).next, rule.next);
    } else if (rule.next != 0) {
        publish(*place.slot, slot_value(place.tag, rule.next));
    } else {
        release_slot(place);
    }
    pending_.push_back(index);
    size_--;
    if (--use.rules == 0)
        drop_mask(rule.mask);
}

Attributes TupleSpace::attributes_of(uint32_t index) const {
    return stored_attributes(at(index), use_of(at(index).mask).list);
}

Match TupleSpace::match_of(uint32_t index) const {
    const tapflow_flow_rule &rule = at(index);
    return stored_match(rule, tables_.directory->masks[use_of(rule.mask).index]);
}

} // namespace tapflow::flow
