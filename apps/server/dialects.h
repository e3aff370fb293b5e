// In: request bodies of OpenAI, of TEI and of Ollama. Out: what they ask of an engine; and the
// engine's answer in the same words. What each member means to them: docs/server.md.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "server/body.h"
#include "textvec/embeddings.h"
#include "textvec/options.h"

namespace textvec::server {

// A model as the server shows it.
struct Served {
  ModelInfo info{};
  std::string name{};
  std::vector<std::string> aliases{};
  std::size_t texts_max = 0;
  std::size_t requests_max = 0;
  std::int64_t started = 0;  // seconds since 1970

  bool answers_to(std::string_view name) const;
};

struct EmbedRequest {
  std::string field{};  // where the inputs stood
  Inputs inputs{};
  EmbedOptions options{};
  bool base64 = false;
};

// Each reads all of a body but for `model`, which models.h reads; whether it was right is the
// body's problem().
EmbedRequest read_openai_embed(Body& body, const Served& served);   // /v1/embeddings
EmbedRequest read_tei_embed(Body& body, const Served& served);      // /embed
EmbedRequest read_tei_embed_all(Body& body, const Served& served);  // /embed_all
EmbedRequest read_similarity(Body& body, const Served& served);     // the source sentence is first
EmbedRequest read_ollama_embed(Body& body, const Served& served);   // /api/embed

struct TokenizeRequest {
  std::vector<std::string> texts{};
  EmbedOptions options{};
  bool special_tokens = true;
};
TokenizeRequest read_tokenize(Body& body, const Served& served);

struct DecodeRequest {
  std::vector<std::vector<std::uint32_t>> ids{};
  bool skip_special_tokens = true;
};
DecodeRequest read_decode(Body& body, const Served& served);

std::string openai_embeddings(const EmbedRequest& request, const Embeddings& embeddings,
                              const Served& served);
std::string tei_embeddings(const Embeddings& embeddings);
// A list a text, of a list a token. At most token_vectors_bytes() of them.
std::string tei_token_vectors(const TokenVectors& vectors);
std::size_t token_vectors_bytes(std::size_t tokens, std::size_t dimension) noexcept;
std::string similarities(const Embeddings& embeddings);
std::string ollama_embeddings(const Embeddings& embeddings, const Served& served,
                              std::chrono::nanoseconds total);
// Of one text; `text` is the text with its prompt. Places are counted in characters, as TEI does.
std::string tei_tokens(std::span<const Token> tokens, std::string_view text, bool special_tokens);

std::string openai_model(const Served& served);
std::string openai_models(std::span<const std::string> models);  // each from openai_model()
// `info` is what is true now: a device may have been lost since the start.
std::string tei_info(const Served& served, const ModelInfo& info);

std::string base64_of(std::span<const float> values);

}  // namespace textvec::server
