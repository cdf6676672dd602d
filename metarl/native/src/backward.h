// Back-propagation through recorded sequences: all of them together, or one after the other.
//
// Most cells send a batch back step by step, so that each product is one of many rows, and multiply
// the gradients of a segment of steps with its inputs. Cells with large memories (`GROUP` not 0) go
// through one sequence after the other; their `Backward` has `by_outputs`, `sequence`,
// `inputs_backward` and `states_backward` in place of the functions of steps.
#pragma once
#include "recurrent.h"

namespace metarl {

// What goes into a backward pass, and where its results go; null: not wanted, or none.
template <class R> struct Gradients {
  const R* const* fused;       // weights
  const std::uint8_t* starts;  // [N, T, B]
  const R* by_output;          // the loss's gradient by h, at [n, t, b, :] by these strides
  Size agent, step, row;
  const R* by_readout;  // [N, T, B, O]
  R* const* weights;    // as `fused`
  R* by_inputs;         // [N, T, B, I]
  R* const* by_states;  // by the states before the first step, [N, B, width]
};

// Back through all sequences together, a segment of steps after the other.
template <class R, class Cell>
void steps_back(Cell& cell, typename Cell::Backward& back, ReadoutGradient<R>& readout,
                const Gradients<R>& d, Size n) {
  const Shape& shape = cell.shape;
  const Size rows = shape.batch, all = shape.steps * rows, outputs = shape.outputs;
  const R* by_readout = d.by_readout ? d.by_readout + n * all * outputs : nullptr;
  const auto by_states = back.by_states();
  for (const Rows<R>& state : by_states)
    for (Size b = 0; b < rows; b++) clear(state, b);
  for (Size stop = shape.steps; stop > 0;) {
    const Size start = (stop - 1) / shape.segment * shape.segment;
    for (Size t = stop - 1; t >= start; t--) {
      const Rows<R> dh = back.by_output();
      if (d.by_output) {
        const R* by_h = d.by_output + n * d.agent + t * d.step;
        const Size row = d.row;
        each(rows, dh.width, [=](Size b, Size j) { dh.at[b * dh.stride + j] += by_h[b * row + j]; });
      }
      if (by_readout)
        readout.transposed.times(rows, by_readout + t * rows * outputs, outputs, dh.at, dh.stride,
                                 true);
      back.step_backward(t, t - start, t > 0 || d.by_states);
      if (d.starts)
        for (Size b = 0; b < rows; b++)
          if (d.starts[n * all + t * rows + b])
            for (const Rows<R>& state : by_states) clear(state, b);
    }
    const Size count = (stop - start) * rows;
    back.add_gradients(start, count);
    if (d.by_inputs)
      back.inputs_backward(start, count, d.by_inputs + (n * all + start * rows) * shape.inputs);
    stop = start;
  }
  if (d.by_states) {
    Size k = 0;
    for (const Rows<R>& state : by_states)
      copy(rows, state.width, state.at, state.stride, d.by_states[k++] + n * rows * state.width,
           state.width);
  }
}

// Back through one sequence after the other.
template <class R, class Cell>
void sequences_back(Cell& cell, typename Cell::Backward& back, ReadoutGradient<R>& readout,
                    const Gradients<R>& d, Size n) {
  const Shape& shape = cell.shape;
  const Size rows = shape.batch, all = shape.steps * rows, outputs = shape.outputs;
  const Rows<R> dh = back.by_outputs();  // [T, H]
  for (Size b = 0; b < rows; b++) {
    std::memset(dh.at, 0, shape.steps * dh.stride * sizeof(R));
    if (d.by_output)
      copy(shape.steps, dh.width, d.by_output + n * d.agent + b * d.row, d.step, dh.at, dh.stride);
    if (d.by_readout)
      readout.transposed.times(shape.steps, d.by_readout + (n * all + b) * outputs, rows * outputs,
                               dh.at, dh.stride, true);
    back.sequence(b, d.starts ? d.starts + n * all : nullptr);
    if (d.by_inputs)
      back.inputs_backward(d.by_inputs + (n * all + b) * shape.inputs, rows * shape.inputs);
    if (d.by_states) back.states_backward(d.by_states, n * rows + b);
  }
}

template <class R, class Cell>
void backward(const Shape& shape, const Memory<R>& memory, const Gradients<R>& d) {
  const Sizes sizes = sizes_of<R, Cell>(shape);
  const Size rows = shape.batch, all = shape.steps * rows, outputs = shape.outputs;
  share(shape.agents, shape.threads, [&](Size n, Size thread) {
    Agent<R, Cell> agent(shape, memory, sizes, n);
    Cell& cell = agent.cell;
    Pieces<R> work(memory.work + thread * sizes.work);
    typename Cell::Backward back(cell, work);
    ReadoutGradient<R> readout(shape, work);
    back.load(d.fused, n);
    if (d.by_readout) readout.load(d.fused[Cell::NUM_WEIGHTS] + n * shape.hidden * outputs);
    if constexpr (Cell::GROUP) sequences_back<R, Cell>(cell, back, readout, d, n);
    else steps_back<R, Cell>(cell, back, readout, d, n);
    back.store(d.weights, n);
    if (!d.by_readout) return;
    chunks(shape.steps, shape.segment, [&](Size t, Size count) {
      readout.add(count * rows, cell.output(t), cell.after_stride(),
                  d.by_readout + (n * all + t * rows) * outputs);
    });
    readout.weight.store(d.weights[Cell::NUM_WEIGHTS] + n * shape.hidden * outputs, outputs);
    readout.bias.store(d.weights[Cell::NUM_WEIGHTS + 1] + n * outputs, outputs);
  });
}

}  // namespace metarl
