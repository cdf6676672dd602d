// Neuromodulated plasticity: the network decides how much it learns (metarl/nn/hebbian.py).
#pragma once
#include "hebbian.h"

namespace metarl {

// m = tanh(W_m h + b_m);  k = (v m + c) * h;  M' = clip(M + h k^T, -1, 1).
// The weights are W_m, b_m, v and c.
template <class R> struct Modulated {
  static constexpr bool DECAYS = false;
  static constexpr Size NUM_WEIGHTS = 4;
  static std::array<Size, NUM_WEIGHTS> weight_sizes(Size hidden) {
    return {hidden, 1, hidden, hidden};
  }
  const R *in, *bias, *fan, *level;

  Modulated(Size width, const R* weights)
      : in(weights), bias(in + width), fan(bias + width), level(fan + width) {}

  R show(Size width, const R* h, R* k) const {
    Vector<R> sum{};
    for (Size j = 0; j < width; j += lanes<R>()) sum += load(in + j) * load(h + j);
    const R m = tangent(total<R>(sum) + bias[0]);
    METARL_VECTORISE
    for (Size j = 0; j < width; j++) k[j] = (fan[j] * m + level[j]) * h[j];
    return m;
  }

  METARL_INLINE Vector<R> written(Vector<R> trace, R h, Vector<R> k) const {
    Vector<R> sum = trace + h * k;
    sum = sum > 1 ? Vector<R>{} + 1 : sum;  // NaN is neither, and stays
    return sum < -1 ? Vector<R>{} - 1 : sum;
  }

  METARL_INLINE Vector<R> carried(Vector<R> r, Vector<R> outer) const { return r + outer; }

  METARL_INLINE Vector<R> through_write(Vector<R> r, Vector<R> trace) const {
    return absolute<R>(trace) >= 1 ? Vector<R>{} : r;
  }

  void show_backward(Size width, const R* dk, const R* h, R m, R* dh, R* gradients) const {
    R *d_in = gradients, *d_bias = d_in + width, *d_fan = d_bias + width, *d_level = d_fan + width;
    Vector<R> sum{};
    for (Size j = 0; j < width; j += lanes<R>()) {
      // k = rate * h
      const Vector<R> rate = load(fan + j) * m + load(level + j);
      const Vector<R> d_rate = load(dk + j) * load(h + j);
      store<R>(dh + j, load(dh + j) + load(dk + j) * rate);
      // rate = v m + c
      store<R>(d_fan + j, load(d_fan + j) + d_rate * m);
      store<R>(d_level + j, load(d_level + j) + d_rate);
      sum += d_rate * load(fan + j);
    }
    // m = tanh(s), s = W_m h + b_m
    const R d_s = total<R>(sum) * (1 - m * m);
    for (Size j = 0; j < width; j += lanes<R>()) {
      store<R>(dh + j, load(dh + j) + d_s * load(in + j));
      store<R>(d_in + j, load(d_in + j) + d_s * load(h + j));
    }
    d_bias[0] += d_s;
  }
};

template <class R> using ModulatedPlastic = Hebbian<R, Modulated<R>>;

}  // namespace metarl
