// SPDX-License-Identifier: BSD-3-Clause
// A port's activity as lines of text for a terminal of some size.
#pragma once

#include "tapflowctl/watch_sample.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace tapflow::ctl {

enum class QueueOrder : uint8_t { Number, Received, Drops, Fill, Sent };
enum class RuleOrder : uint8_t { Packets, Bits, Hits, Id };

/// How its user wants to see it.
struct View {
    QueueOrder queues = QueueOrder::Number;
    RuleOrder rules = RuleOrder::Packets;
    bool paused = false;
    bool help = false;
    double interval = 1; ///< seconds
};

/// What a key asks for is done to the view. Whether it means to go on.
bool press(View &view, int key);

/// The largest first, but for numbers and ids; what has no value last.
void sort(std::vector<QueueRow> &rows, QueueOrder order);
void sort(std::vector<RuleRow> &rows, RuleOrder order);

enum class Emphasis : uint8_t { None, Title, Warning };
struct Line {
    std::string text;
    Emphasis emphasis = Emphasis::None;
};

/// As many lines as `height` at most, none wider than `width`. Made for 40x10 and more; of less one sees a part.
std::vector<Line> lines(const Sample &now, Activity activity, const View &view, size_t width, size_t height);

} // namespace tapflow::ctl
