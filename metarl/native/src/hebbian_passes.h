// Passes over the Hebbian trace M of one sequence, [H, P]: reading, writing, and back through both.
// P is H padded to whole vectors; weights, traces and vectors are zero where they are padded.
#pragma once
#include "simd.h"

namespace metarl {

// Weights of the connections, [H, P] each.
template <class R> struct Connections {
  const R *fixed, *alpha;
};

// z [P] += (w + alpha * M)^T h, of rows [first, last) and the columns of VECTORS vectors.
template <class R, int VECTORS>
METARL_INLINE void read_columns(Size first, Size last, Size width, const Connections<R>& weights,
                                const R* trace, const R* h, R* z) {
  Vector<R> sum[VECTORS];
  METARL_UNROLL
  for (int v = 0; v < VECTORS; v++) sum[v] = load(z + v * lanes<R>());
  for (Size i = first; i < last; i++) {
    const R value = h[i];
    METARL_UNROLL
    for (int v = 0; v < VECTORS; v++) {
      const Size at = i * width + v * lanes<R>();
      sum[v] += value * (load(weights.fixed + at) + load(weights.alpha + at) * load(trace + at));
    }
  }
  METARL_UNROLL
  for (int v = 0; v < VECTORS; v++) store<R>(z + v * lanes<R>(), sum[v]);
}

template <class R>
void read_rows(Size first, Size last, Size width, const Connections<R>& weights, const R* trace,
               const R* h, R* z) {
  stripes<R, 7, 4, 2, 1>(width, [&](auto vectors, Size j) {  // 100 units are 7 vectors of 16
    read_columns<R, decltype(vectors)::value>(
        first, last, width, {weights.fixed + j, weights.alpha + j}, trace + j, h, z + j);
  });
}

// after [H, P] = write(before, h k^T); they may be the same memory.
template <class R, class Rule>
void write_trace(Size hidden, const Rule& rule, const R* before, const R* h, const R* k, R* after) {
  const Size width = padded<R>(hidden);
  for (Size i = 0; i < hidden; i++) {
    const R value = h[i];
    for (Size j = 0; j < width; j += lanes<R>())
      store<R>(after + i * width + j,
               rule.written(load(before + i * width + j), value, load(k + j)));
  }
}

// What is carried from one step to the one before it; zero where rows are padded.
template <class R> struct Carried {
  R* r;      // [H, P]: alpha * r is the gradient by the trace
  R* dh;     // [P]: by the output h_{t-1}, but for what the loss itself sends there
  R* later;  // [P]: by h_{t-2}, through the write of step t - 1
  R* dk;     // [P]: by k_{t-1}
};

// What one step back reads: the trace before step t, dz of it, and what wrote this trace.
template <class R> struct StepBack {
  const R *trace, *dz, *before;  // M_{t-1} [H, P], dz_t [P], h_{t-1} [P]
  const R *k, *earlier;          // k_{t-1} and h_{t-2} [P]; null at the first step
};

// Back through z_t = ... + (w + alpha * M_{t-1}) h_{t-1}, then, if WRITTEN, through
// M_{t-1} = write(M_{t-2}, h_{t-2} k_{t-1}^T), for ROWS rows in one pass. Adds to alpha's gradient;
// returns the terms of <alpha R, M_{t-1}>, minus the gradient by eta through the decay at step t.
template <class R, class Rule, int ROWS, bool WRITTEN>
METARL_INLINE Vector<R> rows_back(Size i, Size width, const Connections<R>& weights,
                                  Rule rule, const StepBack<R>& step,
                                  const Carried<R>& carried, R* d_alpha) {
  const R *traces = step.trace + i * width, *fixed = weights.fixed + i * width;
  const R *alphas = weights.alpha + i * width, *dzs = step.dz, *ks = step.k;
  R *rs = carried.r + i * width, *dks = carried.dk;
  d_alpha += i * width;
  R before[ROWS], earlier[ROWS];
  METARL_UNROLL
  for (int n = 0; n < ROWS; n++) {
    before[n] = step.before[i + n];
    earlier[n] = WRITTEN ? step.earlier[i + n] : 0;
  }
  Vector<R> by_before[ROWS]{}, by_earlier[ROWS]{}, decay{};
  for (Size j = 0; j < width; j += lanes<R>()) {
    const Vector<R> dz = load(dzs + j), k = WRITTEN ? load(ks + j) : Vector<R>{};
    Vector<R> dk = load(dks + j);
    METARL_UNROLL
    for (int n = 0; n < ROWS; n++) {
      const Size at = n * width + j;
      const Vector<R> trace = load(traces + at), alpha = load(alphas + at);
      const Vector<R> plastic = alpha * trace;
      Vector<R> r = load(rs + at);
      if (Rule::DECAYS) decay += r * plastic;
      // dh_{t-1} = (w + alpha * M) dz
      by_before[n] += dz * (load(fixed + at) + plastic);
      // d(w + alpha * M) = h_{t-1} dz^T
      const Vector<R> outer = before[n] * dz;
      store<R>(d_alpha + at, load(d_alpha + at) + trace * outer);
      r = rule.carried(r, outer);
      if (WRITTEN) {
        r = rule.through_write(r, trace);
        // d(h_{t-2} k^T) = alpha * R;  dk = (alpha * R)^T h_{t-2},  dh_{t-2} = (alpha * R) k
        const Vector<R> product = r * alpha;
        dk += earlier[n] * product;
        by_earlier[n] += k * product;
      }
      store<R>(rs + at, r);
    }
    store<R>(dks + j, dk);
  }
  METARL_UNROLL
  for (int n = 0; n < ROWS; n++) {
    carried.dh[i + n] = carried.later[i + n] + total<R>(by_before[n]);
    carried.later[i + n] = total<R>(by_earlier[n]);
  }
  return decay;
}

template <class R, class Rule, bool WRITTEN>
R step_back(Size hidden, const Connections<R>& weights, Rule rule, const StepBack<R>& step,
            const Carried<R>& carried, R* d_alpha) {
  constexpr int ROWS = VECTOR_BYTES == 64 ? 4 : 2;  // as there are registers for
  const Size width = padded<R>(hidden);
  std::memset(carried.dk, 0, width * sizeof(R));
  Vector<R> decay{};
  Size i = 0;
  for (; i + ROWS <= hidden; i += ROWS)
    decay += rows_back<R, Rule, ROWS, WRITTEN>(i, width, weights, rule, step, carried, d_alpha);
  for (; i < hidden; i++)
    decay += rows_back<R, Rule, 1, WRITTEN>(i, width, weights, rule, step, carried, d_alpha);
  return total<R>(decay);
}

}  // namespace metarl
