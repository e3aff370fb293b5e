// In: a vector of exponents. Out: powers of two. For files that are compiled once for each
// instruction set, which is why it can be included many times.
#if defined(TEXTVEC_KERNELS_POWER_OF_TWO) == defined(HWY_TARGET_TOGGLE)
#ifdef TEXTVEC_KERNELS_POWER_OF_TWO
#undef TEXTVEC_KERNELS_POWER_OF_TWO
#else
#define TEXTVEC_KERNELS_POWER_OF_TWO
#endif

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace textvec::kernels {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// 2^t for t <= 0, 0 below -125, so that nothing is denormal, and NaN for NaN. It is 2^n 2^f with
// n = round(t); 2^f by a polynomial of degree 5 with 1 at 0, whose largest relative error on
// [-0.5, 0.5] is least (9.2e-8): by least squares at 1500 Chebyshev points, reweighted with the
// errors until those are level (Lawson's method). t was rounded by up to |t| / 2^24, which beside 1
// shows less, the smaller 2^t is.
template <class Tag, class Vector>
HWY_INLINE Vector power_of_two(Tag tag, Vector t) {
  // Added to it, a number is rounded to a whole one, which with the exponent's bias the lowest bits
  // then are.
  const auto rounder = hn::Set(tag, 12582912.0F + 127.0F);  // 1.5 * 2^23
  const auto rounded = hn::Add(t, rounder);
  const auto f = hn::Sub(t, hn::Sub(rounded, rounder));
  auto power = hn::Set(tag, 1.3264727313e-03F);
  power = hn::MulAdd(power, f, hn::Set(tag, 9.6715129912e-03F));
  power = hn::MulAdd(power, f, hn::Set(tag, 5.5507335812e-02F));
  power = hn::MulAdd(power, f, hn::Set(tag, 2.4022242427e-01F));
  power = hn::MulAdd(power, f, hn::Set(tag, 6.9314700365e-01F));
  power = hn::MulAdd(power, f, hn::Set(tag, 1.0F));
  const hn::RebindToUnsigned<Tag> bits;
  const auto whole = hn::BitCast(tag, hn::ShiftLeft<23>(hn::BitCast(bits, rounded)));
  return hn::IfThenZeroElse(hn::Lt(t, hn::Set(tag, -125.0F)), hn::Mul(power, whole));
}

}  // namespace HWY_NAMESPACE
}  // namespace textvec::kernels
HWY_AFTER_NAMESPACE();

#endif
