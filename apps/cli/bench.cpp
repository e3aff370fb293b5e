// In: the options of `textvec bench`. Out: how long texts of some shapes take, a stage at a time.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <utility>

#include "bench_command.h"
#include "commands.h"
#include "exit_code.h"
#include "interrupt.h"
#include "json_object.h"
#include "machine_report.h"
#include "output_file.h"
#include "runtime/machine.h"
#include "shape.h"
#include "table.h"
#include "textvec/version.h"

namespace textvec::cli {
namespace {

constexpr std::size_t kShapesMax = 64;
constexpr std::size_t kTokensMax = std::size_t{1} << 20;  // of all texts of a shape
constexpr std::size_t kRepeatMax = 10'000;
constexpr double kSecondsUsual = 3;

struct Measured {
  BenchShape shape{};
  std::size_t batches = 0;
  std::size_t runs = 0;
  BenchRun median{};  // the run in the middle, so that its stages add up to it
  double p95_ms = 0;
  std::uint64_t peak_memory_bytes = 0;

  double per_second(std::size_t count) const {
    return static_cast<double>(count) / median.total * 1000;
  }
};

Result<BenchShape> bench_shape(std::string_view text) {
  const auto shape = parse_shape("shape", text);
  if (!shape) return shape.error();
  if (shape->texts * shape->tokens <= kTokensMax) return BenchShape{shape->texts, shape->tokens};
  return Error{ErrorCode::InvalidArgument, "shape \"" + std::string(text) + "\" has " +
                                               std::to_string(shape->texts * shape->tokens) +
                                               " tokens in all; the limit is " +
                                               std::to_string(kTokensMax)};
}

Result<std::vector<BenchShape>> bench_shapes(std::string_view list) {
  std::vector<BenchShape> shapes;
  for (bool more = true; more;) {
    if (shapes.size() == kShapesMax) {
      return Error{ErrorCode::InvalidArgument,
                   "--shape has more than " + std::to_string(kShapesMax) + " shapes"};
    }
    const std::size_t comma = list.find(',');
    const auto shape = bench_shape(list.substr(0, comma));
    if (!shape) return shape.error();
    shapes.push_back(*shape);
    more = comma != std::string_view::npos;
    if (more) list.remove_prefix(comma + 1);
  }
  return shapes;
}

Result<BenchLimits> bench_limits(const BenchCommand& command) {
  const std::size_t repeat = command.repeat.value_or(kRepeatMax);
  if (repeat < 1 || repeat > kRepeatMax) {
    return Error{ErrorCode::InvalidArgument, "--repeat is " + std::to_string(repeat) +
                                                 "; it takes 1 to " + std::to_string(kRepeatMax)};
  }
  const double usual = command.repeat ? std::numeric_limits<double>::infinity() : kSecondsUsual;
  return BenchLimits{repeat, command.seconds.value_or(usual)};
}

Measured measured_of(const BenchShape& shape, BenchResult result) {
  auto& runs = result.runs;
  std::sort(runs.begin(), runs.end(),
            [](const BenchRun& a, const BenchRun& b) { return a.total < b.total; });
  // Nearest rank: the smallest run that so many of all runs do not exceed.
  const auto rank = [&runs](double share) {
    const double place = std::ceil(share * static_cast<double>(runs.size()));
    return runs[static_cast<std::size_t>(place) - 1];
  };
  return {shape,     result.batches,   runs.size(),
          rank(0.5), rank(0.95).total, runtime::peak_memory_bytes()};
}

std::string head_text(const ModelInfo& info) {
  Table table;
  table.row("textvec", TEXTVEC_VERSION).row("runtime", info.runtime);
  add_machine(table, runtime::describe_machine());
  table.row("model", info.name)
      .row("runs as", std::string(to_string(info.path)) + ", " +
                          std::string(to_string(info.precision)) + ", " +
                          std::string(to_string(info.provider)))
      .row("threads", std::to_string(info.threads))
      .row("batch", std::to_string(info.batch_tokens_max) + " tokens at most");
  char columns[160];
  std::snprintf(columns, sizeof columns, "\n%12s %6s %10s %10s %10s %9s %9s %8s %10s %8s %9s\n",
                "shape", "runs", "median ms", "p95 ms", "tokens/s", "texts/s", "tokenise", "batch",
                "inference", "pool", "peak MiB");
  return table.text() + columns;
}

std::string row_text(const Measured& measured) {
  const std::string shape =
      std::to_string(measured.shape.texts) + "x" + std::to_string(measured.shape.tokens);
  const BenchRun& median = measured.median;
  const std::size_t tokens = measured.shape.texts * measured.shape.tokens;
  char row[512];
  std::snprintf(
      row, sizeof row, "%12s %6zu %10.3f %10.3f %10.0f %9.1f %9.3f %8.3f %10.3f %8.3f %9.0f\n",
      shape.c_str(), measured.runs, median.total, measured.p95_ms, measured.per_second(tokens),
      measured.per_second(measured.shape.texts), median.tokenize, median.batch, median.inference,
      median.pool, static_cast<double>(measured.peak_memory_bytes) / (1 << 20));
  return row;
}

std::string shape_json(const Measured& measured) {
  const std::size_t tokens = measured.shape.texts * measured.shape.tokens;
  JsonObject stages;
  stages.number("tokenize", measured.median.tokenize)
      .number("batch", measured.median.batch)
      .number("inference", measured.median.inference)
      .number("pool", measured.median.pool);
  JsonObject json;
  json.integer("texts", measured.shape.texts)
      .integer("tokens", measured.shape.tokens)
      .integer("batches", measured.batches)
      .integer("runs", measured.runs)
      .number("median_ms", measured.median.total)
      .number("p95_ms", measured.p95_ms)
      .number("tokens_per_second", measured.per_second(tokens))
      .number("texts_per_second", measured.per_second(measured.shape.texts))
      .json("stages_ms", stages.text())
      .integer("peak_memory_bytes", measured.peak_memory_bytes);
  return json.text();
}

std::string report_json(const ModelInfo& info, const std::vector<Measured>& all) {
  std::vector<std::string> shapes;
  shapes.reserve(all.size());
  for (const Measured& measured : all) shapes.push_back(shape_json(measured));
  JsonObject json;
  json.string("version", TEXTVEC_VERSION)
      .string("runtime", info.runtime)
      .json("machine", machine_json(runtime::describe_machine()))
      .string("model", info.name)
      .string("path", to_string(info.path))
      .string("precision", to_string(info.precision))
      .string("provider", to_string(info.provider))
      .integer("threads", info.threads)
      .integer("batch_tokens_max", info.batch_tokens_max)
      .json("shapes", json_array(shapes));
  return json.text() + "\n";
}

}  // namespace

int run_bench(const BenchCommand& command) {
  const Interrupt interrupt;  // before the runtime starts threads
  const auto shapes = bench_shapes(command.shapes);
  if (!shapes) return fail(shapes.error());
  const auto limits = bench_limits(command);
  if (!limits) return fail(limits.error());
  const auto bench = Bench::load(model_name(command.model), command.model.load);
  if (!bench) return fail(bench.error());
  for (const BenchShape& shape : *shapes) {
    if (const auto checked = bench->check(shape); !checked) return fail(checked.error());
  }

  std::vector<Measured> all;
  for (const BenchShape& shape : *shapes) {
    auto result = bench->run(shape, *limits, interrupt.token());
    if (!result) return fail(result.error());
    all.push_back(measured_of(shape, std::move(*result)));
    if (command.json) continue;
    // Shown as soon as it is known: the next shape may take half an hour.
    const std::string head = all.size() == 1 ? head_text(bench->info()) : "";
    if (const int code = print(head + row_text(all.back())); code != kDone) return code;
  }
  return command.json ? print(report_json(bench->info(), all)) : kDone;
}

}  // namespace textvec::cli
