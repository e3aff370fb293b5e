// In: a model and a shape, so many texts of so many tokens. Out: how long each stage of their way
// takes: `textvec bench`.
#pragma once

#include <cstddef>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "textvec/embeddings.h"
#include "textvec/options.h"
#include "textvec/result.h"

namespace textvec {

struct LoadedModel;
class LiveInfo;

struct BenchShape {
  std::size_t texts = 0;
  std::size_t tokens = 0;  // of each text, special tokens included
};

// Whichever is reached first; one run is always made.
struct BenchLimits {
  std::size_t runs_max = 0;
  double seconds_max = 0;
};

// One run over all texts of a shape, in milliseconds.
struct BenchRun {
  double total = 0;
  double tokenize = 0;
  double batch = 0;
  double inference = 0;
  double pool = 0;  // and dense layers, and the vector's length
};

struct BenchResult {
  std::vector<BenchRun> runs{};
  std::size_t batches = 0;  // inferences that the texts of one run were planned into
  std::size_t tokens = 0;   // of all texts of one run, as the model saw them
};

class Bench {
 public:
  // Errors: as Engine::load().
  static Result<Bench> load(std::string_view model, LoadOptions options);
  Bench(Bench&&) noexcept;
  Bench& operator=(Bench&&) noexcept;
  ~Bench();

  // Errors: InvalidArgument (tokens that a text of this model cannot have).
  Result<void> check(const BenchShape& shape) const;
  // Runs the stages as an engine runs them, on this thread and without its queue. Warms up first,
  // but for one run of a big shape. REQUIRES: check(). Errors: Unsupported (no text of so many
  // tokens), Cancelled, and whatever a stage says.
  Result<BenchResult> run(const BenchShape& shape, const BenchLimits& limits,
                          const std::stop_token& stop) const;

  const ModelInfo& info() const noexcept;

 private:
  explicit Bench(std::unique_ptr<LoadedModel> model);
  Result<std::string> text_of(std::size_t tokens) const;
  Result<BenchRun> measure(const std::vector<std::string>& texts, const std::stop_token& stop,
                           BenchResult& result) const;

  std::unique_ptr<LoadedModel> model_;
  std::unique_ptr<LiveInfo> live_info_;
};

}  // namespace textvec
