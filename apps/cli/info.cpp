// In: the options of `textvec info`. Out: what the loaded model is and how it runs.
#include <cstdlib>

#include "commands.h"
#include "exit_code.h"
#include "hub/locate.h"
#include "json_object.h"
#include "model/json.h"
#include "output_file.h"
#include "table.h"
#include "textvec/engine.h"

namespace textvec::cli {
namespace {

std::string prompts_json(const ModelInfo& info) {
  JsonObject prompts;
  for (const auto& [name, text] : info.prompts) prompts.string(name, text);
  return prompts.text();
}

std::string provider_json(const ModelInfo& info) {
  JsonObject provider;
  provider.string("wanted", to_string(info.provider_wanted))
      .string("used", to_string(info.provider))
      .string("why", info.provider_note);
  return provider.text();
}

std::string trial_json(const ModelInfo& info) {
  JsonObject trial;
  trial.number("provider_ms", info.provider_ms).number("cpu_ms", info.cpu_ms);
  return trial.text();
}

std::string buckets_json(const std::vector<BucketInfo>& buckets) {
  std::vector<std::string> items;
  for (const BucketInfo& info : buckets) {
    JsonObject item;
    item.integer("texts", info.bucket.texts)
        .integer("tokens", info.bucket.tokens)
        .integer("program_bytes", info.program_bytes)
        .integer("memory_bytes", info.memory_bytes)
        .integer("disk_bytes", info.disk_bytes);
    items.push_back(item.text());
  }
  return json_array(items);
}

std::string bucket_text(const BucketInfo& info) {
  const auto mebibytes = [](std::uint64_t bytes) { return std::to_string(bytes >> 20) + " MiB"; };
  return mebibytes(info.program_bytes) + " as a program; " +
         (info.memory_bytes == 0 ? "not open" : mebibytes(info.memory_bytes) + " in memory") +
         ", " + (info.disk_bytes == 0 ? "none" : mebibytes(info.disk_bytes)) + " on disk";
}

std::string info_json(const ModelInfo& info) {
  JsonObject json;
  json.string("model", info.name)
      .string("folder", info.folder)
      .string("architecture", info.architecture)
      .integer("dimension", info.dimension)
      .integer("tokens_max", info.tokens_max)
      .integer("vocabulary_size", info.vocabulary_size)
      .string("pooling", to_string(info.pooling))
      .boolean("pooled_by_graph", info.pooled_by_graph)
      .json("prompts", prompts_json(info))
      .string("default_prompt", info.default_prompt)
      .string("similarity", info.similarity)
      .string("precision", to_string(info.precision))
      .string("path", to_string(info.path))
      .string("graph_file", info.graph_file)
      .json("provider", provider_json(info))
      .json("trial", trial_json(info))
      .json("placement", placement_json(info.placement))
      .json("buckets", buckets_json(info.buckets))
      .integer("threads", info.threads)
      .integer("workers", info.workers)
      .integer("batch_tokens_max", info.batch_tokens_max)
      .string("tuned", info.tuned)
      .string("runtime", info.runtime)
      .json("notes", json_strings(info.notes));
  return json.text() + "\n";
}

// What an ONNX file pools by is not known.
std::string pooling_text(const ModelInfo& info) {
  if (!info.pooled_by_graph) return std::string(to_string(info.pooling));
  if (info.path == GraphPath::AsIs) return "by the graph";
  return std::string(to_string(info.pooling)) + ", by the graph";
}

std::string info_table(const ModelInfo& info) {
  Table table;
  table.row("model", info.name)
      .row("folder", info.folder)
      .row("architecture", info.architecture)
      .row("dimension", std::to_string(info.dimension))
      .row("longest text", std::to_string(info.tokens_max) + " tokens")
      .row("vocabulary", std::to_string(info.vocabulary_size) + " tokens")
      .row("pooling", pooling_text(info));
  for (const auto& [name, text] : info.prompts) {
    std::string quoted;
    model::append_json_string(quoted, text);
    table.row("prompt " + name, quoted + (name == info.default_prompt ? " (default)" : ""));
  }
  table.row("similarity", info.similarity)
      .row("precision", std::string(to_string(info.precision)))
      .row("path", std::string(to_string(info.path)))
      .row("graph", info.path == GraphPath::Static ? "one a bucket"
                    : info.graph_file.empty()      ? "in memory"
                                                   : info.graph_file)
      .row("provider", std::string(to_string(info.provider)) +
                           " (wanted: " + std::string(to_string(info.provider_wanted)) + ")");
  if (!info.provider_note.empty()) table.row("", info.provider_note);
  if (info.provider_ms > 0) {
    table.row("trial",
              decimal(info.provider_ms, 1) + " ms, on cpu " + decimal(info.cpu_ms, 1) + " ms");
  }
  add_placement(table, info.placement);
  for (const BucketInfo& bucket : info.buckets) {
    table.row("bucket " + to_string(bucket.bucket), bucket_text(bucket));
  }
  table.row("threads", std::to_string(info.threads))
      .row("workers", std::to_string(info.workers))
      .row("batch", std::to_string(info.batch_tokens_max) + " tokens at most")
      .row("tuned", info.tuned.empty() ? "no" : info.tuned)
      .row("runtime", info.runtime);
  for (const std::string& note : info.notes) table.row("note", note);
  return table.text();
}

}  // namespace

std::string model_name(const ModelOptions& options) {
  if (!options.model.empty()) return options.model;
  const char* variable = std::getenv("TEXTVEC_MODEL");
  if (variable != nullptr && *variable != '\0') return variable;
  return std::string(hub::kDefaultModel);
}

int run_info(const InfoCommand& command) {
  const auto engine = Engine::load(model_name(command.model), command.model.load);
  if (!engine) return fail(engine.error());
  const ModelInfo& info = engine->info();
  return print(command.json ? info_json(info) : info_table(info));
}

}  // namespace textvec::cli
