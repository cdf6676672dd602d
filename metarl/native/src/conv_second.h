// Gradients of the gradients: tangents to the last block, and their gradients back to the first.
#pragma once
#include "conv_gradients.h"

namespace metarl {

template <class R> void second(Work<R>& w, Size task) {
  const R* input = w.read(w.value(w.net.input, task), w.images, w.columns);
  const R* moved_input = w.tangent(w.net.input, task);
  if (moved_input) moved_input = w.read(moved_input, w.image_tangents, w.column_tangents);
  tangents(w, task, input, moved_input);
  if (w.net.output) w.write_output(w.last().rh, w.net.output + task * w.output_size());
  std::memset(w.upstream, 0, w.B * w.last().out_places * w.last().row * sizeof(R));  // R a_h
  const int end = lowest(w);
  for (int i = w.num_blocks() - 1; i >= end; i--) {
    const Block<R>& b = w.blocks[i];
    const Layer<R>& l = w.layers[i];
    const bool further = i > end || w.net.input.gradient;
    tangents_of_gradients_of_norm(w, b, l, task);
    const R* h = i ? w.blocks[i - 1].h : input;
    const R* rh = i ? w.blocks[i - 1].rh : moved_input;
    std::memset(w.gradient, 0, b.taps * b.tap_size * sizeof(R));
    chunks(w.B, b.slab, [&](Size first, Size count) {
      const Size at = first * b.forward.source.image;
      const Block<R> part = b.from(first);
      moved_cotangents(w, part, count, w.upstream + first * b.out_places * b.row);
      const R* a_z = before_pooling(part, count, w.cotangent, w.dense);
      const R* ra_z = before_pooling(part, count, w.cotangent_tangent, w.dense_tangent);
      // R d W = sum h_in R a_z + R h_in a_z
      if (l.weight.gradient) b.add_products(count, h + at, ra_z, w.gradient);
      if (l.weight.gradient && rh) b.add_products(count, rh + at, a_z, w.gradient);
      // R a_h_in = sum over taps of R a_z W^T + a_z v^T
      R* to = w.below + first * b.backward.target.image;
      if (further) gathered<R>(b.backward, count, ra_z, b.weight_back, b.row_back, to, false);
      if (further && l.weight.tangent)
        gathered<R>(b.backward, count, a_z, b.tangent_back, b.row_back, to, true);
    });
    if (l.weight.gradient)
      b.disarrange(w.gradient, l.weight.gradient + task * l.weight.own, task && !l.weight.own);
    if (!further) return;
    std::swap(w.upstream, w.below);
  }
  if (end < w.num_blocks()) w.write_input_gradient(w.upstream, task);
}

template <class R>
void arrange_tangents(Work<R>& w, const Block<R>& b, const Layer<R>& l, Size task) {
  w.scales(b, l, task);
  b.fill(b.scale_tangent, w.tangent(l.scale, task), R(0));
  b.fill(b.shift_tangent, w.tangent(l.shift, task), R(0));
  if (!task || l.weight.step) {
    b.arrange(w.value(l.weight, task), b.weight);
    b.turn(b.weight, b.weight_back);
  }
  if (l.weight.tangent && (!task || l.weight.own)) {
    b.arrange(w.tangent(l.weight, task), b.tangent);
    b.turn(b.tangent, b.tangent_back);
  }
}

// R h of every block.
template <class R> void tangents(Work<R>& w, Size task, const R* input, const R* moved_input) {
  const R *h = input, *rh = moved_input;
  for (int i = 0; i < w.num_blocks(); i++) {
    const Block<R>& b = w.blocks[i];
    const Layer<R>& l = w.layers[i];
    arrange_tangents(w, b, l, task);
    // R z = conv(h_in, v) + conv(R h_in, W)
    const bool moving = l.weight.tangent;
    R* rz = b.pool == POOL_FIRST ? w.dense : b.rz;
    if (moving) gathered<R>(b.forward, w.B, h, b.tangent, b.row, rz, false);
    if (rh) gathered<R>(b.forward, w.B, rh, b.weight, b.row, rz, moving);
    if (!moving && !rh) std::memset(rz, 0, w.B * b.places * b.row * sizeof(R));
    const Size row = b.row;
    if (b.pool == POOL_FIRST)
      select(w, b, b.rz, [=](Size at, Size j) { return load(rz + at * row + j); });
    moved_moments(w, b, l, task);
    // R y = R scale x + scale R x + R shift,  R h = R y where y > 0
    const MovedNorm<R> rx(b);
    const R *x_hat = b.x_hat, *scale = b.scale;
    const R *by_scale = b.scale_tangent, *by_shift = b.shift_tangent;
    auto ry = [=](Size at, Size j) {
      return load(by_scale + j) * load(x_hat + at * row + j) + load(scale + j) * rx(at, j) +
             load(by_shift + j);
    };
    if (b.pool == POOL_LAST) select(w, b, b.rh, ry);
    else going_through(w, b, ry);
    h = b.h, rh = b.rh;
  }
}

// out[window] = f(the row that was the largest of it); zero where ReLU has cut it off.
template <class R, class F> METARL_INLINE void select(Work<R>& w, const Block<R>& b, R* out, F f) {
  const R* which = b.which;
  const Size row = b.row;
  each_window(b, w.B, [=](Size p, const Size(&rows)[4]) {
    for (Size j = 0; j < row; j += lanes<R>()) {
      const Vector<R> index = load(which + p * row + j);
      Vector<R> chosen{};
      METARL_UNROLL
      for (int k = 0; k < 4; k++) chosen = index == R(k) ? f(rows[k], j) : chosen;
      store(out + p * row + j, chosen);
    }
  });
}

template <class R, class F> METARL_INLINE void going_through(Work<R>& w, const Block<R>& b, F ry) {
  const R* h = b.h;
  R* rh = b.rh;
  const Size row = b.row;
  const bool rectified = b.rectified;
  each_vector<R>(w.B, b.norm_places, row, [=](Place p, Size j) {
    Vector<R> out = ry(p.row, j);
    if (rectified) out = load(h + p.row * row + j) <= R(0) ? Vector<R>{} : out;
    store(rh + p.row * row + j, out);
  });
}

// mean R z and mean(x R z); of constant statistics -R bias and 0.
template <class R> void moved_moments(Work<R>& w, const Block<R>& b, const Layer<R>& l, Size task) {
  const Size row = b.row;
  if (!b.batch) {
    b.fill(b.rz_mean, w.tangent(l.bias, task), R(0));
    for (Size j = 0; j < row; j++) b.rz_mean[j] = -b.rz_mean[j], b.rz_x[j] = 0;
    return;
  }
  const R *rz = b.rz, *x_hat = b.x_hat;
  column_sums<R, 2>(w.B, b.norm_places, row, w.totals, [=](Place p, Size j, Vector<R>* out) {
    out[0] = load(rz + p.row * row + j);
    out[1] = out[0] * load(x_hat + p.row * row + j);
  });
  const double num_rows = (double)(w.B * b.norm_places);
  for (Size j = 0; j < row; j++)
    b.rz_mean[j] = (R)(w.totals[j] / num_rows), b.rz_x[j] = (R)(w.totals[row + j] / num_rows);
}

// The gradients of scale, shift and bias, from R a_h (in `w.upstream`); and what
// `moved_cotangents` needs.
template <class R>
void tangents_of_gradients_of_norm(Work<R>& w, const Block<R>& b, const Layer<R>& l, Size task) {
  const MovedNorm<R> rx(b);
  const R *x_hat = b.x_hat, *u = b.u, *ra_h = w.upstream;
  const R *mean_shift = b.sums, *mean_scale = b.sums + b.row;
  const Size row = b.row;
  const bool batch = b.batch;
  // R d shift = sum R a_y
  // R d scale = sum R a_y x + a_y R x,  a_y = u + (d shift + x d scale) / M
  going_back(b, [&](auto a_y) {
    column_sums<R, 2>(w.B, b.norm_places, row, w.totals, [=](Place p, Size j, Vector<R>* out) {
      const Vector<R> x = load(x_hat + p.row * row + j);
      Vector<R> a = load(u + p.row * row + j);
      if (batch) a += load(mean_shift + j) + x * load(mean_scale + j);
      out[0] = a_y(ra_h, p, j);
      out[1] = out[0] * x + a * rx(p.row, j);
    });
  });
  const double *rd_shift = w.totals, *rd_scale = w.totals + row;
  const double num_rows = (double)(w.B * b.norm_places);
  w.write_vector(b, l.shift, task, [&](Size j) { return rd_shift[j]; });
  w.write_vector(b, l.scale, task, [&](Size j) { return rd_scale[j]; });
  // d bias = scale s d shift, of constant s
  w.write_vector(b, l.bias, task, [&](Size j) {
    const double moved = (double)b.scale_tangent[j] * (double)mean_shift[j] * num_rows;
    const double scaled = (double)b.scale[j] * rd_shift[j];
    return batch ? 0 * (rd_shift[j] + rd_scale[j]) : (double)b.inverse[j] * (moved + scaled);
  });
  // R s = -s^2 mean(x R z)
  R *of_u = b.shift_tangent, *factor = w.vector_a;
  R *mean_rshift = w.vector_b, *mean_rscale = w.vector_c;
  for (Size j = 0; j < row; j++) {
    const R s = b.inverse[j], moved = batch ? s * s * b.rz_x[j] * b.scale[j] : R(0);
    of_u[j] = s * b.scale_tangent[j] - moved, factor[j] = b.scale[j] * s;
    mean_rshift[j] = (R)(rd_shift[j] / num_rows), mean_rscale[j] = (R)(rd_scale[j] / num_rows);
  }
}

// From R a_h to a_z and R a_z, in `w.cotangent` and `w.cotangent_tangent`, of some images.
//     R a_z = (s R scale + scale R s) u
//             + scale s (R a_y - (R d shift + R x d scale + x R d scale) / M)
template <class R>
void moved_cotangents(Work<R>& w, const Block<R>& b, Size images, const R* ra_h) {
  const MovedNorm<R> rx(b);
  const R *x_hat = b.x_hat, *u = b.u, *of_u = b.shift_tangent, *factor = w.vector_a;
  const R *mean_rshift = w.vector_b, *mean_rscale = w.vector_c, *mean_scale = b.sums + b.row;
  const Size row = b.row;
  const bool batch = b.batch;
  R *a_z = w.cotangent, *ra_z = w.cotangent_tangent;
  going_back(b, [&](auto a_y) {
    each_vector<R>(images, b.norm_places, row, [=](Place p, Size j) {
      const Size at = p.row * row + j;
      const Vector<R> chosen = load(u + at);
      Vector<R> moved = a_y(ra_h, p, j);
      if (batch)
        moved -= load(mean_rshift + j) + rx(p.row, j) * load(mean_scale + j) +
                 load(x_hat + at) * load(mean_rscale + j);
      store(a_z + at, load(factor + j) * chosen);
      store(ra_z + at, load(of_u + j) * chosen + load(factor + j) * moved);
    });
  });
}

}  // namespace metarl
