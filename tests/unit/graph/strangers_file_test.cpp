// Which nodes are left of a graph with many outputs, and where external data may be.
#include "graph/strangers_file.h"

#include <gtest/gtest.h>
#include <onnx/onnx_pb.h>

#include <algorithm>

#include "support/temporary_folder.h"

namespace textvec::graph {
namespace {

using testing::TemporaryFolder;

constexpr auto kFloat = onnx::TensorProto::FLOAT;

onnx::NodeProto* add_node(onnx::GraphProto& graph, const std::string& operation,
                          const std::vector<std::string>& inputs,
                          const std::vector<std::string>& outputs, const std::string& domain = {}) {
  auto* node = graph.add_node();
  node->set_op_type(operation);
  node->set_domain(domain);
  node->set_name(outputs.front());
  for (const auto& input : inputs) node->add_input(input);
  for (const auto& output : outputs) node->add_output(output);
  return node;
}

void add_output(onnx::GraphProto& graph, const std::string& name, int rank) {
  auto* output = graph.add_output();
  output->set_name(name);
  auto* type = output->mutable_type()->mutable_tensor_type();
  type->set_elem_type(kFloat);
  type->mutable_shape();
  for (int i = 0; i < rank; ++i) type->mutable_shape()->add_dim()->set_dim_param("d");
}

// A decoder's layer: keys and values pass through caches, which are outputs too.
onnx::ModelProto decoder() {
  onnx::ModelProto model;
  model.set_ir_version(10);
  auto& graph = *model.mutable_graph();
  add_node(graph, "Gather", {"table", "input_ids"}, {"embedded"});
  add_node(graph, "Concat", {"past_key", "embedded"}, {"cached"});
  add_node(graph, "Identity", {"cached"}, {"present.0.key"});
  add_node(graph, "MultiHeadAttention",
           {"embedded", "cached", "embedded", "", "", "", "past_key", "past_value"},
           {"attended", "present.1.key", "present.1.value"}, "com.microsoft");
  add_node(graph, "GroupQueryAttention", {"attended"},
           {"grouped", "present.2.key", "present.2.value"}, "com.microsoft");
  auto* branch = add_node(graph, "If", {"condition"}, {"last_hidden_state"});
  auto* attribute = branch->add_attribute();
  attribute->set_name("then_branch");
  attribute->set_type(onnx::AttributeProto::GRAPH);
  add_node(graph, "Relu", {"grouped"}, {"captured"});
  add_node(*attribute->mutable_g(), "Add", {"captured", "grouped"}, {"sum"});
  attribute->mutable_g()->add_output()->set_name("sum");
  add_node(graph, "MatMul", {"last_hidden_state", "head"}, {"logits"});
  add_output(graph, "logits", 3);
  for (const char* layer : {"0", "1", "2"}) {
    add_output(graph, std::string("present.") + layer + ".key", 4);
    if (*layer != '0') add_output(graph, std::string("present.") + layer + ".value", 4);
  }
  add_output(graph, "last_hidden_state", 3);
  return model;
}

onnx::TensorProto* add_external(onnx::ModelProto& model, const std::string& name,
                                const std::string& location, const std::string& offset = "0",
                                const std::string& length = "8") {
  auto* tensor = model.mutable_graph()->add_initializer();
  tensor->set_name(name);
  tensor->set_data_type(kFloat);
  tensor->add_dims(2);
  tensor->set_data_location(onnx::TensorProto::EXTERNAL);
  for (const auto& [key, value] : std::vector<std::pair<std::string, std::string>>{
           {"location", location}, {"offset", offset}, {"length", length}}) {
    auto* entry = tensor->add_external_data();
    entry->set_key(key);
    entry->set_value(value);
  }
  return tensor;
}

Result<std::string> last(const std::vector<Port>& outputs) { return outputs.back().name; }

Result<OnnxModel> read(const onnx::ModelProto& model, const std::filesystem::path& file) {
  testing::write_file(file, model.SerializeAsString());
  return read_strangers_file(file, last);
}

onnx::ModelProto parsed(const OnnxModel& model) {
  onnx::ModelProto proto;
  EXPECT_TRUE(proto.ParseFromString(model.model));
  return proto;
}

void expect_error(const Result<OnnxModel>& result, ErrorCode code,
                  const std::vector<std::string>& words) {
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, code) << result.error().message;
  for (const std::string& word : words) {
    EXPECT_NE(result.error().message.find(word), std::string::npos) << result.error().message;
  }
}

TEST(StrangersFile, WhatServesOtherOutputsIsCutAway) {
  const TemporaryFolder folder;
  const auto read_model = read(decoder(), folder / "model.onnx");
  ASSERT_TRUE(read_model) << read_model.error().message;
  const onnx::ModelProto model = parsed(*read_model);
  ASSERT_EQ(model.graph().output_size(), 1);
  EXPECT_EQ(model.graph().output(0).name(), "last_hidden_state");
  EXPECT_EQ(model.graph().output(0).type().tensor_type().shape().dim_size(), 3);
  std::vector<std::string> nodes;
  for (const auto& node : model.graph().node()) nodes.push_back(node.name());
  // "captured" is used inside the If alone; Identity and the logits' MatMul are gone.
  EXPECT_EQ(nodes, (std::vector<std::string>{"embedded", "cached", "attended", "grouped",
                                             "last_hidden_state", "captured"}));
}

TEST(StrangersFile, AttentionMakesNoCacheThatNobodyTakes) {
  const TemporaryFolder folder;
  const auto read_model = read(decoder(), folder / "model.onnx");
  ASSERT_TRUE(read_model) << read_model.error().message;
  const onnx::ModelProto model = parsed(*read_model);
  const auto& multi = model.graph().node(2);
  EXPECT_EQ(std::vector<std::string>(multi.output().begin(), multi.output().end()),
            (std::vector<std::string>{"attended", "", ""}));
  const auto& grouped = model.graph().node(3);  // its caches are not optional
  EXPECT_EQ(std::vector<std::string>(grouped.output().begin(), grouped.output().end()),
            (std::vector<std::string>{"grouped", "present.2.key", "present.2.value"}));
}

TEST(StrangersFile, ACacheThatTheGraphItselfTakesStays) {
  const TemporaryFolder folder;
  onnx::ModelProto model = decoder();
  model.mutable_graph()->mutable_node(4)->add_input("present.1.value");
  const auto read_model = read(model, folder / "model.onnx");
  ASSERT_TRUE(read_model) << read_model.error().message;
  const onnx::ModelProto left = parsed(*read_model);
  const auto& multi = left.graph().node(2);
  EXPECT_EQ(std::vector<std::string>(multi.output().begin(), multi.output().end()),
            (std::vector<std::string>{"attended", "", "present.1.value"}));
}

TEST(StrangersFile, OneOutputStaysInItsFile) {
  const TemporaryFolder folder;
  onnx::ModelProto model = decoder();
  model.mutable_graph()->mutable_output()->DeleteSubrange(1, 6);
  testing::write_file(folder / "model.onnx", model.SerializeAsString());
  const auto one = read_strangers_file(folder / "model.onnx", [](const auto&) {
    ADD_FAILURE() << "there is nothing to choose";
    return Result<std::string>(std::string());
  });
  ASSERT_TRUE(one) << one.error().message;
  EXPECT_EQ(one->file, folder / "model.onnx");
  EXPECT_TRUE(one->model.empty());
}

TEST(StrangersFile, AnOutputWithoutRankLeavesTheChoiceToTheRuntime) {
  const TemporaryFolder folder;
  onnx::ModelProto model = decoder();
  model.mutable_graph()->mutable_output(1)->mutable_type()->mutable_tensor_type()->clear_shape();
  const auto whole = read(model, folder / "model.onnx");
  ASSERT_TRUE(whole) << whole.error().message;
  EXPECT_TRUE(whole->model.empty());
}

TEST(StrangersFile, TheChooserSeesTheOutputsAndItsErrorIsGivenOn) {
  const TemporaryFolder folder;
  onnx::ModelProto model = decoder();
  auto* tensor = model.mutable_graph()->mutable_output(6)->mutable_type()->mutable_tensor_type();
  tensor->set_elem_type(onnx::TensorProto::FLOAT16);
  tensor->mutable_shape()->mutable_dim(2)->set_dim_value(64);
  testing::write_file(folder / "model.onnx", model.SerializeAsString());
  const auto refused =
      read_strangers_file(folder / "model.onnx", [](const std::vector<Port>& outputs) {
        EXPECT_EQ(outputs.size(), 7U);
        EXPECT_EQ(outputs[1].name, "present.0.key");
        EXPECT_EQ(outputs[1].shape, (std::vector<std::int64_t>{-1, -1, -1, -1}));
        EXPECT_EQ(outputs[6].type, ElementType::Float16);
        EXPECT_EQ(outputs[6].shape, (std::vector<std::int64_t>{-1, -1, 64}));
        return Result<std::string>(Error{ErrorCode::BadModel, "none of them"});
      });
  expect_error(refused, ErrorCode::BadModel, {"none of them"});
}

TEST(StrangersFile, SixteenBitWeightsAreSeen) {
  const TemporaryFolder folder;
  onnx::ModelProto model = decoder();
  EXPECT_FALSE(read(model, folder / "model.onnx")->half);
  model.mutable_graph()->add_initializer()->set_data_type(onnx::TensorProto::FLOAT16);
  EXPECT_TRUE(read(model, folder / "model.onnx")->half);
}

TEST(StrangersFile, ExternalDataIsNamedWhereItReallyIs) {
  const TemporaryFolder folder;
  // As in the Hugging Face cache: links from the model's folder into one with all its files.
  std::filesystem::create_directories(folder / "snapshot/onnx");
  onnx::ModelProto model = decoder();
  add_external(model, "table", "model.onnx_data");
  testing::write_file(folder / "blobs/graph", model.SerializeAsString());
  testing::write_file(folder / "blobs/weights", "12345678");
  std::filesystem::create_symlink("../../blobs/graph", folder / "snapshot/onnx/model.onnx");
  std::filesystem::create_symlink("../../blobs/weights", folder / "snapshot/onnx/model.onnx_data");
  const auto read_model = read_strangers_file(folder / "snapshot/onnx/model.onnx", last);
  ASSERT_TRUE(read_model) << read_model.error().message;
  const onnx::ModelProto left = parsed(*read_model);
  const auto& tensor = left.graph().initializer(0);
  EXPECT_EQ(read_model->data_folder / tensor.external_data(0).value(),
            std::filesystem::canonical(folder / "blobs/weights"));
  EXPECT_EQ(tensor.external_data(2).value(), "8");
}

TEST(StrangersFile, ExternalDataOutsideTheFolderIsRefusedWhereverTheTensorIs) {
  const TemporaryFolder folder;
  testing::write_file(folder / "outside", "12345678");
  testing::write_file(folder / "model/sub/inside", "12345678");
  std::filesystem::create_symlink("../outside", folder / "model/link");
  const auto file = folder / "model/model.onnx";
  for (const std::string& location :
       {std::string("../outside"), std::string("sub/../../outside"),
        std::string("sub/../sub/inside"), (folder / "outside").string(),
        (folder / "model/sub/inside").string(), std::string(), std::string("link")}) {
    onnx::ModelProto model = decoder();
    auto* tensor = add_external(model, "stolen", location);
    expect_error(read(model, file), ErrorCode::BadModel, {"stolen", location});

    onnx::ModelProto inner = decoder();
    auto* constant = inner.mutable_graph()
                         ->mutable_node(5)
                         ->mutable_attribute(0)
                         ->mutable_g()
                         ->add_node()
                         ->add_attribute();
    constant->set_name("value");
    *constant->mutable_t() = *tensor;
    expect_error(read(inner, file), ErrorCode::BadModel, {"stolen"});
  }
  onnx::ModelProto model = decoder();
  add_external(model, "table", "sub/inside");
  EXPECT_TRUE(read(model, file));
}

TEST(StrangersFile, ExternalDataThatIsMissingOrCutShortIsNamed) {
  const TemporaryFolder folder;
  const auto file = folder / "model.onnx";
  testing::write_file(folder / "weights", "12345678");
  struct Case {
    const char* location;
    const char* offset;
    const char* length;
    ErrorCode code;
    const char* word;
  };
  for (const Case& bad :
       {Case{"missing_data", "0", "8", ErrorCode::NotFound, "missing_data"},
        Case{"weights", "1", "8", ErrorCode::BadModel, "cut short"},
        Case{"weights", "0", "9", ErrorCode::BadModel, "cut short"},
        Case{"weights", "18446744073709551615", "8", ErrorCode::BadModel, "cut short"},
        Case{"weights", "-1", "8", ErrorCode::BadModel, "offset"},
        Case{"weights", "0", "8 bytes", ErrorCode::BadModel, "length"},
        Case{"weights", "", "8", ErrorCode::BadModel, "offset"}}) {
    onnx::ModelProto model = decoder();
    add_external(model, "table", bad.location, bad.offset, bad.length);
    expect_error(read(model, file), bad.code, {"table", bad.word});
  }
  onnx::ModelProto model = decoder();
  add_external(model, "table", "weights", "0", "8");
  EXPECT_TRUE(read(model, file));
}

TEST(StrangersFile, AFileThatIsTooLargeIsRefusedUnread) {
  const TemporaryFolder folder;
  testing::write_file(folder / "model.onnx", "");
  std::filesystem::resize_file(folder / "model.onnx", std::uintmax_t{1} << 31);  // a hole
  expect_error(read_strangers_file(folder / "model.onnx", last), ErrorCode::BadModel,
               {"2147483648", "2147483647"});
}

}  // namespace
}  // namespace textvec::graph
