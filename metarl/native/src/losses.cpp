// The loss of an actor and a critic on whole trials, and its gradient by what both heads say.
#include <cmath>

#include "simd.h"

namespace metarl {

template <class R> struct Trials {  // as in native/policy_gradient.py
  Size tasks, steps, trials, actions;  // N, T, B, A
  const R* readouts;                   // [N, T, B, A + 1], the value behind the logits
  Size task, step, row, column;        // numbers from one to the next
  const R* log_p;                      // [N, A, T, B], log softmax of the logits
  const std::int64_t* chosen;          // [N, T, B], and so are the next five
  const R *played, *advantages, *targets, *mask;
  R *loss, *gradient;  // [N], [N, T, B, A + 1]
  double clip, value_coef, entropy_coef;
  Size ppo, shannon;
};

// A step's gain g and its derivative by log p_a. PPO: min(r A, clip(r) A), r = p_a / p_a when played.
template <class R> struct Gain {
  R gain, by_log_p;
};
template <class R> Gain<R> gain_of(const Trials<R>& x, R log_p, R played, R advantage, R mask) {
  if (!x.ppo) return {log_p * advantage, advantage};
  const R low = R(1 - x.clip), high = R(1 + x.clip);
  const R ratio = std::exp((log_p - played) * mask);
  const bool inside = ratio >= low && ratio <= high;
  const R bounded = (ratio < low ? low : ratio > high ? high : ratio) * advantage;
  const R whole = ratio * advantage;
  const bool counts = inside || !(bounded < whole);  // else the bound does, which is constant
  return {bounded < whole ? bounded : whole, counts ? whole * mask : R(0)};
}

// The certainty of a policy: sum p^2 (Simpson), or sum p log p (Shannon).
template <class R> R certainty(const Trials<R>& x, const R* log_p, Size apart, R* p) {
  R sum = 0;
  for (Size a = 0; a < x.actions; a++) {
    p[a] = std::exp(log_p[a * apart]);
    sum += p[a] * (x.shannon ? log_p[a * apart] : p[a]);
  }
  return sum;
}

template <class R> void actor_critic(const Trials<R>& x, R* p) {
  const Size A = x.actions, rows = x.steps * x.trials;
  const R weight = R(1) / R(rows), value_coef = R(x.value_coef), entropy_coef = R(x.entropy_coef);
  for (Size n = 0; n < x.tasks; n++) {
    double gains = 0, errors = 0, certainties = 0;
    for (Size i = 0; i < rows; i++) {
      const Size at = n * rows + i, t = i / x.trials, b = i % x.trials;
      const R* log_p = x.log_p + n * A * rows + i;
      const R mask = x.mask[at], scale = mask * weight;
      const Size chosen = x.chosen[at];
      const Gain<R> g = gain_of(x, log_p[chosen * rows], x.played[at], x.advantages[at], mask);
      const R sure = certainty(x, log_p, rows, p);
      const R* value = x.readouts + n * x.task + t * x.step + b * x.row + A * x.column;
      const R error = *value - x.targets[at];
      gains += g.gain * mask;
      errors += error * error * mask;
      certainties += sure * mask;
      // d log p_a / d z_k = [a = k] - p_k; of the certainty 2 p_k (p_k - sum p^2), or
      // p_k (log p_k - sum p log p).
      R* d = x.gradient + at * (A + 1);
      for (Size k = 0; k < A; k++) {
        const R settling = x.shannon ? p[k] * (log_p[k * rows] - sure) : 2 * p[k] * (p[k] - sure);
        d[k] = scale * (entropy_coef * settling - g.by_log_p * ((k == chosen ? 1 : 0) - p[k]));
      }
      d[A] = scale * value_coef * 2 * error;
    }
    x.loss[n] = static_cast<R>(
        (x.value_coef * errors + x.entropy_coef * certainties - gains) / double(rows));
  }
}

template <class R> void run(const void* trials, void* scratch) {
  actor_critic(*static_cast<const Trials<R>*>(trials), static_cast<R*>(scratch));
}

}  // namespace metarl

extern "C" {
void metarl_actor_critic_f(const void* trials, void* scratch) {
  metarl::run<float>(trials, scratch);
}
void metarl_actor_critic_d(const void* trials, void* scratch) {
  metarl::run<double>(trials, scratch);
}
}
