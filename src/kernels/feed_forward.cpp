// In: rows of hidden states. Out: a feed-forward network of them. See feed_forward.h.
#include "kernels/feed_forward.h"

#include <algorithm>
#include <atomic>
#include <functional>

#include "kernels/norm.h"
#include "kernels/tiles.h"

namespace textvec::kernels {
namespace {

// Rows that go through together: what stands between the two layers fits the second-level cache.
constexpr std::size_t kBlockRowsMax = 48;
// With fewer for each thread, the threads share the columns of each layer instead: each would read
// all weights for little, of which floats are four times as many bytes.
constexpr std::size_t kThreadRowsMin = 12;
constexpr std::size_t kThreadRowsMinOfFloats = 24;
// Weights that the third-level cache may not hold are read once for all rows, not for each block.
constexpr std::size_t kNearBytesMax = std::size_t{8} << 20;
constexpr std::size_t kAlignment = 64;

void alone(std::size_t count, const std::function<void(std::size_t)>& function) {
  for (std::size_t i = 0; i < count; ++i) function(i);
}

std::size_t weight_bytes(const FeedForwardArguments& arguments) {
  const PackedShape up{arguments.type, arguments.hidden_size, arguments.intermediate_size};
  const PackedShape down{arguments.type, arguments.intermediate_size, arguments.hidden_size};
  return up.bytes() + down.bytes();
}

// How the rows are divided.
struct Division {
  explicit Division(const FeedForwardArguments& arguments) : rows(arguments.rows) {
    const std::size_t least =
        arguments.type == WeightType::Int8 ? kThreadRowsMin : kThreadRowsMinOfFloats;
    if (arguments.threads > 1 && rows < least * arguments.threads) return;
    if (weight_bytes(arguments) > kNearBytesMax) return;
    workers = std::max<std::size_t>(1, arguments.threads);
    const std::size_t each = kBlockRowsMax * workers;
    blocks = (rows + each - 1) / each * workers;
  }

  // All of nearly one size; tiles of a few rows less cost little, single rows more.
  std::size_t begin_of(std::size_t block) const {
    return block == blocks ? rows : block * rows / blocks / 4 * 4;
  }
  std::size_t block_rows_max() const {
    return blocks == 1 ? rows : (rows + blocks - 1) / blocks + 4;
  }

  std::size_t rows;
  std::size_t workers = 1;
  std::size_t blocks = 1;
};

// Some of the rows, in scratch of their own.
class Block {
 public:
  Block(const FeedForwardArguments& arguments, std::size_t begin, std::size_t rows,
        std::size_t threads)
      : arguments_(arguments), begin_(begin), rows_(rows), threads_(threads) {}

  std::size_t inner_bytes() const {
    return rounded_up(rows_ * arguments_.intermediate_size * sizeof(float), kAlignment);
  }
  std::size_t sums_bytes() const {
    return rounded_up(rows_ * arguments_.hidden_size * sizeof(float), kAlignment);
  }
  std::size_t scratch_bytes() const {
    const std::size_t linears = std::max(linear_scratch_bytes(up({}).arguments),
                                         linear_scratch_bytes(down({}, {}).arguments));
    return inner_bytes() + sums_bytes() + rounded_up(linears, kAlignment);
  }

  void run(std::span<std::byte> scratch, const Parallel& parallel) const {
    auto* inner = reinterpret_cast<float*>(scratch.data());
    auto* sums = reinterpret_cast<float*>(scratch.data() + inner_bytes());
    const auto rest = scratch.subspan(inner_bytes() + sums_bytes());
    linear(up(inner).arguments, rest, parallel);

    ActivationArguments middle;
    middle.function = arguments_.function;
    middle.input = middle.output = inner;
    middle.bias = arguments_.up_bias;
    middle.rows = rows_;
    middle.width = arguments_.intermediate_size;
    activation(middle, parallel);

    linear(down(inner, sums).arguments, rest, parallel);

    NormArguments last;
    last.input = sums;
    last.residual = input();
    last.bias = arguments_.down_bias;
    last.weight = arguments_.norm_weight;
    last.shift = arguments_.norm_shift;
    last.epsilon = arguments_.epsilon;
    last.output = arguments_.output + begin_ * arguments_.hidden_size;
    last.rows = rows_;
    last.width = arguments_.hidden_size;
    norm(last, parallel);
  }

 private:
  const float* input() const { return arguments_.input + begin_ * arguments_.hidden_size; }

  struct Layer {
    Layer(const LinearArguments& given, const LinearOutput& one) : output(one), arguments(given) {
      arguments.outputs = {&output, 1};
    }
    Layer(const Layer&) = delete;
    Layer& operator=(const Layer&) = delete;

    LinearOutput output;
    LinearArguments arguments;
  };

  Layer layer(const float* from, std::size_t in_features, const LinearOutput& output) const {
    LinearArguments given;
    given.type = arguments_.type;
    given.in_features = in_features;
    given.input = from;
    given.rows = rows_;
    given.rounding = arguments_.rounding;
    given.threads = threads_;
    return {given, output};
  }
  Layer up(float* inner) const {
    return layer(input(), arguments_.hidden_size,
                 {arguments_.up, arguments_.intermediate_size, inner});
  }
  Layer down(const float* inner, float* sums) const {
    return layer(inner, arguments_.intermediate_size,
                 {arguments_.down, arguments_.hidden_size, sums});
  }

  const FeedForwardArguments& arguments_;
  const std::size_t begin_;
  const std::size_t rows_;
  const std::size_t threads_;
};

std::size_t worker_bytes(const FeedForwardArguments& arguments, const Division& division) {
  return Block(arguments, 0, division.block_rows_max(), arguments.threads).scratch_bytes();
}

}  // namespace

std::size_t feed_forward_scratch_bytes(const FeedForwardArguments& arguments) noexcept {
  const Division division(arguments);
  return division.workers * worker_bytes(arguments, division);
}

void feed_forward(const FeedForwardArguments& arguments, std::span<std::byte> scratch,
                  const Parallel& parallel) {
  if (arguments.rows == 0) return;
  const Division division(arguments);
  if (division.blocks == 1) {
    return Block(arguments, 0, arguments.rows, arguments.threads).run(scratch, parallel);
  }
  const std::size_t bytes_each = worker_bytes(arguments, division);
  std::atomic<std::size_t> next{0};
  const auto work = [&](std::size_t worker) {
    const auto own = scratch.subspan(worker * bytes_each, bytes_each);
    for (std::size_t i = next++; i < division.blocks; i = next++) {
      const std::size_t begin = division.begin_of(i);
      Block(arguments, begin, division.begin_of(i + 1) - begin, 1).run(own, alone);
    }
  };
  parallel(division.workers, std::cref(work));
}

}  // namespace textvec::kernels
