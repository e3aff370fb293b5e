// In: the options of `textvec compile`. Out: a folder with the model's graph, and what would run
// it.
#include <utility>

#include "commands.h"
#include "compile_command.h"
#include "exit_code.h"
#include "output_file.h"
#include "progress.h"
#include "shape.h"
#include "table.h"

namespace textvec::cli {
namespace {

Result<std::vector<Bucket>> read_buckets(const CompileCommand& command) {
  std::vector<Bucket> buckets;
  for (const std::string& text : command.buckets) {
    const auto shape = parse_shape("bucket", text);
    if (!shape) return shape.error();
    buckets.push_back({shape->texts, shape->tokens});
  }
  if (!buckets.empty() && command.target != "static") {
    return Error{ErrorCode::InvalidArgument,
                 "--bucket is for --target static; a " + command.target + " graph takes any shape"};
  }
  return buckets;
}

}  // namespace

int run_compile(const CompileCommand& command) {
  auto buckets = read_buckets(command);
  if (!buckets) return fail(buckets.error());
  ModelOptions model;
  model.model = command.model;
  const auto graphs = compile_to_folder(model_name(model), command.target, command.precision,
                                        std::move(*buckets), command.output, compiling_bar());
  if (!graphs) return fail(graphs.error());
  Table table;
  table.row("folder", command.output);
  for (const CompiledGraph& graph : *graphs) {
    if (graphs->size() > 1) table.row("graph", graph.name);
    add_placement(table, graph.placement);
  }
  return print(table.text());
}

}  // namespace textvec::cli
