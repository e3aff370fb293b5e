// The compiled graph against the slow twin: every family, every activation, with and without
// padding.
#include <gtest/gtest.h>

#include "batch/batch.h"
#include "graph/compile.h"
#include "model/safetensors.h"
#include "model/spec.h"
#include "runtime/session.h"
#include "support/slow_bert.h"
#include "support/temporary_folder.h"
#include "support/tiny_model.h"

namespace textvec {
namespace {

using testing::SlowBert;
using testing::TemporaryFolder;
using testing::TinyModel;
using testing::TinyShape;

struct Compiled {
  std::unique_ptr<runtime::Session> session{};
  graph::OnnxModel model{};
};

Compiled compile(const TinyModel& tiny, const std::filesystem::path& folder,
                 const std::filesystem::path& cache) {
  tiny.write(folder);
  const auto spec = model::read_spec(folder);
  EXPECT_TRUE(spec) << spec.error().message;
  const auto weights = model::Weights::open(folder);
  EXPECT_TRUE(weights) << weights.error().message;
  auto graph = graph::compile(*spec, *weights, graph::Target::Fused, Precision::Auto, cache, {});
  EXPECT_TRUE(graph) << graph.error().message;
  Compiled compiled;
  compiled.model = *graph;
  auto session = runtime::open_session(std::move(*graph), {});
  EXPECT_TRUE(session) << session.error().message;
  compiled.session = std::move(*session);
  return compiled;
}

void expect_equal_to_slow_twin(const TinyModel& tiny, runtime::Session& session) {
  const std::vector<batch::Text> texts{{{2, 7, 3}, {}, 0},
                                       {{2, 11, 12, 13, 14, 15, 16, 17, 3}, {}, 0},
                                       {{2, 3}, {}, 0},
                                       {{2, 39, 39, 4, 5, 3}, {}, 0},
                                       {{2, 1, 8, 1, 1, 9, 3}, {}, 0}};  // roberta's padding
  std::vector<const batch::Text*> pointers;
  for (const auto& text : texts) pointers.push_back(&text);
  const auto states = session.run(batch::make_batch(pointers, 0), {});
  ASSERT_TRUE(states) << states.error().message;
  ASSERT_EQ(states->rows, texts.size());
  ASSERT_EQ(states->length, 9U);
  ASSERT_EQ(states->width, tiny.shape().hidden_size);
  for (std::size_t row = 0; row < texts.size(); ++row) {
    const auto expected = SlowBert(tiny).run(texts[row].ids);
    for (std::size_t token = 0; token < expected.size(); ++token) {
      for (std::size_t i = 0; i < expected[token].size(); ++i) {
        // Values are around 1; float rounding through two layers stays below this.
        EXPECT_NEAR(states->row(row)[token * states->width + i], expected[token][i], 2e-5)
            << "row " << row << " token " << token << " component " << i;
      }
    }
  }
}

class FusedBert : public ::testing::TestWithParam<std::pair<const char*, const char*>> {};

TEST_P(FusedBert, EqualsTheSlowTwin) {
  TinyShape shape;
  shape.type = GetParam().first;
  shape.activation = GetParam().second;
  const TinyModel tiny(shape);
  const TemporaryFolder folder;
  const TemporaryFolder cache;
  const auto compiled = compile(tiny, folder.path(), cache.path());
  EXPECT_TRUE(compiled.model.model.empty()) << "the graph should be in the cache";
  expect_equal_to_slow_twin(tiny, *compiled.session);
}

INSTANTIATE_TEST_SUITE_P(FamiliesAndActivations, FusedBert,
                         ::testing::Values(std::pair{"bert", "gelu"}, std::pair{"bert", "relu"},
                                           std::pair{"bert", "gelu_new"},
                                           std::pair{"roberta", "gelu"},
                                           std::pair{"xlm-roberta", "gelu"},
                                           std::pair{"distilbert", "gelu"},
                                           std::pair{"distilbert", "relu"}));

TEST(FusedBertInMemory, EqualsTheSlowTwinWhenTheCacheCannotBeWritten) {
  const TinyModel tiny;
  const TemporaryFolder folder;
  testing::write_file(folder / "occupied", "a file where the cache folder should be");
  const auto compiled = compile(tiny, folder / "model", folder / "occupied");
  EXPECT_FALSE(compiled.model.model.empty());
  expect_equal_to_slow_twin(tiny, *compiled.session);
}

TEST(FusedBertErrors, ATensorOfAnotherShapeIsNamed) {
  TinyModel tiny;
  auto& tensor = tiny.tensors().at("encoder.layer.1.output.dense.weight");
  tensor.shape = {tensor.shape[1], tensor.shape[0]};
  const TemporaryFolder folder;
  tiny.write(folder.path());
  const auto spec = model::read_spec(folder.path());
  ASSERT_TRUE(spec);
  const auto weights = model::Weights::open(folder.path());
  ASSERT_TRUE(weights);
  const auto graph =
      graph::compile(*spec, *weights, graph::Target::Fused, Precision::F32, folder / "cache", {});
  ASSERT_FALSE(graph);
  EXPECT_EQ(graph.error().code, ErrorCode::BadModel);
  EXPECT_NE(graph.error().message.find("encoder.layer.1.output.dense.weight"), std::string::npos)
      << graph.error().message;
  EXPECT_FALSE(std::filesystem::exists(folder / "cache/graphs")) << "nothing half-written";
}

TEST(FusedBertErrors, AMissingTensorIsNamed) {
  TinyModel tiny;
  tiny.tensors().erase("encoder.layer.0.attention.self.key.bias");
  const TemporaryFolder folder;
  tiny.write(folder.path());
  const auto spec = model::read_spec(folder.path());
  ASSERT_TRUE(spec);
  const auto weights = model::Weights::open(folder.path());
  ASSERT_TRUE(weights);
  const auto graph =
      graph::compile(*spec, *weights, graph::Target::Fused, Precision::F32, folder / "cache", {});
  ASSERT_FALSE(graph);
  EXPECT_NE(graph.error().message.find("encoder.layer.0.attention.self.key.bias"),
            std::string::npos);
}

TEST(FusedBertErrors, WhatIsNotThereYetIsSaid) {
  const TinyModel tiny;
  const TemporaryFolder folder;
  tiny.write(folder.path());
  const auto spec = model::read_spec(folder.path());
  const auto weights = model::Weights::open(folder.path());
  ASSERT_TRUE(spec);
  ASSERT_TRUE(weights);
  const auto statically =
      graph::compile(*spec, *weights, graph::Target::Static, Precision::F32, folder / "cache", {});
  ASSERT_FALSE(statically);
  EXPECT_EQ(statically.error().code, ErrorCode::Unsupported);
  const auto halved =
      graph::compile(*spec, *weights, graph::Target::Fused, Precision::F16, folder / "cache", {});
  ASSERT_FALSE(halved);
  EXPECT_EQ(halved.error().code, ErrorCode::Unsupported);
}

}  // namespace
}  // namespace textvec
