// Linear attention whose keys are the queries of the step before: see metarl/nn/associative.py.
//
//     q_t = tanh(W_q x_t + b_q) / sqrt(K),   v_t = (W_v x_t) * (W_g x_t)
//     M_t = M_{t-1} + q_{t-1} v_t^T,         r_t = M_t^T q_t
//     h_t = tanh(W_m s(r_t) + W_x x_t + b),  s = asinh or nothing
//
// Nothing but M runs through time, and it is not kept: the way back through one sequence goes once
// forwards with M, for the gradients by queries, and once backwards with the gradient by M.
#pragma once
#include "outer.h"
#include "recurrent.h"

namespace metarl {

template <class R> class Associative : public Sequence<R> {
  using S = Sequence<R>;

 public:
  using S::batch, S::hidden, S::inputs, S::shape, S::steps, S::stride;
  // W_q [I, K], b_q [K], W_v and W_g [I, V], W_m [V, H], W_x [I, H], b [H].
  static constexpr Size NUM_WEIGHTS = 7;
  static std::array<Size, NUM_WEIGHTS> weight_sizes(const Shape& s) {
    const Size keys = s.options[0], values = s.options[1];
    return {s.inputs * keys,   keys,     s.inputs * values, s.inputs * values, values * s.hidden,
            s.inputs * s.hidden, s.hidden};
  }
  static constexpr Size GROUP = 24;

  Associative(const Shape& of, Pieces<R>& weights, Pieces<R>& trace)
      : S(of, 0, trace),
        keys(of.options[0]),
        values(of.options[1]),
        compress(of.options[2]),
        keys_width(padded<R>(keys)),
        values_width(padded<R>(values)),
        width(keys_width + 2 * values_width),
        square(keys * values_width),
        scale(1 / std::sqrt(R(keys))) {
    query_.take(weights, inputs, keys);
    value_.take(weights, inputs, values);
    gate_.take(weights, inputs, values);
    read_.take(weights, values, hidden);
    input_.take(weights, inputs, hidden);
    query_bias_ = weights.take(keys);
    bias_ = weights.take(hidden);
    activations.take(of, width, trace);
    reads.take(of, values_width, trace);
    keys_before.take(of, keys_width, trace, 1);
    memories_ = trace.take((of.kept + 1) * batch * square);
    outputs_ = trace.take(steps * batch * after_stride());
    value_row_ = trace.take(values_width);
    said_ = trace.take(GROUP * values_width);
  }
  void load(const R* const* fused, Size n) {
    const auto sizes = weight_sizes(shape);
    auto of = [&](Size k) { return fused[k] + n * sizes[k]; };
    query_.load(of(0), keys);
    std::memcpy(query_bias_, of(1), keys * sizeof(R));
    value_.load(of(2), values);
    gate_.load(of(3), values);
    read_.load(of(4), hidden);
    input_.load(of(5), hidden);
    std::memcpy(bias_, of(6), hidden * sizeof(R));
  }

  const Size keys, values, compress;
  const Size keys_width, values_width;  // padded
  const Size width;                     // of the activations [q | W_v x | W_g x]
  const Size square;                    // numbers of M [K, padded(V)]
  const R scale;

  Kept<R> activations, reads;
  Kept<R> keys_before;  // q_{t-1}, or what was put in its place
  // M_{t-1}, which only the first step leaves as it is: [B, K, padded(V)].
  R* memories(Size t) const { return memories_ + (shape.kept && t ? batch * square : 0); }

  // Outputs are no state: they have memory of their own for all steps.
  R* output(Size t) const { return outputs_ + t * batch * after_stride(); }
  Size after_stride() const { return padded<R>(hidden); }
  Size parted_size() const { return 0; }
  std::array<Rows<R>, 2> states(Size t) const {
    return {{{keys_before(t), keys_width, keys},
             {memories(t), square, values, keys, values_width, steps}}};
  }

  // v = (W_v x) * (W_g x) of one sequence, zero where it is padded.
  void value(const R* row, R* out) const {
    const R *value = row + keys_width, *gate = value + values_width;
    const Size used = values;
    METARL_VECTORISE
    for (Size j = 0; j < values_width; j++) out[j] = j < used ? value[j] * gate[j] : 0;
  }
  // What is said of reads [count, padded(V)].
  void say(Size count, const R* reads, Size reads_stride, R* out) const {
    const Size used = values, out_stride = values_width;
    if (compress)
      for (Size b = 0; b < count; b++)
        for (Size j = 0; j < used; j++)
          out[b * out_stride + j] = std::asinh(reads[b * reads_stride + j]);
    else
      copy(count, used, reads, reads_stride, out, out_stride);
  }

  void step(Size t, Size first, Size count) {
    const R* x = S::before(t) + first * stride;
    R *row = activations(t) + first * width, *reads = this->reads(t) + first * values_width;
    R* h = output(t) + first * after_stride();
    query_.times(count, x, stride, row, width, false);
    value_.times(count, x, stride, row + keys_width, width, false);
    gate_.times(count, x, stride, row + keys_width + values_width, width, false);
    input_.times(count, x, stride, h, after_stride(), false);
    for (Size b = 0; b < count; b++) {
      R *q = row + b * width, *read = reads + b * values_width;
      const R *bias = query_bias_, scale = this->scale;
      const Size used = keys, at = (first + b) * square;
      METARL_VECTORISE
      for (Size j = 0; j < keys_width; j++)
        q[j] = j < used ? tangent(q[j] + bias[j]) * scale : 0;
      value(q, value_row_);
      R *before = keys_before(t) + (first + b) * keys_width, *memory = memories(t + 1) + at;
      if (memory != memories(t) + at)
        std::memcpy(memory, memories(t) + at, square * sizeof(R));
      write_and_read(keys, values_width, before, value_row_, q, memory, read);
      std::memcpy(keys_before(t + 1) + (first + b) * keys_width, q, keys * sizeof(R));
    }
    say(count, reads, values_width, said_);
    read_.times(count, said_, values_width, h, after_stride(), true);
    const R* bias = bias_;
    const Size h_stride = after_stride();
    each(count, hidden, [=](Size b, Size j) {
      h[b * h_stride + j] = tangent(h[b * h_stride + j] + bias[j]);
    });
  }

  // The way back through one sequence after another.
  class Backward {
   public:
    Backward(const Associative& cell, Pieces<R>& work)
        : cell_(cell), hidden_width_(cell.after_stride()) {
      const Size inputs = cell.inputs, hidden = cell.hidden;
      query_.take(work, cell.keys, inputs);
      value_.take(work, cell.values, inputs);
      gate_.take(work, cell.values, inputs);
      read_.take(work, hidden, cell.values);
      input_.take(work, hidden, inputs);
      d_query_.take(work, inputs, cell.keys);
      d_query_bias_.take(work, 1, cell.keys);
      d_value_.take(work, inputs, cell.values);
      d_gate_.take(work, inputs, cell.values);
      d_read_.take(work, cell.values, hidden);
      d_input_.take(work, inputs, hidden);
      d_bias_.take(work, 1, hidden);
      dz_ = work.take(cell.steps * hidden_width_);
      d_read_rows_ = work.take(cell.steps * cell.values_width);
      said_ = work.take(cell.steps * cell.values_width);
      d_rows_ = work.take(cell.steps * cell.width);
      turned_ = work.take(cell.values * cell.keys_width);
      d_memory_ = work.take(cell.square);
      d_turned_ = work.take(cell.values * cell.keys_width);
      for (R** row : {&value_row_, &d_value_row_}) *row = work.take(cell.values_width);
      d_key_ = work.take(cell.keys_width);
      dx_ = work.take(BLOCK * padded<R>(inputs));
    }
    void load(const R* const* fused, Size n) {
      const auto sizes = weight_sizes(cell_.shape);
      auto of = [&](Size k) { return fused[k] + n * sizes[k]; };
      query_.load_transposed(of(0), cell_.keys);
      value_.load_transposed(of(2), cell_.values);
      gate_.load_transposed(of(3), cell_.values);
      read_.load_transposed(of(4), cell_.hidden);
      input_.load_transposed(of(5), cell_.hidden);
      for (auto* gradient : {&d_query_, &d_query_bias_, &d_value_, &d_gate_, &d_read_, &d_input_,
                             &d_bias_})
        gradient->clear();
    }

    // The gradients by the outputs of sequence b go here, [T, padded(H)], before `sequence`.
    Rows<R> by_outputs() const { return {dz_, hidden_width_, cell_.hidden}; }

    // Back through sequence b. It was emptied where starts [T, B] say so.
    void sequence(Size b, const std::uint8_t* starts) {
      b_ = b, starts_ = starts;
      outputs_back();
      queries_back();
      memory_back();
      inputs_back();
    }
    // dx = W_q^T da_q + W_v^T da_v + W_g^T da_g + W_x^T dz, [T, I] with rows so far apart.
    void inputs_backward(R* out, Size stride) {
      const Size inputs = cell_.inputs, dx_stride = padded<R>(inputs);
      chunks(cell_.steps, BLOCK, [&](Size t, Size count) {
        const R* d = row(t);
        query_.times(count, d, cell_.width, dx_, dx_stride, false);
        value_.times(count, d + cell_.keys_width, cell_.width, dx_, dx_stride, true);
        gate_.times(count, d + cell_.keys_width + cell_.values_width, cell_.width, dx_, dx_stride,
                    true);
        input_.times(count, dz_ + t * hidden_width_, hidden_width_, dx_, dx_stride, true);
        copy(count, inputs, dx_, dx_stride, out + t * stride, stride);
      });
    }
    // By the states before the first step, of row `b` of [N * B]: the key [K] and M [K, V].
    void states_backward(R* const* by_states, Size b) const {
      std::memcpy(by_states[0] + b * cell_.keys, d_key_, cell_.keys * sizeof(R));
      copy(cell_.keys, cell_.values, d_memory_, cell_.values_width,
           by_states[1] + b * cell_.keys * cell_.values, cell_.values);
    }
    void store(R* const* d, Size n) const {
      const auto sizes = weight_sizes(cell_.shape);
      const Gradient<R>* gradients[] = {&d_query_, &d_query_bias_, &d_value_, &d_gate_,
                                        &d_read_,  &d_input_,      &d_bias_};
      for (Size k = 0; k < NUM_WEIGHTS; k++)
        gradients[k]->store(d[k] + n * sizes[k], gradients[k]->width);
    }

   private:
    bool begins(Size t) const { return starts_ && starts_[t * cell_.batch + b_]; }
    // Gradients by [W_q x + b_q | W_v x | W_g x] of step t; first by [q | ...].
    R* row(Size t) const { return d_rows_ + t * cell_.width; }
    const R* activations(Size t) const { return cell_.activations(t) + b_ * cell_.width; }
    R* by_read(Size t) const { return d_read_rows_ + t * cell_.values_width; }

    // h = tanh(z), z = W_m s + W_x x + b, s = asinh(r) or r.
    void outputs_back() {
      const Size steps = cell_.steps, width = hidden_width_, values = cell_.values;
      const Size h_stride = cell_.batch * width, r_stride = cell_.batch * cell_.values_width;
      const R *h = cell_.output(0) + b_ * width, *r = cell_.reads(0) + b_ * cell_.values_width;
      R *dz = dz_, *d_read = d_read_rows_;
      // dz = dh (1 - h^2)
      each(steps, cell_.hidden, [=](Size t, Size j) {
        const R y = h[t * h_stride + j];
        dz[t * width + j] *= 1 - y * y;
      });
      // dW_m = s dz^T, db = dz, summed over steps
      cell_.say(steps, r, r_stride, said_);
      d_read_.add(steps, said_, cell_.values_width, dz, width);
      d_bias_.add_sum(steps, dz, width);
      // ds = W_m^T dz,  dr = ds / sqrt(1 + r^2)
      read_.times(steps, dz, width, d_read, cell_.values_width, false);
      const Size d_stride = cell_.values_width;
      if (cell_.compress)
        each(steps, values, [=](Size t, Size j) {
          const R y = r[t * r_stride + j];
          d_read[t * d_stride + j] /= std::sqrt(1 + y * y);
        });
      // What pads them is multiplied below.
      if (values < d_stride)
        for (Size t = 0; t < steps; t++)
          std::memset(d_read + t * d_stride + values, 0, (d_stride - values) * sizeof(R));
    }
    // r = M^T q: dq = M dr, with M^T [V, K] as it was after each step.
    void queries_back() {
      const R* memory = cell_.memories(0) + b_ * cell_.square;
      const Size keys = cell_.keys, width = cell_.keys_width;
      for (Size k = 0; k < keys; k++)
        for (Size j = 0; j < cell_.values; j++)
          turned_[j * width + k] = memory[k * cell_.values_width + j];
      for (Size t = 0; t < cell_.steps; t++) {
        if (begins(t)) std::memset(turned_, 0, cell_.values * width * sizeof(R));
        cell_.value(activations(t), value_row_);
        write_and_read(cell_.values, width, value_row_, cell_.keys_before(t) + b_ * width,
                       by_read(t), turned_, row(t));
      }
    }
    // Through r_t = M_t^T q_t and M_t = M_{t-1} + q_{t-1} v_t^T, with N the gradient by M_t.
    void memory_back() {
      const Size keys = cell_.keys, values = cell_.values, width = cell_.keys_width;
      auto forget = [&] {
        std::memset(d_memory_, 0, cell_.square * sizeof(R));
        std::memset(d_turned_, 0, values * width * sizeof(R));
        std::memset(d_key_, 0, width * sizeof(R));
      };
      forget();
      for (Size t = cell_.steps - 1; t >= 0; t--) {
        const R *q = activations(t), *dr = by_read(t);
        R* d = row(t);
        // dq_t, of which the read of step t has given its part
        for (Size j = 0; j < width; j++) d[j] += d_key_[j];
        // N += q dr^T, then dv_t = N^T q_{t-1}
        write_and_read(keys, cell_.values_width, q, dr, cell_.keys_before(t) + b_ * width,
                       d_memory_, d_value_row_);
        // and in its transpose dq_{t-1} = N v_t
        cell_.value(q, value_row_);
        write_and_read(values, width, dr, q, value_row_, d_turned_, d_key_);
        if (begins(t)) forget();
        // v = a_v * a_g
        const R *a_value = q + width, *a_gate = a_value + cell_.values_width;
        R *d_value = d + width, *d_gate = d_value + cell_.values_width;
        for (Size j = 0; j < values; j++) {
          d_value[j] = d_value_row_[j] * a_gate[j];
          d_gate[j] = d_value_row_[j] * a_value[j];
        }
        // q = tanh(a_q) / sqrt(K)
        for (Size j = 0; j < keys; j++)
          d[j] *= cell_.scale - q[j] * q[j] / cell_.scale;
      }
    }
    // Sums over steps: dW = x da^T of each of them.
    void inputs_back() {
      const Size steps = cell_.steps, x_stride = cell_.batch * cell_.stride;
      const R *x = cell_.before(0) + b_ * cell_.stride, *d = d_rows_;
      d_query_.add(steps, x, x_stride, d, cell_.width);
      d_query_bias_.add_sum(steps, d, cell_.width);
      d_value_.add(steps, x, x_stride, d + cell_.keys_width, cell_.width);
      d_gate_.add(steps, x, x_stride, d + cell_.keys_width + cell_.values_width, cell_.width);
      d_input_.add(steps, x, x_stride, dz_, hidden_width_);
    }

    const Associative& cell_;
    const Size hidden_width_;
    Size b_ = 0;
    const std::uint8_t* starts_ = nullptr;
    Packed<R> query_, value_, gate_, read_, input_;  // transposed
    Gradient<R> d_query_, d_query_bias_, d_value_, d_gate_, d_read_, d_input_, d_bias_;
    R *dz_, *d_read_rows_, *said_, *d_rows_;  // [T, ...]
    R* turned_;                               // M^T [V, padded(K)]
    R *d_memory_, *d_turned_;                 // the gradient by M, and its transpose
    R *value_row_, *d_value_row_, *d_key_, *dx_;
  };

 private:
  Packed<R> query_, value_, gate_, read_, input_;
  R *query_bias_, *bias_;
  R *memories_, *outputs_;  // [2, B, K, padded(V)], [T, B, padded(H)]
  R *value_row_, *said_;
};

}  // namespace metarl
