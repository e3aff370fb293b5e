// What a client asked, and what it gets.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

namespace textvec::server {

// Whose words a route speaks, in errors too.
enum class Dialect : std::uint8_t { OpenAi, Tei, Ollama };

struct Reply {
  unsigned status = 200;
  std::string content_type = "application/json";
  std::vector<std::pair<std::string, std::string>> fields{};
  std::string body{};
  // For the log, never for the client.
  std::size_t texts = 0;
  std::size_t tokens = 0;
  std::string note{};  // what went wrong, in full
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
