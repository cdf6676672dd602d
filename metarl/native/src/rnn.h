// h' = tanh([x, h] W + b).
#pragma once
#include "recurrent.h"

namespace metarl {

template <class R> class Rnn : public Sequence<R> {
  using S = Sequence<R>;

 public:
  using S::batch, S::hidden, S::inputs, S::stride;
  static constexpr Size NUM_WEIGHTS = 2;  // W [I + H, H], b [H]
  static std::array<Size, NUM_WEIGHTS> weight_sizes(const Shape& s) {
    return {(s.inputs + s.hidden) * s.hidden, s.hidden};
  }

  Rnn(const Shape& shape, Pieces<R>& weights, Pieces<R>& trace) : S(shape, 1, trace) {
    weight_.take(weights, inputs + hidden, hidden);
    bias_ = weights.take(hidden);
    z_ = trace.take(BLOCK * padded<R>(hidden));
  }
  void load(const R* const* fused, Size n) {
    weight_.load(fused[0] + n * (inputs + hidden) * hidden, hidden);
    std::memcpy(bias_, fused[1] + n * hidden, hidden * sizeof(R));
  }
  std::array<Rows<R>, 1> states(Size t) const {
    return {{{S::states_before(t), stride, hidden}}};
  }
  void step(Size t) {
    chunks(batch, BLOCK, [&](Size first, Size count) {
      const Size z_stride = padded<R>(hidden), h_stride = S::after_stride();
      weight_.times(count, S::before(t) + first * stride, stride, z_, z_stride, false);
      R* h = S::after(t) + first * h_stride;
      const R *z = z_, *bias = bias_;
      each(count, hidden, [=](Size b, Size j) {
        h[b * h_stride + j] = tangent(z[b * z_stride + j] + bias[j]);
      });
    });
  }

  class Backward {
   public:
    Backward(const Rnn& cell, Pieces<R>& work)
        : cell_(cell), width_(padded<R>(cell.hidden)) {
      w_ih_.take(work, cell.hidden, cell.inputs);
      w_hh_.take(work, cell.hidden, cell.hidden);
      d_weight_.take(work, cell.inputs + cell.hidden, cell.hidden);
      d_bias_.take(work, 1, cell.hidden);
      dz_ = work.take(cell.shape.segment * cell.batch * width_);
      dh_ = work.take(cell.batch * width_);
      dx_ = work.take(BLOCK * padded<R>(cell.inputs));
    }
    void load(const R* const* fused, Size n) {
      const R* w = fused[0] + n * (cell_.inputs + cell_.hidden) * cell_.hidden;
      w_ih_.load_transposed(w, cell_.hidden);
      w_hh_.load_transposed(w + cell_.inputs * cell_.hidden, cell_.hidden);
      d_weight_.clear(), d_bias_.clear();
    }
    Rows<R> by_output() const { return {dh_, width_, cell_.hidden}; }
    std::array<Rows<R>, 1> by_states() const { return {by_output()}; }

    // From the gradient by h' to that by h, where it is wanted.
    void step_backward(Size t, Size k, bool further) {
      const R *h = cell_.after(t), *dh = dh_;
      R* dz = dz_ + k * cell_.batch * width_;
      const Size h_stride = cell_.after_stride(), width = width_;
      // dz = dh' (1 - h'^2)
      each(cell_.batch, cell_.hidden, [=](Size b, Size j) {
        const R y = h[b * h_stride + j];
        dz[b * width + j] = dh[b * width + j] * (1 - y * y);
      });
      // dh = W_hh^T dz
      if (further) w_hh_.times(cell_.batch, dz, width_, dh_, width_, false);
    }
    // dW = [x, h]^T dz, db = dz, summed over `count` rows from step `start` on.
    void add_gradients(Size start, Size count) {
      d_weight_.add(count, cell_.before(start), cell_.stride, dz_, width_);
      d_bias_.add_sum(count, dz_, width_);
    }
    // dx = W_ih^T dz
    void inputs_backward(Size, Size count, R* out) {
      times_rows(w_ih_, count, dz_, width_, dx_, out);
    }
    void store(R* const* d, Size n) const {
      d_weight_.store(d[0] + n * d_weight_.depth * cell_.hidden, cell_.hidden);
      d_bias_.store(d[1] + n * cell_.hidden, cell_.hidden);
    }

   private:
    const Rnn& cell_;
    const Size width_;
    Packed<R> w_ih_, w_hh_;
    Gradient<R> d_weight_, d_bias_;
    R *dz_, *dh_, *dx_;
  };

 private:
  Packed<R> weight_;
  R *bias_, *z_;
};

}  // namespace metarl
