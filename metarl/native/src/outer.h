// Matrices that grow by outer products and are read at once: memories of one sequence.
#pragma once
#include "simd.h"

namespace metarl {

// What is left of a matrix before it grows: all of it, or that by a factor.
struct Whole {
  template <class V> METARL_INLINE V operator()(V vector) const { return vector; }
};
template <class R> struct Faded {
  R factor;
  template <class V> METARL_INLINE V operator()(V vector) const { return factor * vector; }
};

// matrix [rows, width] = left(matrix) + a b^T, then out [width] = matrix^T c, of the columns of
// VECTORS vectors.
template <class R, int VECTORS, class Left>
METARL_INLINE void write_and_read_columns(Size rows, Size width, const R* a, const R* b, const R* c,
                                          R* matrix, R* out, Left left) {
  Vector<R> written[VECTORS], sum[VECTORS]{};
  METARL_UNROLL
  for (int v = 0; v < VECTORS; v++) written[v] = load(b + v * lanes<R>());
  for (Size i = 0; i < rows; i++, matrix += width)
    METARL_UNROLL
    for (int v = 0; v < VECTORS; v++) {
      const Vector<R> row = left(load(matrix + v * lanes<R>())) + a[i] * written[v];
      store<R>(matrix + v * lanes<R>(), row);
      sum[v] += c[i] * row;
    }
  METARL_UNROLL
  for (int v = 0; v < VECTORS; v++) store<R>(out + v * lanes<R>(), sum[v]);
}

template <class R, class Left = Whole>
void write_and_read(Size rows, Size width, const R* a, const R* b, const R* c, R* matrix, R* out,
                    Left left = {}) {
  stripes<R, 4, 2, 1>(width, [&](auto vectors, Size j) {
    write_and_read_columns<R, decltype(vectors)::value>(rows, width, a, b + j, c, matrix + j,
                                                        out + j, left);
  });
}

}  // namespace metarl
