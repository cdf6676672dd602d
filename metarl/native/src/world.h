// Environments that hand over their dynamics as tables of places: a step, and what is seen of it.
#pragma once
#include "simd.h"

namespace metarl {

// N * B environments, task-major; the order of the fields is that of metarl/native/world.py.
template <class R> struct World {
  const void* next_place;  // [P * A], of int64, or of int32 where `is_short`
  Size is_short, actions;  // A
  Size poses;              // places of a cell
  std::int64_t* places;    // [N * B], where agents are
  const std::int64_t* goals;    // [N * B], cells
  const std::int64_t* targets;  // where a find sends agents, [rows, N * B]
  Size target_step;             // 0: one row for all steps, else N * B
  const float* views;           // [V, D], what is seen
  const std::int32_t* rows;     // [P], the row of `views` of each place; null: the place itself
  Size view_width;              // D
  const R* encoded;             // [N, V, E], what memories get to see of it; null: the view
  Size encoded_step, encoded_width;  // V * E, E
  const float* told;            // [steps, A, W], what is told behind the view, by the last action
  Size told_width, reward_column;  // W; where the reward is told
  Size tells_bonus;                // whether with the bonus
  const float* bumped;   // [P * A], 1 where a wall blocks; null: where a place leads to itself
  std::uint8_t* entered;  // cells that were entered; null: no bonus is paid
  Size num_entered;       // numbers in it
  std::uint8_t* strayed;  // [N * B], whether a cell was reached that is not there
  const std::int64_t* entered_at;  // [N * B], from a cell to its place in `entered`
  std::uint8_t* found;             // [N * B], whether a goal was found
  std::uint8_t* ended;       // [N * B], whether a find has ended an episode; null: none ends one
  std::uint8_t* terminated;  // [T, N * B], the same after every step; null: it is not told
  float reward, penalty, bonus;
  R* observations;  // [N, T + 1, B, D + W]
  R* inputs;        // [threads, B, E + W], to work in; null: an observation is what memories get
  float *rewards, *bonuses;  // [T, N * B]
};

template <class R> METARL_INLINE Size row_of(const World<R>& w, Size place) {
  return w.rows ? w.rows[place] : place;
}

// Environment i does an action: what it pays, with the bonus in it.
template <class R>
void act(const World<R>& w, Size i, Size step, Size action, float* paid, float* bonus) {
  *paid = *bonus = 0.f;
  if (w.ended && w.ended[i]) return;  // it waits where it is
  const Size before = w.places[i], index = before * w.actions + action;
  const Size reached = w.is_short ? static_cast<const std::int32_t*>(w.next_place)[index]
                                  : static_cast<const std::int64_t*>(w.next_place)[index];
  const Size cell = reached / w.poses;
  const bool hit = cell == w.goals[i];
  float reward = hit ? w.reward : 0.f;
  if (w.penalty != 0.f) {
    const float blocked = w.bumped ? w.bumped[index] : reached == before ? 1.f : 0.f;
    reward -= w.penalty * blocked;
  }
  if (w.entered) {
    const Size at = w.entered_at[i] + cell;
    w.found[i] |= hit;
    // Which cells an environment reaches is seen as it reaches them: tables may be of many boards.
    if (at < 0 || at >= w.num_entered) {
      w.strayed[i] = 1;
    } else {
      if (!w.entered[at] && !w.found[i]) *bonus = w.bonus;
      w.entered[at] = 1;
      reward += *bonus;
    }
  }
  *paid = reward;
  if (w.ended) w.ended[i] = hit;
  w.places[i] = hit && !w.ended ? w.targets[step * w.target_step + i] : reached;
}

// What environments [first, first + count) show after a step: [count, D + W].
template <class R>
void look(const World<R>& w, Size first, Size count, Size step, const std::int64_t* actions,
          const float* paid, const float* bonuses, R* out) {
  const Size width = w.view_width + w.told_width;
  for (Size b = 0; b < count; b++) {
    const Size i = first + b;
    const float* view = w.views + row_of(w, w.places[i]) * w.view_width;
    R* to = out + b * width;
    for (Size j = 0; j < w.view_width; j++) to[j] = view[j];
    if (!w.told_width) continue;
    const float* told = w.told + (step * w.actions + actions[b]) * w.told_width;
    to += w.view_width;
    for (Size j = 0; j < w.told_width; j++) to[j] = told[j];
    const float reward = w.tells_bonus ? paid[i] : paid[i] - bonuses[i];
    to[w.reward_column] = reward;
  }
}

// Environments [first, first + count) of `all` do an action each in step t, the `step`-th of the
// tables; what they show then goes to `out`, [count, D + W].
template <class R>
void act_and_look(const World<R>& w, Size first, Size count, Size all, Size t, Size step,
                  const std::int64_t* actions, R* out) {
  float *paid = w.rewards + t * all, *bonuses = w.bonuses + t * all;
  for (Size b = 0; b < count; b++) {
    const Size i = first + b;
    act(w, i, step, actions[b], paid + i, bonuses + i);
    if (w.terminated) w.terminated[t * all + i] = w.ended[i];
  }
  look(w, first, count, step, actions, paid, bonuses, out);
}

// The action of the largest of `count` logits with noise: the first of several, and before all
// others what is not a number.
template <class R> Size choice_of(const R* logits, const R* noise, Size count) {
  Size best = 0;
  R most = logits[0] + noise[0];
  for (Size a = 1; a < count && most == most; a++) {
    const R value = logits[a] + noise[a];
    if (!(value <= most)) best = a, most = value;
  }
  return best;
}

}  // namespace metarl
