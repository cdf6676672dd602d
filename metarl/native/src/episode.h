// Whole episodes of stacked policies in worlds that are known to the kernel: one call, no graph.
//
// At every step and in every episode    a_t = mean(s_t) + shift_t,   s_{t+1}, r_t, end = world(s_t, a_t)
//
// The perceptron's outputs for a row do not depend on the other rows, so that they are, to the last
// bit, what it says later of all steps at once.
#pragma once
#include "mlp.h"

namespace metarl {

// All are [N, T, B, ...], task by task; an episode that has ended stays where it is and pays 0.
template <class R> struct Episodes {
  Size num_steps, num_episodes;  // T and B
  Size horizon;                  // the step after which the world cuts an episode off
  const R* shifts;               // [N, T, B, A]
  R* observations;               // [N, T + 1, B, I], before each action and after the last one
  R* means;                      // [N, T, B, A]
  R* actions;                    // [N, T, B, A]
  R* rewards;                    // [N, T, B]
  std::uint8_t* terminated;      // [N, T, B]: it has reached an end, by this step or before
  std::uint8_t* truncated;       // [N, T, B]: the horizon cut it off here
};

template <class R, class World>
void play(const Perceptrons<R>& p, const Episodes<R>& e, World world) {
  constexpr Size I = World::NUM_INPUTS, A = World::NUM_ACTIONS, ROWS = Pass<R, Wanted::OUTPUTS>::ROWS;
  const Size B = e.num_episodes, P = padded<R>(A);
  Pass<R, Wanted::OUTPUTS> pass(p);
  for (Size n = 0; n < p.num_tasks; n++) {
    pass.load(n);
    world.begin(n * B, B);
    for (Size t = 0; t < e.num_steps; t++) {
      const Size at = (n * e.num_steps + t) * B;
      R* observations = e.observations + (at + n * B) * I;
      for (Size b = 0; b < B; b++) world.observe(b, observations + b * I);
      chunks(B, ROWS, [&](Size first, Size m) {
        for (Size l = 0; l < p.num_layers; l++) pass.forward(l, m, observations + first * I);
        copy(m, A, pass.outputs(), P, e.means + (at + first) * A, A);
      });
      for (Size i = at * A; i < (at + B) * A; i++) e.actions[i] = e.means[i] + e.shifts[i];
      for (Size b = 0; b < B; b++) {
        const Size i = at + b;
        e.rewards[i] = world.ended(b) ? R(0) : R(world.step(b, e.actions + i * A));
        e.terminated[i] = world.ended(b);
        e.truncated[i] = t + 1 == e.horizon && !world.ended(b);
      }
    }
    R* last = e.observations + ((n + 1) * (e.num_steps + 1) - 1) * B * I;
    for (Size b = 0; b < B; b++) world.observe(b, last + b * I);
  }
}

}  // namespace metarl
