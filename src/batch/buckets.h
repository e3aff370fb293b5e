// In: the lengths of some texts, and the shapes that a model has programs for. Out: which texts run
// in which shape, so that all of it costs least.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "textvec/options.h"
#include "textvec/result.h"

namespace textvec::batch {

inline constexpr std::size_t kBucketsMax = 16;
inline constexpr std::size_t kBucketTextsMax = 64;
// A decoder's mask grows with the square.
inline constexpr std::size_t kBucketTokensMax = 2048;

// textvec's choice for a model that takes texts of `tokens_max` tokens; docs/coreml.md says why.
std::vector<Bucket> default_buckets(std::size_t tokens_max);

// Errors: InvalidArgument (too many, one twice, out of range, or longer than the model's texts).
Result<void> check_buckets(std::span<const Bucket> buckets, std::size_t tokens_max);

// What one run costs, in tokens: those of the bucket, and what every run costs beside them.
std::size_t run_cost(Bucket bucket);

struct BucketRun {
  Bucket bucket{};
  std::vector<std::size_t> texts{};  // indices, at most bucket.texts
};

struct BucketPlan {
  std::vector<BucketRun> runs{};
  std::vector<std::size_t> too_long{};  // for every bucket
};

// Every index exactly once, at the least cost there is.
BucketPlan plan_buckets(std::span<const std::size_t> lengths, std::span<const Bucket> buckets);

}  // namespace textvec::batch
