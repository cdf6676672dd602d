// Products of a convolution: rows of channels are gathered from an image, never copied.
//
// Images are [image, y, x][channel]; weights are arranged [tap][channel][filter, padded]. The sum
// of an output runs over taps and channels in one order, whatever else the batch holds.
#pragma once
#include "conv_places.h"

#if defined(__clang__)
#define METARL_UNROLL16 _Pragma("unroll")
#else
#define METARL_UNROLL16 _Pragma("GCC unroll 16")
#endif

namespace metarl {

// ---- transposition ---------------------------------------------------------------------------
template <class R, int SHIFT> METARL_INLINE void exchange(Vector<R>& low, Vector<R>& high) {
  constexpr int LANES = (int)lanes<R>();
#if defined(__clang__)
  Vector<R> a, b;
  METARL_UNROLL16
  for (int e = 0; e < LANES; e++) {
    a[e] = e & SHIFT ? high[e - SHIFT] : low[e];
    b[e] = e & SHIFT ? high[e] : low[e + SHIFT];
  }
#else
  Mask<R> first{}, second{};
  METARL_UNROLL16
  for (int e = 0; e < LANES; e++) {
    first[e] = e & SHIFT ? e - SHIFT + LANES : e;
    second[e] = e & SHIFT ? e + LANES : e + SHIFT;
  }
  const Vector<R> a = __builtin_shuffle(low, high, first);
  const Vector<R> b = __builtin_shuffle(low, high, second);
#endif
  low = a, high = b;
}

template <class R, int SHIFT> METARL_INLINE void exchange_all(Vector<R>* block) {
  METARL_UNROLL16
  for (int i = 0; i < (int)lanes<R>(); i++)
    if (!(i & SHIFT)) exchange<R, SHIFT>(block[i], block[i + SHIFT]);
  if constexpr (SHIFT > 1) exchange_all<R, SHIFT / 2>(block);
}

constexpr Size AHEAD = 4;  // blocks of a row that are asked for before they are read

// target(j)[i] (+)= source(i)[j] for i < rows, j < columns.
template <class R, class Source, class Target>
void transpose(Size rows, Size columns, Source source, Target target, bool add = false) {
  constexpr Size LANES = lanes<R>();
  auto put = [&](Size i, Size j) {
    R& to = target(j)[i];
    to = add ? to + source(i)[j] : source(i)[j];
  };
  for (Size i = 0; i < rows; i += LANES)
    for (Size j = 0; j < columns; j += LANES) {
      if (i + LANES > rows || j + LANES > columns) {
        for (Size y = j; y < columns && y < j + LANES; y++)
          for (Size x = i; x < rows && x < i + LANES; x++) put(x, y);
        continue;
      }
      Vector<R> block[LANES];
      METARL_UNROLL16
      for (Size k = 0; k < LANES; k++) {
        block[k] = load(source(i + k) + j);
        __builtin_prefetch(source(i + k) + j + AHEAD * LANES);
      }
      exchange_all<R, (int)LANES / 2>(block);
      METARL_UNROLL16
      for (Size k = 0; k < LANES; k++) {
        R* to = target(j + k) + i;
        store(to, add ? load<R>(to) + block[k] : block[k]);
      }
    }
}

// ---- gathered rows ---------------------------------------------------------------------------
// Images of `width` places a line, `row` numbers a place, `image` numbers an image.
struct Layout {
  Size width, row, image;
};

struct Gather {
  Axis y, x;
  Size kernel;
  Layout source, target;
  Size depth;  // channels that are summed over
  Size tap_size;  // numbers of a tap of the weights
};

struct Taps {
  Size first, num_y, num_x;  // the first tap in the kernel
  Size y_tap, x_tap;         // to the next, in the kernel
  Size y_shift, x_shift;     // and in the source, in numbers
};

template <class R, int ROWS, int VECTORS>
METARL_INLINE void gathered_tile(const Taps& taps, Size depth, const R* const* from,
                                 const R* weights, Size tap_size, Size width, R* const* to,
                                 Size column, bool add) {
  Vector<R> sum[ROWS][VECTORS];
  METARL_UNROLL
  for (int i = 0; i < ROWS; i++)
    METARL_UNROLL
    for (int v = 0; v < VECTORS; v++)
      sum[i][v] = add ? load<R>(to[i] + column + v * lanes<R>()) : Vector<R>{};
  for (Size ty = 0; ty < taps.num_y; ty++)
    for (Size tx = 0; tx < taps.num_x; tx++) {
      const Size shift = ty * taps.y_shift + tx * taps.x_shift;
      const R* right = weights + (taps.first + ty * taps.y_tap + tx * taps.x_tap) * tap_size;
      const R* left[ROWS];
      METARL_UNROLL
      for (int i = 0; i < ROWS; i++) left[i] = from[i] + shift;
      for (Size c = 0; c < depth; c++, right += width) {
        Vector<R> b[VECTORS];
        METARL_UNROLL
        for (int v = 0; v < VECTORS; v++) b[v] = load(right + v * lanes<R>());
        METARL_UNROLL
        for (int i = 0; i < ROWS; i++) {
          const R a = left[i][c];
          METARL_UNROLL
          for (int v = 0; v < VECTORS; v++) sum[i][v] += a * b[v];
        }
      }
    }
  METARL_UNROLL
  for (int i = 0; i < ROWS; i++)
    METARL_UNROLL
    for (int v = 0; v < VECTORS; v++) store(to[i] + column + v * lanes<R>(), sum[i][v]);
}

template <class R, int VECTORS>
void gathered_rows(int rows, const Taps& taps, Size depth, const R* const* from, const R* weights,
                   Size tap_size, Size width, R* const* to, Size column, bool add) {
  as_constant<TILE_ROWS>(rows, [&](auto constant) {
    constexpr int ROWS = decltype(constant)::value;
    gathered_tile<R, ROWS, VECTORS>(taps, depth, from, weights, tap_size, width, to, column, add);
  });
}

// target[t] (+)= sum over taps of source[s(t, tap)] weights[tap], for all places t of all images;
// weights are [tap][depth][width].
template <class R>
void gathered(const Gather& g, Size images, const R* source, const R* weights, Size width,
              R* target, bool add) {
  for (int gy = 0; gy < g.y.num_groups; gy++)
    for (int gx = 0; gx < g.x.num_groups; gx++) {
      const Group &y = g.y.groups[gy], &x = g.x.groups[gx];
      const Taps taps{y.tap * g.kernel + x.tap, y.num_taps, x.num_taps,
                      g.y.tap_step * g.kernel, g.x.tap_step,
                      g.y.tap_source_step * g.source.width * g.source.row,
                      g.x.tap_source_step * g.source.row};
      const Size rows = images * y.count * x.count, tiles = (rows + TILE_ROWS - 1) / TILE_ROWS;
      Size image = 0, line = 0, place = 0;
      for (Size t = 0; t < tiles; t++) {
        const int n = (int)(rows * (t + 1) / tiles - rows * t / tiles);
        const R* from[TILE_ROWS];
        R* to[TILE_ROWS];
        for (int i = 0; i < n; i++) {
          from[i] = source + image * g.source.image +
                    ((y.source + line * g.y.source_step) * g.source.width + x.source +
                     place * g.x.source_step) * g.source.row;
          to[i] = target + image * g.target.image +
                  ((y.target + line * g.y.target_step) * g.target.width + x.target +
                   place * g.x.target_step) * g.target.row;
          if (++place == x.count) {
            place = 0;
            if (++line == y.count) line = 0, image++;
          }
        }
        panels<R>(width, [&](auto vectors, Size j) {
          gathered_rows<R, decltype(vectors)::value>(n, taps, g.depth, from, weights + j,
                                                     g.tap_size, width, to, j, add);
        });
      }
    }
}

// ---- gradient of the weights -----------------------------------------------------------------
constexpr Size BLOCK_PLACES = 64;  // of which both factors stay in the nearest cache

struct Lines {  // places [y0, y1) x [x0, x1) of the lines [first, last) of all images
  Size first, last, y0, y1, x0, x1;
  Size shift;  // numbers from where a place begins in the source to what a tap reads there
};

template <class R, int ROWS, int VECTORS>
METARL_INLINE void outer_tile(const Lines& lines, Size height, Size stride, Layout in, Layout out,
                              const R* h, const R* cotangent, R* gradient, Size width) {
  Vector<R> sum[ROWS][VECTORS];
  METARL_UNROLL
  for (int i = 0; i < ROWS; i++)
    METARL_UNROLL
    for (int v = 0; v < VECTORS; v++) sum[i][v] = load<R>(gradient + i * width + v * lanes<R>());
  Size image = lines.first / height, y = lines.first % height;
  for (Size line = lines.first; line < lines.last; line++) {
    if (y >= lines.y0 && y < lines.y1) {
      const R* left = h + (image * in.image + lines.shift +
                           (y * stride * in.width + lines.x0 * stride) * in.row);
      const R* right = cotangent + image * out.image + (y * out.width + lines.x0) * out.row;
      for (Size x = lines.x0; x < lines.x1; x++, left += stride * in.row, right += out.row) {
        Vector<R> b[VECTORS];
        METARL_UNROLL
        for (int v = 0; v < VECTORS; v++) b[v] = load(right + v * lanes<R>());
        METARL_UNROLL
        for (int i = 0; i < ROWS; i++) {
          const R a = left[i];
          METARL_UNROLL
          for (int v = 0; v < VECTORS; v++) sum[i][v] += a * b[v];
        }
      }
    }
    if (++y == height) y = 0, image++;
  }
  METARL_UNROLL
  for (int i = 0; i < ROWS; i++)
    METARL_UNROLL
    for (int v = 0; v < VECTORS; v++) store(gradient + i * width + v * lanes<R>(), sum[i][v]);
}

// gradient[tap][channel][:] += sum over places of h[s(place, tap)][channel] cotangent[place][:].
template <class R>
void outer(Line y_axis, Line x_axis, Size images, Size channels, Layout in, Layout out, const R* h,
           const R* cotangent, R* gradient, Size tap_size, Size width) {
  const Size height = y_axis.outputs(), padding = y_axis.padding(), kernel = y_axis.kernel;
  const Size per_block = BLOCK_PLACES / out.width > 1 ? BLOCK_PLACES / out.width : 1;
  // Targets t with 0 <= t stride + tap - padding < size.
  auto valid = [&](Line line, Size tap, Size& from, Size& to) {
    const Size shift = padding - tap, s = line.stride;
    from = shift > 0 ? (shift + s - 1) / s : 0;
    to = line.size - 1 + shift < 0 ? 0 : (line.size - 1 + shift) / s + 1;
    if (to > line.outputs()) to = line.outputs();
  };
  for (Size first = 0; first < images * height; first += per_block) {
    const Size last = first + per_block < images * height ? first + per_block : images * height;
    for (Size ky = 0; ky < kernel; ky++)
      for (Size kx = 0; kx < kernel; kx++) {
        Lines lines{first, last, 0, 0, 0, 0, 0};
        lines.shift = ((ky - padding) * in.width + kx - padding) * in.row;
        valid(y_axis, ky, lines.y0, lines.y1), valid(x_axis, kx, lines.x0, lines.x1);
        R* to = gradient + (ky * kernel + kx) * tap_size;
        const Size tiles = (channels + TILE_ROWS - 1) / TILE_ROWS;
        for (Size t = 0; t < tiles; t++) {
          const Size c = channels * t / tiles;
          panels<R>(width, [&](auto vectors, Size j) {
            as_constant<TILE_ROWS>(channels * (t + 1) / tiles - c, [&](auto rows) {
              outer_tile<R, decltype(rows)::value, decltype(vectors)::value>(
                  lines, height, y_axis.stride, in, out, h + c, cotangent + j, to + c * width + j,
                  width);
            });
          });
        }
      }
  }
}

}  // namespace metarl
