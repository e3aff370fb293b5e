// The compiled decoder against the slow twin: shared heads, both poolings, texts of one piece and
// of several, alone and padded in a batch.
#include <gtest/gtest.h>

#include <numeric>

#include "batch/batch.h"
#include "graph/fused.h"
#include "graph/qwen3.h"
#include "model/safetensors.h"
#include "model/spec.h"
#include "runtime/session.h"
#include "support/temporary_folder.h"
#include "support/tiny_qwen3.h"

namespace textvec {
namespace {

using testing::SlowQwen3;
using testing::TemporaryFolder;
using testing::TinyQwen3;
using testing::TinyQwen3Shape;

constexpr auto kExact = graph::FusedTarget::Linears::Exact;
constexpr auto kStandard = graph::FusedTarget::Linears::Standard;
constexpr std::size_t kPiece = graph::FusedTarget::kPieceTokensMin;

Result<graph::OnnxModel> build(const std::filesystem::path& folder, Pooling pooling,
                               std::int64_t piece_work,
                               graph::FusedTarget::Linears linears = kExact) {
  const auto spec = model::read_spec(folder);
  if (!spec) return spec.error();
  const auto weights = model::Weights::open(folder);
  if (!weights) return weights.error();
  graph::FusedTarget target(*weights, linears, piece_work);
  graph::build_qwen3(spec->transformer, pooling, *weights, target);
  if (const auto status = target.status(); !status) return status.error();
  return std::move(target).take_file().build_in_memory({});
}

std::unique_ptr<runtime::Session> open(const TinyQwen3& tiny, Pooling pooling,
                                       std::int64_t piece_work,
                                       graph::FusedTarget::Linears linears = kExact) {
  const TemporaryFolder folder;
  tiny.write(folder.path());
  auto graph = build(folder.path(), pooling, piece_work, linears);
  EXPECT_TRUE(graph) << graph.error().message;
  auto session = runtime::open_session(std::move(*graph), {});
  EXPECT_TRUE(session) << session.error().message;
  return std::move(*session);
}

batch::Text text_of(std::size_t tokens, std::uint32_t seed) {
  batch::Text text;
  for (std::size_t i = 0; i < tokens; ++i) {
    text.ids.push_back(static_cast<std::uint32_t>((seed + i * i * 7 + i) % 40));
  }
  return text;
}

void expect_twin(const TinyQwen3& tiny, const runtime::HiddenStates& states, std::size_t row,
                 const batch::Text& text, bool pooled) {
  const auto expected = SlowQwen3(tiny).run(text.ids);
  for (std::size_t token = pooled ? text.ids.size() - 1 : 0; token < text.ids.size(); ++token) {
    const std::size_t begin = pooled ? 0 : token * states.width;
    for (std::size_t i = 0; i < states.width; ++i) {
      // Values are around 1; float rounding through two layers stays below this.
      ASSERT_NEAR(states.row(row)[begin + i], expected[token][i], 2e-5)
          << "row " << row << " token " << token << " component " << i;
    }
  }
}

void expect_batch_equals_twin(const TinyQwen3& tiny, const std::vector<std::size_t>& lengths,
                              Pooling pooling, std::int64_t piece_work,
                              graph::FusedTarget::Linears linears = kExact) {
  const auto session = open(tiny, pooling, piece_work, linears);
  const bool pooled = pooling == Pooling::LastToken;
  EXPECT_EQ(session->info().pooled, pooled);
  std::vector<batch::Text> texts;
  std::vector<const batch::Text*> pointers;
  texts.reserve(lengths.size());
  for (const std::size_t length : lengths) {
    texts.push_back(text_of(length, static_cast<std::uint32_t>(length)));
    pointers.push_back(&texts.back());
  }
  const auto states = session->run(batch::make_batch(pointers, 0), {});
  ASSERT_TRUE(states) << states.error().message;
  for (std::size_t row = 0; row < texts.size(); ++row) {
    expect_twin(tiny, *states, row, texts[row], pooled);
  }
}

class FusedQwen3 : public ::testing::TestWithParam<std::pair<std::size_t, std::size_t>> {
 protected:
  static TinyQwen3 tiny() {
    TinyQwen3Shape shape;
    shape.heads = GetParam().first;
    shape.key_value_heads = GetParam().second;
    return TinyQwen3(shape);
  }
};

TEST_P(FusedQwen3, EqualsTheSlowTwinInOnePiece) {
  for (const Pooling pooling : {Pooling::LastToken, Pooling::Mean}) {
    expect_batch_equals_twin(tiny(), {3, 9, 1, 6}, pooling, graph::FusedTarget::kPieceWork);
  }
}

// Of textvec's own operators and of ONNX Runtime's.
TEST_P(FusedQwen3, EqualsTheSlowTwinInSeveralPieces) {
  for (const Pooling pooling : {Pooling::LastToken, Pooling::Mean}) {
    for (const auto linears : {kExact, kStandard}) {
      for (const std::size_t length :
           {kPiece - 1, kPiece, kPiece + 1, 2 * kPiece - 1, 2 * kPiece, 2 * kPiece + 1}) {
        expect_batch_equals_twin(tiny(), {length}, pooling, 1, linears);
      }
      // Several texts are one piece.
      expect_batch_equals_twin(tiny(), {3, kPiece, kPiece + 7, 3 * kPiece - 2}, pooling, 1,
                               linears);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(SharedHeads, FusedQwen3,
                         ::testing::Values(std::pair<std::size_t, std::size_t>{4, 1},
                                           std::pair<std::size_t, std::size_t>{4, 2},
                                           std::pair<std::size_t, std::size_t>{3, 3}));

TEST(FusedQwen3Forms, BiasesAndAPrefixAreTaken) {
  TinyQwen3Shape shape;
  shape.attention_bias = true;
  shape.prefix = "model.";
  expect_batch_equals_twin(TinyQwen3(shape), {5, 2}, Pooling::LastToken,
                           graph::FusedTarget::kPieceWork);
}

TEST(FusedQwen3Forms, PiecesChangeNothing) {
  const TinyQwen3 tiny;
  const batch::Text text = text_of(200, 1);
  const batch::Text* only = &text;
  const auto whole = open(tiny, Pooling::LastToken, graph::FusedTarget::kPieceWork)
                         ->run(batch::make_batch({&only, 1}, 0), {});
  const auto pieces = open(tiny, Pooling::LastToken, 1)->run(batch::make_batch({&only, 1}, 0), {});
  ASSERT_TRUE(whole);
  ASSERT_TRUE(pieces);
  for (std::size_t i = 0; i < whole->width; ++i) {
    EXPECT_NEAR(whole->row(0)[i], pieces->row(0)[i], 2e-6);
  }
}

TEST(FusedQwen3Forms, HeadsOfAnySizeAreTaken) {
  for (const std::size_t size : {2U, 14U, 18U, 24U}) {
    TinyQwen3Shape shape;
    shape.head_size = size;
    expect_batch_equals_twin(TinyQwen3(shape), {5, 2}, Pooling::LastToken,
                             graph::FusedTarget::kPieceWork);
    expect_batch_equals_twin(TinyQwen3(shape), {kPiece + 5}, Pooling::LastToken, 1);
  }
}

void expect_refused(const TinyQwen3& tiny, ErrorCode code, const std::string& part,
                    graph::FusedTarget::Linears linears = kExact) {
  const TemporaryFolder folder;
  tiny.write(folder.path());
  const auto graph = build(folder.path(), Pooling::LastToken, 1, linears);
  ASSERT_FALSE(graph) << "wanted: " << part;
  EXPECT_EQ(graph.error().code, code);
  EXPECT_NE(graph.error().message.find(part), std::string::npos) << graph.error().message;
}

TEST(FusedQwen3Errors, WrongTensorsAreNamed) {
  for (const char* name : {"embed_tokens.weight", "layers.1.self_attn.k_norm.weight",
                           "layers.0.mlp.up_proj.weight", "norm.weight"}) {
    TinyQwen3 missing;
    missing.tensors().erase(name);
    expect_refused(missing, ErrorCode::BadModel, std::string("\"") + name + "\" is missing");
    TinyQwen3 longer;
    auto& tensor = longer.tensors().at(name);
    tensor.values.resize(tensor.values.size() / tensor.shape[0] * (tensor.shape[0] + 1));
    ++tensor.shape[0];
    expect_refused(longer, ErrorCode::BadModel, std::string("\"") + name + "\" has shape");
  }
}

TEST(FusedQwen3Errors, HeadsThatTheRuntimeDoesNotTakeAreRefused) {
  for (const std::size_t size : {14U, 18U, 24U}) {
    TinyQwen3Shape shape;
    shape.head_size = size;
    expect_refused(TinyQwen3(shape), ErrorCode::Unsupported,
                   "heads of " + std::to_string(size) + " components", kStandard);
  }
}

}  // namespace
}  // namespace textvec
