// Static graphs against the slow twins: every family, grouped heads, both poolings, texts padded to
// buckets, split over them, and longer than all of them.
#include "runtime/static_session.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cmath>

#include "batch/batch.h"
#include "graph/compile.h"
#include "support/slow_bert.h"
#include "support/temporary_folder.h"
#include "support/tiny_model.h"
#include "support/tiny_qwen3.h"

namespace textvec {
namespace {

using testing::SlowBert;
using testing::SlowQwen3;
using testing::TemporaryFolder;
using testing::TinyModel;
using testing::TinyQwen3;
using testing::TinyQwen3Shape;
using testing::TinyShape;

using Rows = std::vector<std::vector<double>>;

const std::vector<Bucket> kBuckets{{1, 8}, {2, 4}, {3, 12}};

struct Opened {
  std::unique_ptr<runtime::StaticSession> session{};
  std::shared_ptr<std::atomic<int>> any_shape_opened = std::make_shared<std::atomic<int>>(0);
};

template <class Tiny>
Opened open(const Tiny& tiny, Pooling pooling, Precision precision,
            const std::filesystem::path& cache = {}, std::vector<Bucket> buckets = kBuckets) {
  const TemporaryFolder folder;
  tiny.write(folder.path());
  auto spec = model::read_spec(folder.path());
  EXPECT_TRUE(spec) << spec.error().message;
  spec->pooling = pooling;
  auto weights = model::Weights::open(folder.path());
  EXPECT_TRUE(weights) << weights.error().message;
  const auto shared = std::make_shared<const model::Weights>(std::move(*weights));
  auto model = graph::StaticModel::compile(*spec, shared, precision, cache, {});
  EXPECT_TRUE(model) << model.error().message;
  Opened opened;
  runtime::StaticOptions options;
  options.buckets = std::move(buckets);
  options.cache_folder = cache;
  options.open_any_shape = [spec = *spec, shared, count = opened.any_shape_opened] {
    ++*count;
    auto graph = graph::compile(spec, *shared, graph::Target::Fused, Precision::F32, {}, {});
    EXPECT_TRUE(graph);
    return runtime::open_session(std::move(*graph), {});
  };
  auto session = runtime::open_static_session(std::move(*model), std::move(options));
  EXPECT_TRUE(session) << session.error().message;
  opened.session = std::move(*session);
  return opened;
}

// `tolerance` is of a component; values are around 1.
void expect_rows(runtime::Session& session, const std::vector<batch::Text>& texts,
                 const std::vector<Rows>& expected, double tolerance) {
  std::vector<const batch::Text*> pointers;
  for (const auto& text : texts) pointers.push_back(&text);
  const batch::Batch batch = batch::make_batch(pointers, 0);
  const auto states = session.run(batch, {});
  ASSERT_TRUE(states) << states.error().message;
  ASSERT_EQ(states->rows, texts.size());
  ASSERT_EQ(states->length, session.info().pooled ? 1 : batch.length);
  ASSERT_EQ(states->width, expected.front().front().size());
  for (std::size_t row = 0; row < texts.size(); ++row) {
    const Rows& rows = expected[row];
    for (std::size_t token = session.info().pooled ? rows.size() - 1 : 0; token < rows.size();
         ++token) {
      const std::size_t begin = session.info().pooled ? 0 : token * states->width;
      for (std::size_t i = 0; i < states->width; ++i) {
        ASSERT_NEAR(states->row(row)[begin + i], rows[token][i], tolerance)
            << "row " << row << " token " << token << " component " << i;
      }
    }
  }
}

std::vector<batch::Text> texts_of(const std::vector<std::size_t>& lengths) {
  std::vector<batch::Text> texts;
  for (const std::size_t length : lengths) {
    batch::Text text;
    for (std::size_t i = 0; i < length; ++i) {
      text.ids.push_back(static_cast<std::uint32_t>((length + i * i * 7 + i) % 40));
    }
    texts.push_back(std::move(text));
  }
  return texts;
}

template <class Slow, class Tiny>
std::vector<Rows> slow_rows(const Tiny& tiny, const std::vector<batch::Text>& texts) {
  std::vector<Rows> rows;
  for (const auto& text : texts) {
    const auto run = Slow(tiny).run(text.ids);
    rows.emplace_back(run.begin(), run.end());
  }
  return rows;
}

// 1 to 12 tokens fill every bucket, in part and whole; 13 and 20 are longer than all of them.
const std::vector<std::size_t> kLengths{3, 12, 1, 8, 9, 4, 5, 13, 2, 11, 20, 4};

TinyQwen3 grouped(std::size_t heads, std::size_t key_value_heads, bool bias = false) {
  TinyQwen3Shape shape;
  shape.heads = heads;
  shape.key_value_heads = key_value_heads;
  shape.attention_bias = bias;
  if (bias) shape.prefix = "model.";
  return TinyQwen3(shape);
}

TEST(StaticQwen3, EqualsTheSlowTwin) {
  for (const TinyQwen3& tiny : {grouped(4, 1), grouped(4, 2), grouped(3, 3), grouped(4, 2, true)}) {
    for (const Pooling pooling : {Pooling::LastToken, Pooling::Mean}) {
      const auto texts = texts_of(kLengths);
      const auto opened = open(tiny, pooling, Precision::F32);
      EXPECT_EQ(opened.session->info().pooled, pooling == Pooling::LastToken);
      expect_rows(*opened.session, texts, slow_rows<SlowQwen3>(tiny, texts), 2e-5);
      EXPECT_EQ(*opened.any_shape_opened, 1);
    }
  }
}

class StaticBert : public ::testing::TestWithParam<std::pair<const char*, const char*>> {};

TEST_P(StaticBert, EqualsTheSlowTwin) {
  TinyShape shape;
  shape.type = GetParam().first;
  shape.activation = GetParam().second;
  const TinyModel tiny(shape);
  auto texts = texts_of(kLengths);
  texts.push_back({{2, 1, 8, 1, 1, 9, 3}, {}, 0});  // roberta's padding
  const auto opened = open(tiny, Pooling::Mean, Precision::F32);
  expect_rows(*opened.session, texts, slow_rows<SlowBert>(tiny, texts), 2e-5);
}

INSTANTIATE_TEST_SUITE_P(FamiliesAndActivations, StaticBert,
                         ::testing::Values(std::pair{"bert", "gelu"}, std::pair{"bert", "relu"},
                                           std::pair{"bert", "gelu_new"},
                                           std::pair{"roberta", "gelu"},
                                           std::pair{"distilbert", "gelu"}));

TEST(StaticHalf, IsNearTheSlowTwinAndOnAProcessorNotTheSame) {
  const TinyQwen3 tiny;
  const auto texts = texts_of({3, 12, 1, 8});
  const auto opened = open(tiny, Pooling::LastToken, Precision::F16);
  EXPECT_TRUE(opened.session->info().half);
  expect_rows(*opened.session, texts, slow_rows<SlowQwen3>(tiny, texts), 0.05);
  const auto whole = open(tiny, Pooling::LastToken, Precision::F32);
  const batch::Text* only = &texts[1];
  const auto batch = batch::make_batch({&only, 1}, 0);
  const auto half_states = opened.session->run(batch, {});
  const auto states = whole.session->run(batch, {});
  ASSERT_TRUE(half_states);
  ASSERT_TRUE(states);
  EXPECT_FALSE(
      std::equal(states->values.begin(), states->values.end(), half_states->values.begin()));
}

TEST(StaticSession, OpensABucketAtItsFirstUse) {
  const TemporaryFolder cache;
  const auto opened = open(TinyQwen3(), Pooling::LastToken, Precision::F32, cache.path());
  const auto is_open = [&] {
    std::string open;
    for (const BucketInfo& info : opened.session->buckets()) {
      EXPECT_GT(info.program_bytes, 0U);
      EXPECT_EQ(info.disk_bytes, 0U) << "a processor keeps no programs";
      open += info.memory_bytes > 0 ? 'o' : '-';
    }
    return open;
  };
  EXPECT_EQ(is_open().substr(1), "--") << "the smaller of two of the same cost is not needed";
  const auto texts = texts_of({12, 12, 12});
  expect_rows(*opened.session, texts, slow_rows<SlowQwen3>(TinyQwen3(), texts), 2e-5);
  EXPECT_EQ(*opened.any_shape_opened, 0);
  EXPECT_FALSE(std::filesystem::exists(cache / "programs"));
}

TEST(StaticSession, AStopIsHeededBetweenRuns) {
  const auto opened = open(TinyQwen3(), Pooling::LastToken, Precision::F32);
  const auto texts = texts_of({3});
  const batch::Text* only = &texts.front();
  std::stop_source source;
  source.request_stop();
  const auto states = opened.session->run(batch::make_batch({&only, 1}, 0), source.get_token());
  ASSERT_FALSE(states);
  EXPECT_EQ(states.error().code, ErrorCode::Cancelled);
}

TEST(StaticSession, ATokenWithoutARowIsNamed) {
  const auto opened = open(TinyQwen3(), Pooling::LastToken, Precision::F32);
  const batch::Text text{{3, 40}, {}, 0};
  const batch::Text* only = &text;
  const auto states = opened.session->run(batch::make_batch({&only, 1}, 0), {});
  ASSERT_FALSE(states);
  EXPECT_NE(states.error().message.find("token 40; the model has 40"), std::string::npos);
}

TEST(StaticSession, AStaticGraphIsNoStrangersFile) {
  const TemporaryFolder folder;
  TinyQwen3().write(folder / "model");
  const auto spec = model::read_spec(folder / "model");
  const auto weights = model::Weights::open(folder / "model");
  ASSERT_TRUE(spec);
  ASSERT_TRUE(weights);
  auto models = graph::compile_static_to(*spec, *weights, Precision::F32, {{1, 8}}, folder / "out");
  ASSERT_TRUE(models);
  const auto session = runtime::open_session(std::move(models->front()), {});
  ASSERT_FALSE(session);
  EXPECT_EQ(session.error().code, ErrorCode::Unsupported);
}

}  // namespace
}  // namespace textvec
