// In: the options of `textvec tune`. Out: the settings that were measured, and the best, kept.
#include <cstdio>
#include <utility>

#include "commands.h"
#include "exit_code.h"
#include "interrupt.h"
#include "json_object.h"
#include "machine_report.h"
#include "output_file.h"
#include "runtime/machine.h"
#include "table.h"
#include "textvec/version.h"
#include "tune_command.h"

namespace textvec::cli {
namespace {

std::string trial_json(const TuneTrial& trial) {
  JsonObject json;
  json.integer("threads", trial.threads)
      .integer("workers", trial.workers)
      .integer("batch_tokens_max", trial.batch_tokens_max)
      .number("speed", trial.speed);
  return json.text();
}

std::string report_json(const TuneResult& result) {
  std::vector<std::string> trials;
  trials.reserve(result.trials.size());
  for (const TuneTrial& trial : result.trials) trials.push_back(trial_json(trial));
  JsonObject json;
  json.string("version", TEXTVEC_VERSION)
      .json("machine", machine_json(runtime::describe_machine()))
      .string("model", result.model)
      .string("path", result.path)
      .string("precision", to_string(result.precision))
      .number("tokens_per_text", result.tokens_per_text)
      .json("trials", json_array(trials))
      .json("best", trial_json(result.best))
      .number("texts_per_second", result.texts_per_second)
      .boolean("complete", result.complete)
      .string("file", result.file);
  return json.text() + "\n";
}

std::string report_table(const TuneResult& result) {
  Table table;
  table.row("textvec", TEXTVEC_VERSION);
  add_machine(table, runtime::describe_machine());
  table.row("model", result.model)
      .row("runs as", result.path + ", " + std::string(to_string(result.precision)))
      .row("texts", decimal(result.tokens_per_text, 1) + " tokens on average")
      .row("best", decimal(result.texts_per_second, 1) + " texts/s")
      .row("kept in", result.file);
  if (!result.complete) table.row("note", "the time was over before all settings were tried");
  std::string text = table.text();
  char line[96];
  std::snprintf(line, sizeof line, "\n%8s %8s %13s %7s\n", "threads", "workers", "batch tokens",
                "speed");
  text += line;
  for (const TuneTrial& trial : result.trials) {
    const bool best = trial.threads == result.best.threads &&
                      trial.workers == result.best.workers &&
                      trial.batch_tokens_max == result.best.batch_tokens_max;
    std::snprintf(line, sizeof line, "%8u %8u %13zu %7.2f%s\n", trial.threads, trial.workers,
                  trial.batch_tokens_max, trial.speed, best ? "  best" : "");
    text += line;
  }
  return text;
}

}  // namespace

int run_tune(const TuneCommand& command) {
  const Interrupt interrupt;  // before the runtime starts threads
  auto result =
      tune(model_name(command.model), command.model.load, command.seconds, interrupt.token());
  if (!result) return fail(result.error());
  return print(command.json ? report_json(*result) : report_table(*result));
}

}  // namespace textvec::cli
