// What a call works with: blocks, buffers, images and parameters of a task.
#pragma once
#include <utility>
#include <vector>

#include "conv_block.h"

namespace metarl {

template <class R> struct Work {
  const Net<R>& net;
  const Layer<R>* layers;
  const Size B;
  std::vector<Block<R>> blocks;
  R *images, *image_tangents, *columns, *column_tangents;
  R *dense, *dense_tangent, *cotangent, *cotangent_tangent;  // of a slab
  R *upstream, *below, *gradient;
  R *vector_a, *vector_b, *vector_c;
  double* totals;
  Size state_size, first_size, scratch_size;

  Work(const Net<R>& n, const Layer<R>* all, Mode mode)
      : net(n), layers(all), B(n.images), blocks(n.num_layers) {
    Size dense_size = 0, norm_size = 0, in_size = 0, weight_size = 0, widest = 0;
    Pieces<R> state{n.state}, first{n.first}, scratch{n.scratch};
    auto from = [&](Mode m, Size size) { return mode >= m ? scratch.take(size) : nullptr; };
    auto integers = [&](Size size) { return (std::int32_t*)scratch.take(size); };
    for (std::size_t i = 0; i < blocks.size(); i++) {
      Block<R>& b = blocks[i];
      const Layer<R>& l = layers[i];
      b.measure(l, i ? blocks[i - 1].row : l.channels, i == 0, n.reference > 0);
      const Size norm = B * b.norm_places * b.row, out = B * b.out_places * b.row;
      const Size weights = b.taps * b.tap_size, back = b.taps * b.tap_size_back;
      b.x_hat = state.take(norm);
      b.h = mode != OUTPUTS || n.keep || b.pool ? state.take(out) : b.x_hat;
      b.which = b.pool ? state.take(out) : nullptr, b.inverse = state.take(b.row);
      b.u = first.take(norm), b.sums = first.take(2 * b.row);
      b.weight = scratch.take(weights), b.weight_back = from(GRADIENTS, back);
      b.tangent = from(SECOND, weights), b.tangent_back = from(SECOND, back);
      for (R** v : {&b.scale, &b.shift, &b.scale_tangent, &b.shift_tangent, &b.rz_mean, &b.rz_x})
        *v = scratch.take(b.row);
      b.rz = from(SECOND, norm), b.rh = from(SECOND, out);
      b.order = integers(b.taps * b.channels), b.window = integers(b.places);
      const Size slab = b.slab < B ? b.slab : B;
      dense_size = larger(dense_size, slab * b.places * b.row);
      norm_size = larger(norm_size, slab * b.norm_places * b.row);
      in_size = larger(in_size, larger(B * b.places_in * b.row_back, out));
      weight_size = larger(weight_size, weights), widest = larger(widest, b.row);
    }
    const Block<R>& b = blocks[0];
    const Size inputs = B * b.places_in * b.channels;
    const Size column_size = b.unrolled ? B * b.places * b.taps * b.channels : 0;
    images = scratch.take(inputs), columns = scratch.take(column_size);
    image_tangents = from(SECOND, inputs), column_tangents = from(SECOND, column_size);
    dense = scratch.take(dense_size), dense_tangent = from(SECOND, dense_size);
    upstream = from(GRADIENTS, in_size), below = from(GRADIENTS, in_size);
    cotangent = from(GRADIENTS, norm_size);
    cotangent_tangent = from(SECOND, norm_size), gradient = from(GRADIENTS, weight_size);
    for (R** v : {&vector_a, &vector_b, &vector_c}) *v = scratch.take(widest);
    totals = (double*)scratch.take(2 * widest * (Size)(sizeof(double) / sizeof(R)));
    state_size = state.used, first_size = first.used, scratch_size = scratch.used;
  }

  int num_blocks() const { return (int)blocks.size(); }
  const Block<R>& last() const { return blocks.back(); }
  Size output_size() const { return B * last().filters * last().out_places; }
  const R* value(const Parameter<R>& p, Size task) const {
    return p.value ? p.value + task * p.step : p.value;
  }
  const R* tangent(const Parameter<R>& p, Size task) const {
    return p.tangent ? p.tangent + task * p.own : p.tangent;
  }

  void next_task(Mode mode) {  // to what is kept of it
    for (Block<R>& b : blocks) {
      if (mode != OUTPUTS || net.keep)
        for (R** p : {&b.x_hat, &b.h, &b.which, &b.inverse})
          if (*p) *p += state_size;
      if (net.first) b.u += first_size, b.sums += first_size;
    }
  }

  // ---- images ----------------------------------------------------------------------------------
  // What the first convolution reads of images [B, C, places]: [B, places, C], or columns of them
  // [B, places, tap, C].
  const R* read(const R* values, R* turned, R* out) const {
    const Block<R>& b = blocks[0];
    const Size C = b.channels, P = b.places_in;
    if (C > 1) {
      for (Size n = 0; n < B; n++)
        for (Size q = 0; q < P; q++)
          for (Size c = 0; c < C; c++) turned[(n * P + q) * C + c] = values[(n * C + c) * P + q];
      values = turned;
    }
    if (!b.unrolled) return values;
    R* to = out;
    for (Size n = 0; n < B; n++, values += P * C)
      for (Size q = 0; q < b.places; q++)
        for (Size k = 0; k < b.taps; k++, to += C) {
          const Size y = q / b.width * b.y.stride + k / b.y.kernel - b.y.padding();
          const Size x = q % b.width * b.x.stride + k % b.x.kernel - b.x.padding();
          const bool inside = y >= 0 && y < b.y.size && x >= 0 && x < b.x.size;
          for (Size c = 0; c < C; c++) to[c] = inside ? values[(y * b.x.size + x) * C + c] : R(0);
        }
    return out;
  }

  void write_output(const R* h, R* out) const {
    const Size C = last().filters, P = last().out_places, row = last().row;
    for (Size n = 0; n < B; n++)
      for (Size c = 0; c < C; c++)
        for (Size q = 0; q < P; q++) out[(n * C + c) * P + q] = h[(n * P + q) * row + c];
  }

  void read_cotangent(const R* values, R* out) const {
    const Size C = last().filters, P = last().out_places, row = last().row;
    for (Size n = 0; n < B; n++)
      for (Size q = 0; q < P; q++)
        for (Size c = 0; c < row; c++)
          out[(n * P + q) * row + c] = c < C ? values[(n * C + c) * P + q] : R(0);
  }

  void write_input_gradient(const R* a, Size task) const {
    const Block<R>& b = blocks[0];
    const Size C = b.channels, P = b.places_in;
    R* out = net.input.gradient + task * net.input.own;
    for (Size n = 0; n < B; n++)
      for (Size q = 0; q < P; q++)
        for (Size c = 0; c < C; c++) out[(n * C + c) * P + q] = a[(n * P + q) * b.row_back + c];
  }

  template <class F>
  static void write_vector(const Block<R>& b, const Parameter<R>& p, Size task, F f) {
    if (!p.gradient) return;
    R* out = p.gradient + task * p.own;
    const bool add = task && !p.own;
    for (Size j = 0; j < b.filters; j++) out[j] = (add ? out[j] : R(0)) + (R)f(j);
  }

  void scales(const Block<R>& b, const Layer<R>& l, Size task) {
    b.fill(b.scale, value(l.scale, task), R(1));
    b.fill(b.shift, value(l.shift, task), R(0));
  }
};

}  // namespace metarl
