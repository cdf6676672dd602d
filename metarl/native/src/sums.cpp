// Discounted sums along time.
#include "simd.h"

using metarl::Size;

namespace {
// out[n, t, b] = x[n, t, b] + gamma goes_on[n, t, b] out[n, t + 1, b]; null: it goes on everywhere.
template <class R>
void discounted(Size stretches, Size steps, Size width, R gamma, const R* x, const R* goes_on,
                R* out) {
  for (Size n = 0; n < stretches; n++) {
    const Size end = ((n + 1) * steps - 1) * width;
    for (Size b = 0; b < width; b++) out[end + b] = x[end + b];
    for (Size first = end - width; first >= n * steps * width; first -= width) {
      const R* after = out + first + width;
      METARL_VECTORISE
      for (Size b = 0; b < width; b++) {
        const R following = goes_on ? after[b] * goes_on[first + b] : after[b];
        out[first + b] = x[first + b] + gamma * following;
      }
    }
  }
}
}  // namespace

extern "C" {
void metarl_discounted_f(Size stretches, Size steps, Size width, double gamma, const float* x,
                         const float* goes_on, float* out) {
  discounted<float>(stretches, steps, width, float(gamma), x, goes_on, out);
}
void metarl_discounted_d(Size stretches, Size steps, Size width, double gamma, const double* x,
                         const double* goes_on, double* out) {
  discounted<double>(stretches, steps, width, gamma, x, goes_on, out);
}
}
