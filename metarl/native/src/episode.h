// Episodes of stacked policies in worlds that are known to the kernel: one call, no graph.
//
// At every step and in every episode    m_t = perceptron(s_t),   s_{t+1}, r_t, end = world(s_t, a_t)
//
// with a_t = m_t + shift_t, whole episodes in a world of numbers; or with the a_t at which that is
// largest, as many steps as there are tables of. The perceptron's outputs for a row do not depend on
// the other rows, so that they are, to the last bit, what it says later of all steps at once.
#pragma once
#include "mlp.h"
#include "world.h"

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

// What the perceptron of the task that is loaded says of B observations [B, I]: [B, A].
template <class R>
void say(Pass<R, Wanted::OUTPUTS>& pass, const Perceptrons<R>& p, Size B, const R* observations,
         R* means) {
  const Size I = p.layers[0].inputs, A = p.layers[p.num_layers - 1].outputs;
  chunks(B, pass.ROWS, [&](Size first, Size m) {
    for (Size l = 0; l < p.num_layers; l++) pass.forward(l, m, observations + first * I);
    copy(m, A, pass.outputs(), padded<R>(A), means + first * A, A);
  });
}

template <class R, class Dynamics>
void play(const Perceptrons<R>& p, const Episodes<R>& e, Dynamics world) {
  constexpr Size I = Dynamics::NUM_INPUTS, A = Dynamics::NUM_ACTIONS;
  const Size B = e.num_episodes;
  Pass<R, Wanted::OUTPUTS> pass(p);
  for (Size n = 0; n < p.num_tasks; n++) {
    pass.load(n);
    world.begin(n * B, B);
    for (Size t = 0; t < e.num_steps; t++) {
      const Size at = (n * e.num_steps + t) * B;
      R* observations = e.observations + (at + n * B) * I;
      for (Size b = 0; b < B; b++) world.observe(b, observations + b * I);
      say(pass, p, B, observations, e.means + at * A);
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

// Steps of episodes in a world of tables, which holds the observations, and where rewards go.
template <class R> struct Steps {
  Size num_steps, num_episodes;  // T and B
  Size start, count;             // the first of them, and how many
  const R* shifts;               // [N, T, B, A]
  R* means;                      // [N, T, B, A]
  std::int64_t* actions;         // [T, N, B]
};

template <class R>
void play(const Perceptrons<R>& p, const Steps<R>& s, const World<R>& w) {
  const Size B = s.num_episodes, I = p.layers[0].inputs, A = p.layers[p.num_layers - 1].outputs;
  Pass<R, Wanted::OUTPUTS> pass(p);
  for (Size n = 0; n < p.num_tasks; n++) {
    pass.load(n);
    for (Size t = s.start; t < s.start + s.count; t++) {
      R* seen = w.observations + (n * (s.num_steps + 1) + t) * B * I;
      const Size at = (n * s.num_steps + t) * B * A;
      say(pass, p, B, seen, s.means + at);
      std::int64_t* actions = s.actions + (t * p.num_tasks + n) * B;
      for (Size b = 0; b < B; b++)
        actions[b] = choice_of(s.means + at + b * A, s.shifts + at + b * A, A);
      act_and_look(w, n * B, B, p.num_tasks * B, t, t - s.start, actions, seen + B * I);
    }
  }
}

}  // namespace metarl
