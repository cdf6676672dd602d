// Blocks of convolution, batch norm, ReLU and pooling for N tasks: outputs, gradients, and the
// gradient of a product of the gradients with a direction.
//
// The third is the derivative of the first two along that direction (a Hessian is symmetric):
// with R for the derivative along the tangents v of the parameters and of the input,
//     d <v, gradient> / d cotangent = R output,    d <v, gradient> / d parameter = R gradient.
//
// One block, rows = images x places, by channel (a_q is the cotangent of q):
//     z = conv(h_in, W)                   x = (z - mean z) s      s = (var z + eps)^-1/2
//     y = scale x + shift                 h = largest of each window of relu(y)
// and, where the pooling comes first, z is the largest of each window of the convolution. The bias
// falls out with the mean. Where the statistics are those of reference images they are constants;
// where there is no norm, mean = -bias, s = scale = 1 and shift = 0.
#include <vector>

#include "conv_block.h"

namespace metarl {

template <class R> struct Work {
  const Net<R>& net;
  const Layer<R>* layers;
  const Size B;
  std::vector<Block<R>> blocks;
  R *images, *image_tangents, *columns, *column_tangents;
  R *dense, *dense_tangent, *upstream, *upstream_tangent, *cotangent, *cotangent_tangent, *gradient;
  R *vector_a, *vector_b, *vector_c;
  double* totals;
  Size state_size, first_size, scratch_size;

  Work(const Net<R>& n, const Layer<R>* all, Mode mode)
      : net(n), layers(all), B(n.images), blocks(n.num_layers) {
    Size dense_size = 0, norm_size = 0, in_size = 0, weight_size = 0, widest = 0;
    Pieces<R> state{n.state}, first{n.first}, scratch{n.scratch};
    auto from = [&](Mode m, Size size) { return mode >= m ? scratch.take(size) : nullptr; };
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
      b.order = scratch.integers(b.taps * b.channels), b.window = scratch.integers(b.places);
      dense_size = larger(dense_size, B * b.places * b.row), norm_size = larger(norm_size, norm);
      in_size = larger(in_size, larger(B * b.places_in * b.row_back, out));
      weight_size = larger(weight_size, weights), widest = larger(widest, b.row);
    }
    const Block<R>& b = blocks[0];
    const Size inputs = B * b.places_in * b.channels;
    const Size column_size = b.unrolled ? B * b.places * b.taps * b.channels : 0;
    images = scratch.take(inputs), columns = scratch.take(column_size);
    image_tangents = from(SECOND, inputs), column_tangents = from(SECOND, column_size);
    dense = scratch.take(dense_size), dense_tangent = from(SECOND, dense_size);
    upstream = from(GRADIENTS, in_size), cotangent = from(GRADIENTS, norm_size);
    cotangent_tangent = from(SECOND, norm_size), gradient = from(GRADIENTS, weight_size);
    for (R** v : {&vector_a, &vector_b, &vector_c}) *v = scratch.take(widest);
    totals = scratch.doubles(2 * widest);
    state_size = state.used, first_size = first.used, scratch_size = scratch.used;
  }

  int num_blocks() const { return (int)blocks.size(); }
  const Block<R>& last() const { return blocks.back(); }
  Size output_size() const { return B * last().filters * last().out_places; }
  const R* value(const Parameter<R>& p, Size task) const { return p.value ? p.value + task * p.step : p.value; }
  const R* tangent(const Parameter<R>& p, Size task) const {
    return p.tangent ? p.tangent + task * p.own : p.tangent;
  }

  void run(Mode mode) {
    for (Block<R>& b : blocks) b.tabulate();
    for (Size task = 0; task < net.tasks; task++) {
      if (mode == OUTPUTS) outputs(task);
      if (mode == GRADIENTS) gradients(task);
      if (mode == SECOND) second(task);
      for (Block<R>& b : blocks) {  // to what is kept of the next
        if (mode != OUTPUTS || net.keep)
          for (R** p : {&b.x_hat, &b.h, &b.which, &b.inverse})
            if (*p) *p += state_size;
        if (net.first) b.u += first_size, b.sums += first_size;
      }
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

  // ---- outputs ---------------------------------------------------------------------------------
  void outputs(Size task) {
    const R* h = read(value(net.input, task), images, columns);
    for (int i = 0; i < num_blocks(); i++) {
      const Block<R>& b = blocks[i];
      const Layer<R>& l = layers[i];
      if (!task || l.weight.step) b.arrange(value(l.weight, task), b.weight);
      R* z = b.pool == POOL_FIRST ? dense : b.x_hat;
      gathered<R>(b.forward, B, h, b.weight, b.row, z, false);
      if (b.pool == POOL_FIRST) pool_first(b);
      moments(b, l, task);
      if (b.pool == POOL_LAST) normalise_and_pool(b);
      else normalise(b);
      h = b.h;
    }
    write_output(h, net.output + task * output_size());
  }

  void pool_first(const Block<R>& b) {
    const R* z = dense;
    R *x_hat = b.x_hat, *which = b.which;
    const Size row = b.row;
    each_window(b, B, [=](Size p, const Size(&rows)[4]) {
      for (Size j = 0; j < row; j += lanes<R>()) {
        Vector<R> y[4], best, index;
        METARL_UNROLL
        for (int k = 0; k < 4; k++) y[k] = load(z + rows[k] * row + j);
        choose<R>(y, best, index);
        store(x_hat + p * row + j, best), store(which + p * row + j, index);
      }
    });
  }

  void scales(const Block<R>& b, const Layer<R>& l, Size task) {
    b.fill(b.scale, value(l.scale, task), R(1));
    b.fill(b.shift, value(l.shift, task), R(0));
  }

  // The mean, in `vector_a`, and s.
  void moments(const Block<R>& b, const Layer<R>& l, Size task) {
    scales(b, l, task);
    b.fill(vector_a, value(l.bias, task), R(0));
    if (!l.normalised) {
      for (Size j = 0; j < b.row; j++) vector_a[j] = -vector_a[j], b.inverse[j] = 1;
      return;
    }
    const Size seen = net.reference && net.reference < B ? net.reference : B;
    statistics<R>(seen * b.norm_places, b.row, b.x_hat, totals);
    for (Size j = 0; j < b.row; j++) {
      vector_a[j] = (R)totals[j] + R(0) * vector_a[j];  // NaN where the bias is no number
      b.inverse[j] = (R)(1 / std::sqrt(totals[b.row + j] + net.epsilon));
    }
  }

  struct Affine {  // from z to x, in place, and to y
    const R *mean, *inverse, *scale, *shift;
    METARL_INLINE Vector<R> operator()(R* z, Size j) const {
      const Vector<R> x = (load(z + j) - load(mean + j)) * load(inverse + j);
      store(z + j, x);
      return load(scale + j) * x + load(shift + j);
    }
  };

  void normalise(const Block<R>& b) {
    const Affine affine{vector_a, b.inverse, b.scale, b.shift};
    R *x_hat = b.x_hat, *h = b.h;
    const Size row = b.row;
    const bool rectified = b.rectified;
    each_vector<R>(B, b.norm_places, row, [=](Place p, Size j) {
      Vector<R> y = affine(x_hat + p.row * row, j);
      if (rectified) y = y <= R(0) ? Vector<R>{} : y;
      store(h + p.row * row + j, y);
    });
  }

  void normalise_and_pool(const Block<R>& b) {
    const Affine affine{vector_a, b.inverse, b.scale, b.shift};
    R *x_hat = b.x_hat, *h = b.h, *which = b.which;
    const Size row = b.row, places = b.places;
    for (Size q = 0; q < places; q++)  // rows outside of all windows
      for (Size n = 0; n < B && b.window[q] < 0; n++)
        for (Size j = 0; j < row; j += lanes<R>()) affine(x_hat + (n * places + q) * row, j);
    const R lowest = b.rectified ? R(0) : -INFINITY, nowhere = b.rectified ? R(4) : R(0);
    each_window(b, B, [=](Size p, const Size(&rows)[4]) {
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

  // ---- gradients -------------------------------------------------------------------------------
  // The lowest block that has to be gone through.
  int lowest() const {
    if (net.input.gradient || net.keep) return 0;
    for (int i = 0; i < num_blocks(); i++) {
      const Layer<R>& l = layers[i];
      if (l.weight.gradient || l.bias.gradient || l.scale.gradient || l.shift.gradient) return i;
    }
    return num_blocks();
  }

  void gradients(Size task) {
    const int end = lowest();
    if (end == num_blocks()) return;
    const R* input = end ? nullptr : read(value(net.input, task), images, columns);
    read_cotangent(net.cotangent + task * output_size(), upstream);
    for (int i = num_blocks() - 1; i >= end; i--) {
      const Block<R>& b = blocks[i];
      const Layer<R>& l = layers[i];
      gradients_of_norm(b, l, task);
      const R* a_z = before_pooling(b, cotangent, dense);
      if (l.weight.gradient) {  // d W = sum h_in a_z
        std::memset(gradient, 0, b.taps * b.tap_size * sizeof(R));
        b.add_products(B, i ? blocks[i - 1].h : input, a_z, gradient);
        b.disarrange(gradient, l.weight.gradient + task * l.weight.own, task && !l.weight.own);
      }
      if (i == end && !net.input.gradient) return;
      if (!task || l.weight.step) {
        b.arrange(value(l.weight, task), b.weight);
        b.turn(b.weight, b.weight_back);
      }
      // a_h_in = sum over taps of a_z W^T
      gathered<R>(b.backward, B, a_z, b.weight_back, b.row_back, upstream, false);
    }
    write_input_gradient(upstream, task);
  }

  // Where the pooling came first, the cotangent of what it took; else the same.
  const R* before_pooling(const Block<R>& b, const R* a, R* out) const {
    if (b.pool != POOL_FIRST) return a;
    const Spread<R> spread(b);
    const Size row = b.row;
    each_vector<R>(B, b.places, row,
                   [=](Place p, Size j) { store(out + p.row * row + j, spread(a, p, j)); });
    return out;
  }

  // From a_h (in `upstream`) to a_z, and the gradients of scale, shift and bias.
  void gradients_of_norm(const Block<R>& b, const Layer<R>& l, Size task) {
    scales(b, l, task);
    const R *x_hat = b.x_hat, *a_h = upstream;
    const Size row = b.row;
    // d shift = sum a_y,  d scale = sum a_y x
    going_back(b, [&](auto a_y) {
      column_sums<R, 2>(B, b.norm_places, row, totals, [=](Place p, Size j, Vector<R>* out) {
        out[0] = a_y(a_h, p, j);
        out[1] = out[0] * load(x_hat + p.row * row + j);
      });
    });
    const double *d_shift = totals, *d_scale = totals + row;
    write_vector(b, l.shift, task, [&](Size j) { return d_shift[j]; });
    write_vector(b, l.scale, task, [&](Size j) { return d_scale[j]; });
    // d bias = sum a_z: zero where the mean takes the bias away again, or NaN
    write_vector(b, l.bias, task, [&](Size j) {
      const double by = (double)b.scale[j] * (double)b.inverse[j];
      return b.batch ? 0 * by * (d_shift[j] + d_scale[j]) : by * d_shift[j];
    });
    // u = a_y - (d shift + x d scale) / M,  a_z = scale s u
    R *mean_shift = vector_a, *mean_scale = vector_b, *factor = vector_c;
    const double num_rows = (double)(B * b.norm_places);
    for (Size j = 0; j < row; j++) {
      mean_shift[j] = (R)(d_shift[j] / num_rows), mean_scale[j] = (R)(d_scale[j] / num_rows);
      factor[j] = b.scale[j] * b.inverse[j];
      if (net.keep) b.sums[j] = mean_shift[j], b.sums[row + j] = mean_scale[j];
    }
    const bool batch = b.batch;
    R *kept = net.keep ? b.u : nullptr, *a_z = cotangent;
    going_back(b, [&](auto a_y) {
      each_vector<R>(B, b.norm_places, row, [=](Place p, Size j) {
        Vector<R> u = a_y(a_h, p, j);
        if (batch) u -= load(mean_shift + j) + load(x_hat + p.row * row + j) * load(mean_scale + j);
        if (kept) store(kept + p.row * row + j, u);
        store(a_z + p.row * row + j, load(factor + j) * u);
      });
    });
  }

  // ---- gradients of the gradients --------------------------------------------------------------
  void second(Size task) {
    const R* input = read(value(net.input, task), images, columns);
    const R* moved_input = tangent(net.input, task);
    if (moved_input) moved_input = read(moved_input, image_tangents, column_tangents);
    tangents(task, input, moved_input);
    if (net.output) write_output(last().rh, net.output + task * output_size());
    std::memset(upstream, 0, B * last().out_places * last().row * sizeof(R));  // R a_h
    const int end = lowest();
    for (int i = num_blocks() - 1; i >= end; i--) {
      const Block<R>& b = blocks[i];
      const Layer<R>& l = layers[i];
      tangents_of_gradients_of_norm(b, l, task);
      const R* a_z = before_pooling(b, cotangent, dense);
      const R* ra_z = before_pooling(b, cotangent_tangent, dense_tangent);
      if (l.weight.gradient) {  // R d W = sum h_in R a_z + R h_in a_z
        const R* rh = i ? blocks[i - 1].rh : moved_input;
        std::memset(gradient, 0, b.taps * b.tap_size * sizeof(R));
        b.add_products(B, i ? blocks[i - 1].h : input, ra_z, gradient);
        if (rh) b.add_products(B, rh, a_z, gradient);
        b.disarrange(gradient, l.weight.gradient + task * l.weight.own, task && !l.weight.own);
      }
      if (i == end && !net.input.gradient) return;
      // R a_h_in = sum over taps of R a_z W^T + a_z v^T
      gathered<R>(b.backward, B, ra_z, b.weight_back, b.row_back, upstream, false);
      if (l.weight.tangent)
        gathered<R>(b.backward, B, a_z, b.tangent_back, b.row_back, upstream, true);
    }
    if (end < num_blocks()) write_input_gradient(upstream, task);
  }

  void arrange_tangents(const Block<R>& b, const Layer<R>& l, Size task) {
    scales(b, l, task);
    b.fill(b.scale_tangent, tangent(l.scale, task), R(0));
    b.fill(b.shift_tangent, tangent(l.shift, task), R(0));
    if (!task || l.weight.step) {
      b.arrange(value(l.weight, task), b.weight);
      b.turn(b.weight, b.weight_back);
    }
    if (l.weight.tangent && (!task || l.weight.own)) {
      b.arrange(tangent(l.weight, task), b.tangent);
      b.turn(b.tangent, b.tangent_back);
    }
  }

  // R h of every block.
  void tangents(Size task, const R* input, const R* moved_input) {
    const R *h = input, *rh = moved_input;
    for (int i = 0; i < num_blocks(); i++) {
      const Block<R>& b = blocks[i];
      const Layer<R>& l = layers[i];
      arrange_tangents(b, l, task);
      // R z = conv(h_in, v) + conv(R h_in, W)
      const bool moving = l.weight.tangent;
      R* rz = b.pool == POOL_FIRST ? dense : b.rz;
      if (moving) gathered<R>(b.forward, B, h, b.tangent, b.row, rz, false);
      if (rh) gathered<R>(b.forward, B, rh, b.weight, b.row, rz, moving);
      if (!moving && !rh) std::memset(rz, 0, B * b.places * b.row * sizeof(R));
      if (b.pool == POOL_FIRST) select(b, b.rz, [rz, row = b.row](Size at, Size j) { return load(rz + at * row + j); });
      moved_moments(b, l, task);
      // R y = R scale x + scale R x + R shift,  R h = R y where y > 0
      const MovedNorm<R> rx(b);
      const R *x_hat = b.x_hat, *by_scale = b.scale_tangent, *scale = b.scale, *by_shift = b.shift_tangent;
      const Size row = b.row;
      auto ry = [=](Size at, Size j) {
        return load(by_scale + j) * load(x_hat + at * row + j) + load(scale + j) * rx(at, j) +
               load(by_shift + j);
      };
      if (b.pool == POOL_LAST) select(b, b.rh, ry);
      else going_through(b, ry);
      h = b.h, rh = b.rh;
    }
  }

  // out[window] = f(the row that was the largest of it); zero where ReLU has cut it off.
  template <class F> METARL_INLINE void select(const Block<R>& b, R* out, F f) {
    const R* which = b.which;
    const Size row = b.row;
    each_window(b, B, [=](Size p, const Size(&rows)[4]) {
      for (Size j = 0; j < row; j += lanes<R>()) {
        const Vector<R> index = load(which + p * row + j);
        Vector<R> value{};
        METARL_UNROLL
        for (int k = 0; k < 4; k++) value = index == R(k) ? f(rows[k], j) : value;
        store(out + p * row + j, value);
      }
    });
  }

  template <class F> METARL_INLINE void going_through(const Block<R>& b, F ry) {
    const R* h = b.h;
    R* rh = b.rh;
    const Size row = b.row;
    const bool rectified = b.rectified;
    each_vector<R>(B, b.norm_places, row, [=](Place p, Size j) {
      Vector<R> out = ry(p.row, j);
      if (rectified) out = load(h + p.row * row + j) <= R(0) ? Vector<R>{} : out;
      store(rh + p.row * row + j, out);
    });
  }

  // mean R z and mean(x R z); of constant statistics -R bias and 0.
  void moved_moments(const Block<R>& b, const Layer<R>& l, Size task) {
    const Size row = b.row;
    if (!b.batch) {
      b.fill(b.rz_mean, tangent(l.bias, task), R(0));
      for (Size j = 0; j < row; j++) b.rz_mean[j] = -b.rz_mean[j], b.rz_x[j] = 0;
      return;
    }
    const R *rz = b.rz, *x_hat = b.x_hat;
    column_sums<R, 2>(B, b.norm_places, row, totals, [=](Place p, Size j, Vector<R>* out) {
      out[0] = load(rz + p.row * row + j);
      out[1] = out[0] * load(x_hat + p.row * row + j);
    });
    const double num_rows = (double)(B * b.norm_places);
    for (Size j = 0; j < row; j++)
      b.rz_mean[j] = (R)(totals[j] / num_rows), b.rz_x[j] = (R)(totals[row + j] / num_rows);
  }

  // From R a_h (in `upstream`) to a_z and R a_z, and the gradients of scale, shift and bias.
  void tangents_of_gradients_of_norm(const Block<R>& b, const Layer<R>& l, Size task) {
    const MovedNorm<R> rx(b);
    const R *x_hat = b.x_hat, *u = b.u, *ra_h = upstream;
    const R *mean_shift = b.sums, *mean_scale = b.sums + b.row;
    const Size row = b.row;
    const bool batch = b.batch;
    // R d shift = sum R a_y
    // R d scale = sum R a_y x + a_y R x,  a_y = u + (d shift + x d scale) / M
    going_back(b, [&](auto a_y) {
      column_sums<R, 2>(B, b.norm_places, row, totals, [=](Place p, Size j, Vector<R>* out) {
        const Vector<R> x = load(x_hat + p.row * row + j);
        Vector<R> a = load(u + p.row * row + j);
        if (batch) a += load(mean_shift + j) + x * load(mean_scale + j);
        out[0] = a_y(ra_h, p, j);
        out[1] = out[0] * x + a * rx(p.row, j);
      });
    });
    const double *rd_shift = totals, *rd_scale = totals + row, num_rows = (double)(B * b.norm_places);
    write_vector(b, l.shift, task, [&](Size j) { return rd_shift[j]; });
    write_vector(b, l.scale, task, [&](Size j) { return rd_scale[j]; });
    // d bias = scale s d shift, of constant s
    write_vector(b, l.bias, task, [&](Size j) {
      const double moved = (double)b.scale_tangent[j] * (double)mean_shift[j] * num_rows;
      const double scaled = (double)b.scale[j] * rd_shift[j];
      return batch ? 0 * (rd_shift[j] + rd_scale[j]) : (double)b.inverse[j] * (moved + scaled);
    });
    // R s = -s^2 mean(x R z)
    // R a_z = (s R scale + scale R s) u
    //         + scale s (R a_y - (R d shift + R x d scale + x R d scale) / M)
    R *of_u = b.shift_tangent, *factor = vector_a, *mean_rshift = vector_b, *mean_rscale = vector_c;
    for (Size j = 0; j < row; j++) {
      const R s = b.inverse[j], moved = batch ? s * s * b.rz_x[j] * b.scale[j] : R(0);
      of_u[j] = s * b.scale_tangent[j] - moved, factor[j] = b.scale[j] * s;
      mean_rshift[j] = (R)(rd_shift[j] / num_rows), mean_rscale[j] = (R)(rd_scale[j] / num_rows);
    }
    R *a_z = cotangent, *ra_z = cotangent_tangent;
    going_back(b, [&](auto a_y) {
      each_vector<R>(B, b.norm_places, row, [=](Place p, Size j) {
        const Size at = p.row * row + j;
        const Vector<R> value = load(u + at);
        Vector<R> moved = a_y(ra_h, p, j);
        if (batch)
          moved -= load(mean_rshift + j) + rx(p.row, j) * load(mean_scale + j) +
                   load(x_hat + at) * load(mean_rscale + j);
        store(a_z + at, load(factor + j) * value);
        store(ra_z + at, load(of_u + j) * value + load(factor + j) * moved);
      });
    });
  }
};

// Numbers of a task's state and of its first gradients, and of the scratch, for a call of a mode.
template <class R> void sizes(const Net<R>* net, const Layer<R>* layers, int mode, Size* out) {
  const Work<R> work(*net, layers, (Mode)mode);
  out[0] = work.state_size, out[1] = work.first_size, out[2] = work.scratch_size;
}

template <class R> void run(const Net<R>* net, const Layer<R>* layers, int mode) {
  Work<R>(*net, layers, (Mode)mode).run((Mode)mode);
}

}  // namespace metarl

extern "C" {
using metarl::Layer, metarl::Net, metarl::Size;
void metarl_conv_sizes_f(const Net<float>* net, const Layer<float>* layers, int mode, Size* out) {
  metarl::sizes(net, layers, mode, out);
}
void metarl_conv_sizes_d(const Net<double>* net, const Layer<double>* layers, int mode, Size* out) {
  metarl::sizes(net, layers, mode, out);
}
void metarl_conv_f(const Net<float>* net, const Layer<float>* layers, int mode) {
  metarl::run(net, layers, mode);
}
void metarl_conv_d(const Net<double>* net, const Layer<double>* layers, int mode) {
  metarl::run(net, layers, mode);
}
}
