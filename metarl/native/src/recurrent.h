// Recurrent networks on B sequences of T steps: what the cells share.
//
// A cell is a class over `Sequence` with `load`, `step`, `states` and a nested `Backward`, which
// backward.h runs; the functions below run the rest. Weights and gradients have the layout of the
// core's `fuse`, so that nothing but this folder knows of padding. Axes: T steps, B sequences,
// I inputs, H hidden units, O outputs of the readout.
#pragma once
#include <array>
#include <vector>

#include "pieces.h"
#include "share.h"
#include "sparse.h"
#include "world.h"

namespace metarl {

// Sizes of a call, the same for every agent; the order is that of metarl/native/recurrent.py.
struct Shape {
  Size agents, steps, batch, inputs, hidden, outputs;
  Size segment;  // steps whose gradients are kept until they are multiplied with the inputs
  Size kept;     // 1: the activations of every step are kept; 0: those of the last one
  Size threads;  // at most, that agents are shared between
  Size options[3];  // of the cell, see there
};

// Memory of all agents, agent after agent; sizes are those of `Sizes`.
template <class R> struct Memory {
  R* weights;  // packed
  R* trace;    // activations
  R* parted;   // outputs beside the trace; null: they are where the next step finds them
  R* readout;  // [N, T, B, padded(O)], what the readout makes of the outputs
  R* work;     // gradients, thread after thread
};

struct Sizes {
  Size weights, trace, parted, readout, work;
};

// Rows of `width` numbers, `stride` apart; with `apart`, each is a matrix of so many lines, which
// are that far from one another and zero from `width` on. States have new memory in every `every`-th
// step only, which those of the steps before it share.
template <class R> struct Rows {
  R* at;
  Size stride, width, lines = 1, apart = 0, every = 1;
  Size size() const { return lines * width; }
};

// What is kept of every step of this trial, and so grows: the numbers of step t of part i of sequence
// b lie at b * row + i * part + t * step, `number` apart.
template <class R> struct Cache {
  R* at;
  Size row, parts, part, step, width, number;
};

// Sequences are worked on some at a time, so that what a product writes is still near when the
// functions behind it read it.
constexpr Size BLOCK = 48;

// ---- weights ---------------------------------------------------------------------------------
// Memory of a matrix [depth, width] with padded rows.
template <class R> struct Matrix {
  Size depth = 0, width = 0;
  R* at = nullptr;

  void take(Pieces<R>& pieces, Size rows, Size columns) {
    depth = rows, width = columns;
    at = pieces.take(rows * padded<R>(columns));
  }
};

// A weight matrix as a product reads it.
template <class R> struct Packed : Matrix<R> {
  using Matrix<R>::depth, Matrix<R>::width, Matrix<R>::at;
  R* finite = nullptr;  // 1: all of it is, where that is asked for

  void take(Pieces<R>& pieces, Size rows, Size columns) {
    Matrix<R>::take(pieces, rows, columns);
    finite = pieces.take(1);
  }
  void load(const R* w, Size stride) { load_rows(0, depth, w, stride); }
  void load_rows(Size first, Size count, const R* w, Size stride) {
    pack_rows(depth, width, first, count, w, stride, Size{1}, at);
    *finite = many_columns(depth) && (!first || *finite) && all_finite(count, width, w, stride);
  }
  void load_transposed(const R* w, Size stride) {
    pack(depth, width, w, Size{1}, stride, at);
    *finite = many_columns(depth) && all_finite(width, depth, w, stride);
  }
  // out [rows, padded(width)] (+)= a [rows, depth] times this.
  void times(Size rows, const R* a, Size a_stride, R* out, Size out_stride, bool add) const {
    times_sparse(rows, padded<R>(width), depth, a, a_stride, at, *finite != 0, out, out_stride,
                 add);
  }
};

// The gradient by a weight matrix, summed.
template <class R> struct Gradient : Matrix<R> {
  using Matrix<R>::depth, Matrix<R>::width, Matrix<R>::at;

  void clear() { std::memset(at, 0, depth * padded<R>(width) * sizeof(R)); }
  // Add the outer products of the rows of x [rows, depth] and d [rows, padded(width)].
  void add(Size rows, const R* x, Size x_stride, const R* d, Size d_stride) {
    add_outer_sparse(rows, padded<R>(width), depth, x, x_stride, d, d_stride, at, padded<R>(width));
  }
  void add_sum(Size rows, const R* d, Size d_stride) { add_rows(rows, width, d, d_stride, at); }
  void store(R* out, Size stride) const {
    copy(depth, width, at, padded<R>(width), out, stride);
  }
};

// out [rows, width] = a [rows, depth] times w, by way of padded rows in scratch [BLOCK, ...].
template <class R>
void times_rows(const Packed<R>& w, Size rows, const R* a, Size a_stride, R* scratch, R* out,
                Size out_stride = 0) {
  const Size stride = padded<R>(w.width);
  if (!out_stride) out_stride = w.width;
  chunks(rows, BLOCK, [&](Size first, Size count) {
    w.times(count, a + first * a_stride, a_stride, scratch, stride, false);
    copy(count, w.width, scratch, stride, out + first * out_stride, out_stride);
  });
}

template <class R> void clear(const Rows<R>& rows, Size b) {
  const Size numbers = rows.apart ? rows.lines * rows.apart : rows.width;
  std::memset(rows.at + b * rows.stride, 0, numbers * sizeof(R));
}

// Row b from numbers side by side.
template <class R> void put(const Rows<R>& rows, Size b, const R* from) {
  R* at = rows.at + b * rows.stride;
  for (Size line = 0; line < rows.lines; line++, at += rows.apart) {
    std::memmove(at, from + line * rows.width, rows.width * sizeof(R));
    for (Size j = rows.width; j < rows.apart; j++) at[j] = 0;
  }
}

// Rows [B, width] of every step; where activations are not kept, all steps share those of one.
template <class R> class Kept {
 public:
  // `further`: 1 where there are also rows after the last step.
  void take(const Shape& shape, Size width, Pieces<R>& trace, Size further = 0) {
    const Size rows = shape.batch * width;
    at_ = trace.take((shape.kept ? shape.steps + further : 1) * rows);
    step_ = shape.kept * rows;
  }
  R* operator()(Size t) const { return at_ + t * step_; }

 private:
  R* at_ = nullptr;
  Size step_ = 0;
};

// ---- sequences -------------------------------------------------------------------------------
// Sequences of one agent. Row t of the joint input is [x_t | states before step t], T + 1 of them:
// a step reads its row, and writes its states into the next one. Where those have to be emptied, or
// activations are not kept, they go into memory of their own, and are carried over.
template <class R> class Sequence {
 public:
  Sequence(const Shape& shape, Size joint_states, Pieces<R>& trace)
      : shape(shape),
        steps(shape.steps),
        batch(shape.batch),
        inputs(shape.inputs),
        hidden(shape.hidden),
        states_width(joint_states * shape.hidden),
        stride(padded<R>(shape.inputs + states_width)) {
    before.take(shape, stride, trace, 1);
  }

  // States that grow, before all others.
  std::vector<Cache<R>> caches() const { return {}; }

  // Sequences that go through all their steps before others begin; 0: all of them together.
  static constexpr Size GROUP = 0;

  const Shape shape;
  const Size steps, batch, inputs, hidden;
  const Size states_width;  // numbers of the states that are part of the joint input
  const Size stride;        // of the joint input
  R* parted = nullptr;      // [T, B, padded(states_width)]
  Kept<R> before;           // [B, I + states]: what step t multiplies

  R* states_before(Size t) const { return before(t) + inputs; }
  // [B, states]: where step t writes its states.
  R* after(Size t) const {
    return parted ? parted + t * batch * after_stride() : states_before(t + 1);
  }
  Size after_stride() const { return parted ? padded<R>(states_width) : stride; }
  R* output(Size t) const { return after(t); }  // [B, H], by the same stride
  Size parted_size() const { return steps * batch * padded<R>(states_width); }

  // Bring the states after step t - 1 before step t; t > 0. Of `count` sequences, from `first` on.
  void carry(Size t, Size first, Size count) {
    if (parted)
      copy(count, states_width, after(t - 1) + first * after_stride(), after_stride(),
           states_before(t) + first * stride, stride);
  }
  // Put x [count, I] before step t.
  void see(Size t, Size first, Size count, const R* x) {
    copy(count, inputs, x, inputs, before(t) + first * stride, stride);
  }
};

// What is read from the outputs: W_o h + b_o.
template <class R> struct Readout {
  Packed<R> weight;
  R* bias = nullptr;
  R* out = nullptr;  // [T, B, padded(O)]

  void take(const Shape& shape, Pieces<R>& weights) {
    weight.take(weights, shape.hidden, shape.outputs);
    bias = weights.take(shape.outputs);
  }
  Size stride() const { return padded<R>(weight.width); }
  void load(const R* w, const R* b) {
    weight.load(w, weight.width);
    std::memcpy(bias, b, weight.width * sizeof(R));
  }
  void read(Size rows, const R* h, Size h_stride, R* into) const {
    if (!weight.width) return;
    weight.times(rows, h, h_stride, into, stride(), false);
    const R* shift = bias;
    const Size step = stride();
    each(rows, weight.width, [=](Size b, Size j) { into[b * step + j] += shift[j]; });
  }
};

// Gradients by the readout.
template <class R> struct ReadoutGradient {
  Size outputs = 0, stride = 0;
  Packed<R> transposed;
  Gradient<R> weight, bias;
  R* rows = nullptr;  // of a segment, [S * B, padded(O)]

  ReadoutGradient(const Shape& shape, Pieces<R>& work)
      : outputs(shape.outputs), stride(padded<R>(shape.outputs)) {
    transposed.take(work, outputs, shape.hidden);
    weight.take(work, shape.hidden, outputs);
    bias.take(work, 1, outputs);
    rows = work.take(shape.segment * shape.batch * stride);
  }
  void load(const R* w) {
    transposed.load_transposed(w, outputs);
    weight.clear(), bias.clear();
  }
  void add(Size count, const R* h, Size h_stride, const R* d) {
    copy(count, outputs, d, outputs, rows, stride);
    weight.add(count, h, h_stride, rows, stride);
    bias.add_sum(count, rows, stride);
  }
};

// ---- runs ------------------------------------------------------------------------------------
// One agent's cell over its part of the memory.
template <class R, class Cell> struct Agent {
  Pieces<R> weights, trace;
  Cell cell;
  Readout<R> readout;

  Agent(const Shape& shape, const Memory<R>& memory, const Sizes& sizes, Size n)
      : weights(memory.weights ? memory.weights + n * sizes.weights : nullptr),
        trace(memory.trace ? memory.trace + n * sizes.trace : nullptr),
        cell(shape, weights, trace) {
    readout.take(shape, weights);
    readout.out = memory.readout ? memory.readout + n * sizes.readout : nullptr;
    if (memory.parted) cell.parted = memory.parted + n * sizes.parted;
  }
};

template <class R, class Cell> Sizes sizes_of(const Shape& shape) {
  const Memory<R> none{};
  Agent<R, Cell> agent(shape, none, Sizes{}, 0);
  Pieces<R> work(nullptr);
  typename Cell::Backward backward(agent.cell, work);
  ReadoutGradient<R> readout(shape, work);
  return {agent.weights.used, agent.trace.used, agent.cell.parted_size(),
          shape.steps * shape.batch * padded<R>(shape.outputs), work.used};
}

// Where the outputs, or the numbers of a state, lie in one agent's memory: those after step t, of
// sequence b, at offset + ceil((t + 1) / every) * step + b * row.
struct View {
  Size offset, step, row, width, joint;  // joint: 1 where it is part of the joint input
  Size lines, apart, every;
  Size number;  // a cache's, which has an entry a step; else 0
};

// The view of the outputs, then those of caches and other states; returns how many. Null: no more.
template <class R, class Cell>
Size describe(const Shape& shape, const Memory<R>& memory, View* views) {
  Agent<R, Cell> agent(shape, memory, Sizes{}, 0);
  const Cell& cell = agent.cell;
  const Size count = 1 + Size(cell.caches().size() + cell.states(0).size());
  if (!views) return count;
  // Outputs are part of the joint input wherever states are. Outputs before the first step have no
  // memory of their own, and their address says nothing: it could be that of anything.
  const bool is_joint = cell.states_width > 0;
  const R* before = cell.before(0);
  auto is_in_joint = [&](const R* at) {
    return is_joint && at >= before && at < before + cell.stride;
  };
  auto view = [&](const Rows<R>& rows, const R* next, bool joint) {
    *views++ = {rows.at - memory.trace, next - rows.at, rows.stride, rows.width,
                joint,                  rows.lines,     rows.apart,  rows.every, 0};
  };
  R *first = cell.output(0), *second = cell.output(1);
  view({first - (second - first), cell.after_stride(), shape.hidden}, first, is_joint);
  for (const Cache<R>& c : cell.caches())
    *views++ = {c.at - memory.trace, c.step, c.row, c.width, 0, c.parts, c.part, 1, c.number};
  for (std::size_t k = 0; k < cell.states(0).size(); k++) {
    const Rows<R> rows = cell.states(0)[k];
    view(rows, cell.states(rows.every)[k].at, is_in_joint(rows.at));
  }
  return count;
}

// Numbers in each weight of one agent, with those of the readout; returns how many weights.
template <class R, class Cell> Size count_weights(const Shape& shape, Size* counts) {
  for (Size count : Cell::weight_sizes(shape)) *counts++ = count;
  if (shape.outputs) *counts++ = shape.hidden * shape.outputs, *counts++ = shape.outputs;
  return Cell::NUM_WEIGHTS + (shape.outputs ? 2 : 0);
}

// Weights as the core's `fuse` arranges them, [N, ...]; then those of the readout, if any.
template <class R, class Cell>
void load(const Shape& shape, const Memory<R>& memory, const R* const* fused) {
  const Sizes sizes = sizes_of<R, Cell>(shape);
  for (Size n = 0; n < shape.agents; n++) {
    Agent<R, Cell> agent(shape, memory, sizes, n);
    agent.cell.load(fused, n);
    const R* const* heads = fused + Cell::NUM_WEIGHTS;
    if (shape.outputs)
      agent.readout.load(heads[0] + n * shape.hidden * shape.outputs, heads[1] + n * shape.outputs);
  }
}

// States before step t, [N, B, width] each; null: empty ones.
template <class R, class Cell>
void put_states(const Shape& shape, const Memory<R>& memory, Size t, const R* const* states) {
  const Sizes sizes = sizes_of<R, Cell>(shape);
  for (Size n = 0; n < shape.agents; n++) {
    Agent<R, Cell> agent(shape, memory, sizes, n);
    Size k = 0;
    for (const Rows<R>& rows : agent.cell.states(t)) {
      for (Size b = 0; b < shape.batch; b++)
        if (states) put(rows, b, states[k] + (n * shape.batch + b) * rows.size());
        else clear(rows, b);
      k++;
    }
  }
}

// How actions are chosen: of the first A readouts with noise, the largest (`choice_of`).
template <class R> struct Choice {
  const R* noise;  // [N, T, B, A]
  std::int64_t* actions;  // [T, N, B]
  Size count;             // A
};

// Steps of `count` sequences of agent n, from `first` on: readouts [count, O] to actions.
template <class R>
void choose(const Shape& shape, const Choice<R>& choice, Size n, Size t, Size first, Size count,
            const R* readout, Size stride) {
  const R* noise = choice.noise + ((n * shape.steps + t) * shape.batch + first) * choice.count;
  std::int64_t* actions = choice.actions + (t * shape.agents + n) * shape.batch + first;
  for (Size b = 0; b < count; b++)
    actions[b] = choice_of(readout + b * stride, noise + b * choice.count, choice.count);
}

// Step t of `count` sequences of agent n, from `first` on, on x [count, I], and what is read of it.
template <class R, class Cell>
void advance(Agent<R, Cell>& agent, const Shape& shape, Size n, Size t, Size first, Size count,
             const R* x, const Choice<R>* choice) {
  Cell& cell = agent.cell;
  cell.see(t, first, count, x);
  if constexpr (Cell::GROUP) cell.step(t, first, count);
  else cell.step(t);
  const Size stride = agent.readout.stride();
  R* readout = agent.readout.out + (t * shape.batch + first) * stride;
  agent.readout.read(count, cell.output(t) + first * cell.after_stride(), cell.after_stride(),
                     readout);
  if (choice) choose(shape, *choice, n, t, first, count, readout, stride);
}

// f(first, count) for sequences that go through all their steps together.
template <class Cell, class F> void groups(Size batch, F f) {
  chunks(batch, Cell::GROUP ? Cell::GROUP : batch, f);
}

// Step t on x [N, B, I].
template <class R, class Cell>
void step(const Shape& shape, const Memory<R>& memory, Size t, const R* x, bool carried,
          const Choice<R>* choice) {
  const Sizes sizes = sizes_of<R, Cell>(shape);
  for (Size n = 0; n < shape.agents; n++) {
    Agent<R, Cell> agent(shape, memory, sizes, n);
    groups<Cell>(shape.batch, [&](Size first, Size count) {
      if (carried) agent.cell.carry(t, first, count);
      const R* seen = x + (n * shape.batch + first) * shape.inputs;
      advance(agent, shape, n, t, first, count, seen, choice);
    });
  }
}

// All steps on x [N, T, B, I]; states are emptied where starts [N, T, B] say so, if there are any.
template <class R, class Cell>
void record(const Shape& shape, const Memory<R>& memory, const R* x, const std::uint8_t* starts) {
  const Sizes sizes = sizes_of<R, Cell>(shape);
  const Size rows = shape.batch, all = shape.steps * rows;
  share(shape.agents, shape.threads, [&](Size n, Size) {
    Agent<R, Cell> agent(shape, memory, sizes, n);
    Cell& cell = agent.cell;
    groups<Cell>(rows, [&](Size first, Size count) {
      for (Size t = 0; t < shape.steps; t++) {
        const Size row = n * all + t * rows + first;
        if (t) cell.carry(t, first, count);
        if (starts)
          for (const Rows<R>& state : cell.states(t))
            for (Size b = 0; b < count; b++)
              if (starts[row + b]) clear(state, first + b);
        advance<R, Cell>(agent, shape, n, t, first, count, x + row * shape.inputs, nullptr);
      }
    });
  });
}

}  // namespace metarl
