// In: lengths and shapes. Out: which texts run in which shape. See buckets.h.
#include "batch/buckets.h"

#include <algorithm>
#include <limits>

#include "textvec/embeddings.h"

namespace textvec::batch {
namespace {

// Read from two published runs of one model, at 256 and 512 tokens: docs/coreml.md.
constexpr std::size_t kCostOfARun = 70;

std::string text_of(Bucket bucket) { return "bucket " + to_string(bucket); }

}  // namespace

std::vector<Bucket> default_buckets(std::size_t tokens_max) {
  std::vector<Bucket> buckets;
  for (Bucket bucket : {Bucket{1, 32}, Bucket{8, 16}, Bucket{8, 32}, Bucket{4, 64}, Bucket{1, 128},
                        Bucket{1, 512}}) {
    bucket.tokens = std::min(bucket.tokens, tokens_max);
    if (std::find(buckets.begin(), buckets.end(), bucket) == buckets.end()) {
      buckets.push_back(bucket);
    }
  }
  return buckets;
}

Result<void> check_buckets(std::span<const Bucket> buckets, std::size_t tokens_max) {
  if (buckets.empty() || buckets.size() > kBucketsMax) {
    return Error{ErrorCode::InvalidArgument, std::to_string(buckets.size()) +
                                                 " buckets; a model takes 1 to " +
                                                 std::to_string(kBucketsMax)};
  }
  for (std::size_t i = 0; i < buckets.size(); ++i) {
    const Bucket bucket = buckets[i];
    if (bucket.texts < 1 || bucket.texts > kBucketTextsMax || bucket.tokens < 1 ||
        bucket.tokens > kBucketTokensMax) {
      return Error{ErrorCode::InvalidArgument,
                   text_of(bucket) + "; it takes 1 to " + std::to_string(kBucketTextsMax) +
                       " texts of 1 to " + std::to_string(kBucketTokensMax) + " tokens"};
    }
    if (bucket.tokens > tokens_max) {
      return Error{ErrorCode::InvalidArgument, text_of(bucket) +
                                                   "; a text of this model has at most " +
                                                   std::to_string(tokens_max) + " tokens"};
    }
    if (std::find(buckets.begin(), buckets.begin() + static_cast<std::ptrdiff_t>(i), bucket) !=
        buckets.begin() + static_cast<std::ptrdiff_t>(i)) {
      return Error{ErrorCode::InvalidArgument, text_of(bucket) + " is given twice"};
    }
  }
  return {};
}

std::size_t run_cost(Bucket bucket) { return kCostOfARun + bucket.texts * bucket.tokens; }

// The longest text that is left needs a bucket of its length, and whatever else runs there had best
// be the longest of the others: what remains is then shortest. So the plan is a way through the
// texts in descending order, and the cheapest way is found from its end.
BucketPlan plan_buckets(std::span<const std::size_t> lengths, std::span<const Bucket> buckets) {
  BucketPlan plan;
  std::size_t tokens_max = 0;
  for (const Bucket bucket : buckets) tokens_max = std::max(tokens_max, bucket.tokens);
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    (lengths[i] > tokens_max ? plan.too_long : order).push_back(i);
  }
  // Equal lengths keep the order in which they came.
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return lengths[a] != lengths[b] ? lengths[a] > lengths[b] : a < b;
  });

  struct Step {
    std::size_t cost = std::numeric_limits<std::size_t>::max();  // from here to the end
    Bucket bucket{};
  };
  std::vector<Step> steps(order.size() + 1);
  steps.back().cost = 0;
  for (std::size_t i = order.size(); i-- > 0;) {
    for (const Bucket bucket : buckets) {
      if (bucket.tokens < lengths[order[i]]) continue;
      const std::size_t next = std::min(i + bucket.texts, order.size());
      const std::size_t cost = run_cost(bucket) + steps[next].cost;
      if (cost < steps[i].cost) steps[i] = {cost, bucket};
    }
  }
  for (std::size_t i = 0; i < order.size();) {
    const std::size_t next = std::min(i + steps[i].bucket.texts, order.size());
    plan.runs.push_back(
        {steps[i].bucket, std::vector(order.begin() + static_cast<std::ptrdiff_t>(i),
                                      order.begin() + static_cast<std::ptrdiff_t>(next))});
    i = next;
  }
  return plan;
}

}  // namespace textvec::batch
