// Recurrent networks whose connections learn within a trial: see metarl/nn/hebbian.py.
//
//     z_t = W_ih x_t + b + (w + alpha * M_{t-1}) h_{t-1},   h_t = tanh(z_t)
//     M_t = write(M_{t-1}, h_{t-1} k_t^T),                  k_t = show(h_t)
//
// with M the Hebbian trace of one sequence. A rule says what neurons show and how connections
// write; its weights and gradients are rows of width P, in the order of the core's `fuse_rule`:
//
//     m = show(width, h, k)                  writes k [P]; m is a number for `show_backward`
//     written(M, h, k)                       an element of the trace after a write
//     carried(r, outer)                      R through a step, h dz^T being its read's part
//     through_write(r, M)                    R through the write that made M
//     show_backward(width, dk, h, m, dh, d)  adds to dh [P], and to the rule's gradients
//
// where alpha * R is the gradient by the trace. With DECAYS a write takes kept * M, and `carried`
// that much of R; eta = 1 - kept is the rule's weight.
//
// A trace is H times larger than the rest of a step, so that only that before every sqrt(T)-th step
// is kept. The way back takes one sequence after another, so that whatever is done to its traces is
// done near the processor: it writes those of a segment again, the last segment first.
#pragma once
#include "hebbian_passes.h"
#include "recurrent.h"

namespace metarl {

template <class R, class Rule> class Hebbian : public Sequence<R> {
  using S = Sequence<R>;

 public:
  using S::batch, S::hidden, S::inputs, S::shape, S::steps, S::stride;
  // W_ih [I, H], b [H], w and alpha [H, H], and those of the rule.
  static constexpr Size NUM_WEIGHTS = 4 + Rule::NUM_WEIGHTS;
  static std::array<Size, NUM_WEIGHTS> weight_sizes(const Shape& s) {
    std::array<Size, NUM_WEIGHTS> sizes{s.inputs * s.hidden, s.hidden, s.hidden * s.hidden,
                                        s.hidden * s.hidden};
    Size k = 4;
    for (Size size : Rule::weight_sizes(s.hidden)) sizes[k++] = size;
    return sizes;
  }

  // Sequences that take a step together: their traces, and some rows of w and alpha, are near.
  static constexpr Size GROUP = 8;

  Hebbian(const Shape& of, Pieces<R>& weights, Pieces<R>& trace)
      : S(of, 1, trace), width(padded<R>(of.hidden)), square(of.hidden * width),
        segment(root(of.steps)) {
    w_ih_.take(weights, inputs, hidden);
    bias_ = weights.take(width);
    fixed_ = weights.take(square);
    alpha_ = weights.take(square);
    rule_ = weights.take(Rule::NUM_WEIGHTS * width);
    traces_ = trace.take((of.kept ? (steps - 1) / segment + 2 : 1) * batch * square);
    z_ = trace.take(GROUP * width);
    k_ = trace.take(width);
  }
  void load(const R* const* fused, Size n) {
    const auto sizes = weight_sizes(shape);
    w_ih_.load(fused[0] + n * sizes[0], hidden);
    std::memcpy(bias_, fused[1] + n * sizes[1], hidden * sizeof(R));
    copy(hidden, hidden, fused[2] + n * sizes[2], hidden, fixed_, width);
    copy(hidden, hidden, fused[3] + n * sizes[3], hidden, alpha_, width);
    for (Size k = 0; k < Rule::NUM_WEIGHTS; k++)
      std::memcpy(rule_ + k * width, fused[4 + k] + n * sizes[4 + k], sizes[4 + k] * sizeof(R));
  }

  const Size width, square;
  const Size segment;  // steps: the first root of the number of them

  // The traces before step t. Those within a segment are written over by those after it.
  R* traces(Size t) const {
    return traces_ + shape.kept * ((t + segment - 1) / segment) * batch * square;
  }
  std::array<Rows<R>, 2> states(Size t) const {
    return {{{S::states_before(t), stride, hidden},
             {traces(t), square, hidden, hidden, width, segment}}};
  }
  Rule rule() const { return Rule(width, rule_); }
  Connections<R> connections() const { return {fixed_, alpha_}; }

  void step(Size t) {
    chunks(batch, GROUP, [&](Size first, Size count) { step(t, first, count); });
  }
  void step(Size t, Size first, Size count) {
    constexpr Size ROWS = 8;
    const Rule rule = this->rule();
    const R* x = S::before(t) + first * stride;
    w_ih_.times(count, x, stride, z_, width, false);
    for (Size i = 0; i < hidden; i += ROWS)
      for (Size b = 0; b < count; b++)
        read_rows(i, hidden - i < ROWS ? hidden : i + ROWS, width, connections(),
                  traces(t) + (first + b) * square, x + inputs + b * stride, z_ + b * width);
    for (Size b = 0; b < count; b++) {
      const Size at = (first + b) * square, used = hidden;
      const R* bias = bias_;
      R* h = z_ + b * width;
      METARL_VECTORISE
      for (Size j = 0; j < width; j++) h[j] = j < used ? tangent(h[j] + bias[j]) : 0;
      rule.show(width, h, k_);
      write_trace(hidden, rule, traces(t) + at, x + inputs + b * stride, k_, traces(t + 1) + at);
      std::memcpy(S::after(t) + (first + b) * S::after_stride(), h, hidden * sizeof(R));
    }
  }

  // The way back through one sequence after another.
  class Backward {
   public:
    Backward(const Hebbian& cell, Pieces<R>& work)
        : cell_(cell), width_(cell.width), square_(cell.square) {
      w_ih_.take(work, cell.hidden, cell.inputs);
      d_joint_.take(work, cell.inputs + cell.hidden, cell.hidden);
      d_bias_.take(work, 1, cell.hidden);
      d_alpha_.take(work, cell.hidden, cell.hidden);
      d_rule_.take(work, Rule::NUM_WEIGHTS, cell.hidden);
      for (R** rows : {&h_, &before_, &k_, &dz_}) *rows = work.take(cell.steps * width_);
      m_ = work.take(cell.steps);
      traces_ = work.take(cell.segment * square_);
      carried_.r = work.take(square_);
      for (R** vector : {&carried_.dh, &carried_.later, &carried_.dk}) *vector = work.take(width_);
      dx_ = work.take(BLOCK * padded<R>(cell.inputs));
    }
    void load(const R* const* fused, Size n) {
      w_ih_.load_transposed(fused[0] + n * cell_.inputs * cell_.hidden, cell_.hidden);
      for (auto* gradient : {&d_joint_, &d_bias_, &d_alpha_, &d_rule_}) gradient->clear();
    }

    // The gradients by the outputs of sequence b go here, [T, P], before `sequence`.
    Rows<R> by_outputs() const { return {dz_, width_, cell_.hidden}; }

    // Back through sequence b. It was emptied where starts [T, B] say so.
    void sequence(Size b, const std::uint8_t* starts) {
      b_ = b, starts_ = starts;
      gather();
      forget();
      for (Size stop = cell_.steps, start; stop > 0; stop = start) {
        start = (stop - 1) / cell_.segment * cell_.segment;
        segment_back(start, stop);
      }
      // z = W_ih x + b + w h + ...: dW_ih = x dz^T, dw = h dz^T, db = dz, summed over steps
      d_joint_.add(cell_.steps, cell_.before(0) + b * cell_.stride, cell_.batch * cell_.stride,
                   dz_, width_);
      d_bias_.add_sum(cell_.steps, dz_, width_);
    }
    // dx = W_ih^T dz, [T, I] with rows so far apart.
    void inputs_backward(R* out, Size stride) {
      times_rows(w_ih_, cell_.steps, dz_, width_, dx_, out, stride);
    }
    // By the states before the first step, of row `b` of [N * B]: h [H] and the trace [H, H].
    void states_backward(R* const* by_states, Size b) const {
      const Size hidden = cell_.hidden, width = width_;
      std::memcpy(by_states[0] + b * hidden, carried_.dh, hidden * sizeof(R));
      R* by_trace = by_states[1] + b * hidden * hidden;
      const R *r = carried_.r, *alpha = cell_.alpha_;
      each(hidden, hidden, [=](Size i, Size j) {
        by_trace[i * hidden + j] = alpha[i * width + j] * r[i * width + j];
      });
    }
    void store(R* const* d, Size n) const {
      const auto sizes = weight_sizes(cell_.shape);
      const Size hidden = cell_.hidden, joint = cell_.inputs * width_;
      copy(cell_.inputs, hidden, d_joint_.at, width_, d[0] + n * sizes[0], hidden);
      d_bias_.store(d[1] + n * sizes[1], hidden);
      copy(hidden, hidden, d_joint_.at + joint, width_, d[2] + n * sizes[2], hidden);
      d_alpha_.store(d[3] + n * sizes[3], hidden);
      for (Size k = 0; k < Rule::NUM_WEIGHTS; k++)
        std::memcpy(d[4 + k] + n * sizes[4 + k], d_rule_.at + k * width_,
                    sizes[4 + k] * sizeof(R));
    }

   private:
    R* row(R* rows, Size t) const { return rows + t * width_; }
    bool begins(Size t) const { return starts_ && starts_[t * cell_.batch + b_]; }

    // Its outputs, those before each step, and what was shown, in rows side by side.
    void gather() {
      const Size bytes = cell_.hidden * sizeof(R);
      const Rule rule = cell_.rule();
      for (Size t = 0; t < cell_.steps; t++) {
        std::memcpy(row(h_, t), cell_.after(t) + b_ * cell_.after_stride(), bytes);
        std::memcpy(row(before_, t), cell_.states_before(t) + b_ * cell_.stride, bytes);
        m_[t] = rule.show(width_, row(h_, t), row(k_, t));
      }
    }
    void forget() const {
      std::memset(carried_.r, 0, square_ * sizeof(R));
      for (R* vector : {carried_.dh, carried_.later, carried_.dk})
        std::memset(vector, 0, width_ * sizeof(R));
    }
    // The traces before steps start to stop, in a row.
    void write(Size start, Size stop) const {
      const Rule rule = cell_.rule();
      std::memcpy(traces_, cell_.traces(start) + b_ * square_, square_ * sizeof(R));
      for (Size t = start; t + 1 < stop; t++) {
        R *trace = traces_ + (t - start) * square_, *after = trace + square_;
        if (begins(t)) std::memset(trace, 0, square_ * sizeof(R));
        write_trace(cell_.hidden, rule, trace, row(before_, t), row(k_, t), after);
      }
    }
    // Back through steps start to stop: dz from dh.
    void segment_back(Size start, Size stop) {
      write(start, stop);
      const Rule rule = cell_.rule();
      for (Size t = stop - 1; t >= start; t--) {
        const R *h = row(h_, t), *dh = carried_.dh;
        R* dz = row(dz_, t);
        METARL_VECTORISE
        for (Size j = 0; j < width_; j++) dz[j] += dh[j];
        rule.show_backward(width_, carried_.dk, h, m_[t], dz, d_rule_.at);
        // h = tanh(z)
        METARL_VECTORISE
        for (Size j = 0; j < width_; j++) dz[j] *= 1 - h[j] * h[j];
        if (begins(t)) {
          forget();
          continue;
        }
        const R* trace = traces_ + (t - start) * square_;
        const R decay =
            t ? back<true>({trace, dz, row(before_, t), row(k_, t - 1), row(before_, t - 1)})
              : back<false>({trace, dz, row(before_, t), nullptr, nullptr});
        if (Rule::DECAYS) d_rule_.at[0] -= decay;  // kept = 1 - eta
      }
    }
    template <bool WRITTEN> R back(const StepBack<R>& step) {
      return step_back<R, Rule, WRITTEN>(cell_.hidden, cell_.connections(), cell_.rule(), step,
                                         carried_, d_alpha_.at);
    }

    const Hebbian& cell_;
    const Size width_, square_;
    Size b_ = 0;
    const std::uint8_t* starts_ = nullptr;
    Packed<R> w_ih_;
    Gradient<R> d_joint_, d_bias_, d_alpha_, d_rule_;
    R *h_, *before_, *k_, *dz_, *m_;  // [T, P], m [T]
    R* traces_;                       // of a segment, [steps, H, P]
    Carried<R> carried_;
    R* dx_;
  };

 private:
  static Size root(Size steps) {
    Size length = 1;
    while (length * length < steps) length++;
    return length;
  }

  Packed<R> w_ih_;
  R *bias_, *fixed_, *alpha_, *rule_;
  R* traces_;  // before every so many steps, [B, H, P] each
  R *z_, *k_;  // [GROUP, P], [P]
};

}  // namespace metarl
