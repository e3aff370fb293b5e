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
// textvec.Attention, as kernels/attention.h, of texts one behind the other: inputs queries, float
// [1, tokens, width], keys and values, float [1, tokens, their width], each text's tokens, int64
// [texts], and where they are wanted the bias of all three [3 * width], cosine and sine of each
// position's angles [positions, head size / 2]; of a piece of one text the queries are its last
// ones. Attributes num_heads, kv_num_heads, causal and coarse (0 or 1).
// textvec.FeedForward, as kernels/feed_forward.h: inputs float [..., hidden_size], the weights of
// up, uint8, and their bias, those of down and their bias, weight and shift of the norm; attributes
// weight_type, hidden_size, intermediate_size, function, epsilon.
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
