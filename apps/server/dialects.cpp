// In: request bodies. Out: what they ask; replies. See dialects.h.
#include "server/dialects.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <utility>

#include "cli/json_object.h"
#include "model/json.h"
#include "textvec/version.h"

namespace textvec::server {
namespace {

using cli::JsonObject;

void read_truncation(Body& body, EmbedOptions& options) {
  if (body.boolean("truncate") == false) options.too_long = TooLong::Refuse;
  const auto side = body.choice("truncation_direction", {"right", "left", "Right", "Left"});
  if (side.value_or(0) % 2 == 1) options.truncation_side = TruncationSide::Left;
}

void read_prompt_name(Body& body, const Served& served, EmbedOptions& options) {
  options.prompt = body.string("prompt_name");
  if (!options.prompt || served.info.prompts.contains(*options.prompt)) return;
  std::string names;
  for (const auto& [name, text] : served.info.prompts) names += (names.empty() ? "" : ", ") + name;
  body.fail("prompt_name", names.empty() ? "names a prompt; the model has none"
                                         : "names no prompt of the model; it has " + names);
}

void read_dimensions(Body& body, const Served& served, EmbedOptions& options) {
  if (const auto dimensions = body.integer("dimensions", 1, served.info.dimension)) {
    options.dimensions = static_cast<std::size_t>(*dimensions);
  }
}

void refuse_empty_texts(Body& body, const EmbedRequest& request) {
  const auto& texts = request.inputs.texts;
  const auto empty = std::find(texts.begin(), texts.end(), "");
  if (empty == texts.end()) return;
  std::string name = request.field;
  if (!request.inputs.single) name += "[" + std::to_string(empty - texts.begin()) + "]";
  body.fail(name, "is an empty text", Fault::Empty);
}

void append_row(std::string& out, std::span<const float> row) {
  out += '[';
  for (const float value : row) {
    if (out.back() != '[') out += ',';
    model::append_json_number(out, value);
  }
  out += ']';
}

void append_rows(std::string& out, const Embeddings& embeddings) {
  // A component takes about 12 bytes.
  out.reserve(out.size() + embeddings.values.size() * 13 + 64);
  out += '[';
  for (std::size_t row = 0; row < embeddings.rows(); ++row) {
    if (row > 0) out += ',';
    append_row(out, embeddings.row(row));
  }
  out += ']';
}

std::size_t tokens_of(const Embeddings& embeddings) {
  std::size_t sum = 0;
  for (const std::uint32_t tokens : embeddings.tokens) sum += tokens;
  return sum;
}

std::string json_text(std::string_view text) {
  std::string out;
  model::append_json_string(out, text);
  return out;
}

// TEI's names of the pooling modes.
std::string_view tei_pooling(Pooling pooling) {
  if (pooling == Pooling::Cls) return "cls";
  if (pooling == Pooling::LastToken) return "last_token";
  return to_string(pooling);
}

}  // namespace

bool Served::answers_to(std::string_view wanted) const {
  return wanted == name || std::any_of(aliases.begin(), aliases.end(), [&](const auto& alias) {
           return alias == "*" || alias == wanted;
         });
}

EmbedRequest read_openai_embed(Body& body, const Served& served) {
  EmbedRequest request;
  request.field = "input";
  request.inputs = body.inputs("input", served.texts_max, true);
  refuse_empty_texts(body, request);
  request.base64 = body.choice("encoding_format", {"float", "base64"}).value_or(0) == 1;
  body.string("user");
  read_dimensions(body, served, request.options);
  // Beyond OpenAI.
  read_truncation(body, request.options);
  request.options.normalize = body.boolean("normalize").value_or(true);
  read_prompt_name(body, served, request.options);
  request.options.instruction = body.string("instruction");
  if (const auto type = body.choice(
          "input_type", {"query", "document", "search_query", "search_document", "passage"})) {
    request.options.role = *type % 2 == 0 && *type < 4 ? Role::Query : Role::Document;
  }
  const int prompts = int{request.options.prompt.has_value()} +
                      int{request.options.instruction.has_value()} + int{body.has("input_type")};
  const bool query_with_task =
      prompts == 2 && request.options.instruction && request.options.role == Role::Query;
  if (prompts > 1 && !query_with_task) {
    body.fail("input_type",
              "prompt_name and instruction exclude each other, but for an instruction "
              "with input_type query");
  }
  return request;
}

EmbedRequest read_tei_embed(Body& body, const Served& served) {
  EmbedRequest request = read_tei_embed_all(body, served);
  read_dimensions(body, served, request.options);
  request.options.normalize = body.boolean("normalize").value_or(true);
  return request;
}

EmbedRequest read_tei_embed_all(Body& body, const Served& served) {
  EmbedRequest request;
  request.field = "inputs";
  request.inputs = body.inputs("inputs", served.texts_max, true);
  refuse_empty_texts(body, request);
  read_truncation(body, request.options);
  read_prompt_name(body, served, request.options);
  return request;
}

EmbedRequest read_similarity(Body& body, const Served& served) {
  EmbedRequest request;
  request.field = "inputs.sentences";
  if (!body.has("inputs")) body.fail("inputs", "is missing");
  Body inputs = body.object("inputs");
  auto source = inputs.string("source_sentence");
  if (!source) inputs.fail("source_sentence", "is missing");
  request.inputs = inputs.inputs("sentences", served.texts_max - 1, false);
  if (request.inputs.single) inputs.fail("sentences", "is a string; it takes an array");
  if (inputs.problem()) body.fail(*inputs.problem());
  refuse_empty_texts(body, request);
  if (source && source->empty()) {
    body.fail("inputs.source_sentence", "is an empty text", Fault::Empty);
  }
  Body parameters = body.object("parameters");
  read_truncation(parameters, request.options);
  read_prompt_name(parameters, served, request.options);
  if (parameters.problem()) body.fail(*parameters.problem());
  if (source) request.inputs.texts.insert(request.inputs.texts.begin(), std::move(*source));
  return request;
}

EmbedRequest read_ollama_embed(Body& body, const Served& served) {
  EmbedRequest request;
  request.field = "input";
  request.inputs = body.inputs("input", served.texts_max, false);
  refuse_empty_texts(body, request);
  if (body.boolean("truncate") == false) request.options.too_long = TooLong::Refuse;
  read_dimensions(body, served, request.options);
  return request;
}

TokenizeRequest read_tokenize(Body& body, const Served& served) {
  TokenizeRequest request;
  request.texts = body.inputs("inputs", served.texts_max, false).texts;
  request.special_tokens = body.boolean("add_special_tokens").value_or(true);
  read_prompt_name(body, served, request.options);
  return request;
}

DecodeRequest read_decode(Body& body, const Served& served) {
  DecodeRequest request;
  Inputs inputs = body.inputs("ids", served.texts_max, true);
  if (!inputs.texts.empty()) body.fail("ids", "takes token ids, not strings");
  request.ids = std::move(inputs.ids);
  request.skip_special_tokens = body.boolean("skip_special_tokens").value_or(true);
  return request;
}

std::string base64_of(std::span<const float> values) {
  static_assert(std::endian::native == std::endian::little);
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const auto bytes = std::as_bytes(values);
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t count = std::min<std::size_t>(3, bytes.size() - i);
    std::uint32_t group = 0;
    for (std::size_t k = 0; k < 3; ++k) {
      group = group << 8 | (k < count ? std::to_integer<std::uint32_t>(bytes[i + k]) : 0U);
    }
    for (std::size_t k = 0; k < 4; ++k) {
      out += k <= count ? kDigits[group >> (18 - 6 * k) & 63U] : '=';
    }
  }
  return out;
}

std::string openai_embeddings(const EmbedRequest& request, const Embeddings& embeddings,
                              const Served& served) {
  std::string out = "{\"object\":\"list\",\"data\":[";
  out.reserve(embeddings.values.size() * 13 + embeddings.rows() * 64 + 256);
  for (std::size_t row = 0; row < embeddings.rows(); ++row) {
    if (row > 0) out += ',';
    out += "{\"object\":\"embedding\",\"index\":" + std::to_string(row) + ",\"embedding\":";
    if (request.base64) {
      out += '"' + base64_of(embeddings.row(row)) + '"';
    } else {
      append_row(out, embeddings.row(row));
    }
    if (embeddings.truncated[row] != 0) out += ",\"truncated\":true";
    out += '}';
  }
  const std::string tokens = std::to_string(tokens_of(embeddings));
  out += "],\"model\":" + json_text(served.name) + ",\"usage\":{\"prompt_tokens\":" + tokens +
         ",\"total_tokens\":" + tokens + "}}";
  return out;
}

std::string tei_embeddings(const Embeddings& embeddings) {
  std::string out;
  append_rows(out, embeddings);
  return out;
}

std::size_t token_vectors_bytes(std::size_t tokens, std::size_t dimension) noexcept {
  // "-1.1754944e-38," and less; brackets of a token, and of a text, which has one token at least.
  constexpr std::size_t kNumber = 16;
  constexpr std::size_t kBrackets = 6;
  return tokens * (dimension * kNumber + kBrackets) + 2;
}

std::string tei_token_vectors(const TokenVectors& vectors) {
  std::string out;
  std::span<const float> rest = vectors.values;
  // No byte of it is touched before it is needed, and none is copied to make room.
  out.reserve(token_vectors_bytes(rest.size() / std::max<std::size_t>(vectors.dimension, 1),
                                  vectors.dimension));
  out += '[';
  for (const std::uint32_t tokens : vectors.tokens) {
    out += out.size() > 1 ? ",[" : "[";
    for (std::uint32_t token = 0; token < tokens; ++token) {
      if (token > 0) out += ',';
      append_row(out, rest.first(vectors.dimension));
      rest = rest.subspan(vectors.dimension);
    }
    out += ']';
  }
  return out + "]";
}

std::string similarities(const Embeddings& embeddings) {
  std::string out = "[";
  const auto source = embeddings.row(0);
  for (std::size_t row = 1; row < embeddings.rows(); ++row) {
    double product = 0;
    for (std::size_t i = 0; i < embeddings.dimension; ++i) {
      product += static_cast<double>(source[i]) * static_cast<double>(embeddings.row(row)[i]);
    }
    if (row > 1) out += ',';
    model::append_json_number(out, static_cast<float>(product));
  }
  return out + "]";
}

std::string ollama_embeddings(const Embeddings& embeddings, const Served& served,
                              std::chrono::nanoseconds total) {
  std::string out = "{\"model\":" + json_text(served.name) + ",\"embeddings\":";
  append_rows(out, embeddings);
  out += ",\"total_duration\":" + std::to_string(total.count()) +
         ",\"load_duration\":0,\"prompt_eval_count\":" + std::to_string(tokens_of(embeddings)) +
         "}";
  return out;
}

std::string tei_tokens(std::span<const Token> tokens, std::string_view text, bool special_tokens) {
  // Begins ascend, so that one walk over the text counts the characters before each.
  std::size_t byte = 0;
  std::size_t characters = 0;
  const auto count_to = [&](std::size_t end) {
    for (; byte < end; ++byte) {
      characters += (static_cast<unsigned char>(text[byte]) & 0xC0U) != 0x80U ? 1U : 0U;
    }
    return characters;
  };
  std::string out = "[";
  for (const Token& token : tokens) {
    if (token.added && !special_tokens) continue;
    if (out.size() > 1) out += ',';
    // Special to TEI is what the template added; the rest stands in the text.
    JsonObject json;
    json.integer("id", token.id).string("text", token.text).boolean("special", token.added);
    if (token.added) {
      json.json("start", "null").json("stop", "null");
    } else {
      const std::size_t begin = count_to(token.begin_byte);
      std::size_t end = begin;
      for (std::size_t at = token.begin_byte; at < token.end_byte; ++at) {
        end += (static_cast<unsigned char>(text[at]) & 0xC0U) != 0x80U ? 1U : 0U;
      }
      json.integer("start", begin).integer("stop", end);
    }
    out += json.text();
  }
  return out + "]";
}

std::string openai_model(const Served& served) {
  JsonObject json;
  return json.string("id", served.name)
      .string("object", "model")
      .integer("created", static_cast<std::uint64_t>(served.started))
      .string("owned_by", "textvec")
      .text();
}

std::string openai_models(std::span<const std::string> models) {
  JsonObject json;
  return json.string("object", "list")
      .json("data", cli::json_array({models.begin(), models.end()}))
      .text();
}

std::string tei_info(const Served& served, const ModelInfo& info) {
  JsonObject prompts;
  for (const auto& [name, text] : info.prompts) prompts.string(name, text);
  std::vector<std::string> placement;
  for (const ProviderPlacement& placed : info.placement) {
    JsonObject one;
    placement.push_back(one.string("provider", placed.provider)
                            .integer("nodes", placed.nodes)
                            .integer("partitions", placed.partitions)
                            .text());
  }
  JsonObject pooling;
  pooling.string("pooling", tei_pooling(info.pooling));
  JsonObject type;
  type.json("embedding", pooling.text());
  JsonObject json;
  return json.string("model_id", served.name)
      .json("model_sha", "null")
      .string("model_dtype", info.precision == Precision::F32   ? "float32"
                             : info.precision == Precision::F16 ? "float16"
                                                                : to_string(info.precision))
      .string("served_model_name", served.name)
      .json("model_type", type.text())
      .integer("max_concurrent_requests", served.requests_max)
      .integer("max_input_length", info.tokens_max)
      .integer("max_batch_tokens", info.batch_tokens_max)
      .json("max_batch_requests", "null")
      .integer("max_client_batch_size", served.texts_max)
      .boolean("auto_truncate", true)
      .integer("tokenization_workers", info.threads)
      .string("version", TEXTVEC_VERSION)
      .json("sha", "null")
      .json("docker_label", "null")
      .integer("dimension", info.dimension)
      .string("provider", to_string(info.provider))
      .string("provider_wanted", to_string(info.provider_wanted))
      .string("provider_note", info.provider_note)
      .string("runtime", info.runtime)
      .string("path", to_string(info.path))
      .json("placement", cli::json_array(placement))
      .json("prompts", prompts.text())
      .string("default_prompt", info.default_prompt)
      .text();
}

}  // namespace textvec::server
