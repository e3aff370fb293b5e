#include "kernels/feed_forward.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "kernels/norm.h"
#include "support/floats.h"

namespace textvec::kernels {
namespace {

using testing::Floats;
using testing::on_threads;
using testing::random_floats;

std::vector<std::byte> pack(const PackedShape& shape, const Floats& weights) {
  std::vector<std::byte> packed(shape.bytes());
  const std::size_t panel = PackedShape::kPanelColumns * shape.in_features;
  for (std::size_t i = 0; i < shape.panels(); ++i) {
    const auto rest = std::span<const float>(weights).subspan(i * panel);
    pack_panel(shape, rest.first(std::min(panel, rest.size())),
               std::span(packed).subspan(i * shape.panel_bytes(), shape.panel_bytes()));
  }
  return packed;
}

// Exactly as large as asked for, so that the address sanitizer sees a byte too many.
template <class Work>
void with_scratch(std::size_t bytes, const Work& work) {
  auto* scratch = static_cast<std::byte*>(::operator new(bytes, std::align_val_t(64)));
  work(std::span(scratch, bytes));
  ::operator delete(scratch, std::align_val_t(64));
}

struct Network {
  Network(WeightType weight_type, std::size_t hidden_size, std::size_t intermediate_size)
      : type(weight_type),
        hidden(hidden_size),
        intermediate(intermediate_size),
        up(pack({type, hidden, intermediate}, random_floats(hidden * intermediate, 1, 0.1F))),
        down(pack({type, intermediate, hidden}, random_floats(hidden * intermediate, 2, 0.1F))),
        up_bias(random_floats(intermediate, 3)),
        down_bias(random_floats(hidden, 4)),
        weight(random_floats(hidden, 5)),
        shift(random_floats(hidden, 6)) {}

  Floats run(const Floats& input, std::size_t threads) const {
    Floats output(input.size(), -1.0F);
    FeedForwardArguments given;
    given.type = type;
    given.hidden_size = hidden;
    given.intermediate_size = intermediate;
    given.input = input.data();
    given.rows = input.size() / hidden;
    given.up = up.data();
    given.up_bias = up_bias.data();
    given.down = down.data();
    given.down_bias = down_bias.data();
    given.function = function;
    given.norm_weight = weight.data();
    given.norm_shift = shift.data();
    given.epsilon = 1e-5F;
    given.output = output.data();
    given.rounding = preferred_rounding();
    given.threads = threads;
    with_scratch(feed_forward_scratch_bytes(given),
                 [&](std::span<std::byte> scratch) { feed_forward(given, scratch, on_threads); });
    return output;
  }

  Floats layer(const Floats& input, const std::vector<std::byte>& weights, std::size_t in_features,
               std::size_t out_features) const {
    Floats output(input.size() / in_features * out_features);
    const LinearOutput outputs[] = {{weights.data(), out_features, output.data()}};
    LinearArguments given;
    given.type = type;
    given.in_features = in_features;
    given.input = input.data();
    given.rows = input.size() / in_features;
    given.outputs = outputs;
    given.rounding = preferred_rounding();
    with_scratch(linear_scratch_bytes(given),
                 [&](std::span<std::byte> scratch) { linear(given, scratch, on_threads); });
    return output;
  }

  // One operator after the other, each on all rows; their own tests say that they are right.
  Floats twin(const Floats& input) const {
    const std::size_t rows = input.size() / hidden;
    Floats inner = layer(input, up, hidden, intermediate);
    activation({function, inner.data(), up_bias.data(), nullptr, inner.data(), rows, intermediate},
               on_threads);
    const Floats sums = layer(inner, down, intermediate, hidden);
    Floats output(input.size());
    norm({sums.data(), input.data(), down_bias.data(), weight.data(), shift.data(), 1e-5F,
          output.data(), rows, hidden},
         on_threads);
    return output;
  }

  WeightType type;
  std::size_t hidden, intermediate;
  std::vector<std::byte> up, down;
  Floats up_bias, down_bias, weight, shift;
  Activation function = Activation::Gelu;
};

class FeedForward : public ::testing::TestWithParam<WeightType> {};
INSTANTIATE_TEST_SUITE_P(Weights, FeedForward,
                         ::testing::Values(WeightType::F32, WeightType::BF16, WeightType::Int8),
                         [](const auto& type) { return std::string(to_string(type.param)); });

// Around the rows from which threads share rows and not columns, those of a block, and several.
TEST_P(FeedForward, IsItsPartsBitForBit) {
  const Network network(GetParam(), 33, 50);
  for (const std::size_t rows : {1U,  11U, 12U, 13U, 23U, 24U, 25U, 35U,  36U,  37U,  47U, 48U,
                                 49U, 71U, 72U, 73U, 95U, 96U, 97U, 143U, 144U, 145U, 300U}) {
    const Floats input = random_floats(rows * network.hidden, 7);
    const Floats wanted = network.twin(input);
    for (const std::size_t threads : {1U, 2U, 3U}) {
      ASSERT_EQ(network.run(input, threads), wanted) << rows << " rows, " << threads << " threads";
    }
  }
}

// More weights than are read again for each block: hidden x intermediate x 2, of 1 to 4 bytes.
TEST_P(FeedForward, OfManyWeightsToo) {
  const Network network(GetParam(), 1024, 4112);
  const Floats input = random_floats(100 * network.hidden, 9);
  EXPECT_EQ(network.run(input, 2), network.twin(input));
}

TEST_P(FeedForward, TakesEveryFunction) {
  Network network(GetParam(), 16, 40);
  const Floats input = random_floats(60 * network.hidden, 8);
  for (const auto function : {Activation::TanhGelu, Activation::Silu, Activation::Relu}) {
    network.function = function;
    EXPECT_EQ(network.run(input, 2), network.twin(input)) << to_string(function);
  }
}

TEST_P(FeedForward, OfNoRowsIsNothing) {
  EXPECT_TRUE(Network(GetParam(), 16, 40).run({}, 2).empty());
}

}  // namespace
}  // namespace textvec::kernels
