// In: queries, keys and values. Out: what each token attends to. See attention.h.
// Scores are never written for a whole text: 16 or 32 queries at a time meet all keys, and what
// comes of it meets all values, while it is in the cache. Keys stand in the rows of a tile and
// queries in its columns, so that the softmax goes over whole vectors. Keys and values are read
// where they lie, if the cache can hold them there and they need not be rounded.
#include "kernels/attention.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>
#include <vector>

namespace textvec::kernels {
namespace {

constexpr std::size_t kColumns = PackedShape::kPanelColumns;
constexpr std::size_t kTokensAhead = 16;  // whose numbers are fetched meanwhile
// Less is done before another thread would have woken up.
constexpr std::size_t kAloneProducts = std::size_t{1} << 18;

// Of rows apart by multiples of 2 KiB hardly any fit into a cache at the same time.
bool is_crowded(std::size_t width) { return width * sizeof(float) % 2048 == 0; }

const Tiles& tiles_of(const AttentionArguments& arguments) {
  return arguments.tiles != nullptr ? *arguments.tiles : best_tiles();
}

// Whether products are of bfloat16, of which a word of four bytes holds two, and not of float32.
bool is_bf16(const AttentionArguments& arguments) {
  return arguments.coarse && !tiles_of(arguments).bf16_dot.empty();
}

bool copies_keys(const AttentionArguments& arguments) {
  return arguments.cosine != nullptr || is_bf16(arguments) ||
         is_crowded(arguments.key_value_heads * arguments.head_size);
}

// A tile reads 16 components at once, which must not end behind the last token's.
bool copies_values(const AttentionArguments& arguments) {
  return arguments.head_size % kColumns != 0 || is_bf16(arguments) ||
         is_crowded(arguments.key_value_heads * arguments.head_size);
}

std::size_t longest(const AttentionArguments& arguments) {
  return *std::max_element(arguments.tokens.begin(), arguments.tokens.end());
}

// In floats, from one token's copy to the next: an odd number of the cache's lines.
std::size_t copy_stride(const AttentionArguments& arguments) {
  return odd_lines(arguments.head_size * sizeof(float)) / sizeof(float);
}

// One head of one text, and the scratch of the thread that computes it.
class Head {
 public:
  Head(const AttentionArguments& arguments, float* scratch)
      : arguments_(arguments),
        set_(tiles_of(arguments)),
        bf16_(is_bf16(arguments)),
        tiles_(bf16_ ? set_.bf16_dot : set_.f32),
        pair_tiles_(bf16_ ? set_.bf16_dot_pair : set_.f32_pair),
        size_(arguments.head_size),
        width_(arguments.heads * size_),
        key_width_(arguments.key_value_heads * size_),
        before_(arguments.before),
        queries_(scratch),
        query_panels_(queries_ + 2 * size_ * kColumns),
        scores_(query_panels_ + 2 * size_ * kColumns),
        copies_(scores_ + 2 * longest(arguments) * kColumns) {}

  static std::size_t scratch_floats(const AttentionArguments& arguments) {
    const std::size_t copies =
        std::size_t{copies_keys(arguments)} + std::size_t{copies_values(arguments)};
    return 2 * kColumns * (2 * arguments.head_size + longest(arguments)) +
           copies * longest(arguments) * copy_stride(arguments);
  }

  // `begin`: how many tokens the texts before it have.
  void run(std::size_t text, std::size_t begin, std::size_t head) {
    first_ = begin * width_ + head * size_;
    column_ = head * size_;
    tokens_ = arguments_.tokens[text];
    const std::size_t shared_by = arguments_.heads / arguments_.key_value_heads;
    find_keys_and_values(begin * key_width_ + head / shared_by * size_);
    const std::size_t queries = tokens_ - before_;
    for (std::size_t query = 0; query < queries;) {
      const bool two = queries - query > kColumns && !pair_tiles_.empty();
      panels_ = two ? 2 : 1;
      attend(query, std::min(panels_ * kColumns, queries - query));
      query += panels_ * kColumns;
    }
  }

 private:
  // The head's, of queries (0) or values (2); nullptr: none. That of the keys would add the same to
  // all scores of a query, which the softmax takes away again.
  const float* bias(std::size_t which) const {
    return arguments_.bias != nullptr ? arguments_.bias + which * width_ + column_ : nullptr;
  }

  void rotate(const float* from, std::size_t token, float* to) const {
    const std::size_t angle = token * size_ / 2;
    set_.rotate(from, arguments_.cosine + angle, arguments_.sine + angle, size_, to);
  }

  // `first`: their first number's place. A head may have those of the head before it.
  void find_keys_and_values(std::size_t first) {
    if (first == found_) return;
    found_ = first;
    keys_ = arguments_.keys + first;
    values_ = arguments_.values + first;
    keys_stride_ = values_stride_ = key_width_;
    const std::size_t stride = copy_stride(arguments_);
    float* out = copies_;
    if (copies_keys(arguments_)) {
      for (std::size_t token = 0; token < tokens_; ++token) {
        const float* from = keys_ + token * key_width_;
        float* to = out + token * stride;
        fetch(from + kTokensAhead * key_width_);
        if (arguments_.cosine != nullptr) {
          rotate(from, token, to);
          from = to;
        }
        if (bf16_) {
          set_.bf16_row(from, size_, words(to));
        } else if (from != to) {
          std::copy_n(from, size_, to);
        }
      }
      keys_ = out;
      keys_stride_ = stride;
      out += tokens_ * stride;
    }
    if (copies_values(arguments_)) {
      for (std::size_t row = 0; row < depth_of(tokens_); ++row) {
        float* to = out + row * stride;
        const float* from = values_ + row * key_width_ * (bf16_ ? 2 : 1);
        fetch(from + kTokensAhead * key_width_);
        if (bf16_) fetch(from + (kTokensAhead + 1) * key_width_);
        std::fill(to + size_, to + stride, 0.0F);
        if (bf16_) {
          set_.bf16_rows(from, 2 * row + 1 < tokens_ ? from + key_width_ : nullptr, size_,
                         words(to));
        } else {
          std::copy_n(from, size_, to);
        }
      }
      values_ = out;
      values_stride_ = stride;
    }
  }

  // A head's numbers of a token, which stand too far from those of the one before to be guessed.
  void fetch(const float* from) const {
    for (std::size_t i = 0; i < size_; i += 16) __builtin_prefetch(from + i);
  }

  // Words that so many numbers take.
  std::size_t depth_of(std::size_t numbers) const { return bf16_ ? (numbers + 1) / 2 : numbers; }
  static std::uint32_t* words(float* numbers) { return reinterpret_cast<std::uint32_t*>(numbers); }

  // [panels, words of a head, 16]. Scaled so that the softmax's powers are of two. Missing queries
  // are zeros.
  void pack_queries(std::size_t query, std::size_t count) const {
    const auto scale =
        static_cast<float>(std::numbers::log2e / std::sqrt(static_cast<double>(size_)));
    const float* shift = bias(0);
    for (std::size_t i = 0; i < count; ++i) {
      const float* from = arguments_.queries + first_ + (query + i) * width_;
      fetch(from + kTokensAhead * width_);
      float* out = queries_ + i * size_;
      if (arguments_.cosine != nullptr) {
        rotate(from, before_ + query + i, out);
        from = out;
      }
      if (shift == nullptr) {
        for (std::size_t j = 0; j < size_; ++j) out[j] = from[j] * scale;
      } else {
        for (std::size_t j = 0; j < size_; ++j) out[j] = (from[j] + shift[j]) * scale;
      }
    }
    std::fill(queries_ + count * size_, queries_ + panels_ * kColumns * size_, 0.0F);
    const std::size_t depth = depth_of(size_);
    if (bf16_) {
      for (std::size_t i = 0; i < panels_ * kColumns; ++i) {
        set_.bf16_row(queries_ + i * size_, size_, words(queries_ + i * depth));
      }
    }
    for (std::size_t panel = 0; panel < panels_; ++panel) {
      const std::size_t first = panel * kColumns * depth;
      set_.transpose(queries_ + first, depth, query_panels_ + first);
    }
  }

  // All rows of `step`, a tile at a time.
  void multiply(Step step, std::size_t rows, std::size_t panels) const {
    step.ahead = step.weights;
    const auto& tiles = panels == 2 ? pair_tiles_ : tiles_;
    for (std::size_t begin = 0; begin < rows; begin += tiles.size()) {
      const std::size_t count = std::min(tiles.size(), rows - begin);
      tiles[count - 1](step);
      step.input += count * step.input_row;
      step.output += count * step.output_stride;
    }
  }

  // [seen, panels * 16].
  void meet_keys(std::size_t seen) const {
    Step step;
    step.input = reinterpret_cast<const std::byte*>(keys_);
    step.input_row = keys_stride_ * sizeof(float);
    step.input_depth = sizeof(float);
    step.weights = reinterpret_cast<const std::byte*>(query_panels_);
    step.weights_depth = kColumns * sizeof(float);
    step.depth = depth_of(size_);
    step.beside = step.depth * kColumns * sizeof(float);
    step.output = scores_;
    step.output_stride = panels_ * kColumns;
    step.columns = panels_ * kColumns;
    multiply(step, seen, panels_);
  }

  // Takes the scores of keys behind their query away.
  void hide_later(std::size_t query, std::size_t seen) const {
    const std::size_t position = before_ + query;
    for (std::size_t key = position + 1; key < seen; ++key) {
      std::fill_n(scores_ + key * panels_ * kColumns, key - position,
                  -std::numeric_limits<float>::infinity());
    }
  }

  void meet_values(std::size_t seen, std::size_t count, float* output) const {
    for (std::size_t begin = 0; begin < size_;) {
      const bool two = size_ - begin > kColumns && !pair_tiles_.empty();
      const std::size_t columns = (two ? 2 : 1) * kColumns;
      Step step;
      step.input = reinterpret_cast<const std::byte*>(scores_);
      step.input_row = sizeof(float);
      step.input_depth = panels_ * kColumns * sizeof(float);
      step.weights = reinterpret_cast<const std::byte*>(values_ + begin);
      step.weights_depth = values_stride_ * sizeof(float);
      step.beside = kColumns * sizeof(float);
      step.depth = depth_of(seen);
      step.output = output + begin;
      step.output_stride = width_;
      step.columns = std::min(columns, size_ - begin);
      multiply(step, count, two ? 2 : 1);
      begin += columns;
    }
  }

  void attend(std::size_t query, std::size_t count) const {
    const std::size_t seen = arguments_.causal ? before_ + query + count : tokens_;
    pack_queries(query, count);
    meet_keys(seen);
    if (arguments_.causal) hide_later(query, seen);
    alignas(64) float sums[2 * kColumns];
    (bf16_ ? set_.bf16_powers : set_.powers)(scores_, seen, panels_ * kColumns, sums);
    float* output = arguments_.output + first_ + query * width_;
    meet_values(seen, count, output);
    const float* shift = bias(2);
    for (std::size_t i = 0; i < count; ++i) {
      float* out = output + i * width_;
      const float scale = 1 / sums[i];
      // The weights of the values sum up to one, so that their bias is added once.
      if (shift == nullptr) {
        for (std::size_t j = 0; j < size_; ++j) out[j] *= scale;
      } else {
        for (std::size_t j = 0; j < size_; ++j) out[j] = out[j] * scale + shift[j];
      }
    }
  }

  const AttentionArguments& arguments_;
  const Tiles& set_;
  const bool bf16_;
  const std::span<const Tile> tiles_;
  const std::span<const Tile> pair_tiles_;  // empty: a step takes one panel
  const std::size_t size_;
  const std::size_t width_;
  const std::size_t key_width_;
  const std::size_t before_;  // positions before that of the first query
  std::size_t first_ = 0;     // of the text's and the head's numbers
  std::size_t column_ = 0;    // of the head
  std::size_t tokens_ = 0;
  std::size_t panels_ = 1;                                       // of queries
  std::size_t found_ = std::numeric_limits<std::size_t>::max();  // `first` of what follows
  const float* keys_ = nullptr;
  const float* values_ = nullptr;
  std::size_t keys_stride_ = 0;  // in floats
  std::size_t values_stride_ = 0;
  float* const queries_;       // [32, head_size]
  float* const query_panels_;  // [2, words of a head, 16]
  float* const scores_;        // [longest text, 32]
  float* const copies_;
};

std::size_t workers_of(const AttentionArguments& arguments) {
  std::size_t products = 0;
  for (const std::size_t tokens : arguments.tokens) {
    products += tokens * (tokens - arguments.before) * arguments.heads * arguments.head_size;
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
  const std::size_t floats_each = Head::scratch_floats(arguments);
  std::vector<std::size_t> begins(arguments.tokens.size());
  std::exclusive_scan(arguments.tokens.begin(), arguments.tokens.end(), begins.begin(),
                      std::size_t{0});
  const std::size_t heads = arguments.tokens.size() * arguments.heads;
  // Those that share keys are done by one thread, which copies them once, if all have enough to do.
  const std::size_t shared_by = arguments.heads / arguments.key_value_heads;
  const std::size_t together = heads / shared_by >= 2 * arguments.threads ? shared_by : 1;
  std::atomic<std::size_t> next{0};
  const auto work = [&](std::size_t worker) {
    Head head(arguments, reinterpret_cast<float*>(scratch.data()) + worker * floats_each);
    for (;;) {
      const std::size_t first = next.fetch_add(together);
      if (first >= heads) return;
      for (std::size_t i = first; i < first + together; ++i) {
        const std::size_t text = i / arguments.heads;
        head.run(text, begins[text], i % arguments.heads);
      }
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
