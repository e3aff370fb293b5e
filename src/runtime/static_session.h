// In: the static graphs of a model, and batches of any shape. Out: hidden states, each text run in
// one of a few fixed shapes.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <vector>

#include "graph/static_model.h"
#include "runtime/session.h"

namespace textvec::runtime {

struct StaticOptions {
  SessionOptions session{};
  std::vector<Bucket> buckets{};         // batch::check_buckets()
  std::filesystem::path cache_folder{};  // programs are kept below it; empty: nowhere
  // Called once, at the first text that is longer than every bucket.
  std::function<Result<std::unique_ptr<Session>>()> open_any_shape{};
};

class StaticSession : public Session {
 public:
  // What each bucket takes, in the order given.
  virtual std::vector<BucketInfo> buckets() const = 0;
};

// Opens the cheapest bucket now, and each of the others at its first use. Errors: as
// open_session().
Result<std::unique_ptr<StaticSession>> open_static_session(graph::StaticModel model,
                                                           StaticOptions options);

}  // namespace textvec::runtime
