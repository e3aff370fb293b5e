// In: a model, a precision, a number of threads; on standard input a line for each work: its name,
// seconds, a file of texts (a line each), a file for the vectors or "-", between tabs. Out: what
// rivals/worker.py says of a rival, as one line of JSON.
#include <textvec/engine.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "runtime/machine.h"
#include "textvec/version.h"

namespace {

using Clock = std::chrono::steady_clock;
constexpr double kWarmEnoughSeconds = 5;  // as worker.py

struct Work {
  std::string name{};
  double seconds = 0;
  std::string texts_file{};
  std::string vectors_file{};
};

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

[[noreturn]] void give_up(const std::string& message) {
  std::fprintf(stderr, "textvec_worker: %s\n", message.c_str());
  std::exit(1);
}

template <class T>
T value_of(textvec::Result<T> result) {
  if (!result) give_up(result.error().message);
  return std::move(*result);
}

std::vector<std::string> lines_of(std::istream& stream) {
  std::vector<std::string> lines;
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

Work parse(const std::string& line) {
  std::istringstream stream(line);
  Work work;
  std::string seconds;
  for (std::string* field : {&work.name, &seconds, &work.texts_file, &work.vectors_file}) {
    if (!std::getline(stream, *field, '\t')) give_up("no four fields: " + line);
  }
  work.seconds = std::strtod(seconds.c_str(), nullptr);
  return work;
}

// numpy's format, version 1.0: float32 [rows, dimension].
void write_npy(const std::string& path, const textvec::Embeddings& vectors) {
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (" +
                       std::to_string(vectors.rows()) + ", " + std::to_string(vectors.dimension) +
                       "), }";
  constexpr std::size_t kBefore = 10;
  header.append((64 - (kBefore + header.size() + 1) % 64) % 64, ' ').push_back('\n');
  std::ofstream file(path, std::ios::binary);
  file << "\x93NUMPY\x01" << '\0' << static_cast<char>(header.size() & 0xff)
       << static_cast<char>(header.size() >> 8) << header;
  file.write(reinterpret_cast<const char*>(vectors.values.data()),
             static_cast<std::streamsize>(vectors.values.size() * sizeof(float)));
  if (!file.flush()) give_up("cannot write " + path);
}

std::string measure(const textvec::Engine& engine, const Work& work) {
  std::ifstream file(work.texts_file);
  const auto texts = lines_of(file);
  if (texts.empty()) give_up(work.texts_file + " has no texts");
  std::string times;
  auto begin = Clock::now();
  for (bool warm = false; times.empty() || seconds_since(begin) < work.seconds;) {
    const auto run_begin = Clock::now();
    const auto vectors = value_of(engine.embed(texts));
    const double taken = seconds_since(run_begin);
    if (!warm && taken < kWarmEnoughSeconds) {
      warm = true;
      begin = Clock::now();
      continue;
    }
    times += (times.empty() ? "" : ", ") + std::to_string(taken);
    if (work.vectors_file != "-") write_npy(work.vectors_file, vectors);
  }
  const auto mib = [](std::uint64_t bytes) {
    return std::to_string(static_cast<double>(bytes) / 1048576);
  };
  return "{\"name\": \"" + work.name + "\", \"call\": {}, \"seconds\": [" + times +
         "], \"memory_mib\": " + mib(textvec::runtime::resident_memory_bytes()) +
         ", \"peak_memory_mib\": " + mib(textvec::runtime::peak_memory_bytes()) + "}";
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 4) give_up("usage: textvec_worker MODEL auto|f32|int8 THREADS < WORKS");
  const std::string precision = arguments[2];
  textvec::LoadOptions options;
  options.threads = static_cast<unsigned>(std::strtoul(arguments[3], nullptr, 10));
  if (precision == "f32") options.precision = textvec::Precision::F32;
  if (precision == "int8") options.precision = textvec::Precision::Int8;
  const auto begin = Clock::now();
  const auto engine = value_of(textvec::Engine::load(arguments[1], options));
  const double load_seconds = seconds_since(begin);
  std::string works;
  for (const std::string& line : lines_of(std::cin)) {
    works += (works.empty() ? "" : ", ") + measure(engine, parse(line));
  }
  std::printf(
      "\n{\"load_seconds\": %f, \"versions\": {\"textvec\": \"%s\", \"runtime\": "
      "\"%s\"}, \"workloads\": [%s]}\n",
      load_seconds, TEXTVEC_VERSION, engine.info().runtime.c_str(), works.c_str());
  return 0;
}
