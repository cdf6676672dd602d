// A stretch of steps of agents with a memory in environments that hand over their tables.
#pragma once
#include "recurrent.h"

namespace metarl {

// Steps [start, start + count): observations of step `start` are there, and those after the last
// one are there at the end; row 0 of `told` and `targets` is that of step `start`.
template <class R, class Cell>
void play(const Shape& shape, const Memory<R>& memory, Size start, Size count, bool carried,
          const World<R>& w, const Choice<R>& choice) {
  const Sizes sizes = sizes_of<R, Cell>(shape);
  const Size rows = shape.batch, width = w.view_width + w.told_width, all = shape.agents * rows;
  share(shape.agents, shape.threads, [&](Size n, Size thread) {
    Agent<R, Cell> agent(shape, memory, sizes, n);
    groups<Cell>(rows, [&](Size first, Size some) {
      const Size begin = n * rows + first;  // among the environments of all agents
      for (Size t = start; t < start + count; t++) {
        R* seen = w.observations + ((n * (shape.steps + 1) + t) * rows + first) * width;
        const R* x = seen;
        if (w.encoded) {
          const Size told = w.told_width, encoded = w.encoded_width;
          R* inputs = w.inputs + thread * rows * (encoded + told);
          for (Size b = 0; b < some; b++) {
            R* to = inputs + b * (encoded + told);
            const R* from = w.encoded + n * w.encoded_step + row_of(w, w.places[begin + b]) * encoded;
            std::memcpy(to, from, encoded * sizeof(R));
            std::memcpy(to + encoded, seen + b * width + w.view_width, told * sizeof(R));
          }
          x = inputs;
        }
        if (t > start || carried) agent.cell.carry(t, first, some);
        advance(agent, shape, n, t, first, some, x, &choice);
        const std::int64_t* actions = choice.actions + t * all + begin;
        act_and_look(w, begin, some, all, t, t - start, actions, seen + rows * width);
      }
    });
  });
}

}  // namespace metarl
