// SPDX-License-Identifier: BSD-3-Clause
// A rule's actions one by one, by testpmd's names: what the text form and JSON have in common.
#pragma once

#include "flow/headers.h"
#include "flow/rule.h"
#include "tapflow/result.h"

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tapflow::flow {

enum class ActionKind : uint8_t { PassThrough, Queue, Rss, Drop, Jump, Mark, Flag, Count, Indirect, Rewrite };

/// An action by its name.
struct ActionName {
    ActionKind kind;
    const char *name;
    const char *parameter = nullptr; ///< null: it has none; RSS: see RssAction
    FieldType type = FieldType::Integer;
    uint8_t width = 0;       ///< of the parameter, in bits
    Rewrite::Kind rewrite{}; ///< with ActionKind::Rewrite
};

std::span<const ActionName> action_names();
const ActionName *action_by_name(std::string_view name);

struct Action {
    const ActionName *name = nullptr;
    FieldBits value = 0;                  ///< of the parameter
    std::shared_ptr<const RssAction> rss; ///< with ActionKind::Rss
    ActionKind shared = ActionKind::Rss;  ///< with ActionKind::Indirect: Rss or Count
};

/// The actions, the fate last.
std::vector<Action> actions_of(const Actions &actions);

/// Adds one behind those that are there. Errors: EINVAL for a second fate, mark, flag or count.
Result<void> add_action(Actions &actions, const Action &action);

/// A key in hexadecimal, and back. Errors: EINVAL.
std::string key_text(const std::vector<uint8_t> &key);
Result<std::vector<uint8_t>> parse_key(std::string_view text);

} // namespace tapflow::flow
