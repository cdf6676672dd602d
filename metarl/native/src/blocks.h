// Parts of residual blocks: layer normalisation, GELU, SiLU. See metarl/nn/blocks.py.
#pragma once
#include "recurrent.h"

namespace metarl {

// ---- sums along a row --------------------------------------------------------------------------
template <class R> METARL_INLINE R dot(Size width, const R* a, const R* b) {
  Vector<R> sums{};
  Size j = 0;
  for (; j + lanes<R>() <= width; j += lanes<R>()) sums += load(a + j) * load(b + j);
  R sum = total<R>(sums);
  for (; j < width; j++) sum += a[j] * b[j];
  return sum;
}

template <class R> METARL_INLINE R sum_of(Size width, const R* a) {
  Vector<R> sums{};
  Size j = 0;
  for (; j + lanes<R>() <= width; j += lanes<R>()) sums += load(a + j);
  R sum = total<R>(sums);
  for (; j < width; j++) sum += a[j];
  return sum;
}

// ---- functions ---------------------------------------------------------------------------------
// erf in single precision: a quotient of polynomials on [-4, 4], outside of which the nearest float
// is 1 (the coefficients of XLA's ErfImpl32; to 4.2e-7 with all roundings); NaN stays NaN.
METARL_INLINE float error_function(float x) {
  x = x > 4.f ? 4.f : x;
  x = x < -4.f ? -4.f : x;
  const float y = x * x;
  float p = -2.72614225801306e-10f;
  p = p * y + 2.77068142495902e-08f;
  p = p * y - 2.10102402082508e-06f;
  p = p * y - 5.69250639462346e-05f;
  p = p * y - 7.34990630326855e-04f;
  p = p * y - 2.95459980854025e-03f;
  p = p * y - 1.60960333262415e-02f;
  float q = -1.45660718464996e-05f;
  q = q * y - 2.13374055278905e-04f;
  q = q * y - 1.68282697438203e-03f;
  q = q * y - 7.37332916720468e-03f;
  q = q * y - 1.42647390514189e-02f;
  return x * p / q;
}
METARL_INLINE double error_function(double x) { return std::erf(x); }

// exp in single precision, for x <= 88: 2^n exp(r), |r| <= log(2) / 2, with the polynomial of Cephes;
// below -87 that of -87; NaN stays NaN.
METARL_INLINE float exponential(float x) {
  constexpr float MIDDLE = 12582912.f;  // 1.5 * 2^23: adding it rounds to whole numbers
  x = x < -87.f ? -87.f : x;
  const float moved = x * 1.44269504088896341f + MIDDLE, n = moved - MIDDLE;
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1;
  std::uint32_t bits;  // n is in the last ones; the others are shifted out
  std::memcpy(&bits, &moved, sizeof bits);
  bits = (bits << 23) + 0x3f800000u;
  float power;
  std::memcpy(&power, &bits, sizeof power);
  return p * power;
}
METARL_INLINE double exponential(double x) { return std::exp(x); }

// GELU(x) = x Phi(x), and its derivative Phi(x) + x phi(x).
template <class R> METARL_INLINE R gelu(R x) {
  return R(.5) * x * (1 + error_function(x * R(0.70710678118654752440)));
}
template <class R> METARL_INLINE R gelu_slope(R x) {
  const R below = R(.5) * (1 + error_function(x * R(0.70710678118654752440)));
  return below + x * R(0.39894228040143267794) * exponential(R(-.5) * x * x);
}

// SiLU(x) = x sigmoid(x), and its derivative.
template <class R> METARL_INLINE R silu(R x) { return x * sigmoid(x); }
template <class R> METARL_INLINE R silu_slope(R x) {
  const R s = sigmoid(x);
  return s * (1 + x * (1 - s));
}

// ---- layer normalisation -----------------------------------------------------------------------
// n = (e - mean) / deviation of one row; returns 1 / deviation.
template <class R> METARL_INLINE R standardise(Size width, const R* e, R* n) {
  const R mean = sum_of(width, e) / R(width);
  METARL_VECTORISE
  for (Size j = 0; j < width; j++) n[j] = e[j] - mean;
  const R scale = 1 / std::sqrt(dot(width, n, n) / R(width) + R(1e-5));
  METARL_VECTORISE
  for (Size j = 0; j < width; j++) n[j] *= scale;
  return scale;
}

// Gain and bias of a normalisation, [H] each.
template <class R> struct Norm {
  const R *gain, *bias;

  // out [rows, H] = n gain + bias.
  void apply(Size rows, Size width, const R* e, Size e_stride, R* out, Size out_stride) const {
    const R *g = gain, *b = bias;
    for (Size i = 0; i < rows; i++, e += e_stride, out += out_stride) {
      standardise(width, e, out);
      METARL_VECTORISE
      for (Size j = 0; j < width; j++) out[j] = out[j] * g[j] + b[j];
    }
  }

  // With y = n g + b:  dg += dy n,  db += dy,  dn = dy g,
  // de += (dn - mean(dn) - n mean(dn n)) / deviation.  n and dn are scratch [H].
  void back(Size rows, Size width, const R* e, Size e_stride, const R* dy, Size dy_stride,
            R* d_gain, R* d_bias, R* de, Size de_stride, R* n, R* dn) const {
    const R* g = gain;
    for (Size i = 0; i < rows; i++, e += e_stride, dy += dy_stride, de += de_stride) {
      const R scale = standardise(width, e, n), *by = dy;
      METARL_VECTORISE
      for (Size j = 0; j < width; j++) {
        d_gain[j] += by[j] * n[j];
        d_bias[j] += by[j];
        dn[j] = by[j] * g[j];
      }
      const R mean = sum_of(width, dn) / R(width), along = dot(width, dn, n) / R(width);
      R* out = de;
      METARL_VECTORISE
      for (Size j = 0; j < width; j++) out[j] += scale * (dn[j] - mean - n[j] * along);
    }
  }
};

}  // namespace metarl
