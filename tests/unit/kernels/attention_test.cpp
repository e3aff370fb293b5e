#include "kernels/attention.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>

#include "support/floats.h"

namespace textvec::kernels {
namespace {

using testing::bf16;
using testing::Floats;
using testing::on_threads;
using testing::random_floats;

struct Texts {
  Texts(std::vector<std::size_t> token_counts, std::size_t head_count, std::size_t size,
        std::size_t shared_by = 1)
      : tokens(std::move(token_counts)),
        heads(head_count),
        key_value_heads(head_count / shared_by),
        head_size(size) {
    const std::size_t count = begin_of(tokens.size());
    const std::size_t length = *std::max_element(tokens.begin(), tokens.end());
    queries = random_floats(count * width(), 1);
    keys = random_floats(count * key_width(), 2);
    values = random_floats(count * key_width(), 3);
    bias = random_floats(3 * width(), 4);
    const Floats angles = random_floats(length * head_size / 2, 5);
    for (const float angle : angles) {
      cosine.push_back(std::cos(angle));
      sine.push_back(std::sin(angle));
    }
  }

  std::size_t width() const { return heads * head_size; }
  std::size_t key_width() const { return key_value_heads * head_size; }
  // The text's first row.
  std::size_t begin_of(std::size_t text) const {
    return std::accumulate(tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(text),
                           std::size_t{0});
  }

  // Of the first text's queries behind `before` tokens, or of all.
  Floats run(const Tiles* tiles, std::size_t threads = 1, std::size_t before = 0) const {
    Floats output(queries.size() - before * width(), -1.0F);
    AttentionArguments given;
    given.queries = queries.data() + before * width();
    given.keys = keys.data();
    given.values = values.data();
    if (with_bias) given.bias = bias.data();
    if (rotary) {
      given.cosine = cosine.data();
      given.sine = sine.data();
    }
    given.causal = causal;
    given.coarse = coarse;
    given.tokens = tokens;
    given.before = before;
    given.heads = heads;
    given.key_value_heads = key_value_heads;
    given.head_size = head_size;
    given.output = output.data();
    given.threads = threads;
    given.tiles = tiles;
    // Exactly as large as asked for, so that the address sanitizer sees a byte too many.
    const std::size_t bytes = attention_scratch_bytes(given);
    auto* scratch = static_cast<std::byte*>(::operator new(bytes, std::align_val_t(64)));
    attention(given, {scratch, bytes}, on_threads);
    ::operator delete(scratch, std::align_val_t(64));
    return output;
  }

  // Component i of a head, turned by the token's angles.
  double turned(const Floats& of, std::size_t which, std::size_t row, std::size_t token,
                std::size_t begin, std::size_t i) const {
    const std::size_t stride = which == 0 ? width() : key_width();
    const auto at = [&](std::size_t component) {
      return static_cast<double>(of[row * stride + begin + component]);
    };
    const std::size_t half = head_size / 2;
    if (!rotary || which == 2) return at(i);
    const double c = cosine[token * half + i % half];
    const double s = sine[token * half + i % half];
    return i < half ? at(i) * c - at(i + half) * s : at(i) * c + at(i - half) * s;
  }
  double bias_of(std::size_t which, std::size_t component) const {
    return with_bias ? static_cast<double>(bias[which * width() + component]) : 0.0;
  }

  // The formula, in double, of one token: [width].
  std::vector<double> twin(std::size_t text, std::size_t token, bool rounded) const {
    const auto kept = [&](double value) {
      return rounded ? static_cast<double>(bf16(static_cast<float>(value))) : value;
    };
    const double scale = std::numbers::log2e / std::sqrt(static_cast<double>(head_size));
    std::vector<double> result(width());
    std::vector<double> weights(causal ? token + 1 : tokens[text]);
    const std::size_t first = begin_of(text);
    for (std::size_t head = 0; head < heads; ++head) {
      const std::size_t begin = head * head_size;
      const std::size_t shared = head * key_value_heads / heads * head_size;
      for (std::size_t key = 0; key < weights.size(); ++key) {
        weights[key] = 0;
        for (std::size_t i = 0; i < head_size; ++i) {
          const double query =
              turned(queries, 0, first + token, token, begin, i) + bias_of(0, begin + i);
          weights[key] +=
              kept(query * scale) *
              (kept(turned(keys, 1, first + key, key, shared, i)) + bias_of(1, shared + i));
        }
      }
      const double largest = *std::max_element(weights.begin(), weights.end());
      double sum = 0;
      for (double& weight : weights) {
        weight = std::exp2(weight - largest);
        sum += weight;
      }
      for (std::size_t i = 0; i < head_size; ++i) {
        for (std::size_t key = 0; key < weights.size(); ++key) {
          result[begin + i] +=
              weights[key] / sum *
              (kept(turned(values, 2, first + key, key, shared, i)) + bias_of(2, shared + i));
        }
      }
    }
    return result;
  }

  bool is_rounded(const Tiles* tiles) const { return coarse && !tiles->bf16_dot.empty(); }

  void expect_twin(const Tiles* tiles, std::size_t threads = 1) const {
    const Floats output = run(tiles, threads);
    const bool rounded = is_rounded(tiles);
    // The weights are rounded too, to 1 / 512 of theirs at most.
    const double tolerance = rounded ? 1e-2 : 1e-5;
    for (std::size_t text = 0; text < tokens.size(); ++text) {
      for (std::size_t token = 0; token < tokens[text]; ++token) {
        const float* found = &output[(begin_of(text) + token) * width()];
        const auto wanted = twin(text, token, rounded);
        for (std::size_t i = 0; i < width(); ++i) {
          ASSERT_NEAR(static_cast<double>(found[i]), wanted[i], tolerance)
              << head_size << ": " << text << ", " << token << ", " << i;
        }
      }
    }
  }

  std::vector<std::size_t> tokens;
  std::size_t heads, key_value_heads, head_size;
  bool with_bias = true;
  bool rotary = false;
  bool causal = false;
  bool coarse = false;
  Floats queries, keys, values, bias, cosine, sine;
};

class EveryTilesAttend : public ::testing::TestWithParam<const Tiles*> {};
INSTANTIATE_TEST_SUITE_P(Attention, EveryTilesAttend, ::testing::ValuesIn(usable_tiles()),
                         [](const auto& tiles) {
                           std::string name(tiles.param->name);
                           std::erase_if(name, [](char c) { return std::isalnum(c) == 0; });
                           return name;
                         });

const std::vector<std::size_t> kTokens{1, 2, 5, 6, 11, 12, 13, 15, 16, 17, 31, 32, 33, 48, 50};

// Around the 16 queries of a panel, the 32 of two, and the rows of every tile, heads of any size;
// the last is of 2 KiB in all, which the cache does not like.
TEST_P(EveryTilesAttend, AsTheFormulaSays) {
  for (const std::size_t head_size : {1U, 12U, 13U, 16U, 17U, 32U, 80U, 256U}) {
    Texts texts(kTokens, 2, head_size);
    for (const bool with_bias : {false, true}) {
      texts.with_bias = with_bias;
      for (const bool coarse : {false, true}) {
        texts.coarse = coarse;
        texts.expect_twin(GetParam());
      }
    }
  }
}

TEST_P(EveryTilesAttend, AsADecoderDoes) {
  for (const std::size_t head_size : {2U, 12U, 16U, 34U, 128U}) {
    for (const std::size_t shared_by : {1U, 2U, 4U}) {
      Texts texts(kTokens, 4, head_size, shared_by);
      texts.with_bias = false;
      texts.causal = true;
      for (const bool coarse : {false, true}) {
        texts.coarse = coarse;
        for (const bool rotary : {false, true}) {
          texts.rotary = rotary;
          // Heads that share keys are one thread's; of many threads, each one's.
          texts.expect_twin(GetParam(), 1);
          texts.expect_twin(GetParam(), 64);
        }
      }
    }
  }
}

TEST_P(EveryTilesAttend, CoarselyOnlyWhereThatIsFaster) {
  Texts texts({40}, 2, 32);
  const Floats fine = texts.run(GetParam());
  texts.coarse = true;
  EXPECT_EQ(texts.run(GetParam()) != fine, !GetParam()->bf16_dot.empty());
}

TEST_P(EveryTilesAttend, TheSameInPieces) {
  for (const std::size_t head_size : {34U, 128U}) {
    Texts text({50}, 4, head_size, 2);
    text.with_bias = false;
    text.causal = text.rotary = true;
    for (const bool coarse : {false, true}) {
      text.coarse = coarse;
      const Floats whole = text.run(GetParam());
      for (const std::size_t before : {1U, 15U, 16U, 17U, 33U, 49U}) {
        const auto rest = whole.begin() + static_cast<std::ptrdiff_t>(before * text.width());
        EXPECT_EQ(text.run(GetParam(), 1, before), Floats(rest, whole.end())) << before;
      }
    }
  }
}

// Of one thread, of several that have all heads of the same keys, and of many that do not.
TEST_P(EveryTilesAttend, TheSameInAnyCompany) {
  for (const bool decoder : {false, true}) {
    for (const bool coarse : {false, true}) {
      Texts texts({70, 3, 16, 40}, 4, 32, decoder ? 2 : 1);
      texts.rotary = texts.causal = decoder;
      texts.with_bias = !decoder;
      texts.coarse = coarse;
      const Floats together = texts.run(GetParam());
      for (const std::size_t threads : {3U, 64U}) {
        EXPECT_EQ(texts.run(GetParam(), threads), together) << threads;
      }
      for (std::size_t text = 0; text < texts.tokens.size(); ++text) {
        const auto own = [&](const Floats& all, std::size_t width) {
          const std::size_t first = texts.begin_of(text) * width;
          const auto begin = all.begin() + static_cast<std::ptrdiff_t>(first);
          return Floats(begin, begin + static_cast<std::ptrdiff_t>(texts.tokens[text] * width));
        };
        Texts alone = texts;
        alone.tokens = {texts.tokens[text]};
        alone.queries = own(texts.queries, texts.width());
        alone.keys = own(texts.keys, texts.key_width());
        alone.values = own(texts.values, texts.key_width());
        EXPECT_EQ(alone.run(GetParam()), own(together, texts.width())) << text;
      }
    }
  }
}

// A query's fault is its own token's, a key's or a value's all tokens' of its text.
TEST_P(EveryTilesAttend, KeepWhatIsWrongInItsText) {
  Texts texts({20, 20, 20}, 2, 16);
  const std::size_t of_text = 20 * texts.width();
  const std::size_t wrong_token = of_text + 7 * texts.width();
  for (const bool coarse : {false, true}) {
    texts.coarse = coarse;
    const Floats good = texts.run(GetParam());
    for (Floats Texts::* const of : {&Texts::queries, &Texts::keys, &Texts::values}) {
      Texts wrong = texts;
      // All of its bits, which rounding must not carry over.
      std::fill_n((wrong.*of).begin() + static_cast<std::ptrdiff_t>(wrong_token), texts.width(),
                  std::bit_cast<float>(0x7FFFFFFFU));
      const Floats output = wrong.run(GetParam());
      for (std::size_t i = 0; i < output.size(); ++i) {
        const bool own_token = i >= wrong_token && i < wrong_token + texts.width();
        if (of == &Texts::queries ? own_token : i / of_text == 1) {
          ASSERT_TRUE(std::isnan(output[i])) << i;
        } else {
          ASSERT_EQ(output[i], good[i]) << i;
        }
      }
    }
  }
}

// Scores that no exponential can hold.
TEST_P(EveryTilesAttend, ToTheLargestOfHugeScores) {
  Texts texts({3}, 1, 16);
  texts.with_bias = false;
  for (float& value : texts.queries) value = 100;
  for (std::size_t i = 0; i < texts.keys.size(); ++i) {
    texts.keys[i] = i / 16 == 1 ? 100.0F : -100.0F;
  }
  for (const bool coarse : {false, true}) {
    texts.coarse = coarse;
    const Floats output = texts.run(GetParam());
    for (std::size_t i = 0; i < output.size(); ++i) {
      EXPECT_NEAR(output[i], texts.values[16 + i % 16], texts.is_rounded(GetParam()) ? 1e-2 : 1e-6)
          << i;
    }
  }
}

}  // namespace
}  // namespace textvec::kernels
