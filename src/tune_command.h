// In: a model. Out: the settings that it runs fastest with on this machine, measured and kept:
// `textvec tune`.
#pragma once

#include <cstddef>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "textvec/options.h"
#include "textvec/result.h"

namespace textvec {

struct TuneTrial {
  unsigned threads = 0;
  unsigned workers = 0;
  std::size_t batch_tokens_max = 0;
  double speed = 1;  // 2: twice as fast as the usual settings
};

struct TuneResult {
  std::string model{};
  std::string path{};  // "fused"
  Precision precision = Precision::F32;
  double tokens_per_text = 0;
  std::vector<TuneTrial> trials{};  // the usual settings first
  TuneTrial best{};
  double texts_per_second = 0;  // of the best, when it was last measured
  bool complete = true;         // false: the time was over before all were tried
  std::string file{};           // where it is kept
};

// Embeds texts of mixed lengths with one setting after the other for about `seconds`, and keeps the
// best in the cache, where loading finds it. Another setting than the usual one must be clearly
// faster. `options` are as for loading, but for what is tuned and for the provider, which is the
// processor. Never chooses a precision: the vectors of a model do not change because it was tuned.
// Errors: as Engine::load() and embed(); InvalidArgument (a static target), Cancelled, Internal.
Result<TuneResult> tune(std::string_view model, LoadOptions options, double seconds,
                        const std::stop_token& stop);

}  // namespace textvec
