// Outputs of the blocks, and what is kept of the way to them.
#pragma once
#include "conv_work.h"

namespace metarl {

template <class R> void outputs(Work<R>& w, Size task) {
  const R* h = w.read(w.value(w.net.input, task), w.images, w.columns);
  for (int i = 0; i < w.num_blocks(); i++) {
    const Block<R>& b = w.blocks[i];
    const Layer<R>& l = w.layers[i];
    if (!task || l.weight.step) b.arrange(w.value(l.weight, task), b.weight);
    const Size counted = w.net.reference && w.net.reference < w.B ? w.net.reference : w.B;
    chunks(w.B, b.slab, [&](Size first, Size count) {
      const Block<R> part = b.from(first);
      R* z = b.pool == POOL_FIRST ? w.dense : part.x_hat;
      gathered<R>(b.forward, count, h + first * b.forward.source.image, b.weight, b.row, z, false);
      if (b.pool == POOL_FIRST) pool_first(w, part, count);
      const Size left = counted - first < count ? counted - first : count;
      if (l.normalised && left > 0)
        add_statistics<R>(first * b.norm_places, left * b.norm_places, b.row, part.x_hat, w.totals);
    });
    moments(w, b, l, task, counted);
    if (b.pool == POOL_LAST) normalise_and_pool(w, b);
    else normalise(w, b);
    h = b.h;
  }
  w.write_output(h, w.net.output + task * w.output_size());
}

template <class R> void pool_first(Work<R>& w, const Block<R>& b, Size images) {
  const R* z = w.dense;
  R *x_hat = b.x_hat, *which = b.which;
  const Size row = b.row;
  each_window(b, images, [=](Size p, const Size(&rows)[4]) {
    for (Size j = 0; j < row; j += lanes<R>()) {
      Vector<R> y[4], best, index;
      METARL_UNROLL
      for (int k = 0; k < 4; k++) y[k] = load(z + rows[k] * row + j);
      choose<R>(y, best, index);
      store(x_hat + p * row + j, best), store(which + p * row + j, index);
    }
  });
}

// The mean, in `w.vector_a`, and s, from the statistics of some images.
template <class R>
void moments(Work<R>& w, const Block<R>& b, const Layer<R>& l, Size task, Size images) {
  w.scales(b, l, task);
  b.fill(w.vector_a, w.value(l.bias, task), R(0));
  if (!l.normalised) {
    for (Size j = 0; j < b.row; j++) w.vector_a[j] = -w.vector_a[j], b.inverse[j] = 1;
    return;
  }
  const double num_rows = (double)(images * b.norm_places);
  for (Size j = 0; j < b.row; j++) {
    w.vector_a[j] = (R)w.totals[j] + R(0) * w.vector_a[j];  // NaN where the bias is no number
    b.inverse[j] = (R)(1 / std::sqrt(w.totals[b.row + j] / num_rows + w.net.epsilon));
  }
}

template <class R> struct Affine {  // from z to x, in place, and to y
  const R *mean, *inverse, *scale, *shift;
  METARL_INLINE Vector<R> operator()(R* z, Size j) const {
    const Vector<R> x = (load(z + j) - load(mean + j)) * load(inverse + j);
    store(z + j, x);
    return load(scale + j) * x + load(shift + j);
  }
};

template <class R> void normalise(Work<R>& w, const Block<R>& b) {
  const Affine<R> affine{w.vector_a, b.inverse, b.scale, b.shift};
  R *x_hat = b.x_hat, *h = b.h;
  const Size row = b.row;
  const bool rectified = b.rectified;
  each_vector<R>(w.B, b.norm_places, row, [=](Place p, Size j) {
    Vector<R> y = affine(x_hat + p.row * row, j);
    if (rectified) y = y <= R(0) ? Vector<R>{} : y;
    store(h + p.row * row + j, y);
  });
}

template <class R> void normalise_and_pool(Work<R>& w, const Block<R>& b) {
  const Affine<R> affine{w.vector_a, b.inverse, b.scale, b.shift};
  R *x_hat = b.x_hat, *h = b.h, *which = b.which;
  const Size row = b.row, places = b.places;
  for (Size q = 0; q < places; q++)  // rows outside of all windows
    for (Size n = 0; n < w.B && b.window[q] < 0; n++)
      for (Size j = 0; j < row; j += lanes<R>()) affine(x_hat + (n * places + q) * row, j);
  const R lowest = b.rectified ? R(0) : -INFINITY, nowhere = b.rectified ? R(4) : R(0);
  each_window(b, w.B, [=](Size p, const Size(&rows)[4]) {
    for (Size j = 0; j < row; j += lanes<R>()) {
      Vector<R> y[4], best, index;
      METARL_UNROLL
      for (int k = 0; k < 4; k++) y[k] = affine(x_hat + rows[k] * row, j);
      choose<R>(y, best, index);
      const auto dead = best <= lowest;
      store(h + p * row + j, dead ? Vector<R>{} + lowest : best);
      store(which + p * row + j, dead ? Vector<R>{} + nowhere : index);
    }
  });
}

}  // namespace metarl
