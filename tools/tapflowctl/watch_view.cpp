// SPDX-License-Identifier: BSD-3-Clause
#include "tapflowctl/watch_view.h"

#include "flow/text.h"

#include <algorithm>
#include <array>
#include <span>
#include <string_view>

namespace tapflow::ctl {
namespace {

constexpr size_t kRoomy = 20; ///< from this height on, totals have a line each, and parts an empty one between

constexpr std::array<const char *, 5> kQueueOrders{"number", "packets", "drops", "fill", "sent"};
constexpr std::array<const char *, 4> kRuleOrders{"packets", "bits", "hits", "id"};

const char *name_of(QueueOrder order) { return kQueueOrders[static_cast<size_t>(order)]; }
const char *name_of(RuleOrder order) { return kRuleOrders[static_cast<size_t>(order)]; }

template <typename Order> Order next(Order order, size_t count) {
    return static_cast<Order>((static_cast<size_t>(order) + 1) % count);
}

size_t width_of(std::string_view text) {
    return static_cast<size_t>(
        std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<uint8_t>(c) & 0xc0) != 0x80; }));
}

/// The first characters of UTF-8.
std::string clip(const std::string &text, size_t width) {
    size_t used = 0;
    for (size_t i = 0; i < text.size(); i++)
        if ((static_cast<uint8_t>(text[i]) & 0xc0) != 0x80 && used++ == width)
            return text.substr(0, i);
    return text;
}

/// The same, with dots where something is missing.
std::string abridge(const std::string &text, size_t width) {
    return width_of(text) <= width || width < 4 ? clip(text, width) : clip(text, width - 3) + "...";
}

std::string rate_or_dash(const std::optional<double> &rate) { return rate ? rate_text(*rate, "") : "-"; }
std::string packets_text(const std::optional<Rate> &rate) { return rate ? rate_text(rate->packets, "") : "-"; }
std::string bits_text(const std::optional<Rate> &rate) { return rate ? rate_text(rate->bytes * 8, "") : "-"; }

// ---- columns

/// Cells have the same place whatever is in them, so that numbers that change do not jump.
template <typename Row> struct WatchColumn {
    const char *title;
    size_t width;
    std::string (*cell)(const Row &row);
};

// The most important ones come first: those that have no room are left out.
constexpr auto kQueueColumns = std::to_array<WatchColumn<QueueRow>>({
    {"QUEUE", 5, [](const QueueRow &row) { return std::to_string(row.queue); }},
    {"RX/S", 7, [](const QueueRow &row) { return packets_text(row.received); }},
    {"RX BIT/S", 8, [](const QueueRow &row) { return bits_text(row.received); }},
    {"DROP/S", 7, [](const QueueRow &row) { return rate_or_dash(row.ring_full); }},
    {"RING", 5,
     [](const QueueRow &row) {
         return row.fill ? std::to_string(static_cast<unsigned>(*row.fill * 100)) + " %" : std::string("-");
     }},
    {"TX/S", 7, [](const QueueRow &row) { return packets_text(row.sent); }},
    {"TX BIT/S", 8, [](const QueueRow &row) { return bits_text(row.sent); }},
    {"STATE", 7, [](const QueueRow &row) { return std::string(row.stopped ? "stopped" : "on"); }},
    {"KERNEL/S", 8, [](const QueueRow &row) { return rate_or_dash(row.ring_stuck); }},
});
constexpr auto kRuleColumns = std::to_array<WatchColumn<RuleRow>>({
    {"ID", 5, [](const RuleRow &row) { return std::to_string(row.rule->id); }},
    {"PACKETS/S", 9, [](const RuleRow &row) { return packets_text(row.rate); }},
    {"BIT/S", 7, [](const RuleRow &row) { return bits_text(row.rate); }},
    {"HITS", 7, [](const RuleRow &row) { return rate_text(static_cast<double>(row.count.packets), ""); }},
});
constexpr size_t kGap = 2;

std::string aligned(const std::string &text, size_t width) {
    const size_t used = width_of(text);
    return std::string(width > used ? width - used : 0, ' ') + text;
}

template <typename Row> using Columns = std::span<const WatchColumn<Row>>;

template <typename Row> Columns<Row> that_fit(Columns<Row> columns, size_t width) {
    size_t count = 0;
    for (size_t used = 0; count < columns.size(); count++) {
        used += columns[count].width + (count == 0 ? 0 : kGap);
        if (used > width)
            break;
    }
    return columns.first(std::max<size_t>(count, 1));
}

template <typename Row> std::string titles(Columns<Row> columns) {
    std::string line;
    for (const auto &column : columns)
        line += std::string(line.empty() ? 0 : kGap, ' ') + aligned(column.title, column.width);
    return line;
}

template <typename Row> std::string cells(Columns<Row> columns, const Row &row) {
    std::string line;
    for (const auto &column : columns)
        line += std::string(line.empty() ? 0 : kGap, ' ') + aligned(column.cell(row), column.width);
    return line;
}

// ---- parts of the screen

std::string both_ends(const std::string &left, const std::string &right, size_t width) {
    if (width < width_of(right) + 1)
        return clip(left, width);
    const std::string begin = abridge(left, width - width_of(right) - 1);
    return begin + std::string(width - width_of(right) - width_of(begin), ' ') + right;
}

std::string interval_text(double seconds) {
    return "every " + duration_text(static_cast<uint64_t>(seconds * 1e9 + 0.5));
}

Line title_line(const Sample &now, const View &view, size_t width) {
    const engine::PortIdentity &identity = now.identity;
    std::string left = printable(now.name);
    if (!identity.device.empty())
        left += " (" + printable(identity.device) + ')';
    left += ": " + process_text(identity, now.owner);
    return {both_ends(left, view.paused ? "PAUSED" : interval_text(view.interval), width), Emphasis::Title};
}

Line status_line(const Sample &now) {
    if (!now.present)
        return {"The port is gone; looking for another of that name.", Emphasis::Warning};
    if (now.owner == engine::Owner::Gone)
        return {"The process is gone; this is what it has left.", Emphasis::Warning};
    const engine::PortIdentity &identity = now.identity;
    std::string text = "by " + std::string(delivery_name(identity)) + ", classifier " + classifier_name(identity);
    if (identity.is_remote)
        text += ", remote " + printable(identity.remote) + (now.lease ? ", lease held" : ", lease run out");
    if (now.realtime_ns > identity.opened_ns && identity.opened_ns > 0)
        text += ", open for " + duration_text(now.realtime_ns - identity.opened_ns);
    return {text, now.lease || !identity.is_remote ? Emphasis::None : Emphasis::Warning};
}

std::string speed(const std::optional<Rate> &rate) {
    return rate ? rate_text(rate->packets, "pps") + ' ' + rate_text(rate->bytes * 8, "bit/s") : "- pps - bit/s";
}

std::string total_line(const char *name, const std::optional<Rate> &rate, const Traffic &total) {
    std::string line = name;
    line += aligned(rate ? rate_text(rate->packets, "pps") : "- pps", 13);
    line += aligned(rate ? rate_text(rate->bytes * 8, "bit/s") : "- bit/s", 14);
    return line + aligned(plural(total.packets, "packet"), 26) + aligned(bytes_text(total.bytes), 13);
}

std::string drop_rate(const Activity &activity) {
    return "dropped " + (activity.dropped ? rate_text(*activity.dropped, "pps") : "- pps");
}

/// What has not come to the application, by reason, where there is something.
std::string lost_line(const Sample &now, const Activity &activity) {
    std::string line = drop_rate(activity) + ", " + plural(dropped(now), "packet");
    std::string others;
    for (size_t i = 0; i < kCounters.size(); i++)
        if (now.counters[i] > 0)
            others +=
                (others.empty() ? "" : ", ") + std::string(kCounters[i].name) + ' ' +
                (activity.counters[i] ? rate_text(*activity.counters[i], "pps") : std::to_string(now.counters[i]));
    return others.empty() ? line : line + "; not taken: " + others;
}

std::vector<Line> header(const Sample &now, const Activity &activity, const View &view, size_t width, bool roomy) {
    const Emphasis lost = activity.dropped.value_or(0) > 0 ? Emphasis::Warning : Emphasis::None;
    std::vector<Line> lines{title_line(now, view, width), status_line(now)};
    if (roomy) {
        lines.push_back({total_line("rx", activity.received, received(now))});
        lines.push_back({total_line("tx", activity.sent, sent(now))});
        lines.push_back({lost_line(now, activity), lost});
        lines.push_back({});
        return lines;
    }
    const std::string line = "rx " + speed(activity.received);
    const std::string more = line + "  tx " + speed(activity.sent);
    const std::string lost_text = "  " + drop_rate(activity);
    lines.push_back({(width_of(more + lost_text) <= width ? more : line) + lost_text, lost});
    return lines;
}

std::vector<Line> queue_lines(const Activity &activity, size_t width, size_t height) {
    const auto columns = that_fit(Columns<QueueRow>(kQueueColumns), width);
    std::vector<Line> lines{{titles(columns), Emphasis::Title}};
    const std::vector<QueueRow> &rows = activity.queues;
    for (size_t i = 0; i < rows.size() && lines.size() < height; i++) {
        if (lines.size() + 1 == height && i + 1 < rows.size()) {
            lines.push_back({"  ... " + std::to_string(rows.size() - i) + " more"});
            break;
        }
        const bool loses = rows[i].ring_full.value_or(0) > 0;
        lines.push_back({cells(columns, rows[i]), loses ? Emphasis::Warning : Emphasis::None});
    }
    return lines;
}

std::string rule_words(const flow::Rule &rule) {
    std::string words = rule.attributes.direction == flow::Direction::Egress ? "egress " : "";
    if (rule.attributes.group != 0)
        words += "group " + std::to_string(rule.attributes.group) + ' ';
    return words + flow::pattern_text(rule.match) + " / end actions " + flow::actions_text(rule.actions);
}

std::vector<Line> rule_lines(const Sample &now, const Activity &activity, size_t width, size_t height) {
    if (!now.rules)
        return {{"The rules cannot be read."}};
    if (now.rules->rules.empty())
        return {{"No rules."}};
    const std::string counted = plural(now.rules->rules.size(), "rule") + ", ";
    if (activity.rules.empty())
        return {{counted + "none with COUNT"}};
    // Half of the width is for the rule's words.
    const auto columns = that_fit(Columns<RuleRow>(kRuleColumns), width / 2);
    const auto line = [&](const std::string &numbers, const std::string &words) {
        const size_t used = width_of(numbers) + kGap;
        return numbers + std::string(kGap, ' ') + (width > used ? abridge(words, width - used) : "");
    };
    std::vector<Line> lines{
        {line(titles(columns), "RULE (" + counted + std::to_string(activity.rules.size()) + " count)"),
         Emphasis::Title}};
    for (size_t i = 0; i < activity.rules.size() && lines.size() < height; i++)
        lines.push_back({line(cells(columns, activity.rules[i]), rule_words(activity.rules[i].rule->rule))});
    return lines;
}

std::vector<Line> footer(const View &view, size_t width) {
    if (view.help) {
        std::string text = wrap("q quit, s sort queues, r sort rules, p pause or go on, ? hide this", 0, width);
        std::vector<Line> lines;
        for (size_t end = text.find('\n'); end != std::string::npos; end = text.find('\n')) {
            lines.push_back({text.substr(0, end), Emphasis::Title});
            text.erase(0, end + 1);
        }
        lines.push_back({text, Emphasis::Title});
        return lines;
    }
    const std::string queues = name_of(view.queues);
    const std::string rules = name_of(view.rules);
    const std::string text = "q quit  s queues by " + queues + "  r rules by " + rules + "  p pause  ? help";
    return {{width_of(text) <= width ? text : "s: " + queues + "  r: " + rules + "  p  q  ?: help"}};
}

template <typename Row, typename Key> void sort_by(std::vector<Row> &rows, Key key) {
    std::stable_sort(rows.begin(), rows.end(), [&](const Row &a, const Row &b) {
        const std::optional<double> left = key(a);
        const std::optional<double> right = key(b);
        return left && (!right || *left > *right);
    });
}

std::optional<double> packets(const std::optional<Rate> &rate) {
    return rate ? std::optional(rate->packets) : std::nullopt;
}
std::optional<double> bytes(const std::optional<Rate> &rate) {
    return rate ? std::optional(rate->bytes) : std::nullopt;
}

} // namespace

bool press(View &view, int key) {
    switch (key) {
    case 'q':
    case 'Q':
        return false;
    case 's':
        view.queues = next(view.queues, kQueueOrders.size());
        break;
    case 'r':
        view.rules = next(view.rules, kRuleOrders.size());
        break;
    case 'p':
        view.paused = !view.paused;
        break;
    case '?':
    case 'h':
        view.help = !view.help;
        break;
    default:
        break;
    }
    return true;
}

void sort(std::vector<QueueRow> &rows, QueueOrder order) {
    switch (order) {
    case QueueOrder::Number:
        std::sort(rows.begin(), rows.end(), [](const auto &a, const auto &b) { return a.queue < b.queue; });
        return;
    case QueueOrder::Received:
        return sort_by(rows, [](const QueueRow &row) { return packets(row.received); });
    case QueueOrder::Drops:
        return sort_by(rows, [](const QueueRow &row) { return row.ring_full; });
    case QueueOrder::Fill:
        return sort_by(rows, [](const QueueRow &row) { return row.fill; });
    case QueueOrder::Sent:
        return sort_by(rows, [](const QueueRow &row) { return packets(row.sent); });
    }
}

void sort(std::vector<RuleRow> &rows, RuleOrder order) {
    switch (order) {
    case RuleOrder::Packets:
        return sort_by(rows, [](const RuleRow &row) { return packets(row.rate); });
    case RuleOrder::Bits:
        return sort_by(rows, [](const RuleRow &row) { return bytes(row.rate); });
    case RuleOrder::Hits:
        return sort_by(rows, [](const RuleRow &row) { return std::optional<double>(row.count.packets); });
    case RuleOrder::Id:
        std::sort(rows.begin(), rows.end(), [](const auto &a, const auto &b) { return a.rule->id < b.rule->id; });
        return;
    }
}

std::vector<Line> lines(const Sample &now, Activity activity, const View &view, size_t width, size_t height) {
    sort(activity.queues, view.queues);
    sort(activity.rules, view.rules);
    const bool roomy = height >= kRoomy;
    std::vector<Line> all = header(now, activity, view, width, roomy);
    const std::vector<Line> bottom = footer(view, width);
    const size_t gap = roomy ? 1 : 0;
    const size_t taken = all.size() + bottom.size() + gap;
    const size_t body = height > taken ? height - taken : 0;
    // Queues come first; but some of the rules are seen whatever the number of queues.
    const size_t rules_wanted = activity.rules.size() + 1;
    const size_t rules_least = std::min(rules_wanted, std::max<size_t>(body / 3, 2));
    const size_t queues = std::min(activity.queues.size() + 1, body - std::min(body, rules_least));
    const auto append = [&](std::vector<Line> part) { all.insert(all.end(), part.begin(), part.end()); };
    if (queues > 0)
        append(queue_lines(activity, width, queues));
    all.resize(all.size() + gap);
    append(rule_lines(now, activity, width, body - queues));
    if (height > bottom.size())
        all.resize(height - bottom.size());
    append(bottom);
    all.resize(std::min(all.size(), height));
    for (Line &line : all)
        line.text = clip(line.text, width);
    return all;
}

} // namespace tapflow::ctl
