// In: labels and values. Out: an aligned table for people to read.
#pragma once

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

// Which provider runs how much of the graph.
void add_placement(Table& table, const std::vector<ProviderPlacement>& placement);
std::string placement_json(const std::vector<ProviderPlacement>& placement);

}  // namespace textvec::cli
