// In: a question, and on standard input a text a line. Out: the three texts nearest to the
// question.
//   nearest "where do cats sleep?" < texts.txt
#include <textvec/engine.h>

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <numeric>

namespace {

int fail(const textvec::Error& error) {
  std::fprintf(stderr, "nearest: %s\n", error.message.c_str());
  return 1;
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) {
    std::fprintf(stderr, "usage: nearest QUESTION < TEXTS\n");
    return 2;
  }
  std::vector<std::string> texts;
  for (std::string line; std::getline(std::cin, line);) texts.push_back(line);

  const auto engine = textvec::Engine::load("sentence-transformers/all-MiniLM-L6-v2");
  if (!engine) return fail(engine.error());
  // Some models want another prompt on a question than on a text; a role asks for the right one.
  const auto question = engine->embed(arguments[1], {.role = textvec::Role::Query});
  if (!question) return fail(question.error());
  const auto vectors = engine->embed(texts, {.role = textvec::Role::Document});
  if (!vectors) return fail(vectors.error());

  // The vectors have length 1, so the dot product is the cosine of the angle between them.
  std::vector<float> cosines;
  for (std::size_t row = 0; row < vectors->rows(); ++row) {
    const auto one = vectors->row(row);
    cosines.push_back(std::inner_product(one.begin(), one.end(), question->row(0).begin(), 0.0F));
  }
  std::vector<std::size_t> order(cosines.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return cosines[a] > cosines[b]; });
  order.resize(std::min<std::size_t>(order.size(), 3));
  for (const std::size_t row : order) {
    std::printf("%.3f %s\n", static_cast<double>(cosines[row]), texts[row].c_str());
  }
  return 0;
}
