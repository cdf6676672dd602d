// A stretch of steps in environments that hand over their dynamics as tables of places.
#pragma once
#include "recurrent.h"

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
    std::uint8_t* entered = w.entered + w.entered_at[i] + cell;
    w.found[i] |= hit;
    if (!*entered && !w.found[i]) *bonus = w.bonus;
    *entered = 1;
    reward += *bonus;
  }
  *paid = reward;
  if (w.ended) w.ended[i] = hit;
  w.places[i] = hit && !w.ended ? w.targets[step * w.target_step + i] : reached;
}

// What agent n's environments show after a step: [B, D + W].
template <class R>
void look(const World<R>& w, const Shape& shape, Size n, Size step, const std::int64_t* actions,
          const float* paid, const float* bonuses, R* out) {
  const Size width = w.view_width + w.told_width;
  for (Size b = 0; b < shape.batch; b++) {
    const Size i = n * shape.batch + b;
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

// Steps [start, start + count): observations of step `start` are there, and those after the last
// one are there at the end; row 0 of `told` and `targets` is that of step `start`.
template <class R, class Cell>
void play(const Shape& shape, const Memory<R>& memory, Size start, Size count, bool carried,
          const World<R>& w, const Choice<R>& choice) {
  const Sizes sizes = sizes_of<R, Cell>(shape);
  const Size rows = shape.batch, width = w.view_width + w.told_width, all = shape.agents * rows;
  share(shape.agents, shape.threads, [&](Size n, Size thread) {
    Agent<R, Cell> agent(shape, memory, sizes, n);
    for (Size t = start; t < start + count; t++) {
      R* seen = w.observations + (n * (shape.steps + 1) + t) * rows * width;
      const R* x = seen;
      if (w.encoded) {
        const Size told = w.told_width, encoded = w.encoded_width;
        R* inputs = w.inputs + thread * rows * (encoded + told);
        for (Size b = 0; b < rows; b++) {
          R* to = inputs + b * (encoded + told);
          const R* from = w.encoded + n * w.encoded_step + row_of(w, w.places[n * rows + b]) * encoded;
          std::memcpy(to, from, encoded * sizeof(R));
          std::memcpy(to + encoded, seen + b * width + w.view_width, told * sizeof(R));
        }
        x = inputs;
      }
      if (t > start || carried) agent.cell.carry(t, 0, rows);
      advance(agent, shape, n, t, x, &choice);
      const std::int64_t* actions = choice.actions + (t * shape.agents + n) * rows;
      float *paid = w.rewards + t * all, *bonuses = w.bonuses + t * all;
      for (Size b = 0; b < rows; b++) {
        const Size i = n * rows + b;
        act(w, i, t - start, actions[b], paid + i, bonuses + i);
        if (w.terminated) w.terminated[t * all + i] = w.ended[i];
      }
      look(w, shape, n, t - start, actions, paid, bonuses, seen + rows * width);
    }
  });
}

}  // namespace metarl
