// Gradients: from the last block to the first.
#pragma once
#include "conv_work.h"

namespace metarl {

// The lowest block that has to be gone through.
template <class R> int lowest(const Work<R>& w) {
  if (w.net.input.gradient || w.net.keep) return 0;
  for (int i = 0; i < w.num_blocks(); i++) {
    const Layer<R>& l = w.layers[i];
    if (l.weight.gradient || l.bias.gradient || l.scale.gradient || l.shift.gradient) return i;
  }
  return w.num_blocks();
}

template <class R> void gradients(Work<R>& w, Size task) {
  const int end = lowest(w);
  if (end == w.num_blocks()) return;
  const R* input = end ? nullptr : w.read(w.value(w.net.input, task), w.images, w.columns);
  w.read_cotangent(w.net.cotangent + task * w.output_size(), w.upstream);
  for (int i = w.num_blocks() - 1; i >= end; i--) {
    const Block<R>& b = w.blocks[i];
    const Layer<R>& l = w.layers[i];
    gradients_of_norm(w, b, l, task);
    const R* a_z = before_pooling(w, b, w.cotangent, w.dense);
    if (l.weight.gradient) {  // d W = sum h_in a_z
      std::memset(w.gradient, 0, b.taps * b.tap_size * sizeof(R));
      b.add_products(w.B, i ? w.blocks[i - 1].h : input, a_z, w.gradient);
      b.disarrange(w.gradient, l.weight.gradient + task * l.weight.own, task && !l.weight.own);
    }
    if (i == end && !w.net.input.gradient) return;
    if (!task || l.weight.step) {
      b.arrange(w.value(l.weight, task), b.weight);
      b.turn(b.weight, b.weight_back);
    }
    // a_h_in = sum over taps of a_z W^T
    gathered<R>(b.backward, w.B, a_z, b.weight_back, b.row_back, w.upstream, false);
  }
  w.write_input_gradient(w.upstream, task);
}

// Where the pooling came first, the w.cotangent of what it took; else the same.
template <class R>
const R* before_pooling(const Work<R>& w, const Block<R>& b, const R* a, R* out) {
  if (b.pool != POOL_FIRST) return a;
  const Spread<R> spread(b);
  const Size row = b.row;
  each_vector<R>(w.B, b.places, row,
                 [=](Place p, Size j) { store(out + p.row * row + j, spread(a, p, j)); });
  return out;
}

// From a_h (in `w.upstream`) to a_z, and the gradients of scale, shift and bias.
template <class R>
void gradients_of_norm(Work<R>& w, const Block<R>& b, const Layer<R>& l, Size task) {
  w.scales(b, l, task);
  const R *x_hat = b.x_hat, *a_h = w.upstream;
  const Size row = b.row;
  // d shift = sum a_y,  d scale = sum a_y x
  going_back(b, [&](auto a_y) {
    column_sums<R, 2>(w.B, b.norm_places, row, w.totals, [=](Place p, Size j, Vector<R>* out) {
      out[0] = a_y(a_h, p, j);
      out[1] = out[0] * load(x_hat + p.row * row + j);
    });
  });
  const double *d_shift = w.totals, *d_scale = w.totals + row;
  w.write_vector(b, l.shift, task, [&](Size j) { return d_shift[j]; });
  w.write_vector(b, l.scale, task, [&](Size j) { return d_scale[j]; });
  // d bias = sum a_z: zero where the mean takes the bias away again, or NaN
  w.write_vector(b, l.bias, task, [&](Size j) {
    const double by = (double)b.scale[j] * (double)b.inverse[j];
    return b.batch ? 0 * by * (d_shift[j] + d_scale[j]) : by * d_shift[j];
  });
  // u = a_y - (d shift + x d scale) / M,  a_z = scale s u
  R *mean_shift = w.vector_a, *mean_scale = w.vector_b, *factor = w.vector_c;
  const double num_rows = (double)(w.B * b.norm_places);
  for (Size j = 0; j < row; j++) {
    mean_shift[j] = (R)(d_shift[j] / num_rows), mean_scale[j] = (R)(d_scale[j] / num_rows);
    factor[j] = b.scale[j] * b.inverse[j];
    if (w.net.keep) b.sums[j] = mean_shift[j], b.sums[row + j] = mean_scale[j];
  }
  const bool batch = b.batch;
  R *kept = w.net.keep ? b.u : nullptr, *a_z = w.cotangent;
  going_back(b, [&](auto a_y) {
    each_vector<R>(w.B, b.norm_places, row, [=](Place p, Size j) {
      Vector<R> u = a_y(a_h, p, j);
      if (batch) u -= load(mean_shift + j) + load(x_hat + p.row * row + j) * load(mean_scale + j);
      if (kept) store(kept + p.row * row + j, u);
      store(a_z + p.row * row + j, load(factor + j) * u);
    });
  });
}

}  // namespace metarl
