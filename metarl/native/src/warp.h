// a', c' = LSTM([x, h, a], c),  p = tanh(P a'),
// h' = tanh(u p3 + v p4 + b p5) with u = W_ih (x p1), v = W_hh (h p2).
#pragma once
#include "lstm.h"

namespace metarl {

template <class R> class Warp : public Sequence<R> {
  using S = Sequence<R>;

 public:
  using S::batch, S::hidden, S::inputs, S::stride;
  // W_ih [I, H], W_hh [H, H], b [H], the LSTM's [I + 2 H, 4 H] and [4 H], P [H, I + 4 H].
  static constexpr Size NUM_WEIGHTS = 6;
  static std::array<Size, NUM_WEIGHTS> weight_sizes(const Shape& s) {
    const Size H = s.hidden;
    return {{s.inputs * H, H * H, H, (s.inputs + 2 * H) * 4 * H, 4 * H, H * (s.inputs + 4 * H)}};
  }

  Warp(const Shape& shape, Pieces<R>& weights, Pieces<R>& trace)
      : S(shape, 2, trace),
        width(padded<R>(hidden)),
        p_width(padded<R>(inputs + 4 * hidden)),
        xh_width(padded<R>(inputs + hidden)),
        lstm(shape, inputs + 2 * hidden, weights, trace) {
    w_ih_.take(weights, inputs, hidden);
    w_hh_.take(weights, hidden, hidden);
    project_.take(weights, hidden, inputs + 4 * hidden);
    bias = weights.take(hidden);
    p.take(shape, p_width, trace);
    xh_p.take(shape, xh_width, trace);
    u.take(shape, width, trace);
    v.take(shape, width, trace);
  }

  const Size width, p_width, xh_width;
  LstmCell<R> lstm;
  R* bias;
  Kept<R> p, xh_p, u, v;  // xh_p: x p1 and h p2

  void load(const R* const* fused, Size n) {
    const Size H = hidden;
    w_ih_.load(fused[0] + n * inputs * H, H);
    w_hh_.load(fused[1] + n * H * H, H);
    std::memcpy(bias, fused[2] + n * H, H * sizeof(R));
    lstm.load(fused[3] + n * (inputs + 2 * H) * 4 * H, fused[4] + n * 4 * H);
    project_.load(fused[5] + n * H * (inputs + 4 * H), inputs + 4 * H);
  }
  std::array<Rows<R>, 3> states(Size t) const {  // h, a, c
    R* h = S::states_before(t);
    return {{{h, stride, hidden}, {h + hidden, stride, hidden}, lstm.state(t)}};
  }

  void step(Size t) {
    chunks(batch, BLOCK, [&](Size first, Size count) {
      const Size I = inputs, H = hidden, after_stride = S::after_stride();
      R* after = S::after(t);
      // a', c' = LSTM([x, h, a], c)
      lstm.step(t, first, count, S::before(t), stride, after + H, after_stride);
      // p = tanh(P a')
      R *ps = p(t) + first * p_width, *products = xh_p(t) + first * xh_width;
      project_.times(count, after + first * after_stride + H, after_stride, ps, p_width, false);
      for (Size b = 0; b < count; b++) {
        R *pb = ps + b * p_width, *out = products + b * xh_width;
        const R* xh = S::before(t) + (first + b) * stride;
        METARL_VECTORISE
        for (Size j = 0; j < I + 4 * H; j++) pb[j] = tangent(pb[j]);
        METARL_VECTORISE
        for (Size j = 0; j < I + H; j++) out[j] = xh[j] * pb[j];
      }
      // u = W_ih (x p1), v = W_hh (h p2)
      R *us = u(t) + first * width, *vs = v(t) + first * width;
      w_ih_.times(count, products, xh_width, us, width, false);
      w_hh_.times(count, products + I, xh_width, vs, width, false);
      // h' = tanh(u p3 + v p4 + b p5)
      const R* shift = bias;
      for (Size b = 0; b < count; b++) {
        const R *p3 = ps + b * p_width + I + H, *p4 = p3 + H, *p5 = p4 + H;
        const R *ub = us + b * width, *vb = vs + b * width;
        R* h = after + (first + b) * after_stride;
        METARL_VECTORISE
        for (Size j = 0; j < H; j++)
          h[j] = tangent(ub[j] * p3[j] + vb[j] * p4[j] + shift[j] * p5[j]);
      }
    });
  }

  class Backward {
   public:
    Backward(const Warp& cell, Pieces<R>& work)
        : cell_(cell),
          lstm_(cell.lstm, cell.shape.segment, work),
          x_width_(padded<R>(cell.inputs)),
          ha_width_(padded<R>(2 * cell.hidden)) {
      const Size I = cell.inputs, H = cell.hidden, rows = cell.shape.segment * cell.batch;
      w_ih_.take(work, H, I);
      w_hh_.take(work, H, H);
      project_.take(work, I + 4 * H, H);
      w_x_.take(work, 4 * H, I);
      w_ha_.take(work, 4 * H, 2 * H);
      d_w_ih_.take(work, I, H);
      d_w_hh_.take(work, H, H);
      d_bias_.take(work, 1, H);
      d_project_.take(work, H, I + 4 * H);
      dp_ = work.take(rows * cell.p_width);
      du_ = work.take(rows * cell.width);
      dv_ = work.take(rows * cell.width);
      dx_p_ = work.take(rows * x_width_);
      dh_p_ = work.take(cell.batch * cell.width);
      dh_ = work.take(cell.batch * cell.width);
      da_ = work.take(cell.batch * cell.width);
      dha_ = work.take(cell.batch * ha_width_);
      dx_ = work.take(BLOCK * x_width_);
    }
    void load(const R* const* fused, Size n) {
      const Size I = cell_.inputs, H = cell_.hidden;
      const R* lstm = fused[3] + n * (I + 2 * H) * 4 * H;
      w_ih_.load_transposed(fused[0] + n * I * H, H);
      w_hh_.load_transposed(fused[1] + n * H * H, H);
      w_x_.load_transposed(lstm, 4 * H);
      w_ha_.load_transposed(lstm + I * 4 * H, 4 * H);
      project_.load_transposed(fused[5] + n * H * (I + 4 * H), I + 4 * H);
      for (Gradient<R>* d : {&d_w_ih_, &d_w_hh_, &d_bias_, &d_project_}) d->clear();
      lstm_.clear();
    }
    Rows<R> by_output() const { return {dh_, cell_.width, cell_.hidden}; }
    std::array<Rows<R>, 3> by_states() const {
      return {{by_output(), {da_, cell_.width, cell_.hidden}, lstm_.by_state()}};
    }

    void step_backward(Size t, Size k, bool further) {
      const Size I = cell_.inputs, H = cell_.hidden, batch = cell_.batch, width = cell_.width;
      R *dp = dp_ + k * batch * cell_.p_width, *dx_p = dx_p_ + k * batch * x_width_;
      R *du = du_ + k * batch * width, *dv = dv_ + k * batch * width;
      products_backward(t, dp, du, dv);
      // d(x p1) = W_ih^T du,  d(h p2) = W_hh^T dv
      w_ih_.times(batch, du, width, dx_p, x_width_, false);
      w_hh_.times(batch, dv, width, dh_p_, width, false);
      for (Size b = 0; b < batch; b++) {
        const R *x = cell_.before(t) + b * cell_.stride, *h = x + I;
        const R *p1 = cell_.p(t) + b * cell_.p_width, *p2 = p1 + I;
        const R *by_x = dx_p + b * x_width_, *by_h = dh_p_ + b * width;
        R *d_p1 = dp + b * cell_.p_width, *d_p2 = d_p1 + I;
        // dp1 = d(x p1) x,  dp2 = d(h p2) h, each times 1 - p^2
        METARL_VECTORISE
        for (Size j = 0; j < I; j++) d_p1[j] = by_x[j] * x[j] * (1 - p1[j] * p1[j]);
        METARL_VECTORISE
        for (Size j = 0; j < H; j++) d_p2[j] = by_h[j] * h[j] * (1 - p2[j] * p2[j]);
      }
      // da' += P^T dp
      project_.times(batch, dp, cell_.p_width, da_, width, true);
      lstm_.step_backward(t, k, da_, width);
      if (!further) return;
      // d(h, a) = W_ha^T dgates,  dh = p2 d(h p2) + the LSTM's
      w_ha_.times(batch, lstm_.gates(k), cell_.lstm.gates_width, dha_, ha_width_, false);
      for (Size b = 0; b < batch; b++) {
        const R *p2 = cell_.p(t) + b * cell_.p_width + I, *by_h = dh_p_ + b * width;
        const R* dha = dha_ + b * ha_width_;
        R *dh = dh_ + b * width, *da = da_ + b * width;
        METARL_VECTORISE
        for (Size j = 0; j < H; j++) {
          dh[j] = by_h[j] * p2[j] + dha[j];
          da[j] = dha[H + j];
        }
      }
    }
    // Sums over rows of outer products.
    void add_gradients(Size start, Size count) {
      const R* products = cell_.xh_p(start);
      d_w_ih_.add(count, products, cell_.xh_width, du_, cell_.width);
      d_w_hh_.add(count, products + cell_.inputs, cell_.xh_width, dv_, cell_.width);
      lstm_.add_gradients(count, cell_.before(start), cell_.stride);
      d_project_.add(count, cell_.after(start) + cell_.hidden, cell_.after_stride(), dp_,
                     cell_.p_width);
    }
    // dx = p1 d(x p1) + W_x^T dgates
    void inputs_backward(Size start, Size count, R* out) {
      const Size I = cell_.inputs;
      times_rows(w_x_, count, lstm_.d_gates, cell_.lstm.gates_width, dx_, out);
      const R *p1 = cell_.p(start), *by_x = dx_p_;
      const Size p_width = cell_.p_width, x_width = x_width_;
      each(count, I, [=](Size b, Size j) {
        out[b * I + j] += p1[b * p_width + j] * by_x[b * x_width + j];
      });
    }
    void store(R* const* d, Size n) const {
      const Size I = cell_.inputs, H = cell_.hidden;
      d_w_ih_.store(d[0] + n * I * H, H);
      d_w_hh_.store(d[1] + n * H * H, H);
      d_bias_.store(d[2] + n * H, H);
      lstm_.store(d[3] + n * (I + 2 * H) * 4 * H, d[4] + n * 4 * H);
      d_project_.store(d[5] + n * H * (I + 4 * H), I + 4 * H);
    }

   private:
    // From h' = tanh(u p3 + v p4 + b p5) to u, v, b and p3, p4, p5.
    void products_backward(Size t, R* dp, R* du, R* dv) {
      const Size I = cell_.inputs, H = cell_.hidden, h_stride = cell_.after_stride();
      const R* bias = cell_.bias;
      R* d_bias = d_bias_.at;
      for (Size b = 0; b < cell_.batch; b++) {
        const R *h = cell_.after(t) + b * h_stride, *dh = dh_ + b * cell_.width;
        const R *p3 = cell_.p(t) + b * cell_.p_width + I + H, *p4 = p3 + H, *p5 = p4 + H;
        const R *u = cell_.u(t) + b * cell_.width, *v = cell_.v(t) + b * cell_.width;
        R *d_u = du + b * cell_.width, *d_v = dv + b * cell_.width;
        R *d_p3 = dp + b * cell_.p_width + I + H, *d_p4 = d_p3 + H, *d_p5 = d_p4 + H;
        METARL_VECTORISE
        for (Size j = 0; j < H; j++) {
          // dz = dh' (1 - h'^2)
          const R dz = dh[j] * (1 - h[j] * h[j]);
          // du = dz p3,  dv = dz p4,  db = dz p5
          d_u[j] = dz * p3[j];
          d_v[j] = dz * p4[j];
          d_bias[j] += dz * p5[j];
          // dp3 = dz u,  dp4 = dz v,  dp5 = dz b, each times 1 - p^2
          d_p3[j] = dz * u[j] * (1 - p3[j] * p3[j]);
          d_p4[j] = dz * v[j] * (1 - p4[j] * p4[j]);
          d_p5[j] = dz * bias[j] * (1 - p5[j] * p5[j]);
        }
      }
    }

    const Warp& cell_;
    typename LstmCell<R>::Backward lstm_;
    const Size x_width_, ha_width_;
    Packed<R> w_ih_, w_hh_, project_, w_x_, w_ha_;
    Gradient<R> d_w_ih_, d_w_hh_, d_bias_, d_project_;
    R *dp_, *du_, *dv_, *dx_p_, *dh_p_, *dh_, *da_, *dha_, *dx_;
  };

 private:
  Packed<R> w_ih_, w_hh_, project_;
};

}  // namespace metarl
