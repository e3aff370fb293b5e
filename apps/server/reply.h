// What a client asked, and what it gets.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "textvec/embeddings.h"

namespace textvec::server {

// Whose words a route speaks, in errors too.
enum class Dialect : std::uint8_t { OpenAi, Tei, Ollama };

// Where the time of a request's texts went, from when they were given to the engine.
struct Stages {
  std::chrono::steady_clock::time_point begun{};
  Durations durations{};
};

struct Reply {
  unsigned status = 200;
  std::string content_type = "application/json";
  std::vector<std::pair<std::string, std::string>> fields{};
  std::string body{};
  // For the log and for spans, never for the client.
  std::size_t texts = 0;
  std::size_t tokens = 0;
  std::string note{};   // what went wrong, in full
  std::string model{};  // empty: none was asked
  std::optional<Stages> stages{};
};

struct Request {
  std::string method{};
  std::string path{};
  std::string body{};
  std::chrono::steady_clock::time_point arrived{};
  std::chrono::steady_clock::time_point deadline{};
  std::stop_token stop{};  // the client left, or waited long enough
};

using Respond = std::function<void(Reply)>;

}  // namespace textvec::server
