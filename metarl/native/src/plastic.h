// Differentiable plasticity: Hebbian traces that decay at one learned rate (metarl/nn/hebbian.py).
#pragma once
#include "hebbian.h"

namespace metarl {

// k = eta h;  M' = (1 - eta) M + h k^T.  The weight is eta.
template <class R> struct Decaying {
  static constexpr bool DECAYS = true;
  static constexpr Size NUM_WEIGHTS = 1;
  static std::array<Size, NUM_WEIGHTS> weight_sizes(Size) { return {1}; }
  R eta, kept;

  Decaying(Size, const R* weights) : eta(weights[0]), kept(1 - weights[0]) {}

  // Writes k [P]; what it returns is wanted by `show_backward`.
  R show(Size width, const R* h, R* k) const {
    METARL_VECTORISE
    for (Size j = 0; j < width; j++) k[j] = eta * h[j];
    return 0;
  }

  METARL_INLINE Vector<R> written(Vector<R> m, R h, Vector<R> k) const { return kept * m + h * k; }

  // R, of which alpha * R is the gradient by the trace, from that after a step's read to that
  // before it: read = (alpha * M) h.
  METARL_INLINE Vector<R> carried(Vector<R> r, Vector<R> outer) const { return kept * r + outer; }

  // R through the write that made `trace`; (1 - eta) waits for `carried`.
  METARL_INLINE Vector<R> through_write(Vector<R> r, Vector<R>) const { return r; }

  // dh += eta dk;  d_eta += <dk, h>.
  void show_backward(Size width, const R* dk, const R* h, R, R* dh, R* gradients) const {
    Vector<R> sum{};
    for (Size j = 0; j < width; j += lanes<R>()) {
      store<R>(dh + j, load(dh + j) + eta * load(dk + j));
      sum += load(dk + j) * load(h + j);
    }
    gradients[0] += total<R>(sum);
  }
};

template <class R> using Plastic = Hebbian<R, Decaying<R>>;

}  // namespace metarl
