// Points in the plane: a move, clipped, and the distance to a goal that is left after it.
#pragma once
#include <cmath>
#include <vector>

#include "simd.h"

namespace metarl {

// In single precision, each operation rounded by itself.
class Plane {
 public:
  static constexpr Size NUM_INPUTS = 2, NUM_ACTIONS = 2;

  struct Numbers {
    const float *starts, *goals;            // [N * B, 2]
    float longest, scale, radius, unused;   // a move is clipped to +-longest; radius 0: no end
  };

  explicit Plane(const Numbers& numbers) : numbers(numbers) {}

  void begin(Size first, Size count) {
    goals = numbers.goals + 2 * first;
    places.assign(numbers.starts + 2 * first, numbers.starts + 2 * (first + count));
    over.assign(count, false);
  }

  template <class R> void observe(Size b, R* out) const {
    out[0] = places[2 * b];
    out[1] = places[2 * b + 1];
  }

  bool ended(Size b) const { return over[b]; }

  // Reward of a move; NaN stays NaN.
  template <class R> float step(Size b, const R* action) {
    float left[2];
    for (int k = 0; k < 2; k++) {
      float move = static_cast<float>(action[k]) * numbers.scale;
      move = move > numbers.longest ? numbers.longest : move;
      move = move < -numbers.longest ? -numbers.longest : move;
      places[2 * b + k] += move;
      left[k] = places[2 * b + k] - goals[2 * b + k];
    }
    over[b] = std::fabs(left[0]) < numbers.radius && std::fabs(left[1]) < numbers.radius;
    const float sum = square(left[0]) + square(left[1]);
    return -static_cast<float>(std::sqrt(static_cast<double>(sum)));
  }

 private:
  Numbers numbers;
  const float* goals = nullptr;
  std::vector<float> places;  // [B, 2]
  std::vector<char> over;     // [B]

  // Rounded before it is added to another: volatile, or the compiler fuses the two.
  static float square(float x) {
    volatile float rounded = x * x;
    return rounded;
  }
};

}  // namespace metarl
