// The functions of a recurrent cell, in both precisions, that ctypes calls: `METARL_CELL(name, Cell)`.
//
// Every cell is a library of its own, which is built when its core is first used.
#pragma once
#include "backward.h"
#include "stretch.h"

using namespace metarl;

#define METARL_CELL_OF(name, suffix, R, Cell)                                                      \
  void metarl_##name##_sizes_##suffix(const Shape* shape, Sizes* sizes) {                          \
    *sizes = sizes_of<R, Cell<R>>(*shape);                                                         \
  }                                                                                                \
  Size metarl_##name##_weights_##suffix(const Shape* shape, Size* counts) {                        \
    return count_weights<R, Cell<R>>(*shape, counts);                                              \
  }                                                                                                \
  Size metarl_##name##_describe_##suffix(const Shape* shape, const Memory<R>* memory,              \
                                         View* views) {                                            \
    return describe<R, Cell<R>>(*shape, *memory, views);                                           \
  }                                                                                                \
  void metarl_##name##_load_##suffix(const Shape* shape, const Memory<R>* memory,                  \
                                     const R* const* fused) {                                      \
    load<R, Cell<R>>(*shape, *memory, fused);                                                      \
  }                                                                                                \
  void metarl_##name##_put_states_##suffix(const Shape* shape, const Memory<R>* memory, Size t,    \
                                           const R* const* states) {                               \
    put_states<R, Cell<R>>(*shape, *memory, t, states);                                            \
  }                                                                                                \
  void metarl_##name##_step_##suffix(const Shape* shape, const Memory<R>* memory, Size t,          \
                                     const R* x, Size carried, const Choice<R>* choice) {          \
    step<R, Cell<R>>(*shape, *memory, t, x, carried, choice);                                      \
  }                                                                                                \
  void metarl_##name##_record_##suffix(const Shape* shape, const Memory<R>* memory, const R* x,    \
                                       const std::uint8_t* starts) {                               \
    record<R, Cell<R>>(*shape, *memory, x, starts);                                                \
  }                                                                                                \
  void metarl_##name##_play_##suffix(const Shape* shape, const Memory<R>* memory, Size start,       \
                                     Size count, Size carried, const World<R>* world,              \
                                     const Choice<R>* choice) {                                    \
    play<R, Cell<R>>(*shape, *memory, start, count, carried, *world, *choice);                     \
  }                                                                                                \
  void metarl_##name##_backward_##suffix(const Shape* shape, const Memory<R>* memory,              \
                                         const Gradients<R>* gradients) {                          \
    backward<R, Cell<R>>(*shape, *memory, *gradients);                                             \
  }

#define METARL_CELL(name, Cell)          \
  extern "C" {                           \
  METARL_CELL_OF(name, f, float, Cell)   \
  METARL_CELL_OF(name, d, double, Cell)  \
  }
