// Products and functions on matrices whose rows are padded to whole vectors.
//
// A row of n numbers takes padded<R>(n); what lies behind the n-th is zero in weights, so that it
// adds nothing. Vectors are those of GCC and Clang, not of a processor: 64 bytes where there is
// AVX-512, else 32. Row i of a product is the same sum in the same order whatever the number of
// rows: what a batch holds besides does not change a result's last bit.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#define METARL_INLINE inline __attribute__((always_inline))
#if defined(__clang__)
#define METARL_VECTORISE _Pragma("clang loop vectorize(enable) interleave(enable)")
#define METARL_UNROLL _Pragma("unroll")
#else
#define METARL_VECTORISE _Pragma("GCC ivdep")
#define METARL_UNROLL _Pragma("GCC unroll 8")
#endif

namespace metarl {

using Size = std::int64_t;

#ifdef __AVX512F__
constexpr int VECTOR_BYTES = 64, TILE_ROWS = 6, TILE_VECTORS = 4;
#else
constexpr int VECTOR_BYTES = 32, TILE_ROWS = 6, TILE_VECTORS = 2;
#endif

template <class R> constexpr Size lanes() { return VECTOR_BYTES / sizeof(R); }
template <class R> constexpr Size padded(Size n) {
  return (n + lanes<R>() - 1) / lanes<R>() * lanes<R>();
}

// ---- products --------------------------------------------------------------------------------
// C (+)= A B. Element (i, k) of A is a[i * row + k * column], so that A may be read transposed.
template <class R> struct Left {
  const R* at;
  Size row, column;
};

// `stride` numbers from one row of B to the next; 0: B is packed (see `pack`).
template <class R> struct Right {
  const R* at;
  Size stride;
};

template <class R, int ROWS, int VECTORS>
METARL_INLINE void tile(Size depth, Left<R> a, const R* b, Size b_stride, R* c, Size c_stride,
                        bool add) {
  typedef R Vector __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(R)), may_alias));
  Vector sum[ROWS][VECTORS];
  METARL_UNROLL
  for (int i = 0; i < ROWS; i++)
    METARL_UNROLL
    for (int j = 0; j < VECTORS; j++)
      sum[i][j] = add ? *(const Vector*)(c + i * c_stride + j * lanes<R>()) : Vector{};
  const R* left = a.at;
  for (Size k = 0; k < depth; k++, b += b_stride, left += a.column) {
    Vector right[VECTORS];
    METARL_UNROLL
    for (int j = 0; j < VECTORS; j++) right[j] = *(const Vector*)(b + j * lanes<R>());
    METARL_UNROLL
    for (int i = 0; i < ROWS; i++) {
      const R value = left[i * a.row];
      METARL_UNROLL
      for (int j = 0; j < VECTORS; j++) sum[i][j] += value * right[j];
    }
  }
  METARL_UNROLL
  for (int i = 0; i < ROWS; i++)
    METARL_UNROLL
    for (int j = 0; j < VECTORS; j++) *(Vector*)(c + i * c_stride + j * lanes<R>()) = sum[i][j];
}

template <class R, int VECTORS>
void rows(Size num_rows, Size depth, Left<R> a, const R* b, Size b_stride, R* c, Size c_stride,
          bool add) {
  auto from = [&](Size i) { return Left<R>{a.at + i * a.row, a.row, a.column}; };
  Size i = 0;
  for (; i + TILE_ROWS <= num_rows; i += TILE_ROWS)
    tile<R, TILE_ROWS, VECTORS>(depth, from(i), b, b_stride, c + i * c_stride, c_stride, add);
  for (; i + 2 <= num_rows; i += 2)
    tile<R, 2, VECTORS>(depth, from(i), b, b_stride, c + i * c_stride, c_stride, add);
  for (; i < num_rows; i++)
    tile<R, 1, VECTORS>(depth, from(i), b, b_stride, c + i * c_stride, c_stride, add);
}

// C [num_rows, width] (+)= A [num_rows, depth] B [depth, width]; width is a padded one.
template <class R>
void product(Size num_rows, Size width, Size depth, Left<R> a, Right<R> b, R* c, Size c_stride,
             bool add) {
  constexpr Size PANEL = TILE_VECTORS * lanes<R>();
  for (Size j = 0; j < width; j += PANEL) {
    const Size panel = width - j < PANEL ? width - j : PANEL;
    const R* right = b.stride ? b.at + j : b.at + j * depth;
    const Size stride = b.stride ? b.stride : panel;
    switch (panel / lanes<R>()) {
      case 1: rows<R, 1>(num_rows, depth, a, right, stride, c + j, c_stride, add); break;
      case 2: rows<R, 2>(num_rows, depth, a, right, stride, c + j, c_stride, add); break;
      case 3: rows<R, 3>(num_rows, depth, a, right, stride, c + j, c_stride, add); break;
      default: rows<R, TILE_VECTORS>(num_rows, depth, a, right, stride, c + j, c_stride, add);
    }
  }
}

// Lay the panels of B [depth, width], rows `stride` apart, one after the other: each is then read
// from one end to the other.
template <class R> void pack(Size depth, Size width, const R* b, Size stride, R* out) {
  constexpr Size PANEL = TILE_VECTORS * lanes<R>();
  for (Size j = 0; j < width; j += PANEL) {
    const Size panel = width - j < PANEL ? width - j : PANEL;
    for (Size k = 0; k < depth; k++, out += panel)
      std::memcpy(out, b + k * stride + j, panel * sizeof(R));
  }
}

// out [width] += sum over rows of x [num_rows, width].
template <class R> void add_rows(Size num_rows, Size width, const R* x, Size stride, R* out) {
  for (Size i = 0; i < num_rows; i++)
    METARL_VECTORISE
    for (Size j = 0; j < width; j++) out[j] += x[i * stride + j];
}

// ---- functions -------------------------------------------------------------------------------
// tanh in single precision: a quotient of an odd and an even polynomial on [-7.905, 7.905], outside
// of which the nearest float is 1 (the minimax coefficients of Eigen's ptanh_float); NaN stays NaN.
METARL_INLINE float tangent(float x) {
  constexpr float EDGE = 7.90531110763549805f;
  x = x > EDGE ? EDGE : x;
  x = x < -EDGE ? -EDGE : x;
  const float y = x * x;
  float p = -2.76076847742355e-16f;
  p = p * y + 2.00018790482477e-13f;
  p = p * y - 8.60467152213735e-11f;
  p = p * y + 5.12229709037114e-08f;
  p = p * y + 1.48572235717979e-05f;
  p = p * y + 6.37261928875436e-04f;
  p = p * y + 4.89352455891786e-03f;
  float q = 1.19825839466702e-06f;
  q = q * y + 1.18534705686654e-04f;
  q = q * y + 2.26843463243900e-03f;
  q = q * y + 4.89352518554385e-03f;
  return x * p / q;
}
METARL_INLINE double tangent(double x) { return std::tanh(x); }

template <class R> METARL_INLINE R sigmoid(R x) { return R(.5) * tangent(R(.5) * x) + R(.5); }

// f(i, j) for every element of [num_rows, width], of which no two depend on each other.
template <class F> METARL_INLINE void each(Size num_rows, Size width, F f) {
  for (Size i = 0; i < num_rows; i++)
    METARL_VECTORISE
    for (Size j = 0; j < width; j++) f(i, j);
}

// ---- vectors -------------------------------------------------------------------------------
// For loops with sums along a row, which a compiler may not reorder and so not vectorise.
template <class R> struct VectorOf {
  typedef R type __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(R)), may_alias));
};
template <class R> using Vector = typename VectorOf<R>::type;

template <class R> METARL_INLINE Vector<R> load(const R* from) {
  return *(const typename VectorOf<R>::type*)from;
}
template <class R> METARL_INLINE void store(R* to, typename VectorOf<R>::type value) {
  *(typename VectorOf<R>::type*)to = value;
}

// |x|: the sign bit goes.
template <class R> METARL_INLINE Vector<R> absolute(Vector<R> x) {
  using Bits = std::conditional_t<sizeof(R) == 4, std::int32_t, std::int64_t>;
  typedef Bits Mask __attribute__((vector_size(VECTOR_BYTES)));
  return (Vector<R>)((Mask)x & std::numeric_limits<Bits>::max());
}

// The sum of a vector's lanes, halves added to halves.
template <class R> METARL_INLINE R total(typename VectorOf<R>::type value) {
  R lane[lanes<R>()];
  store<R>(lane, value);
  METARL_UNROLL
  for (Size half = lanes<R>() / 2; half; half /= 2)
    METARL_UNROLL
    for (Size i = 0; i < half; i++) lane[i] += lane[i + half];
  return lane[0];
}

}  // namespace metarl
