// r, z = sigmoid(.), n = tanh(W_in x + b_in + r (W_hn h + b_hn)), h' = n + z (h - n).
#pragma once
#include "recurrent.h"

namespace metarl {

template <class R> class Gru : public Sequence<R> {
  using S = Sequence<R>;

 public:
  using S::batch, S::hidden, S::inputs, S::stride;
  // W_ih [I, 3 H] and b_ih in the order n, r, z; W_hh [H, 3 H] and b_hh in the order r, z, n.
  static constexpr Size NUM_WEIGHTS = 4;
  static std::array<Size, NUM_WEIGHTS> weight_sizes(const Shape& s) {
    return {{s.inputs * 3 * s.hidden, s.hidden * 3 * s.hidden, 3 * s.hidden, 3 * s.hidden}};
  }

  Gru(const Shape& shape, Pieces<R>& weights, Pieces<R>& trace)
      : S(shape, 1, trace), width(padded<R>(hidden)), gates_width(padded<R>(2 * hidden)) {
    w_rz_.take(weights, inputs + hidden, 2 * hidden);
    w_n_.take(weights, inputs, hidden);
    w_hn_.take(weights, hidden, hidden);
    b_rz_ = weights.take(2 * hidden);
    b_n_ = weights.take(hidden);
    b_hn_ = weights.take(hidden);
    gates.take(shape, gates_width, trace);
    candidate.take(shape, width, trace);
    from_h.take(shape, width, trace);
  }

  const Size width, gates_width;
  Kept<R> gates, candidate, from_h;  // r and z; n; W_hn h + b_hn

  void load(const R* const* fused, Size n) {
    const Size H = hidden;
    const R *w_ih = fused[0] + n * inputs * 3 * H, *w_hh = fused[1] + n * H * 3 * H;
    const R *b_ih = fused[2] + n * 3 * H, *b_hh = fused[3] + n * 3 * H;
    w_rz_.load_rows(0, inputs, w_ih + H, 3 * H);
    w_rz_.load_rows(inputs, H, w_hh, 3 * H);
    w_n_.load(w_ih, 3 * H);
    w_hn_.load(w_hh + 2 * H, 3 * H);
    for (Size j = 0; j < 2 * H; j++) b_rz_[j] = b_ih[H + j] + b_hh[j];
    for (Size j = 0; j < H; j++) b_n_[j] = b_ih[j], b_hn_[j] = b_hh[2 * H + j];
  }
  std::array<Rows<R>, 1> states(Size t) const {
    return {{{S::states_before(t), stride, hidden}}};
  }

  void step(Size t) {
    chunks(batch, BLOCK, [&](Size first, Size count) {
      const Size H = hidden, h_stride = S::after_stride();
      const R* x = S::before(t) + first * stride;
      R *rz = gates(t) + first * gates_width, *new_n = candidate(t) + first * width;
      R *wh = from_h(t) + first * width, *after = S::after(t) + first * h_stride;
      w_rz_.times(count, x, stride, rz, gates_width, false);
      w_n_.times(count, x, stride, new_n, width, false);
      w_hn_.times(count, x + inputs, stride, wh, width, false);
      const R *b_rz = b_rz_, *b_n = b_n_, *b_hn = b_hn_;
      for (Size b = 0; b < count; b++) {
        R *r = rz + b * gates_width, *z = r + H, *n = new_n + b * width, *w = wh + b * width;
        const R* h = x + inputs + b * stride;
        R* out = after + b * h_stride;
        METARL_VECTORISE
        for (Size j = 0; j < H; j++) {
          r[j] = sigmoid(r[j] + b_rz[j]);
          z[j] = sigmoid(z[j] + b_rz[H + j]);
          w[j] += b_hn[j];
          n[j] = tangent(n[j] + b_n[j] + r[j] * w[j]);
          out[j] = n[j] + z[j] * (h[j] - n[j]);
        }
      }
    });
  }

  class Backward {
   public:
    // Rows of gradients before the non-linearities: n, r, z, and of W_hn h + b_hn; the last three
    // are read as a matrix of padded(3 H) columns.
    Backward(const Gru& cell, Pieces<R>& work)
        : cell_(cell), row_(padded<R>(cell.hidden + padded<R>(3 * cell.hidden))) {
      const Size H = cell.hidden;
      w_ih_.take(work, 3 * H, cell.inputs);
      w_hh_.take(work, 3 * H, H);
      d_w_ih_.take(work, cell.inputs, 3 * H);
      d_w_hh_.take(work, H, 3 * H);
      d_b_ih_.take(work, 1, 3 * H);
      d_b_hh_.take(work, 1, 3 * H);
      d_gates_ = work.take(cell.shape.segment * cell.batch * row_);
      dh_ = work.take(cell.batch * cell.width);
      dx_ = work.take(BLOCK * padded<R>(cell.inputs));
    }
    void load(const R* const* fused, Size n) {
      const Size H = cell_.hidden;
      w_ih_.load_transposed(fused[0] + n * cell_.inputs * 3 * H, 3 * H);
      w_hh_.load_transposed(fused[1] + n * H * 3 * H, 3 * H);
      for (Gradient<R>* d : {&d_w_ih_, &d_w_hh_, &d_b_ih_, &d_b_hh_}) d->clear();
    }
    Rows<R> by_output() const { return {dh_, cell_.width, cell_.hidden}; }
    std::array<Rows<R>, 1> by_states() const { return {by_output()}; }

    void step_backward(Size t, Size k, bool further) {
      const Size H = cell_.hidden;
      R* gates = d_gates_ + k * cell_.batch * row_;
      for (Size b = 0; b < cell_.batch; b++) {
        const R *r = cell_.gates(t) + b * cell_.gates_width, *z = r + H;
        const R *n = cell_.candidate(t) + b * cell_.width, *w = cell_.from_h(t) + b * cell_.width;
        const R* h = cell_.states_before(t) + b * cell_.stride;
        R *dh = dh_ + b * cell_.width, *d_n = gates + b * row_, *d_r = d_n + H, *d_z = d_r + H;
        R* d_w = d_z + H;
        METARL_VECTORISE
        for (Size j = 0; j < H; j++) {
          // dn = dh' (1 - z) (1 - n^2)
          const R by_n = dh[j] * (1 - z[j]) * (1 - n[j] * n[j]);
          d_n[j] = by_n;
          // dr = dn (W_hn h + b_hn) r (1 - r),  d(W_hn h + b_hn) = dn r
          d_r[j] = by_n * w[j] * r[j] * (1 - r[j]);
          d_w[j] = by_n * r[j];
          // dz = dh' (h - n) z (1 - z)
          d_z[j] = dh[j] * (h[j] - n[j]) * z[j] * (1 - z[j]);
          // dh = z dh'
          dh[j] *= z[j];
        }
      }
      // dh += W_hh^T (dr, dz, dn r)
      if (further) w_hh_.times(cell_.batch, gates + H, row_, dh_, cell_.width, true);
    }
    // Sums over rows: dW_ih = x^T (dn, dr, dz), dW_hh = h^T (dr, dz, dn r), and of the biases.
    void add_gradients(Size start, Size count) {
      const R *from_x = d_gates_, *from_h = d_gates_ + cell_.hidden;
      d_w_ih_.add(count, cell_.before(start), cell_.stride, from_x, row_);
      d_w_hh_.add(count, cell_.states_before(start), cell_.stride, from_h, row_);
      d_b_ih_.add_sum(count, from_x, row_);
      d_b_hh_.add_sum(count, from_h, row_);
    }
    // dx = W_ih^T (dn, dr, dz)
    void inputs_backward(Size, Size count, R* out) {
      times_rows(w_ih_, count, d_gates_, row_, dx_, out);
    }
    void store(R* const* d, Size n) const {
      const Size width = 3 * cell_.hidden;
      d_w_ih_.store(d[0] + n * cell_.inputs * width, width);
      d_w_hh_.store(d[1] + n * cell_.hidden * width, width);
      d_b_ih_.store(d[2] + n * width, width);
      d_b_hh_.store(d[3] + n * width, width);
    }

   private:
    const Gru& cell_;
    const Size row_;
    Packed<R> w_ih_, w_hh_;
    Gradient<R> d_w_ih_, d_w_hh_, d_b_ih_, d_b_hh_;
    R *d_gates_, *dh_, *dx_;
  };

 private:
  Packed<R> w_rz_, w_n_, w_hn_;
  R *b_rz_, *b_n_, *b_hn_;
};

}  // namespace metarl
