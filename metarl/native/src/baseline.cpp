// The linear baseline that is fitted to the returns of episodes.
#include <cmath>

#include "scratch.h"
#include "simd.h"

namespace metarl {

template <class R> struct Regression {
  Size num_tasks, num_steps, num_episodes, num_inputs;  // N, T, B, I
  const R* observations;                                // [N, T, B, I]
  const R* mask;                                        // [N, T, B], 1 within an episode, else 0
  const R* returns;                                     // [N, T, B]
  R* out;                                               // [N, T, B], expected returns
  double ridge, clip;
  Size num_attempts;  // with a ridge 10 times as large each time
};

// Weights of (X^T X + ridge) w = X^T y by Cholesky's factors; false: there are none, or not numbers.
// `gram` [F + 1, stride] has X^T X, and X^T y in its last column.
bool solved(Size F, const double* gram, Size stride, double ridge, double* factor, double* w) {
  for (Size i = 0; i < F; i++)
    for (Size j = 0; j <= i; j++) {
      double sum = gram[i * stride + j] + (i == j ? ridge : 0);
      for (Size k = 0; k < j; k++) sum -= factor[i * F + k] * factor[j * F + k];
      if (i == j && !(sum > 0)) return false;
      factor[i * F + j] = i == j ? std::sqrt(sum) : sum / factor[j * F + j];
    }
  for (Size i = 0; i < F; i++) {  // L v = X^T y
    double sum = gram[i * stride + F];
    for (Size k = 0; k < i; k++) sum -= factor[i * F + k] * w[k];
    w[i] = sum / factor[i * F + i];
  }
  for (Size i = F - 1; i >= 0; i--) {  // L^T w = v
    double sum = w[i];
    for (Size k = i + 1; k < F; k++) sum -= factor[k * F + i] * w[k];
    w[i] = sum / factor[i * F + i];
    if (!std::isfinite(w[i])) return false;
  }
  return true;
}

template <class R> class Baseline {
 public:
  explicit Baseline(const Regression<R>& r)
      : r(r), I(r.num_inputs), F(2 * r.num_inputs + 4), P(padded<double>(F + 1)) {
    auto& memory = Scratch<double>::mine();
    x = memory.zeros(ROWS * P);
    gram = memory.take((F + 1) * P);
    factor = memory.take(F * F);
    weights = memory.take(F);
  }

  void run() {
    const Size rows = r.num_steps * r.num_episodes;
    for (Size n = 0; n < r.num_tasks; n++) {
      std::memset(gram, 0, (F + 1) * P * sizeof(double));
      chunks(rows, ROWS, [&](Size first, Size m) {
        block(n * rows, first, m);
        product<double>(F + 1, P, m, {x, 1, P}, {x, P}, gram, P, true);
      });
      bool found = false;
      double ridge = r.ridge;
      for (Size attempt = 0; attempt < r.num_attempts && !found; attempt++, ridge *= 10)
        found = solved(F, gram, P, ridge, factor, weights);
      if (!found)
        for (Size i = 0; i < F; i++) weights[i] = NAN;
      chunks(rows, ROWS, [&](Size first, Size m) {
        block(n * rows, first, m);
        for (Size i = 0; i < m; i++) {
          double sum = 0;
          for (Size j = 0; j < F; j++) sum += x[i * P + j] * weights[j];
          r.out[n * rows + first + i] = static_cast<R>(sum);
        }
      });
    }
  }

 private:
  static constexpr Size ROWS = 128;
  const Regression<R>& r;
  const Size I, F, P;
  double *x, *gram, *factor, *weights;

  // Rows [o, o^2, t, t^2, t^3, 1, y] times the mask, t = time / 100, from row `first` of a task on.
  void block(Size task, Size first, Size m) {
    for (Size i = 0; i < m; i++) {
      const Size at = task + first + i;
      const double time = static_cast<double>((first + i) / r.num_episodes) / 100;
      const double within = r.mask[at];
      double* row = x + i * P;
      for (Size j = 0; j < I; j++) {
        double o = r.observations[at * I + j];
        o = o > r.clip ? r.clip : o;
        o = o < -r.clip ? -r.clip : o;
        row[j] = within * o;
        row[I + j] = within * o * o;
      }
      double* behind = row + 2 * I;
      behind[0] = within * time;
      behind[1] = within * time * time;
      behind[2] = within * time * time * time;
      behind[3] = within;
      behind[4] = within * r.returns[at];
    }
  }
};

}  // namespace metarl

extern "C" {
void metarl_baseline_f(const void* regression) {
  metarl::Baseline<float>(*static_cast<const metarl::Regression<float>*>(regression)).run();
}
void metarl_baseline_d(const void* regression) {
  metarl::Baseline<double>(*static_cast<const metarl::Regression<double>*>(regression)).run();
}
}
