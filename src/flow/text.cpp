// SPDX-License-Identifier: BSD-3-Clause
#include "flow/text.h"

#include "flow/action_list.h"
#include "flow/headers.h"
#include "rss/names.h"

#include <algorithm>
#include <cerrno>

namespace tapflow::flow {
namespace {

// Writing.

void append_demand(std::string &text, const Demand &demand) {
    const auto append = [&](const char *qualifier, FieldBits value) {
        text += std::string(" ") + demand.name.name() + " " + qualifier + " " + value_text(demand.name.type(), value);
    };
    if (!demand.last && demand.mask == all_ones(demand.name.width()))
        return append("is", demand.value);
    append("spec", demand.value);
    if (demand.last)
        append("last", *demand.last);
    append("mask", demand.mask);
}

void append_rss(std::string &text, const RssAction &rss) {
    if (rss.function)
        for (const rss::FunctionName &name : rss::kFunctionNames)
            if (name.function == *rss.function)
                text += std::string(" func ") + name.name;
    if (rss.level != 0)
        text += " level " + std::to_string(rss.level);
    if (rss.types != 0) {
        text += " types";
        for (const rss::TypeName &name : rss::kTypeNames)
            if (rss.types & name.bits)
                text += std::string(" ") + name.name;
        text += " end";
    }
    if (!rss.key.empty())
        text += " key " + key_text(rss.key);
    if (rss.queues.empty())
        return;
    text += " queues";
    for (const uint16_t queue : rss.queues)
        text.append(1, ' ').append(std::to_string(queue));
    text += " end";
}

// Reading.

/// The words of a text, from the first on.
class Words {
  public:
    explicit Words(std::string_view text) {
        static constexpr std::string_view space = " \t\r\n";
        for (size_t begin = text.find_first_not_of(space); begin != std::string_view::npos;) {
            const size_t end = std::min(text.find_first_of(space, begin), text.size());
            words_.push_back(text.substr(begin, end - begin));
            begin = text.find_first_not_of(space, end);
        }
    }

    [[nodiscard]] bool done() const { return at_ == words_.size(); }
    /// The word that is next; empty at the end.
    [[nodiscard]] std::string_view next() const { return done() ? std::string_view() : words_[at_]; }
    [[nodiscard]] size_t position() const { return at_; }
    std::string_view take() {
        const std::string_view word = next();
        at_ += done() ? 0 : 1;
        return word;
    }
    /// Takes the word that is next if it is this one.
    bool take_if(std::string_view word) {
        const bool same = !done() && next() == word;
        at_ += same ? 1 : 0;
        return same;
    }

    [[nodiscard]] Error wrong(const std::string &detail) const { return wrong_at(at_, detail); }
    [[nodiscard]] Error wrong_at(size_t position, const std::string &detail, int code = EINVAL) const {
        if (position == words_.size())
            return {code, "read flow rule, at its end", detail};
        return {code,
                "read flow rule, word " + std::to_string(position + 1) + " \"" + std::string(words_[position]) + '"',
                detail};
    }
    /// What is wrong with the word taken last.
    [[nodiscard]] Error wrong_before(const Error &error) const { return wrong_at(at_ - 1, error.detail, error.code); }

  private:
    std::vector<std::string_view> words_;
    size_t at_ = 0;
};

Result<FieldBits> take_value(Words &words, FieldType type, unsigned width) {
    auto value = parse_value(type, width, words.next());
    if (!value)
        return words.wrong(value.error().detail);
    words.take();
    return value;
}

template <typename Integer> Result<void> take_integer(Words &words, Integer &out) {
    const auto value = take_value(words, FieldType::Integer, 8 * sizeof(Integer));
    if (!value)
        return value.error();
    out = static_cast<Integer>(*value);
    return {};
}

/// A field that an item's words have named so far.
struct NamedField {
    FieldName name;
    size_t position = 0; ///< of its name's first occurrence
    std::optional<FieldBits> value{};
    std::optional<FieldBits> mask{};
    std::optional<FieldBits> last{};
};

/// A qualifier and its value, behind a field's name.
Result<void> take_qualifier(Words &words, NamedField &field) {
    const FieldType type = field.name.type();
    const unsigned width = field.name.width();
    const std::string_view qualifier = words.next();
    if (qualifier != "is" && qualifier != "spec" && qualifier != "last" && qualifier != "mask" && qualifier != "prefix")
        return words.wrong("expected is, spec, last, mask or prefix");
    words.take();
    if (qualifier == "prefix") {
        unsigned bits = 0;
        if (auto taken = take_integer(words, bits); !taken)
            return taken;
        if (bits > width)
            return words.wrong_at(words.position() - 1, "the field has " + std::to_string(width) + " bits");
        field.mask = all_ones(width) & ~(bits == width ? 0 : all_ones(width) >> bits);
        return {};
    }
    const auto value = take_value(words, type, width);
    if (!value)
        return value.error();
    if (qualifier == "mask") {
        field.mask = *value;
    } else if (qualifier == "last") {
        field.last = *value;
    } else {
        field.value = *value;
        if (qualifier == "is")
            field.mask = all_ones(width);
    }
    return {};
}

Result<std::vector<NamedField>> take_fields(Words &words, Item item) {
    std::vector<NamedField> fields;
    while (!words.take_if("/")) {
        const FieldName name = field_or_flag(item, words.next());
        if (!name)
            return words.wrong("expected a field of " + std::string(item_name(item)) + " (" + field_names(item) +
                               ") or /");
        size_t index = 0;
        while (index < fields.size() && !(fields[index].name == name))
            index++;
        if (index == fields.size())
            fields.push_back({name, words.position()});
        words.take();
        if (auto taken = take_qualifier(words, fields[index]); !taken)
            return taken.error();
    }
    return fields;
}

Result<void> take_item(Words &words, Pattern &pattern) {
    const auto item = item_by_name(words.next());
    if (!item) {
        std::string names;
        for (size_t i = 0; i < kItems; i++)
            names += std::string(item_name(static_cast<Item>(i))) + ", ";
        return words.wrong("expected a pattern item (" + names + "any, void) or end");
    }
    words.take();
    const auto place = pattern.next(*item);
    if (!place)
        return words.wrong_before(place.error());
    const auto fields = take_fields(words, *item);
    if (!fields)
        return fields.error();
    for (const NamedField &field : *fields) {
        if (!field.value)
            return words.wrong_at(field.position, "expected what it is compared with: is or spec");
        const Demand demand{field.name, *field.value, field.mask.value_or(all_ones(field.name.width())), field.last};
        if (auto added = add_demand(pattern, *place, demand); !added)
            return words.wrong_at(field.position, added.error().detail, added.error().code);
    }
    return {};
}

Result<void> take_any(Words &words, Pattern &pattern) {
    const size_t position = words.position() - 1;
    unsigned layers = 1;
    if (words.take_if("num")) {
        if (!words.take_if("is"))
            return words.wrong("expected is");
        if (auto taken = take_integer(words, layers); !taken)
            return taken;
    }
    if (auto skipped = pattern.any(layers); !skipped)
        return words.wrong_at(position, skipped.error().detail, skipped.error().code);
    if (!words.take_if("/"))
        return words.wrong("expected num or /");
    return {};
}

Result<Match> take_pattern(Words &words) {
    Pattern pattern;
    while (!words.take_if("end")) {
        Result<void> taken;
        if (words.take_if("void"))
            taken = words.take_if("/") ? Result<void>() : words.wrong("expected /");
        else if (words.take_if("any"))
            taken = take_any(words, pattern);
        else
            taken = take_item(words, pattern);
        if (!taken)
            return taken.error();
    }
    return pattern.match();
}

Result<void> take_rss_types(Words &words, uint64_t &types) {
    while (!words.take_if("end")) {
        const std::string_view word = words.next();
        const rss::TypeName *found = nullptr;
        for (const rss::TypeName &name : rss::kTypeNames)
            found = word == name.name ? &name : found;
        for (const rss::TypeName &name : rss::kTypeGroups)
            found = word == name.name ? &name : found;
        if (!found)
            return words.wrong("expected an RSS type such as ipv4 or ipv4-tcp, or end");
        types |= found->bits;
        words.take();
    }
    return {};
}

Result<void> take_rss_function(Words &words, RssAction &rss) {
    std::string names;
    for (const rss::FunctionName &name : rss::kFunctionNames) {
        if (words.take_if(name.name)) {
            rss.function = name.function;
            return {};
        }
        names += (names.empty() ? "" : ", ") + std::string(name.name);
    }
    return words.wrong("expected one of " + names);
}

Result<void> take_rss_parameter(Words &words, RssAction &rss) {
    if (words.take_if("func"))
        return take_rss_function(words, rss);
    if (words.take_if("level"))
        return take_integer(words, rss.level);
    if (words.take_if("types"))
        return take_rss_types(words, rss.types);
    if (words.take_if("key")) {
        auto key = parse_key(words.next());
        if (!key)
            return words.wrong(key.error().detail);
        words.take();
        rss.key = std::move(*key);
        return {};
    }
    if (!words.take_if("queues"))
        return words.wrong("expected func, level, types, key, queues or /");
    while (!words.take_if("end"))
        if (auto taken = take_integer(words, rss.queues.emplace_back()); !taken)
            return words.wrong(taken.error().detail + ", or end");
    return {};
}

Result<void> take_parameters(Words &words, Action &action) {
    if (action.name->kind == ActionKind::Rss) {
        auto rss = std::make_shared<RssAction>();
        while (words.next() != "/")
            if (auto taken = take_rss_parameter(words, *rss); !taken)
                return taken;
        action.rss = std::move(rss);
        return {};
    }
    if (action.name->kind == ActionKind::Indirect) {
        uint32_t id = 0;
        if (auto taken = take_integer(words, id); !taken)
            return taken;
        action.value = id;
        action.shared = words.next() == "count" ? ActionKind::Count : ActionKind::Rss;
        if (!words.take_if("rss") && !words.take_if("count"))
            return words.wrong("expected the kind of that action: rss or count");
        return {};
    }
    if (!action.name->parameter)
        return {};
    if (!words.take_if(action.name->parameter))
        return words.wrong(std::string("expected ") + action.name->parameter);
    const auto value = take_value(words, action.name->type, action.name->width);
    if (!value)
        return value.error();
    action.value = *value;
    return {};
}

Result<Actions> take_actions(Words &words) {
    Actions actions;
    while (!words.take_if("end")) {
        if (words.take_if("void")) {
            if (!words.take_if("/"))
                return words.wrong("expected /");
            continue;
        }
        const size_t position = words.position();
        Action action{.name = action_by_name(words.next()), .rss = {}};
        if (!action.name) {
            std::string names;
            for (const ActionName &name : action_names())
                names += std::string(name.name) + ", ";
            return words.wrong("expected an action (" + names + "void) or end");
        }
        words.take();
        if (auto taken = take_parameters(words, action); !taken)
            return taken.error();
        if (auto added = add_action(actions, action); !added)
            return words.wrong_at(position, added.error().detail);
        if (!words.take_if("/"))
            return words.wrong("expected /");
    }
    return actions;
}

Result<void> take_command(Words &words) {
    if (!words.take_if("flow"))
        return {};
    if (!words.take_if("create") && !words.take_if("validate"))
        return words.wrong("expected create or validate");
    uint16_t port = 0;
    return take_integer(words, port);
}

Result<Attributes> take_attributes(Words &words) {
    Attributes attributes;
    while (!words.take_if("pattern")) {
        Result<void> taken;
        if (words.take_if("ingress"))
            attributes.direction = Direction::Ingress;
        else if (words.take_if("egress"))
            attributes.direction = Direction::Egress;
        else if (words.take_if("group"))
            taken = take_integer(words, attributes.group);
        else if (words.take_if("priority"))
            taken = take_integer(words, attributes.priority);
        else
            taken = words.wrong("expected group, priority, ingress, egress or pattern");
        if (!taken)
            return taken.error();
    }
    return attributes;
}

} // namespace

std::string to_text(const Rule &rule) {
    std::string text = rule.attributes.direction == Direction::Ingress ? "ingress" : "egress";
    text += " group " + std::to_string(rule.attributes.group);
    text += " priority " + std::to_string(rule.attributes.priority);
    const std::string actions = actions_text(rule.actions);
    text += " pattern " + pattern_text(rule.match) + " / end";
    text += " actions " + actions + (actions.empty() ? "end" : " / end");
    return text;
}

std::string pattern_text(const Match &match) {
    const auto headers = headers_of(match);
    // DPDK's drivers expect patterns to begin with Ethernet, whether or not it says something.
    std::string text = headers.empty() || headers[0].item != Item::Eth || headers[0].place.inner ? "eth" : "";
    for (const Header &header : headers) {
        text += text.empty() ? "" : " / ";
        text += header.item ? item_name(*header.item) : "any";
        for (const Demand &demand : header.demands)
            append_demand(text, demand);
    }
    return text;
}

std::string actions_text(const Actions &actions) {
    std::string text;
    for (const Action &action : actions_of(actions)) {
        text += (text.empty() ? "" : " / ") + std::string(action.name->name);
        if (action.name->kind == ActionKind::Rss)
            append_rss(text, *action.rss);
        if (action.name->parameter && action.name->kind != ActionKind::Indirect)
            text.append(1, ' ').append(action.name->parameter);
        if (action.name->parameter)
            text.append(1, ' ').append(value_text(action.name->type, action.value));
        if (action.name->kind == ActionKind::Indirect)
            text += action.shared == ActionKind::Rss ? " rss" : " count";
    }
    return text;
}

Result<Rule> parse_rule(std::string_view text) {
    Words words(text);
    if (auto command = take_command(words); !command)
        return command.error();
    const auto attributes = take_attributes(words);
    if (!attributes)
        return attributes.error();
    const auto match = take_pattern(words);
    if (!match)
        return match.error();
    if (!words.take_if("actions"))
        return words.wrong("expected actions");
    const auto actions = take_actions(words);
    if (!actions)
        return actions.error();
    if (!words.done())
        return words.wrong("nothing is expected behind the rule");
    return Rule{*attributes, *match, *actions};
}

} // namespace tapflow::flow
