// In: queries, keys and values. Out: what each token attends to. See attention.h.
// Scores are never written for a whole text: 16 queries at a time, as a panel, meet all keys, and
// what comes of it meets all values, while it is in the cache. Keys stand in the rows of a tile and
// queries in its columns, so that the softmax goes over whole vectors.
#include "kernels/attention.h"

#include <algorithm>
#include <atomic>
#include <cmath>

namespace textvec::kernels {
namespace {

constexpr std::size_t kQueries = PackedShape::kPanelColumns;
// Less is done before another thread would have woken up.
constexpr std::size_t kAloneProducts = std::size_t{1} << 18;

std::size_t rounded_up(std::size_t value, std::size_t step) {
  return (value + step - 1) / step * step;
}

// One head of one text, and the scratch of the thread that computes it.
class Head {
 public:
  Head(const AttentionArguments& arguments, const Tiles& set, float* scratch)
      : arguments_(arguments),
        set_(set),
        size_(arguments.head_size),
        width_(arguments.heads * arguments.head_size),
        keys_(scratch),
        values_(keys_ + packed_floats(arguments)),
        scores_(values_ + packed_floats(arguments)),
        query_panel_(scores_ + arguments.length * kQueries),
        result_(query_panel_ + size_ * kQueries) {}

  static std::size_t scratch_floats(const AttentionArguments& arguments) {
    return 2 * packed_floats(arguments) + (arguments.length + 2 * arguments.head_size) * kQueries;
  }

  void run(std::size_t text, std::size_t head) {
    first_ = text * arguments_.length * width_ + head * size_;
    column_ = head * size_;
    tokens_ = arguments_.tokens[text];
    pack_keys();
    pack_values();
    for (std::size_t query = 0; query < tokens_; query += kQueries) attend(query);
    for (std::size_t token = tokens_; token < arguments_.length; ++token) {
      std::fill_n(arguments_.output + first_ + token * width_, size_, 0.0F);
    }
  }

 private:
  // Of keys, and of values.
  static std::size_t packed_floats(const AttentionArguments& arguments) {
    return rounded_up(arguments.length * arguments.head_size, kQueries);
  }

  // Of queries (0), keys (1) or values (2).
  float bias(std::size_t which, std::size_t component) const {
    return arguments_.bias != nullptr ? arguments_.bias[which * width_ + column_ + component] : 0;
  }

  // Tokens in tiles of rows, a component after the other.
  void pack_keys() const {
    float* out = keys_;
    const std::size_t tile = set_.f32.size();
    for (std::size_t begin = 0; begin < tokens_; begin += tile) {
      const std::size_t rows = std::min(tile, tokens_ - begin);
      const float* from = arguments_.keys + first_ + begin * width_;
      for (std::size_t component = 0; component < size_; ++component) {
        const float added = bias(1, component);
        for (std::size_t i = 0; i < rows; ++i) *out++ = from[i * width_ + component] + added;
      }
    }
  }

  // Components in tiles of rows, a token after the other.
  void pack_values() const {
    float* out = values_;
    const std::size_t tile = set_.f32.size();
    for (std::size_t begin = 0; begin < size_; begin += tile) {
      const std::size_t rows = std::min(tile, size_ - begin);
      for (std::size_t token = 0; token < tokens_; ++token) {
        const float* from = arguments_.values + first_ + token * width_ + begin;
        for (std::size_t i = 0; i < rows; ++i) out[i] = from[i];
        out += rows;
      }
    }
  }

  // [head_size, kQueries], scaled. Missing queries are zeros.
  void pack_queries(std::size_t query, std::size_t count) const {
    const float scale = 1 / std::sqrt(static_cast<float>(size_));
    const float* from = arguments_.queries + first_ + query * width_;
    for (std::size_t component = 0; component < size_; ++component) {
      float* out = query_panel_ + component * kQueries;
      const float added = bias(0, component);
      for (std::size_t i = 0; i < count; ++i)
        out[i] = (from[i * width_ + component] + added) * scale;
      std::fill(out + count, out + kQueries, 0.0F);
    }
  }

  // `rows` rows in tiles against one panel.
  void multiply(const float* input, std::size_t rows, const float* panel, std::size_t depth,
                float* output) const {
    for (std::size_t begin = 0; begin < rows; begin += set_.f32.size()) {
      const std::size_t count = std::min(set_.f32.size(), rows - begin);
      Step step;
      step.input = reinterpret_cast<const std::byte*>(input + begin * depth);
      step.weights = reinterpret_cast<const std::byte*>(panel);
      step.depth = depth;
      step.ahead = step.weights;
      step.output = output + begin * kQueries;
      step.output_stride = kQueries;
      step.columns = kQueries;
      set_.f32[count - 1](step);
    }
  }

  void attend(std::size_t query) const {
    const std::size_t count = std::min(kQueries, tokens_ - query);
    pack_queries(query, count);
    multiply(keys_, tokens_, query_panel_, size_, scores_);
    alignas(64) float sums[kQueries];
    set_.exponentials(scores_, tokens_, sums);
    multiply(values_, size_, scores_, tokens_, result_);
    for (std::size_t i = 0; i < count; ++i) {
      float* out = arguments_.output + first_ + (query + i) * width_;
      const float scale = 1 / sums[i];
      // The weights of the values sum up to one, so that their bias is added once.
      for (std::size_t component = 0; component < size_; ++component) {
        out[component] = result_[component * kQueries + i] * scale + bias(2, component);
      }
    }
  }

  const AttentionArguments& arguments_;
  const Tiles& set_;
  const std::size_t size_;
  const std::size_t width_;
  std::size_t first_ = 0;   // of the text's and the head's numbers
  std::size_t column_ = 0;  // of the head
  std::size_t tokens_ = 0;
  float* const keys_;
  float* const values_;
  float* const scores_;       // [tokens, kQueries]
  float* const query_panel_;  // [head_size, kQueries]
  float* const result_;       // [head_size, kQueries]
};

std::size_t workers_of(const AttentionArguments& arguments) {
  std::size_t products = 0;
  for (const std::size_t tokens : arguments.tokens) {
    products += tokens * tokens * arguments.heads * arguments.head_size;
  }
  if (products <= kAloneProducts) return 1;
  return std::clamp<std::size_t>(arguments.tokens.size() * arguments.heads, 1, arguments.threads);
}

}  // namespace

std::size_t attention_scratch_bytes(const AttentionArguments& arguments) noexcept {
  return workers_of(arguments) * Head::scratch_floats(arguments) * sizeof(float);
}

void attention(const AttentionArguments& arguments, std::span<std::byte> scratch,
               const Parallel& parallel) {
  const Tiles& set = arguments.tiles != nullptr ? *arguments.tiles : best_tiles();
  const std::size_t floats_each = Head::scratch_floats(arguments);
  const std::size_t heads = arguments.tokens.size() * arguments.heads;
  std::atomic<std::size_t> next{0};
  const auto work = [&](std::size_t worker) {
    Head head(arguments, set, reinterpret_cast<float*>(scratch.data()) + worker * floats_each);
    for (std::size_t i = next++; i < heads; i = next++) {
      head.run(i / arguments.heads, i % arguments.heads);
    }
  };
  const std::size_t workers = workers_of(arguments);
  if (workers == 1) {
    work(0);
  } else {
    parallel(workers, work);
  }
}

}  // namespace textvec::kernels
