// In: a session's options. Out: the same, knowing textvec's own operators.
#pragma once

#include <memory>

namespace Ort {
struct SessionOptions;
}

namespace textvec::runtime {

// textvec.Linear: input float [..., in_features], then one or more weights, uint8 as
// kernels/linear.h packs them; attributes weight_type, in_features, out_features (a list).
// Outputs float [..., out_features], one for each of the weights.
// textvec.Norm, as kernels/norm.h: inputs float [..., width] and weight [width], and where they
// are wanted shift [width], residual [..., width] and bias [width]; attribute epsilon.
// textvec.Attention, as kernels/attention.h: inputs queries, keys, values, float [batch, length,
// width], the mask, int64 [batch, length], of ones and then zeros, and where it is wanted their
// bias [3 * width]; attribute num_heads.
// textvec.Activation, as kernels/activation.h: inputs float [..., width], and where they are wanted
// bias [width] and factor [..., width]; attribute function.
class Operators {
 public:
  // `threads` is what the session will run with.
  explicit Operators(unsigned threads);
  ~Operators();
  Operators(Operators&&) noexcept;
  Operators& operator=(Operators&&) noexcept;

  // Throws Ort::Exception. The operators must outlive every session that is made with the options.
  void add_to(Ort::SessionOptions& options) const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace textvec::runtime
