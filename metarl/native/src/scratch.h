// Memory for one call of a kernel: a stack of padded arrays, which a thread keeps from call to call.
//
// What it holds between calls is room, never numbers: every array is written before it is read.
#pragma once
#include <cstddef>
#include <memory>
#include <vector>

#include "simd.h"

namespace metarl {

template <class R> class Scratch {
 public:
  // An array of `n` numbers at a multiple of a vector's size.
  R* take(Size n) {
    const Size whole = padded<R>(n);
    while (block < blocks.size() && used + whole > blocks[block].room) block++, used = 0;
    if (block == blocks.size()) {
      const Size room = whole > SMALLEST ? whole : SMALLEST;
      blocks.push_back({std::make_unique<R[]>(room + lanes<R>()), room});
      used = 0;
    }
    R* found = aligned(blocks[block].numbers.get()) + used;
    used += whole;
    return found;
  }

  R* zeros(Size n) {
    R* found = take(n);
    std::memset(found, 0, padded<R>(n) * sizeof(R));
    return found;
  }

  // That of this thread, empty.
  static Scratch& mine() {
    static thread_local Scratch scratch;
    scratch.block = 0, scratch.used = 0;
    return scratch;
  }

 private:
  static constexpr Size SMALLEST = 1 << 16;
  struct Block {
    std::unique_ptr<R[]> numbers;
    Size room;
  };
  std::vector<Block> blocks;
  std::size_t block = 0;
  Size used = 0;

  static R* aligned(R* at) {
    const auto address = reinterpret_cast<std::uintptr_t>(at);
    return reinterpret_cast<R*>((address + VECTOR_BYTES - 1) / VECTOR_BYTES * VECTOR_BYTES);
  }
};

}  // namespace metarl
