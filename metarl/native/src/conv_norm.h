// Sums over the rows of a batch, by channel, and functions of every row.
//
// Sums are taken over chunks of rows in the type of the numbers, and over chunks in double
// precision: a batch of many thousands of places loses nothing.
#pragma once
#include "conv_products.h"

namespace metarl {

struct Place {
  Size image, place, row;  // row = image * places + place
};

constexpr Size CHUNK = 64;  // rows that stay in the nearest cache

// total[s][j] = sum over rows of term(place)[s][j], s < SUMS; term(place, column, out[SUMS]).
template <class R, int SUMS, class Term>
void column_sums(Size images, Size places, Size width, double* total, Term term) {
  std::memset(total, 0, SUMS * width * sizeof(double));
  for (Size b = 0; b < images; b++)
    for (Size start = 0; start < places; start += CHUNK) {
      const Size end = start + CHUNK < places ? start + CHUNK : places;
      panels<R>(width, [&](auto vectors, Size column) {
        constexpr int V = decltype(vectors)::value;
        Vector<R> sum[SUMS][V] = {};
        for (Size q = start; q < end; q++)
          METARL_UNROLL
          for (int v = 0; v < V; v++) {
            Vector<R> out[SUMS];
            term(Place{b, q, b * places + q}, column + v * lanes<R>(), out);
            METARL_UNROLL
            for (int s = 0; s < SUMS; s++) sum[s][v] += out[s];
          }
        METARL_UNROLL
        for (int s = 0; s < SUMS; s++)
          METARL_UNROLL
          for (int v = 0; v < V; v++) {
            R values[lanes<R>()];
            store(values, sum[s][v]);
            double* to = total + s * width + column + v * lanes<R>();
            METARL_VECTORISE
            for (Size k = 0; k < lanes<R>(); k++) to[k] += (double)values[k];
          }
      });
    }
}

// f(place, column) for every vector of every row.
template <class R, class F>
METARL_INLINE void each_vector(Size images, Size places, Size width, F f) {
  for (Size b = 0; b < images; b++)
    for (Size q = 0; q < places; q++)
      for (Size j = 0; j < width; j += lanes<R>()) f(Place{b, q, b * places + q}, j);
}

// Mean and sum of square deviations of each column, moments [2][width], of `before` rows and of the
// rows x [num_rows, width] that follow (Chan et al. 1983, chunk by chunk).
template <class R>
void add_statistics(Size before, Size num_rows, Size width, const R* x, double* moments) {
  double *mean = moments, *square = moments + width;
  if (!before) std::memset(moments, 0, 2 * width * sizeof(double));
  for (Size start = 0; start < num_rows; start += CHUNK) {
    const Size end = start + CHUNK < num_rows ? start + CHUNK : num_rows, count = end - start;
    const double share = (double)count / (double)(before + end);
    const double between = (double)(before + start) * share;
    panels<R>(width, [&](auto vectors, Size column) {
      constexpr int V = decltype(vectors)::value;
      Vector<R> sum[V] = {}, deviation[V] = {};
      for (Size r = start; r < end; r++)
        METARL_UNROLL
        for (int v = 0; v < V; v++) sum[v] += load(x + r * width + column + v * lanes<R>());
      METARL_UNROLL
      for (int v = 0; v < V; v++) sum[v] /= (R)count;
      for (Size r = start; r < end; r++)
        METARL_UNROLL
        for (int v = 0; v < V; v++) {
          const Vector<R> d = load(x + r * width + column + v * lanes<R>()) - sum[v];
          deviation[v] += d * d;
        }
      METARL_UNROLL
      for (int v = 0; v < V; v++) {
        R means[lanes<R>()], deviations[lanes<R>()];
        store(means, sum[v]), store(deviations, deviation[v]);
        double *m = mean + column + v * lanes<R>(), *s = square + column + v * lanes<R>();
        METARL_VECTORISE
        for (Size k = 0; k < lanes<R>(); k++) {
          const double delta = (double)means[k] - m[k];
          m[k] += delta * share;
          s[k] += (double)deviations[k] + delta * delta * between;
        }
      }
    });
  }
}

}  // namespace metarl
