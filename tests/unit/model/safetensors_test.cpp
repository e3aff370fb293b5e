// Safetensors: each check of a file's sizes and offsets at its limit, damaged images, shards, and
// the widening of halves against a slow twin.
#include "model/safetensors.h"

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <string>

#include "support/temporary_folder.h"
#include "support/tiny_model.h"

namespace textvec::model {
namespace {

namespace fs = std::filesystem;

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span<const char>(text));
}

std::string with_length(std::uint64_t length, const std::string& rest) {
  std::string image;
  for (int shift = 0; shift < 64; shift += 8) image += static_cast<char>((length >> shift) & 255U);
  return image + rest;
}

std::string make_image(const std::string& header, const std::string& data = "") {
  return with_length(header.size(), header + data);
}

std::string make_entry(const std::string& name, const std::string& type, const std::string& shape,
                       const std::string& offsets) {
  return "\"" + name + "\":{\"dtype\":\"" + type + "\",\"shape\":" + shape +
         ",\"data_offsets\":" + offsets + "}";
}

// One tensor of F32 with `shape` and `offsets`, and `size` bytes of data.
std::string one_tensor(const std::string& shape, const std::string& offsets, std::size_t size) {
  return make_image("{" + make_entry("x", "F32", shape, offsets) + "}", std::string(size, 'd'));
}

void expect_bad(const std::string& image, std::string_view part) {
  const auto tensors = parse_safetensors(bytes_of(image), "a.safetensors");
  ASSERT_FALSE(tensors) << part;
  EXPECT_EQ(tensors.error().code, ErrorCode::BadModel) << part;
  EXPECT_EQ(tensors.error().message.rfind("a.safetensors: ", 0), 0U) << tensors.error().message;
  EXPECT_NE(tensors.error().message.find(part), std::string::npos) << tensors.error().message;
}

void expect_good(const std::string& image) {
  const auto tensors = parse_safetensors(bytes_of(image), "a.safetensors");
  EXPECT_TRUE(tensors) << tensors.error().message;
}

TEST(ParseSafetensors, ReadsTensorsInAnyOrder) {
  const std::string image = make_image(
      R"({"__metadata__":{"format":"pt"},)" + make_entry("b", "F32", "[2,1]", "[4,12]") + "," +
          make_entry("a", "BF16", "[2]", "[0,4]") + "," + make_entry("c", "I64", "[]", "[12,20]") +
          "," + make_entry("d", "F16", "[3,0]", "[20,20]") + "}  ",
      "aaaabbbbbbbbcccccccc");
  const auto tensors = parse_safetensors(bytes_of(image), "a.safetensors");
  ASSERT_TRUE(tensors) << tensors.error().message;
  ASSERT_EQ(tensors->size(), 4U);
  const Tensor& b = tensors->at("b");
  EXPECT_EQ(b.type, DataType::F32);
  EXPECT_EQ(b.shape, (std::vector<std::size_t>{2, 1}));
  EXPECT_EQ(b.elements(), 2U);
  EXPECT_EQ(std::memcmp(b.bytes.data(), "bbbbbbbb", 8), 0);
  EXPECT_EQ(tensors->at("a").type, DataType::BF16);
  EXPECT_EQ(tensors->at("c").type, DataType::Other);
  EXPECT_EQ(tensors->at("c").elements(), 1U);  // a scalar
  EXPECT_EQ(tensors->at("d").elements(), 0U);
}

TEST(ParseSafetensors, KnowsEveryTypeAndItsSize) {
  constexpr std::pair<const char*, std::size_t> kSizes[] = {
      {"BOOL", 1}, {"U8", 1},  {"I8", 1},      {"F8_E4M3", 1},     {"F8_E5M2", 1},
      {"U16", 2},  {"I16", 2}, {"F16", 2},     {"BF16", 2},        {"U32", 4},
      {"I32", 4},  {"F32", 4}, {"F8_E8M0", 1}, {"F8_E4M3FNUZ", 1}, {"F8_E5M2FNUZ", 1},
      {"F64", 8},  {"U64", 8}, {"I64", 8}};
  for (const auto& [type, size] : kSizes) {
    const auto image = [&, name = type](std::size_t bytes) {
      return make_image(
          "{" + make_entry("x", name, "[3]", "[0," + std::to_string(bytes) + "]") + "}",
          std::string(bytes, 'd'));
    };
    expect_bad(image(3 * size - 1), type);
    expect_good(image(3 * size));
    expect_bad(image(3 * size + 1), type);
  }
  for (const char* type :
       {"F4", "F8_", "f32", "F32 ", "", "C64", "a dtype of more than twenty bytes"}) {
    expect_bad(make_image("{" + make_entry("x", type, "[0]", "[0,0]") + "}"), "unknown dtype");
  }
}

TEST(ParseSafetensors, ChecksTheHeadersLength) {
  expect_bad("", "has 0 bytes");
  expect_bad(std::string(7, '\0'), "has 7 bytes");
  expect_bad(with_length(0, ""), "the header is no valid JSON");
  expect_good(with_length(2, "{}"));
  expect_bad(with_length(3, "{}"), "claims a header of 3 bytes; it takes at most 2");
  expect_bad(with_length(1, "{}"), "no valid JSON");
  for (const std::uint64_t length : {std::uint64_t{1} << 63, ~std::uint64_t{0}}) {
    expect_bad(with_length(length, "{}"),
               "claims a header of " + std::to_string(length) + " bytes; it takes at most 2");
  }
}

TEST(ParseSafetensors, LimitsTheHeaderToAHundredMillionBytes) {
  constexpr std::size_t kMax = 100'000'000;
  std::string image = with_length(kMax, "{}" + std::string(kMax - 1, ' '));
  expect_bad(image, "the tensors end at byte 0");  // one space is data, so the header was taken
  image.pop_back();
  expect_good(image);
  image.replace(0, 8, with_length(kMax - 1, ""));
  image.pop_back();
  expect_good(image);
  image.replace(0, 8, with_length(kMax + 1, ""));
  image += std::string(10, ' ');
  expect_bad(image, "claims a header of 100000001 bytes; it takes at most 100000000");
}

TEST(ParseSafetensors, WantsAnObjectOfObjects) {
  expect_bad(make_image("[]"), "the header is no JSON object");
  expect_bad(make_image("{\"x\":1}"), "tensor \"x\" has no dtype");
  expect_bad(make_image("{\"x\":{}}"), "tensor \"x\" has no dtype");
  expect_bad(make_image("{\"x\":{\"dtype\":1}}"), "tensor \"x\" has no dtype");
  expect_bad(make_image("{\"x\":{\"dtype\":\"F32\"}}"), "tensor \"x\" has no shape");
  expect_bad(make_image("{\"x\":{\"dtype\":\"F32\",\"shape\":[0]}}"), "has no data_offsets");
  expect_bad(make_image("{\"\xFF\":1}"), "no valid JSON");
  expect_good(make_image("{\"__metadata__\":7}"));
}

TEST(ParseSafetensors, LimitsNamesAndDimensions) {
  const auto named = [](std::size_t size) {
    return make_image("{" + make_entry(std::string(size, 'n'), "F32", "[0]", "[0,0]") + "}");
  };
  expect_good(named(999));
  expect_good(named(1000));
  expect_bad(named(1001), "a tensor's name has 1001 bytes; at most 1000");
  const auto shaped = [](std::size_t dimensions) {
    std::string shape = "[1";
    for (std::size_t i = 1; i < dimensions; ++i) shape += ",1";
    return one_tensor(shape + "]", "[0,4]", 4);
  };
  expect_good(shaped(31));
  expect_good(shaped(32));
  expect_bad(shaped(33), "no shape of at most 32");
}

TEST(ParseSafetensors, ChecksShapesAndOffsets) {
  expect_good(one_tensor("[2,3]", "[0,24]", 24));
  for (const char* shape : {"7", "[-1]", "[1.0]", "[\"1\"]", "{}", "null"}) {
    expect_bad(one_tensor(shape, "[0,4]", 4), "has no shape of");
  }
  for (const char* offsets :
       {"7", "[0]", "[0,4,4]", "[-1,4]", "[0,4.0]", "[0,18446744073709551616]"}) {
    expect_bad(one_tensor("[1]", offsets, 4), "has no data_offsets of two");
  }
  expect_bad(one_tensor("[1]", "[4,0]", 4), "claims bytes 4 to 0");
  expect_bad(one_tensor("[1]", "[0,5]", 4), "claims bytes 0 to 5; the file holds 4");
  expect_bad(one_tensor("[1]", "[1,5]", 4), "claims bytes 1 to 5");
  expect_bad(one_tensor("[1]", "[0,9223372036854775807]", 4), "the file holds 4");
  expect_bad(one_tensor("[1]", "[0,3]", 4), "shape [1] does not fit its 3 bytes");
}

TEST(ParseSafetensors, SeesThroughProductsThatOverflow) {
  // 2^62 * 4 bytes is 2^64, which wraps to 0; so do 2^32 * 2^32 elements.
  for (const char* shape : {"[4611686018427387904]", "[4294967296,4294967296]",
                            "[4294967296,4294967296,0]", "[9223372036854775807,2,2]"}) {
    expect_bad(one_tensor(shape, "[0,0]", 0), "does not fit its 0 bytes");
  }
  expect_good(one_tensor("[0,4294967296,4294967296]", "[0,0]", 0));
}

TEST(ParseSafetensors, WantsEveryByteInExactlyOneTensor) {
  const auto two = [](const char* first, const char* second, std::size_t size) {
    return make_image("{" + make_entry("x", "U8", "[4]", first) + "," +
                          make_entry("y", "U8", "[4]", second) + "}",
                      std::string(size, 'd'));
  };
  expect_good(two("[0,4]", "[4,8]", 8));
  expect_good(two("[4,8]", "[0,4]", 8));
  expect_bad(two("[0,4]", "[3,7]", 8), "overlap or leave a hole at byte 3");
  expect_bad(two("[0,4]", "[0,4]", 4), "overlap or leave a hole at byte 0");
  expect_bad(two("[0,4]", "[5,9]", 9), "overlap or leave a hole at byte 4");
  expect_bad(two("[1,5]", "[5,9]", 9), "overlap or leave a hole at byte 0");
  expect_bad(two("[0,4]", "[4,8]", 9), "the tensors end at byte 8; the file holds 9");
  expect_bad(make_image("{}", "d"), "the tensors end at byte 0; the file holds 1");
}

const testing::TinyTensors kTensors{{"linear.weight", {{2, 3}, {1, 2, 3, 4, 5, 6}}},
                                    {"linear.bias", {{2}, {-1, 0.5F}}}};

TEST(ParseSafetensors, RefusesAnImageCutAnywhere) {
  const std::string image = testing::to_safetensors(kTensors);
  for (std::size_t size = 0; size < image.size(); ++size) {
    const std::string cut = image.substr(0, size);  // its own allocation, so that a sanitizer sees
    EXPECT_FALSE(parse_safetensors(bytes_of(cut), "cut")) << size;
  }
  EXPECT_TRUE(parse_safetensors(bytes_of(image), "whole"));
}

// Whatever a damaged header says: no crash, and what is taken lies inside the image and fits.
TEST(ParseSafetensors, SurvivesEveryChangeOfAHeaderByte) {
  const std::string image = testing::to_safetensors(kTensors);
  const std::size_t header_end = image.size() - 8 * sizeof(float);
  std::size_t accepted = 0;
  for (std::size_t position = 0; position < header_end; ++position) {
    for (unsigned change = 1; change < 256; ++change) {
      std::string damaged = image;
      damaged[position] = static_cast<char>(static_cast<unsigned char>(damaged[position]) ^ change);
      const auto tensors = parse_safetensors(bytes_of(damaged), "damaged");
      if (!tensors) continue;
      ++accepted;
      std::size_t covered = 0;
      for (const auto& [name, tensor] : *tensors) {
        covered += tensor.bytes.size();
        if (tensor.type == DataType::Other) continue;
        std::vector<float> values(tensor.elements());
        tensor.copy_to(0, values);
      }
      EXPECT_EQ(covered, 8 * sizeof(float)) << position;
    }
  }
  EXPECT_GT(accepted, 0U);  // another name, say: else the loop above has checked nothing
}

// The value by its definition: sign, exponent and mantissa of IEEE 754.
double slow_widen(std::uint16_t bits, int exponent_bits) {
  const int mantissa_bits = 15 - exponent_bits;
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const int exponent = (bits >> mantissa_bits) & ((1 << exponent_bits) - 1);
  const double mantissa = bits & ((1 << mantissa_bits) - 1);
  const double sign = (bits & 0x8000) != 0 ? -1.0 : 1.0;
  const double whole = std::ldexp(1.0, mantissa_bits);
  if (exponent == (1 << exponent_bits) - 1) {
    return mantissa == 0 ? sign * INFINITY : std::copysign(NAN, sign);
  }
  if (exponent == 0) return sign * std::ldexp(mantissa / whole, 1 - bias);
  return sign * std::ldexp(1.0 + mantissa / whole, exponent - bias);
}

void expect_widened(DataType type, int exponent_bits) {
  constexpr std::size_t kCount = 65536;
  std::string image = "u";  // one byte too many, so that nothing is aligned
  for (std::size_t bits = 0; bits < kCount; ++bits) {
    image += static_cast<char>(bits & 255U);
    image += static_cast<char>(bits >> 8);
  }
  const Tensor tensor{type, {kCount}, bytes_of(image).subspan(1)};
  std::vector<float> values(kCount);
  tensor.copy_to(0, values);
  for (std::size_t bits = 0; bits < kCount; ++bits) {
    const double wanted = slow_widen(static_cast<std::uint16_t>(bits), exponent_bits);
    if (std::isnan(wanted)) {
      ASSERT_TRUE(std::isnan(values[bits])) << bits;
      ASSERT_EQ(std::signbit(values[bits]), std::signbit(wanted)) << bits;
    } else {
      ASSERT_EQ(static_cast<double>(values[bits]), wanted) << bits;
      ASSERT_EQ(std::signbit(values[bits]), std::signbit(wanted)) << bits;  // of zero, too
    }
  }
}

TEST(TensorCopy, WidensEveryHalfExactly) { expect_widened(DataType::F16, 5); }

TEST(TensorCopy, WidensEveryBrainFloatExactly) { expect_widened(DataType::BF16, 8); }

TEST(TensorCopy, TakesAnyPartOfAnyType) {
  const std::array<float, 4> values{1.5F, -2.0F, 0.25F, 3.0F};
  const std::array<std::uint16_t, 4> halves{0x3e00, 0xc000, 0x3400, 0x4200};
  const std::array<std::uint16_t, 4> brains{0x3fc0, 0xc000, 0x3e80, 0x4040};
  const std::pair<DataType, std::span<const std::byte>> kinds[] = {
      {DataType::F32, std::as_bytes(std::span(values))},
      {DataType::F16, std::as_bytes(std::span(halves))},
      {DataType::BF16, std::as_bytes(std::span(brains))}};
  for (const auto& [type, bytes] : kinds) {
    const Tensor tensor{type, {4}, bytes};
    std::array<float, 2> part{};
    tensor.copy_to(1, part);
    EXPECT_EQ(part[0], -2.0F);
    EXPECT_EQ(part[1], 0.25F);
    tensor.copy_to(4, {});  // nothing, from the end
  }
}

void expect_error(const Result<Weights>& weights, ErrorCode code, std::string_view part) {
  ASSERT_FALSE(weights) << part;
  EXPECT_EQ(weights.error().code, code) << weights.error().message;
  EXPECT_NE(weights.error().message.find(part), std::string::npos) << weights.error().message;
}

TEST(Weights, ReadsASingleFile) {
  const testing::TemporaryFolder folder;
  EXPECT_FALSE(Weights::present(folder.path()));
  testing::write_file(folder / "model.safetensors", testing::to_safetensors(kTensors));
  EXPECT_TRUE(Weights::present(folder.path()));
  auto opened = Weights::open(folder.path());
  ASSERT_TRUE(opened) << opened.error().message;
  const Weights weights = std::move(*opened);  // the tensors must survive the move
  ASSERT_EQ(weights.tensors().size(), 2U);
  EXPECT_EQ(weights.files(), std::vector<fs::path>{folder / "model.safetensors"});
  EXPECT_EQ(weights.find("absent"), nullptr);
  std::vector<float> values(6);
  weights.find("linear.weight")->copy_to(0, values);
  EXPECT_EQ(values, (std::vector<float>{1, 2, 3, 4, 5, 6}));
}

TEST(Weights, GivesATensorOnlyWithItsShape) {
  const testing::TemporaryFolder folder;
  testing::write_file(folder / "model.safetensors",
                      make_image("{" + make_entry("w", "F32", "[2,3]", "[0,24]") + "," +
                                     make_entry("ids", "I64", "[1]", "[24,32]") + "}",
                                 std::string(32, '\0')));
  const auto weights = Weights::open(folder.path());
  ASSERT_TRUE(weights) << weights.error().message;
  const std::array<std::size_t, 2> right{2, 3};
  const std::array<std::size_t, 2> turned{3, 2};
  const std::array<std::size_t, 1> flat{6};
  const std::array<std::size_t, 1> one{1};
  EXPECT_TRUE(weights->get("w", right));
  const std::string name = (folder / "model.safetensors").string();
  EXPECT_EQ(weights->get("w", turned).error().message,
            name + ": tensor \"w\" has shape [2, 3]; the configuration wants [3, 2]");
  EXPECT_EQ(weights->get("w", flat).error().code, ErrorCode::BadModel);
  EXPECT_EQ(weights->get("v", right).error().message, name + ": tensor \"v\" is missing");
  EXPECT_EQ(weights->get("v", right).error().code, ErrorCode::BadModel);
  EXPECT_EQ(weights->get("ids", one).error().code, ErrorCode::Unsupported);
}

TEST(Weights, NoticeThatTheirFileChanged) {
  const testing::TemporaryFolder folder;
  const auto image = make_image("{" + make_entry("w", "F32", "[1]", "[0,4]") + "}", "abcd");
  testing::write_file(folder / "model.safetensors", image);
  const auto weights = Weights::open(folder.path());
  ASSERT_TRUE(weights) << weights.error().message;
  EXPECT_TRUE(weights->check_unchanged());
  testing::write_file(folder / "new", image);
  std::filesystem::rename(folder / "new", folder / "model.safetensors");
  const auto unchanged = weights->check_unchanged();
  ASSERT_FALSE(unchanged);
  EXPECT_EQ(unchanged.error().code, ErrorCode::BadModel);
  EXPECT_EQ(unchanged.error().message,
            (folder / "model.safetensors").string() + ": was changed while it was being read");
}

TEST(Weights, NamesAFileThatCannotBeRead) {
  const testing::TemporaryFolder folder;
  const std::string name = (folder / "model.safetensors").string();
  expect_error(Weights::open(folder.path()), ErrorCode::NotFound, name);
  expect_error(Weights::open(folder / "absent"), ErrorCode::NotFound, "model.safetensors");
  testing::write_file(folder / "model.safetensors", "");
  expect_error(Weights::open(folder.path()), ErrorCode::BadModel, name + ": has 0 bytes");
  fs::remove(folder / "model.safetensors");
  fs::create_directory(folder / "model.safetensors");
  expect_error(Weights::open(folder.path()), ErrorCode::BadModel, name + ": is no regular file");
}

class Shards : public ::testing::Test {
 protected:
  void write_shard(const std::string& name, const std::vector<std::string>& tensors) {
    testing::TinyTensors contents;
    for (const std::string& tensor : tensors) {
      contents[tensor] = {{1}, {static_cast<float>(tensor.size())}};
    }
    testing::write_file(folder_ / name, testing::to_safetensors(contents));
  }
  void write_index(const std::string& weight_map) {
    testing::write_file(folder_ / "model.safetensors.index.json",
                        R"({"metadata":{"total_size":8},"weight_map":)" + weight_map + "}");
  }
  Result<Weights> open() { return Weights::open(folder_.path()); }

  const testing::TemporaryFolder folder_;
};

TEST_F(Shards, AreReadAsOne) {
  write_shard("b.safetensors", {"x"});
  write_shard("a.safetensors", {"yy", "zzz"});
  write_index(R"({"x":"b.safetensors","yy":"a.safetensors","zzz":"a.safetensors"})");
  EXPECT_TRUE(Weights::present(folder_.path()));
  const auto weights = open();
  ASSERT_TRUE(weights) << weights.error().message;
  ASSERT_EQ(weights->tensors().size(), 3U);
  EXPECT_EQ(weights->files(),
            (std::vector<fs::path>{folder_ / "model.safetensors.index.json",
                                   folder_ / "a.safetensors", folder_ / "b.safetensors"}));
  for (const auto& [name, tensor] : weights->tensors()) {
    float value = 0;
    tensor.copy_to(0, {&value, 1});
    EXPECT_EQ(value, static_cast<float>(name.size()));
  }
}

TEST_F(Shards, GiveWayToASingleFile) {
  write_index("7");
  testing::write_file(folder_ / "model.safetensors", testing::to_safetensors(kTensors));
  EXPECT_TRUE(open());
}

TEST_F(Shards, MustAllBeThere) {
  write_shard("a.safetensors", {"x"});
  write_index(R"({"x":"a.safetensors","y":"b.safetensors"})");
  expect_error(open(), ErrorCode::NotFound, (folder_ / "b.safetensors").string());
}

TEST_F(Shards, MustHoldWhatTheIndexSays) {
  write_shard("a.safetensors", {"x"});
  write_shard("b.safetensors", {"y"});
  write_index(R"({"x":"a.safetensors","z":"b.safetensors"})");
  expect_error(open(), ErrorCode::BadModel, "tensor \"z\" is missing");
  write_index(R"({"x":"a.safetensors","y":"a.safetensors"})");
  expect_error(open(), ErrorCode::BadModel, "tensor \"y\" is missing");
  write_index(R"({"x":"b.safetensors","y":"b.safetensors"})");
  expect_error(open(), ErrorCode::BadModel, "tensor \"x\" is missing");
  write_shard("a.safetensors", {"x", "y"});
  write_index(R"({"x":"a.safetensors","y":"b.safetensors"})");
  expect_error(open(), ErrorCode::BadModel, "tensor \"y\" is in another shard");
  write_shard("b.safetensors", {"x", "y"});
  write_shard("a.safetensors", {"x"});
  expect_error(open(), ErrorCode::BadModel, "tensor \"x\" is in another shard");
}

TEST_F(Shards, HavePlainNames) {
  for (const char* name :
       {"../a.safetensors", "/a.safetensors", "x/a.safetensors", "x\\\\a.safetensors",
        "..safetensors", ".safetensors", ".a.safetensors", "a.bin", "a.safetensors.bin", "",
        "a b.safetensors", "a\\u0000.safetensors"}) {
    write_index("{\"x\":\"" + std::string(name) + "\"}");
    expect_error(open(), ErrorCode::BadModel, "tensor \"x\" has no plain name");
  }
  write_index("{\"x\":\"" + std::string(244, 'a') + ".safetensors\"}");  // 256 bytes
  expect_error(open(), ErrorCode::BadModel, "no plain name");
  write_index("{\"x\":\"" + std::string(243, 'a') + ".safetensors\"}");
  expect_error(open(), ErrorCode::NotFound, "cannot open");
  write_index("{\"x\":1}");
  expect_error(open(), ErrorCode::BadModel, "no plain name");
}

TEST_F(Shards, NeedAMapOfTensors) {
  for (const char* map : {"{}", "[]", "null", "\"a.safetensors\""}) {
    write_index(map);
    expect_error(open(), ErrorCode::BadModel, "weight_map");
  }
  testing::write_file(folder_ / "model.safetensors.index.json", "{");
  expect_error(open(), ErrorCode::BadModel, "no valid JSON");
  write_index("{\"" + std::string(1001, 'n') + "\":\"a.safetensors\"}");
  expect_error(open(), ErrorCode::BadModel, "a tensor's name has 1001 bytes");
}

TEST_F(Shards, AreAThousandAtMost) {
  const auto write = [&](int count) {
    std::string map;
    for (int shard = 0; shard < count; ++shard) {
      const std::string name = "s" + std::to_string(shard);
      map += (map.empty() ? "{\"" : ",\"") + name + "\":\"" + name + ".safetensors\"";
      if (!fs::exists(folder_ / (name + ".safetensors")))
        write_shard(name + ".safetensors", {name});
    }
    write_index(map + "}");
  };
  write(999);
  EXPECT_TRUE(open());
  write(1000);
  EXPECT_TRUE(open());
  write(1001);
  expect_error(open(), ErrorCode::BadModel, "weight_map names 1001 files; at most 1000");
}

}  // namespace
}  // namespace textvec::model
