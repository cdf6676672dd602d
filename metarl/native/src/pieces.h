// Pieces of memory that the caller has allocated.
#pragma once
#include "simd.h"

namespace metarl {

// Hands out pieces, every one on whole vectors; of no memory it only counts.
template <class R> class Pieces {
 public:
  explicit Pieces(R* base) : base_(base) {}
  R* take(Size count) {
    R* piece = base_ ? base_ + used : nullptr;
    used += padded<R>(count);
    return piece;
  }
  Size used = 0;

 private:
  R* base_;
};

}  // namespace metarl
