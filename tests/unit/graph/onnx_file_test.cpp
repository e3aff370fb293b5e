// What OnnxFile writes, read back with ONNX's own classes.
#include "graph/onnx_file.h"

#include <gtest/gtest.h>
#include <onnx/onnx_pb.h>

#include <cstring>
#include <map>

#include "model/hash.h"
#include "support/temporary_folder.h"

namespace textvec::graph {
namespace {

OnnxFile sample(std::size_t rows) {
  OnnxFile file("sample");
  file.input_int64("input_ids", {"batch", std::int64_t{7}});
  file.output_float("out", {"batch", "length", std::int64_t{3}});
  file.node("Gather", std::vector<std::string>{"table", "input_ids"},
            std::vector<std::string>{"out"}, kMicrosoft,
            std::vector<Attribute>{{"axis", std::int64_t{-1}}, {"epsilon", 0.5F}});
  const std::vector<std::int64_t> values{4, 5};
  file.constant("ends", values, {2});
  file.weight("small", {3}, [](std::size_t begin, std::span<float> out) {
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<float>(begin + i) + 0.5F;
  });
  file.weight("table", {rows, 3}, [](std::size_t begin, std::span<float> out) {
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<float>((begin + i) % 1000);
  });
  return file;
}

std::map<std::string, std::string> external(const onnx::TensorProto& tensor) {
  std::map<std::string, std::string> entries;
  for (const auto& entry : tensor.external_data()) entries[entry.key()] = entry.value();
  return entries;
}

TEST(OnnxFile, WritesWhatOnnxReads) {
  const testing::TemporaryFolder folder;
  constexpr std::size_t kRows = 2'000'000;  // more than one chunk
  const OnnxFile file = sample(kRows);
  std::uint64_t last_progress = 0;
  const auto written = file.write(folder.path(), [&](std::uint64_t done, std::uint64_t total) {
    EXPECT_GE(done, last_progress);
    EXPECT_LE(done, total);
    last_progress = done;
  });
  ASSERT_TRUE(written) << written.error().message;
  EXPECT_EQ(last_progress, file.data_bytes());

  onnx::ModelProto model;
  ASSERT_TRUE(model.ParseFromString(testing::read_file(folder / "model.onnx")));
  EXPECT_EQ(model.graph().node(0).op_type(), "Gather");
  EXPECT_EQ(model.graph().node(0).domain(), "com.microsoft");
  EXPECT_EQ(model.graph().input(0).type().tensor_type().shape().dim(0).dim_param(), "batch");
  EXPECT_EQ(model.graph().input(0).type().tensor_type().shape().dim(1).dim_value(), 7);

  const std::string data = testing::read_file(folder / "model.onnx.data");
  EXPECT_EQ(data.size(), written->data_bytes);
  model::Sha256 hash;
  hash.update(data);
  EXPECT_EQ(hash.finish(), written->data_sha256);
  for (const auto& tensor : model.graph().initializer()) {
    if (tensor.name() == "ends") {
      EXPECT_EQ(tensor.int64_data(1), 5);
      continue;
    }
    auto entries = external(tensor);
    EXPECT_EQ(entries["location"], "model.onnx.data");
    const std::size_t offset = std::stoull(entries["offset"]);
    EXPECT_EQ(offset % 4096, 0U);
    EXPECT_EQ(std::stoull(entries["length"]), tensor.name() == "small" ? 12U : kRows * 12);
    for (const std::size_t element : {std::size_t{0}, std::size_t{2}}) {
      float value = 0;
      std::memcpy(&value, data.data() + offset + element * 4, 4);
      EXPECT_EQ(value, static_cast<float>(element) + (tensor.name() == "small" ? 0.5F : 0.0F));
    }
    if (tensor.name() == "table") {
      float value = 0;
      std::memcpy(&value, data.data() + offset + (kRows * 3 - 1) * 4, 4);
      EXPECT_EQ(value, static_cast<float>((kRows * 3 - 1) % 1000));
    }
  }
}

TEST(OnnxFile, IsTheSameInMemory) {
  const testing::TemporaryFolder folder;
  const OnnxFile file = sample(5);
  ASSERT_TRUE(file.write(folder.path(), {}));
  const auto model = file.build_in_memory({});
  ASSERT_TRUE(model);
  EXPECT_EQ(model->model, testing::read_file(folder / "model.onnx"));
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(model->data.data()), model->data.size()),
            testing::read_file(folder / "model.onnx.data"));
}

TEST(OnnxFile, AFullDiskIsAnErrorThatNamesTheFile) {
  const testing::TemporaryFolder folder;
  std::filesystem::create_symlink("/dev/full", folder / "model.onnx.data");
  const auto written = sample(5).write(folder.path(), {});
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, ErrorCode::Internal);
  EXPECT_NE(written.error().message.find("model.onnx.data"), std::string::npos);
}

}  // namespace
}  // namespace textvec::graph
