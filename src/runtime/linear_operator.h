// In: a session's options. Out: the same, knowing textvec's own operator "Linear".
#pragma once

#include <memory>

namespace Ort {
struct SessionOptions;
}

namespace textvec::runtime {

// textvec.Linear: input float [..., in_features], weights uint8 as kernels/linear.h packs them;
// attributes weight_type, in_features, out_features. Output float [..., out_features].
class LinearOperator {
 public:
  // `threads` is what the session will run with.
  explicit LinearOperator(unsigned threads);
  ~LinearOperator();
  LinearOperator(LinearOperator&&) noexcept;
  LinearOperator& operator=(LinearOperator&&) noexcept;

  // Throws Ort::Exception. The operator must outlive every session that is made with the options.
  void add_to(Ort::SessionOptions& options) const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace textvec::runtime
