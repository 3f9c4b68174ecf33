// SPDX-License-Identifier: BSD-3-Clause
#include "flow/json.h"

#include "flow/action_list.h"
#include "flow/headers.h"
#include "rss/names.h"

#include <algorithm>
#include <cerrno>
#include <initializer_list>
#include <limits>

namespace tapflow::flow {
namespace {

using nlohmann::json;

// Writing.

json value_json(FieldType type, FieldBits value) {
    if (type == FieldType::Integer || type == FieldType::Bits)
        return static_cast<uint64_t>(value);
    return value_text(type, value);
}

json demand_json(const Demand &demand) {
    const FieldType type = demand.name.type();
    if (!demand.last && demand.mask == all_ones(demand.name.width()))
        return {{"is", value_json(type, demand.value)}};
    json object{{"spec", value_json(type, demand.value)}, {"mask", value_json(type, demand.mask)}};
    if (demand.last)
        object["last"] = value_json(type, *demand.last);
    return object;
}

json header_json(const Header &header) {
    json object{{"item", header.item ? item_name(*header.item) : "any"}};
    for (const Demand &demand : header.demands)
        object[demand.name.name()] = demand_json(demand);
    return object;
}

void add_rss(json &object, const RssAction &rss) {
    if (rss.function)
        for (const rss::FunctionName &name : rss::kFunctionNames)
            if (name.function == *rss.function)
                object["func"] = name.name;
    if (rss.level != 0)
        object["level"] = rss.level;
    for (const rss::TypeName &name : rss::kTypeNames)
        if (rss.types & name.bits)
            object["types"].push_back(name.name);
    if (!rss.key.empty())
        object["key"] = key_text(rss.key);
    if (!rss.queues.empty())
        object["queues"] = rss.queues;
}

json action_json(const Action &action) {
    json object{{"action", action.name->name}};
    if (action.name->kind == ActionKind::Rss)
        add_rss(object, *action.rss);
    if (action.name->kind == ActionKind::Indirect)
        object["kind"] = action.shared == ActionKind::Rss ? "rss" : "count";
    if (action.name->parameter)
        object[action.name->parameter] = value_json(action.name->type, action.value);
    return object;
}

// Reading.

Error wrong(const std::string &path, const std::string &detail, int code = EINVAL) {
    return {code, "read flow rule from JSON" + (path.empty() ? "" : ", " + path), detail};
}

std::string member(const std::string &path, const std::string &name) { return path.empty() ? name : path + "." + name; }

/// Refuses what is no object, and members that are not among `names`.
Result<void> check_members(const json &object, const std::string &path, std::initializer_list<const char *> names) {
    if (!object.is_object())
        return wrong(path, "expected an object");
    for (const auto &[name, value] : object.items())
        if (std::ranges::find(names, name) == names.end())
            return wrong(member(path, name), "there is no such member");
    return {};
}

/// A member's text. Errors: it is missing, or something else.
Result<std::string> text_of(const json &object, const std::string &path, const char *name) {
    if (!object.is_object())
        return wrong(path, "expected an object");
    const auto found = object.find(name);
    if (found == object.end())
        return wrong(member(path, name), "it is missing");
    if (!found->is_string())
        return wrong(member(path, name), "expected a string");
    return found->get<std::string>();
}

Result<FieldBits> read_value(const json &value, const std::string &path, FieldType type, unsigned width) {
    const bool number = type == FieldType::Integer || type == FieldType::Bits;
    if (number ? !value.is_number_unsigned() && !(value.is_number_integer() && value >= 0) : !value.is_string())
        return wrong(path, parse_value(type, width, {}).error().detail);
    auto bits = parse_value(type, width, number ? std::to_string(value.get<uint64_t>()) : value.get<std::string>());
    if (!bits)
        return wrong(path, bits.error().detail);
    return bits;
}

template <typename Integer> Result<void> read_integer(const json &value, const std::string &path, Integer &out) {
    const auto bits = read_value(value, path, FieldType::Integer, std::numeric_limits<Integer>::digits);
    if (!bits)
        return bits.error();
    out = static_cast<Integer>(*bits);
    return {};
}

Result<Demand> read_demand(const json &object, const std::string &path, const FieldName &name) {
    if (auto checked = check_members(object, path, {"is", "spec", "last", "mask"}); !checked)
        return checked.error();
    const bool whole = object.contains("is");
    if (whole ? object.size() != 1 : !object.contains("spec"))
        return wrong(path, R"(expected either "is", or "spec" and what else there is of "last" and "mask")");
    Demand demand{.name = name, .mask = all_ones(name.width()), .last = {}};
    for (const auto &[qualifier, value] : object.items()) {
        const auto bits = read_value(value, member(path, qualifier), name.type(), name.width());
        if (!bits)
            return bits.error();
        if (qualifier == "last")
            demand.last = *bits;
        else
            (qualifier == "mask" ? demand.mask : demand.value) = *bits;
    }
    return demand;
}

Result<void> read_fields(const json &object, const std::string &path, Item item, Place place, Pattern &pattern) {
    // In the table's order, whatever the document's: of two demands on one bit the later counts.
    std::vector<FieldName> names;
    for (const Field &field : fields_of(item))
        names.push_back({&field, nullptr});
    for (const LayerFlag &flag : layer_flags())
        if (flag.item == item)
            names.push_back({nullptr, &flag});
    for (const auto &[name, value] : object.items())
        if (name != "item" && !field_or_flag(item, name))
            return wrong(member(path, name),
                         "the fields of " + std::string(item_name(item)) + " are " + field_names(item));
    for (const FieldName &name : names) {
        const auto found = object.find(name.name());
        if (found == object.end())
            continue;
        const std::string where = member(path, name.name());
        const auto demand = read_demand(*found, where, name);
        if (!demand)
            return demand.error();
        if (auto added = add_demand(pattern, place, *demand); !added)
            return wrong(where, added.error().detail, added.error().code);
    }
    return {};
}

Result<void> read_item(const json &object, const std::string &path, Pattern &pattern) {
    const auto name = text_of(object, path, "item");
    if (!name)
        return name.error();
    if (*name == "any") {
        auto skipped = pattern.any(1);
        return skipped ? check_members(object, path, {"item"})
                       : wrong(path, skipped.error().detail, skipped.error().code);
    }
    const auto item = item_by_name(*name);
    if (!item)
        return wrong(member(path, "item"), "there is no pattern item " + *name);
    const auto place = pattern.next(*item);
    if (!place)
        return wrong(member(path, "item"), *name + ": " + place.error().detail, place.error().code);
    return read_fields(object, path, *item, *place, pattern);
}

Result<void> read_rss_types(const json &types, const std::string &path, uint64_t &bits) {
    for (const json &type : types) {
        const auto *found = std::ranges::find_if(rss::kTypeNames, [&](const auto &name) { return type == name.name; });
        if (found == rss::kTypeNames.end())
            return wrong(path, "there is no RSS type " + type.dump());
        bits |= found->bits;
    }
    return {};
}

Result<void> read_rss_parameter(const std::string &name, const json &value, const std::string &path, RssAction &rss) {
    if (name == "level")
        return read_integer(value, path, rss.level);
    if (name == "func") {
        for (const rss::FunctionName &known : rss::kFunctionNames)
            if (value == known.name)
                rss.function = known.function;
        return rss.function ? Result<void>() : wrong(path, "there is no RSS function " + value.dump());
    }
    if (name == "key") {
        auto key = parse_key(value.is_string() ? value.get<std::string>() : std::string());
        if (!key)
            return wrong(path, key.error().detail);
        rss.key = std::move(*key);
        return {};
    }
    if (!value.is_array())
        return wrong(path, "expected an array");
    if (name == "types")
        return read_rss_types(value, path, rss.types);
    for (size_t i = 0; i < value.size(); i++)
        if (auto read = read_integer(value[i], path + "[" + std::to_string(i) + "]", rss.queues.emplace_back()); !read)
            return read;
    return {};
}

Result<void> read_rss(const json &object, const std::string &path, Action &action) {
    if (auto checked = check_members(object, path, {"action", "func", "level", "types", "key", "queues"}); !checked)
        return checked;
    auto rss = std::make_shared<RssAction>();
    for (const auto &[name, value] : object.items())
        if (name != "action")
            if (auto read = read_rss_parameter(name, value, member(path, name), *rss); !read)
                return read;
    action.rss = std::move(rss);
    return {};
}

Result<void> read_parameters(const json &object, const std::string &path, Action &action) {
    if (action.name->kind == ActionKind::Rss)
        return read_rss(object, path, action);
    const bool indirect = action.name->kind == ActionKind::Indirect;
    const char *parameter = action.name->parameter;
    if (auto checked =
            check_members(object, path, {"action", parameter ? parameter : "action", indirect ? "kind" : "action"});
        !checked)
        return checked;
    if (indirect) {
        const auto kind = text_of(object, path, "kind");
        if (!kind)
            return kind.error();
        if (*kind != "rss" && *kind != "count")
            return wrong(member(path, "kind"), "expected rss or count");
        action.shared = *kind == "rss" ? ActionKind::Rss : ActionKind::Count;
    }
    if (!parameter)
        return {};
    const auto found = object.find(parameter);
    if (found == object.end())
        return wrong(member(path, parameter), "it is missing");
    const auto value = read_value(*found, member(path, parameter), action.name->type, action.name->width);
    if (!value)
        return value.error();
    action.value = *value;
    return {};
}

Result<void> read_action(const json &object, const std::string &path, Actions &actions) {
    const auto name = text_of(object, path, "action");
    if (!name)
        return name.error();
    Action action{.name = action_by_name(*name), .rss = {}};
    if (!action.name)
        return wrong(member(path, "action"), "there is no action " + *name);
    if (auto read = read_parameters(object, path, action); !read)
        return read;
    if (auto added = add_action(actions, action); !added)
        return wrong(path, added.error().detail);
    return {};
}

/// Reads each element of an array that has to be there.
template <typename Read> Result<void> read_array(const json &rule, const std::string &name, const Read &read) {
    const auto found = rule.find(name);
    if (found == rule.end())
        return wrong(name, "it is missing");
    if (!found->is_array())
        return wrong(name, "expected an array");
    for (size_t i = 0; i < found->size(); i++)
        if (auto done = read((*found)[i], name + "[" + std::to_string(i) + "]"); !done)
            return done;
    return {};
}

Result<Attributes> read_attributes(const json &rule) {
    Attributes attributes;
    const auto direction = text_of(rule, "", "direction");
    if (!direction)
        return direction.error();
    if (*direction != "ingress" && *direction != "egress")
        return wrong("direction", "expected ingress or egress");
    attributes.direction = *direction == "ingress" ? Direction::Ingress : Direction::Egress;
    for (const auto &[name, out] : {std::pair{"group", &attributes.group}, {"priority", &attributes.priority}}) {
        const auto found = rule.find(name);
        if (found == rule.end())
            return wrong(name, "it is missing");
        if (auto read = read_integer(*found, name, *out); !read)
            return read.error();
    }
    return attributes;
}

} // namespace

json to_json(const Rule &rule) {
    json object{{"direction", rule.attributes.direction == Direction::Ingress ? "ingress" : "egress"},
                {"group", rule.attributes.group},
                {"priority", rule.attributes.priority},
                {"pattern", json::array()},
                {"actions", json::array()}};
    for (const Header &header : headers_of(rule.match))
        object["pattern"].push_back(header_json(header));
    for (const Action &action : actions_of(rule.actions))
        object["actions"].push_back(action_json(action));
    return object;
}

Result<Rule> rule_from_json(const json &object) {
    if (auto checked = check_members(object, "", {"direction", "group", "priority", "pattern", "actions"}); !checked)
        return checked.error();
    const auto attributes = read_attributes(object);
    if (!attributes)
        return attributes.error();
    Pattern pattern;
    const auto items = read_array(
        object, "pattern", [&](const json &item, const std::string &path) { return read_item(item, path, pattern); });
    if (!items)
        return items.error();
    Actions actions;
    const auto listed = read_array(object, "actions", [&](const json &action, const std::string &path) {
        return read_action(action, path, actions);
    });
    if (!listed)
        return listed.error();
    return Rule{*attributes, pattern.match(), std::move(actions)};
}

} // namespace tapflow::flow
