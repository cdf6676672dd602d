// A block of a convolution net: its sizes, its buffers, its parameters in the order of the kernels.
#pragma once
#include "conv_norm.h"
#include "pieces.h"

namespace metarl {

enum Pool { NO_POOL = 0, POOL_FIRST = 1, POOL_LAST = 2 };

template <class R> struct Parameter {  // of N tasks, or one for all where `step` is 0
  const R* value;
  const R* tangent;  // null: zero
  R* gradient;       // null: not wanted
  Size step, own;    // numbers from one task to the next: of the value; of tangent and gradient
};

template <class R> struct Layer {  // as in native/conv.py
  Size channels, height, width, filters, kernel, stride, pool, normalised, rectified;
  Parameter<R> weight, bias, scale, shift;
};

template <class R> struct Net {  // as in native/conv.py
  Size tasks, images, num_layers, reference, keep;
  double epsilon;
  Parameter<R> input;  // [N, B, C, height, width]
  R* output;           // [N, B, filters, height, width]: h, or R h
  const R* cotangent;  // of the output
  R *state, *first, *scratch;
};

enum Mode { OUTPUTS = 0, GRADIENTS = 1, SECOND = 2 };

inline Size larger(Size a, Size b) { return a > b ? a : b; }

constexpr Size SLAB = 65536;  // numbers that stay in a near cache between two passes
constexpr Size UNROLLED = 32;  // so many channels times taps are laid out as columns

// B images; rows are padded to `row` numbers (filters) or `row_back` (channels).
template <class R> struct Block {
  Size channels, taps, filters, row, row_back, row_in, places_in;
  Size tap_size, tap_size_back;            // numbers of a tap of the arranged weights
  Line y, x;
  Size height, width, places;              // after the convolution
  Size out_height, out_width, out_places;  // after the pooling
  Size norm_places;                        // of x_hat
  Size slab;                               // images that are gone through at a time
  Pool pool;
  bool batch;      // the statistics are those of all images, not constants
  bool rectified;
  bool unrolled;   // the convolution reads columns: all taps of a place beside each other
  Gather forward, backward;
  // Kept by the outputs for the gradients: [B, norm_places, row], twice [B, out_places, row],
  // [row].
  R *x_hat, *h, *which, *inverse;
  // Kept by the gradients for theirs: [B, norm_places, row], [2][row].
  R *u, *sums;
  // Weights [tap][channel][row] and [tap][filter][row_back], their tangents; vectors [row].
  R *weight, *weight_back, *tangent, *tangent_back;
  R *scale, *shift, *scale_tangent, *shift_tangent;
  // Tangents [B, norm_places, row], [B, out_places, row]; mean R z and mean(x R z) [row].
  R *rz, *rh, *rz_mean, *rz_x;
  std::int32_t *order, *window;

  void measure(const Layer<R>& l, Size numbers_of_a_place, bool first, bool reference) {
    channels = l.channels, taps = l.kernel * l.kernel, filters = l.filters;
    row = padded<R>(filters), row_back = padded<R>(channels);
    row_in = numbers_of_a_place, places_in = l.height * l.width;
    y = {l.height, l.kernel, l.stride}, x = {l.width, l.kernel, l.stride};
    height = y.outputs(), width = x.outputs(), places = height * width;
    pool = (Pool)l.pool, batch = l.normalised && !reference, rectified = l.rectified;
    out_height = pool ? height / 2 : height, out_width = pool ? width / 2 : width;
    out_places = out_height * out_width;
    norm_places = pool == POOL_FIRST ? out_places : places;
    slab = larger(1, SLAB / (places * row));
    unrolled = first && channels * taps <= UNROLLED;
    // Taps lie a little further apart than their numbers take: what lies powers of two apart
    // shares places in a cache.
    tap_size = channels * row + (unrolled ? 0 : lanes<R>());
    tap_size_back = filters * row_back + lanes<R>();
    const Layout in{l.width, row_in, places_in * row_in}, made{width, row, places * row};
    const Layout back{l.width, row_back, places_in * row_back};
    forward = {reading(y), reading(x), l.kernel, in, made, channels, tap_size};
    backward = {read_by(y), read_by(x), l.kernel, made, back, filters, tap_size_back};
    if (!unrolled) return;
    const Size depth = taps * channels;
    const Layout columns{width, depth, places * depth};
    forward = {reading({height, 1, 1}), reading({width, 1, 1}), 1, columns, made, depth, 0};
  }

  // Where a weight [channel][tap] lies when arranged; which window a place is in, and where in it.
  void tabulate() {
    Size j = 0;
    for (Size c = 0; c < channels; c++)
      for (Size k = 0; k < taps; k++) order[j++] = (std::int32_t)(k * tap_size + c * row);
    for (Size i = 0; i < places; i++) {
      const Size line = i / width, at = i % width;
      const bool inside = line / 2 < out_height && at / 2 < out_width;
      const Size number = line / 2 * out_width + at / 2;
      window[i] = (std::int32_t)(inside ? number * 4 + line % 2 * 2 + at % 2 : -1);
    }
  }

  // The same for the images from one on.
  Block from(Size image) const {
    Block part = *this;
    const Size norm = image * norm_places * row, out = image * out_places * row;
    part.x_hat += norm, part.h += out;
    if (which) part.which += out;
    if (u) part.u += norm;
    if (rz) part.rz += norm, part.rh += out;
    return part;
  }

  // [filter][channel][tap] to [tap][channel][filter].
  void arrange(const R* values, R* out) const {
    const Size size = channels * taps;
    const std::int32_t* to = order;
    if (row != filters) std::memset(out, 0, taps * tap_size * sizeof(R));
    transpose<R>(filters, size, [=](Size o) { return values + o * size; },
                 [=](Size j) { return out + to[j]; });
  }

  // [tap][channel][filter] to [tap][filter][channel].
  void turn(const R* arranged, R* out) const {
    const Size width = row, back = row_back;
    if (row_back != channels) std::memset(out, 0, taps * tap_size_back * sizeof(R));
    for (Size k = 0; k < taps; k++, arranged += tap_size, out += tap_size_back)
      transpose<R>(channels, filters, [=](Size c) { return arranged + c * width; },
                   [=](Size o) { return out + o * back; });
  }

  // [tap][channel][filter] to [filter][channel][tap].
  void disarrange(const R* arranged, R* out, bool add) const {
    const Size size = channels * taps;
    const std::int32_t* from = order;
    transpose<R>(size, filters, [=](Size j) { return arranged + from[j]; },
                 [=](Size o) { return out + o * size; }, add);
  }

  void fill(R* out, const R* values, R otherwise) const {
    for (Size j = 0; j < row; j++) out[j] = j >= filters ? R(0) : values ? values[j] : otherwise;
  }

  // gradient [tap][channel][row] += sum over images and places of h_in a_z
  void add_products(Size images, const R* h_in, const R* a_z, R* gradient) const {
    const Layout in = forward.source, made = forward.target;
    if (unrolled)
      outer<R>({height, 1, 1}, {width, 1, 1}, images, taps * channels, in, made,
               h_in, a_z, gradient, 0, row);
    else
      outer<R>(y, x, images, channels, in, made, h_in, a_z, gradient, tap_size, row);
  }
};

// ---- pooling -----------------------------------------------------------------------------------
// f(window, its four rows) for every window of every image.
template <class R, class F> METARL_INLINE void each_window(const Block<R>& b, Size images, F f) {
  const Size height = b.out_height, width = b.out_width, line = b.width, places = b.places;
  for (Size n = 0; n < images; n++)
    for (Size y = 0; y < height; y++)
      for (Size x = 0; x < width; x++) {
        const Size row = n * places + 2 * y * line + 2 * x;
        const Size rows[4] = {row, row + 1, row + line, row + line + 1};
        f((n * height + y) * width + x, rows);
      }
}

// The first largest of four values, or the last NaN, as torch; and which it is.
template <class R>
METARL_INLINE void choose(const Vector<R>* y, Vector<R>& best, Vector<R>& index) {
  best = y[0], index = Vector<R>{};
  METARL_UNROLL
  for (int k = 1; k < 4; k++) {
    const auto take = (y[k] > best) | (y[k] != y[k]);
    best = take ? y[k] : best;
    index = take ? Vector<R>{} + R(k) : index;
  }
}

// What the cotangent of a pooled row gives to a row of its window; zero to rows outside of all.
template <class R> struct Spread {
  const std::int32_t* window;
  const R* which;
  Size out_places, row;
  explicit Spread(const Block<R>& b)
      : window(b.window), which(b.which), out_places(b.out_places), row(b.row) {}
  METARL_INLINE Vector<R> operator()(const R* pooled, Place p, Size j) const {
    const Size number = window[p.place];
    if (number < 0) return Vector<R>{};
    const Size at = (p.image * out_places + number / 4) * row + j;
    return load(which + at) == R(number % 4) ? load(pooled + at) : Vector<R>{};
  }
};

// Calls f with the function that gives a_y at a place from a_h: ReLU and last pooling go back.
template <class R, class F> METARL_INLINE void going_back(const Block<R>& b, F f) {
  const R* h = b.h;
  const Size row = b.row;
  if (b.pool == POOL_LAST)
    f(Spread<R>(b));
  else if (b.rectified)
    f([=](const R* a_h, Place p, Size j) {
      return load(h + p.row * row + j) <= R(0) ? Vector<R>{} : load(a_h + p.row * row + j);
    });
  else
    f([=](const R* a_h, Place p, Size j) { return load(a_h + p.row * row + j); });
}

// R x = s (R z - mean R z - x mean(x R z)); of constant statistics s (R z + R bias)
template <class R> struct MovedNorm {
  const R *rz, *x_hat, *mean, *mean_x, *inverse;
  Size row;
  bool batch;
  explicit MovedNorm(const Block<R>& b)
      : rz(b.rz), x_hat(b.x_hat), mean(b.rz_mean), mean_x(b.rz_x), inverse(b.inverse), row(b.row),
        batch(b.batch) {}
  METARL_INLINE Vector<R> operator()(Size at, Size j) const {
    Vector<R> moved = load(rz + at * row + j) - load(mean + j);
    if (batch) moved -= load(x_hat + at * row + j) * load(mean_x + j);
    return load(inverse + j) * moved;
  }
};

}  // namespace metarl
