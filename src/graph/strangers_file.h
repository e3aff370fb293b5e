// In: an ONNX file that a stranger exported. Out: the same graph, checked, with the one output that
// is wanted and without the nodes that only made the others.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "graph/onnx_file.h"
#include "graph/port.h"
#include "textvec/result.h"

namespace textvec::graph {

// Names one of a graph's outputs, of which there are at least two.
using ChooseOutput = std::function<Result<std::string>(const std::vector<Port>& outputs)>;

// A graph with one output stays in its file, from which the runtime loads it in less memory; and so
// does one that leaves an output's rank to the runtime's inference, because nothing can be chosen
// before. Weights in external data are not read either way.
// Errors: NotFound (the file or its external data, named), BadModel (no ONNX file, more than 2 GiB,
// external data outside the model's folder or cut short: the tensor named), and those of `choose`.
Result<OnnxModel> read_strangers_file(const std::filesystem::path& file,
                                      const ChooseOutput& choose);

}  // namespace textvec::graph
