// In: labels and values. Out: an aligned table for people to read. See table.h.
#include "table.h"

#include <algorithm>
#include <cstdio>

#include "json_object.h"

namespace textvec::cli {

Table& Table::row(std::string label, std::string value) {
  rows_.emplace_back(std::move(label), std::move(value));
  return *this;
}

std::string Table::text() const {
  std::size_t width = 0;
  for (const auto& [label, value] : rows_) width = std::max(width, label.size());
  std::string text;
  for (const auto& [label, value] : rows_) {
    text += label;
    text.append(width - label.size() + 2, ' ');
    text += value;
    text += '\n';
  }
  return text;
}

std::string short_number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3g", value);
  return text;
}

std::string decimal(double value, int digits) {
  char text[352];  // the largest double has 309 digits before the point
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}

std::string size_text(std::uint64_t bytes) {
  constexpr const char* kUnits[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  if (bytes < 1024) return std::to_string(bytes) + " B";
  double size = static_cast<double>(bytes) / 1024;
  std::size_t unit = 0;
  for (; size >= 1024; ++unit) size /= 1024;
  return decimal(size, size < 10 ? 2 : size < 100 ? 1 : 0) + " " + kUnits[unit];
}

void add_placement(Table& table, const std::vector<ProviderPlacement>& placement) {
  for (const ProviderPlacement& part : placement) {
    table.row("placement", part.provider + ": " + std::to_string(part.nodes) + " nodes in " +
                               std::to_string(part.partitions) +
                               (part.partitions == 1 ? " partition" : " partitions"));
  }
}

std::string placement_json(const std::vector<ProviderPlacement>& placement) {
  std::vector<std::string> parts;
  for (const ProviderPlacement& part : placement) {
    JsonObject json;
    json.string("provider", part.provider)
        .integer("nodes", part.nodes)
        .integer("partitions", part.partitions);
    parts.push_back(json.text());
  }
  return json_array(parts);
}

}  // namespace textvec::cli
