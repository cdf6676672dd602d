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
    const bool further = i > end || w.net.input.gradient;
    gradients_of_norm(w, b, l, task);
    if (further && (!task || l.weight.step)) {
      b.arrange(w.value(l.weight, task), b.weight);
      b.turn(b.weight, b.weight_back);
    }
    const R* h = i ? w.blocks[i - 1].h : input;
    std::memset(w.gradient, 0, b.taps * b.tap_size * sizeof(R));
    chunks(w.B, b.slab, [&](Size first, Size count) {
      const Block<R> part = b.from(first);
      cotangents(w, part, count, w.upstream + first * b.out_places * b.row);
      const R* a_z = before_pooling(part, count, w.cotangent, w.dense);
      // d W = sum h_in a_z,  a_h_in = sum over taps of a_z W^T
      if (l.weight.gradient)
        b.add_products(count, h + first * b.forward.source.image, a_z, w.gradient);
      if (further)
        gathered<R>(b.backward, count, a_z, b.weight_back, b.row_back,
                    w.below + first * b.backward.target.image, false);
    });
    if (l.weight.gradient)
      b.disarrange(w.gradient, l.weight.gradient + task * l.weight.own, task && !l.weight.own);
    if (!further) return;
    std::swap(w.upstream, w.below);
  }
  w.write_input_gradient(w.upstream, task);
}

// Where the pooling came first, the cotangent of what it took; else the same.
template <class R>
const R* before_pooling(const Block<R>& b, Size images, const R* a, R* out) {
  if (b.pool != POOL_FIRST) return a;
  const Spread<R> spread(b);
  const Size row = b.row;
  each_vector<R>(images, b.places, row,
                 [=](Place p, Size j) { store(out + p.row * row + j, spread(a, p, j)); });
  return out;
}

// The gradients of scale, shift and bias, from a_h (in `w.upstream`); and what `cotangents` needs.
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
  R *mean_shift = w.vector_a, *mean_scale = w.vector_b, *factor = w.vector_c;
  const double num_rows = (double)(w.B * b.norm_places);
  for (Size j = 0; j < row; j++) {
    mean_shift[j] = (R)(d_shift[j] / num_rows), mean_scale[j] = (R)(d_scale[j] / num_rows);
    factor[j] = b.scale[j] * b.inverse[j];
    if (w.net.keep) b.sums[j] = mean_shift[j], b.sums[row + j] = mean_scale[j];
  }
}

// From a_h to a_z, in `w.cotangent`, of some images.
//     u = a_y - (d shift + x d scale) / M,  a_z = scale s u
template <class R>
void cotangents(Work<R>& w, const Block<R>& b, Size images, const R* a_h) {
  const R *x_hat = b.x_hat, *mean_shift = w.vector_a, *mean_scale = w.vector_b;
  const R* factor = w.vector_c;
  const Size row = b.row;
  const bool batch = b.batch;
  R *kept = w.net.keep ? b.u : nullptr, *a_z = w.cotangent;
  going_back(b, [&](auto a_y) {
    each_vector<R>(images, b.norm_places, row, [=](Place p, Size j) {
      Vector<R> u = a_y(a_h, p, j);
      if (batch) u -= load(mean_shift + j) + load(x_hat + p.row * row + j) * load(mean_scale + j);
      if (kept) store(kept + p.row * row + j, u);
      store(a_z + p.row * row + j, load(factor + j) * u);
    });
  });
}

}  // namespace metarl
