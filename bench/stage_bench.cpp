// In: a model, $TEXTVEC_MODEL or the default one. Out: how long each stage of a text's way takes,
// one thread each unless the name says more: tokenising, planning, the matrix products at the
// model's shapes, activations, pooling. engine_bench has the whole.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "batch/batch.h"
#include "kernels/activation.h"
#include "kernels/linear.h"
#include "load.h"
#include "vectors/pooling.h"
#include "vectors/vector.h"

namespace {

using namespace textvec;

constexpr const char* kDefaultModel = "sentence-transformers/all-MiniLM-L6-v2";

const LoadedModel& model() {
  static const LoadedModel loaded = [] {
    const char* name = std::getenv("TEXTVEC_MODEL");
    LoadOptions options;
    options.threads = 1;
    return load_model(name != nullptr ? name : kDefaultModel, options).value();
  }();
  return loaded;
}

std::vector<float> random_floats(std::size_t count) {
  std::mt19937 random(0);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

// `count` of each turn, after the last one. Threads are added up, which a count that does not vary
// with the turns would be twice.
void rate(benchmark::State& state, const char* name, double count) {
  state.counters[name] = benchmark::Counter(count * static_cast<double>(state.iterations()),
                                            benchmark::Counter::kIsRate);
}

// A text of so many words that no two texts share: a tokenizer may remember what it has seen.
std::string words(std::size_t count, std::mt19937& random) {
  std::string text;
  for (std::size_t i = 0; i < count; ++i) {
    if (i != 0) text += ' ';
    for (std::size_t letters = 2 + random() % 8; letters > 0; --letters) {
      text += static_cast<char>('a' + random() % 26);
    }
  }
  return text;
}

void tokenize(benchmark::State& state) {
  const tokens::Tokenizer& tokenizer = model().tokenizer;
  std::mt19937 random(0);
  std::vector<std::string> texts;
  for (int i = 0; i < 1000; ++i) {
    texts.push_back(words(static_cast<std::size_t>(state.range(0)), random));
  }
  std::size_t next = 0, made = 0;
  for (auto _ : state) {
    const auto encoding = tokenizer.encode(texts[next++ % texts.size()], {});
    if (!encoding) return state.SkipWithError(encoding.error().message.c_str());
    made += encoding->ids.size();
  }
  state.counters["tokens/s"] =
      benchmark::Counter(static_cast<double>(made), benchmark::Counter::kIsRate);
}

void plan(benchmark::State& state) {
  std::mt19937 random(0);
  std::vector<std::size_t> lengths(static_cast<std::size_t>(state.range(0)));
  for (std::size_t& length : lengths) length = 5 + random() % 496;
  for (auto _ : state) benchmark::DoNotOptimize(batch::plan(lengths, {}));
  rate(state, "texts/s", static_cast<double>(lengths.size()));
}

void make_batch(benchmark::State& state) {
  const batch::Text text{std::vector<std::uint32_t>(static_cast<std::size_t>(state.range(1)), 1)};
  const std::vector<const batch::Text*> rows(static_cast<std::size_t>(state.range(0)), &text);
  for (auto _ : state) benchmark::DoNotOptimize(batch::make_batch(rows, 0));
  rate(state, "texts/s", static_cast<double>(rows.size()));
}

struct Layer {
  kernels::PackedShape shape{};
  std::vector<std::byte> weights{};
};

Layer make_layer(kernels::WeightType type, std::size_t in, std::size_t out) {
  Layer layer{{type, in, out}};
  const auto values = random_floats(in * out);
  layer.weights.resize(layer.shape.bytes());
  const std::size_t panel = kernels::PackedShape::kPanelColumns * in;
  for (std::size_t i = 0; i < layer.shape.panels(); ++i) {
    const auto rest = std::span<const float>(values).subspan(i * panel);
    kernels::pack_panel(
        layer.shape, rest.first(std::min(panel, rest.size())),
        std::span(layer.weights).subspan(i * layer.shape.panel_bytes(), layer.shape.panel_bytes()));
  }
  return layer;
}

void in_turn(std::size_t count, const std::function<void(std::size_t)>& work) {
  for (std::size_t i = 0; i < count; ++i) work(i);
}

// rows x in -> out. With several threads each has rows of its own and the weights are shared.
void linear(benchmark::State& state, kernels::WeightType type) {
  static Layer layer;
  const auto rows = static_cast<std::size_t>(state.range(0));
  const auto in = static_cast<std::size_t>(state.range(1));
  const auto out = static_cast<std::size_t>(state.range(2));
  if (state.thread_index() == 0) layer = make_layer(type, in, out);
  const auto input = random_floats(rows * in);
  std::vector<float> output(rows * out);
  kernels::LinearArguments arguments;
  arguments.input = input.data();
  kernels::LinearOutput of_layer;
  of_layer.output = output.data();
  arguments.outputs = {&of_layer, 1};
  arguments.rows = rows;
  arguments.rounding = kernels::preferred_rounding();
  std::vector<std::byte> memory;
  std::span<std::byte> scratch;
  for (auto _ : state) {
    if (scratch.empty()) {  // after the wait for all threads: now there is a layer
      arguments.type = layer.shape.type;
      arguments.in_features = layer.shape.in_features;
      of_layer.weights = layer.weights.data();
      of_layer.out_features = layer.shape.out_features;
      const std::size_t bytes = kernels::linear_scratch_bytes(arguments);
      memory.resize(bytes + 64);
      void* aligned = memory.data();
      std::size_t space = memory.size();
      scratch = {static_cast<std::byte*>(std::align(64, bytes, aligned, space)), bytes};
    }
    kernels::linear(arguments, scratch, in_turn);
    benchmark::ClobberMemory();
  }
  rate(state, "operations/s", 2.0 * static_cast<double>(rows * in * out));
}

// With a bias, or as a gate.
void activation(benchmark::State& state, kernels::Activation function, bool gated) {
  const auto rows = static_cast<std::size_t>(state.range(0));
  const auto width = static_cast<std::size_t>(state.range(1));
  const auto input = random_floats(rows * width);
  const auto bias = random_floats(width);
  std::vector<float> output(rows * width);
  kernels::ActivationArguments arguments;
  arguments.function = function;
  arguments.input = input.data();
  if (gated) {
    arguments.factor = input.data();
  } else {
    arguments.bias = bias.data();
  }
  arguments.output = output.data();
  arguments.rows = rows;
  arguments.width = width;
  for (auto _ : state) {
    kernels::activation(arguments, in_turn);
    benchmark::ClobberMemory();
  }
  rate(state, "numbers/s", static_cast<double>(rows * width));
}

void pool(benchmark::State& state, Pooling pooling) {
  const auto tokens = static_cast<std::size_t>(state.range(0));
  const auto width = static_cast<std::size_t>(state.range(1));
  const auto hidden = random_floats(tokens * width);
  std::vector<float> pooled(width), finished(width);
  for (auto _ : state) {
    vectors::pool(pooling, hidden, 0, tokens, pooled);
    if (!vectors::finish_vector(pooled, true, finished)) return state.SkipWithError("not finite");
    benchmark::DoNotOptimize(finished.data());
  }
  rate(state, "tokens/s", static_cast<double>(tokens));
}

// The shapes of MiniLM (384, 1536) and Qwen3-0.6B (1024, 2048, 3072), for one short text, one long
// text, and a full batch.
void layers(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"rows", "in", "out"});
  for (const std::int64_t rows : {12, 256, 1024}) {
    bench->Args({rows, 384, 384})->Args({rows, 384, 1536})->Args({rows, 1536, 384});
    bench->Args({rows, 1024, 2048})->Args({rows, 1024, 3072})->Args({rows, 3072, 1024});
  }
  bench->Threads(1)->Threads(2)->UseRealTime()->Unit(benchmark::kMicrosecond);
}

}  // namespace

BENCHMARK(tokenize)->ArgName("words")->Arg(10)->Arg(100)->Arg(400)->Unit(benchmark::kMicrosecond);
BENCHMARK(plan)->ArgName("texts")->Arg(64)->Arg(1024)->Unit(benchmark::kMicrosecond);
BENCHMARK(make_batch)
    ->ArgNames({"texts", "tokens"})
    ->Args({1, 12})
    ->Args({8, 128})
    ->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(linear, f32, textvec::kernels::WeightType::F32)->Apply(layers);
BENCHMARK_CAPTURE(linear, bf16, textvec::kernels::WeightType::BF16)->Apply(layers);
BENCHMARK_CAPTURE(linear, int8, textvec::kernels::WeightType::Int8)->Apply(layers);
BENCHMARK_CAPTURE(activation, gelu, textvec::kernels::Activation::Gelu, false)
    ->ArgNames({"rows", "width"})
    ->Args({12, 1536})
    ->Args({1024, 1536})
    ->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(activation, gelu_tanh, textvec::kernels::Activation::TanhGelu, false)
    ->ArgNames({"rows", "width"})
    ->Args({12, 3072})
    ->Args({256, 3072})
    ->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(activation, gated_silu, textvec::kernels::Activation::Silu, true)
    ->ArgNames({"rows", "width"})
    ->Args({12, 3072})
    ->Args({256, 3072})
    ->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(pool, mean, textvec::Pooling::Mean)
    ->ArgNames({"tokens", "width"})
    ->Args({12, 384})
    ->Args({256, 384})
    ->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(pool, last_token, textvec::Pooling::LastToken)
    ->ArgNames({"tokens", "width"})
    ->Args({1, 1024})
    ->Unit(benchmark::kMicrosecond);

BENCHMARK_MAIN();
