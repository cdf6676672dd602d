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

// ---- parts -----------------------------------------------------------------------------------
// f(first, count) for each stretch of at most `most` of so many.
template <class F> METARL_INLINE void chunks(Size all, Size most, F f) {
  for (Size first = 0; first < all; first += most)
    f(first, all - first < most ? all - first : most);
}

// f(vectors, column) for stripes of a padded width: as many of the first number of vectors as there
// are, then of the next one. The number comes as a type, so that its `value` is a constant.
template <class R, int... VECTORS, class F> METARL_INLINE void stripes(Size width, F f) {
  Size j = 0;
  auto those_of = [&](auto vectors) {
    constexpr Size PANEL = decltype(vectors)::value * lanes<R>();
    for (; j + PANEL <= width; j += PANEL) f(vectors, j);
  };
  (those_of(std::integral_constant<int, VECTORS>{}), ...);
}

// The same for panels, each as wide as a tile of a product or as what is left.
template <class R, class F> METARL_INLINE void panels(Size width, F f) {
  stripes<R, TILE_VECTORS, 3, 2, 1>(width, f);
}

// f(number), 1 <= number <= MOST; it comes as a type, so that its `value` is a constant.
template <int MOST, class F> METARL_INLINE void as_constant(Size number, F f) {
  if (number == MOST) return f(std::integral_constant<int, MOST>{});
  if constexpr (MOST > 1) as_constant<MOST - 1>(number, f);
}

// Rows of `width` numbers, `stride` apart, to where they are `next` apart.
template <class R> void copy(Size rows, Size width, const R* from, Size stride, R* to, Size next) {
  for (Size b = 0; b < rows; b++) std::memcpy(to + b * next, from + b * stride, width * sizeof(R));
}

// ---- products --------------------------------------------------------------------------------
// C (+)= A B. Element (i, k) of A is a[i * row + k * column], so that A may be read transposed.
template <class R> struct Left {
  const R* at;
  Size row, column;
};

// `stride` numbers from one row of B to the next; 0: B is packed (see `pack_rows`), `depth` rows.
template <class R> struct Right {
  const R* at;
  Size stride, depth = 0;
};

// Which rows a product makes, or which k it sums over: all of them, or those of a list.
struct All {
  Size first = 0;
  All from(Size i) const { return {first + i}; }
  METARL_INLINE Size operator()(Size i) const { return first + i; }
};
struct Listed {
  const Size* at;
  Listed from(Size i) const { return {at + i}; }
  METARL_INLINE Size operator()(Size i) const { return at[i]; }
};

template <class R, int ROWS, int VECTORS, class Row, class K>
METARL_INLINE void tile(Size depth, Left<R> a, const R* b, Size b_stride, R* c, Size c_stride,
                        bool add, Row row, K which) {
  typedef R Vector __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(R)), may_alias));
  Vector sum[ROWS][VECTORS];
  METARL_UNROLL
  for (int i = 0; i < ROWS; i++)
    METARL_UNROLL
    for (int j = 0; j < VECTORS; j++)
      sum[i][j] = add ? *(const Vector*)(c + row(i) * c_stride + j * lanes<R>()) : Vector{};
  for (Size k = 0; k < depth; k++) {
    const R *left = a.at + which(k) * a.column, *below = b + which(k) * b_stride;
    Vector right[VECTORS];
    METARL_UNROLL
    for (int j = 0; j < VECTORS; j++) right[j] = *(const Vector*)(below + j * lanes<R>());
    METARL_UNROLL
    for (int i = 0; i < ROWS; i++) {
      const R value = left[row(i) * a.row];
      METARL_UNROLL
      for (int j = 0; j < VECTORS; j++) sum[i][j] += value * right[j];
    }
  }
  METARL_UNROLL
  for (int i = 0; i < ROWS; i++)
    METARL_UNROLL
    for (int j = 0; j < VECTORS; j++)
      *(Vector*)(c + row(i) * c_stride + j * lanes<R>()) = sum[i][j];
}

template <class R, int VECTORS, class Row, class K>
void rows(Size num_rows, Size depth, Left<R> a, const R* b, Size b_stride, R* c, Size c_stride,
          bool add, Row row, K which) {
  Size i = 0;
  for (; i + TILE_ROWS <= num_rows; i += TILE_ROWS)
    tile<R, TILE_ROWS, VECTORS>(depth, a, b, b_stride, c, c_stride, add, row.from(i), which);
  if (i == num_rows) return;
  as_constant<TILE_ROWS - 1>(num_rows - i, [&](auto left) {
    tile<R, left, VECTORS>(depth, a, b, b_stride, c, c_stride, add, row.from(i), which);
  });
}

// C [num_rows, width] (+)= A [num_rows, depth] B [depth, width]; width is a padded one. Of lists,
// these are the numbers of what they name.
template <class R, class Row = All, class K = All>
void product(Size num_rows, Size width, Size depth, Left<R> a, Right<R> b, R* c, Size c_stride,
             bool add, Row row = {}, K which = {}) {
  panels<R>(width, [&](auto vectors, Size j) {
    constexpr int VECTORS = decltype(vectors)::value;
    const R* right = b.stride ? b.at + j : b.at + j * (b.depth ? b.depth : depth);
    const Size stride = b.stride ? b.stride : VECTORS * lanes<R>();
    rows<R, VECTORS>(num_rows, depth, a, right, stride, c + j, c_stride, add, row, which);
  });
}

// Rows [first, first + count) of a matrix B [depth, width], packed: its panels lie one after the
// other, with zeros up to a whole vector, so that a product reads each from one end to the other.
// Element (k, j) of these rows is b[k * row + j * column]: B may be the transpose of what is there.
template <class R>
void pack_rows(Size depth, Size width, Size first, Size count, const R* b, Size row, Size column,
               R* out) {
  constexpr Size PANEL = TILE_VECTORS * lanes<R>();
  chunks(padded<R>(width), PANEL, [&](Size start, Size panel) {
    const Size filled = width - start < panel ? width - start : panel;
    for (Size k = 0; k < count; k++) {
      const R* from = b + k * row + start * column;
      R* to = out + start * depth + (first + k) * panel;
      if (column == 1)
        std::memcpy(to, from, filled * sizeof(R));
      else
        for (Size j = 0; j < filled; j++) to[j] = from[j * column];
      for (Size j = filled; j < panel; j++) to[j] = 0;
    }
  });
}

template <class R> void pack(Size depth, Size width, const R* b, Size row, Size column, R* out) {
  pack_rows(depth, width, Size{0}, depth, b, row, column, out);
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

// Whole numbers as wide as those of a vector.
template <class R> using Bits = std::conditional_t<sizeof(R) == 4, std::int32_t, std::int64_t>;
template <class R> struct MaskOf {
  typedef Bits<R> type __attribute__((vector_size(VECTOR_BYTES)));
};
template <class R> using Mask = typename MaskOf<R>::type;

// |x|: the sign bit goes.
template <class R> METARL_INLINE Vector<R> absolute(Vector<R> x) {
  return (Vector<R>)((Mask<R>)x & std::numeric_limits<Bits<R>>::max());
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
