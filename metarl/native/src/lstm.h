// [o, i, f, g] = [x, h] W + b,  c' = sigmoid(f) c + sigmoid(i) tanh(g),  h' = sigmoid(o) tanh(c').
#pragma once
#include "recurrent.h"

namespace metarl {

// The cell on a joint input of Y numbers; gates lie side by side, H columns each.
template <class R> class LstmCell {
 public:
  LstmCell(const Shape& shape, Size joint, Pieces<R>& weights, Pieces<R>& trace)
      : joint(joint),
        batch(shape.batch),
        hidden(shape.hidden),
        width(padded<R>(hidden)),
        gates_width(padded<R>(4 * hidden)) {
    weight_.take(weights, joint, 4 * hidden);
    bias_ = weights.take(4 * hidden);
    gates.take(shape, gates_width, trace);
    memory.take(shape, width, trace, 1);
    tanh_memory.take(shape, width, trace);
  }
  void load(const R* w, const R* b) {
    weight_.load(w, 4 * hidden);
    std::memcpy(bias_, b, 4 * hidden * sizeof(R));
  }

  const Size joint, batch, hidden, width, gates_width;
  Kept<R> gates, memory, tanh_memory;  // o, i, f, g; c before each step; tanh(c) after it

  Rows<R> state(Size t) const { return {memory(t), width, hidden}; }

  // Rows [first, first + count) of step t: joint input y to h'.
  void step(Size t, Size first, Size count, const R* y, Size y_stride, R* h, Size h_stride) {
    R* z = gates(t) + first * gates_width;
    weight_.times(count, y + first * y_stride, y_stride, z, gates_width, false);
    const R* bias = bias_;
    const Size H = hidden;
    for (Size b = 0; b < count; b++) {
      const Size row = (first + b) * width;
      R *o = z + b * gates_width, *i = o + H, *f = i + H, *g = f + H;
      const R* c = memory(t) + row;
      R *c_after = memory(t + 1) + row, *tanh_c = tanh_memory(t) + row;
      R* out = h + (first + b) * h_stride;
      METARL_VECTORISE
      for (Size j = 0; j < H; j++) {
        o[j] = sigmoid(o[j] + bias[j]);
        i[j] = sigmoid(i[j] + bias[H + j]);
        f[j] = sigmoid(f[j] + bias[2 * H + j]);
        g[j] = tangent(g[j] + bias[3 * H + j]);
        const R now = f[j] * c[j] + i[j] * g[j];
        c_after[j] = now;
        tanh_c[j] = tangent(now);
        out[j] = o[j] * tanh_c[j];
      }
    }
  }

  // Its way back; the gradients by the gates of a segment lie in [S, B, padded(4 H)].
  class Backward {
   public:
    Backward(const LstmCell& cell, Size segment, Pieces<R>& work) : cell_(cell) {
      d_weight.take(work, cell.joint, 4 * cell.hidden);
      d_bias.take(work, 1, 4 * cell.hidden);
      d_gates = work.take(segment * cell.batch * cell.gates_width);
      dc_ = work.take(cell.batch * cell.width);
    }
    void clear() { d_weight.clear(), d_bias.clear(); }
    Rows<R> by_state() const { return {dc_, cell_.width, cell_.hidden}; }
    R* gates(Size k) const { return d_gates + k * cell_.batch * cell_.gates_width; }

    // From the gradient dh by h' and that by c' to those by the gates and by c.
    void step_backward(Size t, Size k, const R* dh, Size dh_stride) {
      const Size H = cell_.hidden;
      for (Size b = 0; b < cell_.batch; b++) {
        const R *o = cell_.gates(t) + b * cell_.gates_width, *i = o + H, *f = i + H, *g = f + H;
        const R *c = cell_.memory(t) + b * cell_.width;
        const R *tanh_c = cell_.tanh_memory(t) + b * cell_.width, *by_h = dh + b * dh_stride;
        R *d_o = gates(k) + b * cell_.gates_width, *d_i = d_o + H, *d_f = d_i + H, *d_g = d_f + H;
        R* dc = dc_ + b * cell_.width;
        METARL_VECTORISE
        for (Size j = 0; j < H; j++) {
          // dc' += dh' o (1 - tanh(c')^2)
          const R by_c = dc[j] + by_h[j] * o[j] * (1 - tanh_c[j] * tanh_c[j]);
          // do = dh' tanh(c') o (1 - o)
          d_o[j] = by_h[j] * tanh_c[j] * o[j] * (1 - o[j]);
          // di = dc' g i (1 - i),  df = dc' c f (1 - f),  dg = dc' i (1 - g^2)
          d_i[j] = by_c * g[j] * i[j] * (1 - i[j]);
          d_f[j] = by_c * c[j] * f[j] * (1 - f[j]);
          d_g[j] = by_c * i[j] * (1 - g[j] * g[j]);
          // dc = dc' f
          dc[j] = by_c * f[j];
        }
      }
    }
    // Sums over rows: dW = y^T dgates, db = dgates.
    void add_gradients(Size count, const R* y, Size y_stride) {
      d_weight.add(count, y, y_stride, d_gates, cell_.gates_width);
      d_bias.add_sum(count, d_gates, cell_.gates_width);
    }
    void store(R* weight, R* bias) const {
      d_weight.store(weight, 4 * cell_.hidden);
      d_bias.store(bias, 4 * cell_.hidden);
    }

    Gradient<R> d_weight, d_bias;
    R* d_gates;

   private:
    const LstmCell& cell_;
    R* dc_;
  };

 private:
  Packed<R> weight_;
  R* bias_;
};

template <class R> class Lstm : public Sequence<R> {
  using S = Sequence<R>;

 public:
  using S::batch, S::hidden, S::inputs, S::stride;
  static constexpr Size NUM_WEIGHTS = 2;  // W [I + H, 4 H], b [4 H]
  static std::array<Size, NUM_WEIGHTS> weight_sizes(const Shape& s) {
    return {(s.inputs + s.hidden) * 4 * s.hidden, 4 * s.hidden};
  }

  Lstm(const Shape& shape, Pieces<R>& weights, Pieces<R>& trace)
      : S(shape, 1, trace), lstm(shape, shape.inputs + shape.hidden, weights, trace) {}
  void load(const R* const* fused, Size n) {
    lstm.load(fused[0] + n * (inputs + hidden) * 4 * hidden, fused[1] + n * 4 * hidden);
  }
  std::array<Rows<R>, 2> states(Size t) const {
    return {{{S::states_before(t), stride, hidden}, lstm.state(t)}};
  }
  void step(Size t) {
    chunks(batch, BLOCK, [&](Size first, Size count) {
      lstm.step(t, first, count, S::before(t), stride, S::after(t), S::after_stride());
    });
  }

  class Backward {
   public:
    Backward(const Lstm& cell, Pieces<R>& work)
        : cell_(cell), lstm_(cell.lstm, cell.shape.segment, work) {
      w_ih_.take(work, 4 * cell.hidden, cell.inputs);
      w_hh_.take(work, 4 * cell.hidden, cell.hidden);
      dh_ = work.take(cell.batch * padded<R>(cell.hidden));
      dx_ = work.take(BLOCK * padded<R>(cell.inputs));
    }
    void load(const R* const* fused, Size n) {
      const Size width = 4 * cell_.hidden;
      const R* w = fused[0] + n * (cell_.inputs + cell_.hidden) * width;
      w_ih_.load_transposed(w, width);
      w_hh_.load_transposed(w + cell_.inputs * width, width);
      lstm_.clear();
    }
    Rows<R> by_output() const { return {dh_, padded<R>(cell_.hidden), cell_.hidden}; }
    std::array<Rows<R>, 2> by_states() const { return {by_output(), lstm_.by_state()}; }

    void step_backward(Size t, Size k, bool further) {
      const Size width = padded<R>(cell_.hidden);
      lstm_.step_backward(t, k, dh_, width);
      // dh = W_hh^T (do, di, df, dg)
      if (further)
        w_hh_.times(cell_.batch, lstm_.gates(k), cell_.lstm.gates_width, dh_, width, false);
    }
    void add_gradients(Size start, Size count) {
      lstm_.add_gradients(count, cell_.before(start), cell_.stride);
    }
    // dx = W_ih^T (do, di, df, dg)
    void inputs_backward(Size, Size count, R* out) {
      times_rows(w_ih_, count, lstm_.d_gates, cell_.lstm.gates_width, dx_, out);
    }
    void store(R* const* d, Size n) const {
      const Size width = 4 * cell_.hidden;
      lstm_.store(d[0] + n * (cell_.inputs + cell_.hidden) * width, d[1] + n * width);
    }

   private:
    const Lstm& cell_;
    typename LstmCell<R>::Backward lstm_;
    Packed<R> w_ih_, w_hh_;
    R *dh_, *dx_;
  };

  LstmCell<R> lstm;
};

}  // namespace metarl
