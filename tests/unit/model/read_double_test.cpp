// JSON's numbers as doubles, at the limits of doubles and in any locale. Built twice: with the file
// that CMake picks, and on Linux with the one for macOS (tests/CMakeLists.txt).
#include "model/read_double.h"

#include <gtest/gtest.h>

#include <bit>
#include <clocale>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <random>
#include <string>

namespace textvec::model {
namespace {

constexpr double kMax = std::numeric_limits<double>::max();
constexpr double kMin = std::numeric_limits<double>::denorm_min();

TEST(ReadDouble, ReadsToTheLastBit) {
  std::mt19937_64 random(20261127);
  for (int round = 0; round < 20'000; ++round) {
    const auto value = std::bit_cast<double>(random());
    if (!std::isfinite(value)) continue;
    char text[64];
    std::snprintf(text, sizeof(text), "%.16e", value);  // 17 digits name one double
    EXPECT_EQ(read_double(text, value), value) << text;
  }
}

TEST(ReadDouble, ReadsMoreDigitsThanAnyBuffer) {
  EXPECT_EQ(read_double("0." + std::string(100, '0') + "25e100", 0.25), 0.25);
  EXPECT_EQ(read_double("1" + std::string(300, '0') + "e-300", 1), 1.0);
  // Half a step above 1 and the least bit more, 800 digits behind the point.
  const std::string half = "1.00000000000000011102230246251565404236316680908203125";
  EXPECT_EQ(read_double(half, 1), 1.0);
  EXPECT_EQ(read_double(half + std::string(747, '0') + "1", 1),
            1.0 + std::numeric_limits<double>::epsilon());
}

TEST(ReadDouble, KnowsTheLargest) {
  EXPECT_EQ(read_double("1.7976931348623157e308", kMax), kMax);
  EXPECT_EQ(read_double("1.7976931348623158e308", kMax), kMax);  // the same after rounding
  EXPECT_EQ(read_double("-1.7976931348623157e308", -kMax), -kMax);
  const double infinite = std::numeric_limits<double>::infinity();
  EXPECT_EQ(read_double("1.7976931348623159e308", infinite), std::nullopt);
  EXPECT_EQ(read_double("-1.7976931348623159e308", -infinite), std::nullopt);
  EXPECT_EQ(read_double(std::string(400, '9'), infinite), std::nullopt);
}

TEST(ReadDouble, KnowsTheSmallest) {
  EXPECT_EQ(read_double("5e-324", kMin), kMin);
  EXPECT_EQ(read_double("2.5e-324", kMin), kMin);  // above half of it
  EXPECT_EQ(read_double("2.4e-324", 0), 0.0);
  EXPECT_EQ(read_double("-1e-400", 0), 0.0);
  EXPECT_EQ(read_double("0e999", 0), 0.0);
}

TEST(ReadDouble, TakesAllOrNothing) {
  for (const char* text : {"", "-", ".", "1e", "1e+", "1.5.5", "1-2", "--1", "e5"}) {
    EXPECT_EQ(read_double(text, 1), std::nullopt) << text;
  }
  EXPECT_EQ(read_double(".5", 1), 0.5);
  EXPECT_EQ(read_double("5.", 1), 5.0);
  EXPECT_EQ(read_double("1E+2", 1), 100.0);
}

TEST(ReadDouble, KeepsTheSignOfZero) { EXPECT_TRUE(std::signbit(*read_double("-0.0", 0))); }

TEST(ReadDouble, TakesAPointInEveryLocale) {
  const std::string before = std::setlocale(LC_NUMERIC, nullptr);
  for (const char* name : {"de_DE.UTF-8", "de_DE.utf8", "de_DE", "fr_FR.UTF-8"}) {
    if (std::setlocale(LC_NUMERIC, name) != nullptr) break;
  }
  const bool has_comma = std::localeconv()->decimal_point == std::string(",");
  const auto value = read_double("2.5", 2.5);
  std::setlocale(LC_NUMERIC, before.c_str());
  if (!has_comma) GTEST_SKIP() << "no locale with a comma is installed";
  EXPECT_EQ(value, 2.5);
}

}  // namespace
}  // namespace textvec::model
