// What ONNX says of one input or output of a graph.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace textvec::graph {

enum class ElementType : std::uint8_t { Float, Float16, Int64, Int32, Other };

struct Port {
  std::string name{};
  ElementType type = ElementType::Other;
  std::vector<std::int64_t> shape{};  // -1: varies
};

}  // namespace textvec::graph
