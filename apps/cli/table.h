// In: labels and values. Out: an aligned table for people to read.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "textvec/embeddings.h"

namespace textvec::cli {

class Table {
 public:
  Table& row(std::string label, std::string value);
  std::string text() const;

 private:
  std::vector<std::pair<std::string, std::string>> rows_{};
};

// For people: "2.25e-07", three digits that count; and "0.123", so many after the point.
std::string short_number(double value);
std::string decimal(double value, int digits);

// For people: "768 B", "22.7 MiB", "1.11 GiB".
std::string size_text(std::uint64_t bytes);

// Which provider runs how much of the graph.
void add_placement(Table& table, const std::vector<ProviderPlacement>& placement);
std::string placement_json(const std::vector<ProviderPlacement>& placement);

}  // namespace textvec::cli
