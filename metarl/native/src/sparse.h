// Products with inputs of which most are zero, such as views one-hot.
//
// A column of the inputs that is zero in all rows adds zeros to every sum: it is left out, and what
// is left is summed in the same order, so that results are the same to the last bit. Beside numbers
// that are not finite nothing is left out, for zero times those is NaN.
#pragma once
#include "scratch.h"

namespace metarl {

// Whether inputs of so many columns are looked through: there can be much to leave out.
constexpr bool many_columns(Size depth) { return depth >= 256; }

// Rows that are looked through together: the more, the fewer columns are zero in all of them.
constexpr Size LOOKED_THROUGH = 96;

// Columns to go through, in their order; with `at` null: all of them.
struct Columns {
  const Size* at = nullptr;
  Size count = 0;
};

// Those of x [rows, depth] that are not zero in all rows; all, where few could be left out.
template <class R> Columns filled_columns(Size rows, Size depth, const R* x, Size stride) {
  if (!many_columns(depth)) return {};
  auto all = [&](Size count) { return 8 * count > 7 * depth; };
  Size first = 0;
  for (Size j = 0; j < depth; j++) first += x[j] != 0;
  if (all(first)) return {};
  Scratch<Size>& scratch = Scratch<Size>::mine();
  Size *filled = scratch.zeros(depth), *list = scratch.take(depth), count = 0;
  for (Size i = 0; i < rows; i++)
    METARL_VECTORISE
    for (Size j = 0; j < depth; j++) filled[j] |= x[i * stride + j] != 0;
  for (Size j = 0; j < depth; j++) list[count] = j, count += filled[j];
  return all(count) ? Columns{} : Columns{list, count};
}

template <class R> bool all_finite(Size rows, Size width, const R* x, Size stride) {
  Vector<R> sums{};  // NaN from the first infinity or NaN on
  R sum = 0;
  for (Size i = 0; i < rows; i++, x += stride) {
    Size j = 0;
    for (; j + lanes<R>() <= width; j += lanes<R>()) sums += R(0) * load<R>(x + j);
    for (; j < width; j++) sum += R(0) * x[j];
  }
  return sum + total<R>(sums) == 0;
}

// C [rows, width] (+)= X [rows, depth] B, B packed; `finite`: whether all of B is known to be.
template <class R>
void times_sparse(Size rows, Size width, Size depth, const R* x, Size x_stride, const R* b,
                  bool finite, R* c, Size c_stride, bool add) {
  const Columns columns = finite ? filled_columns(rows, depth, x, x_stride) : Columns{};
  if (columns.at)
    product<R>(rows, width, columns.count, {x, x_stride, 1}, {b, 0, depth}, c, c_stride, add, All{},
               Listed{columns.at});
  else
    product<R>(rows, width, depth, {x, x_stride, 1}, {b, 0}, c, c_stride, add);
}

// C [depth, width] += the outer products of the rows of X [rows, depth] and D [rows, width].
template <class R>
void add_outer_sparse(Size rows, Size width, Size depth, const R* x, Size x_stride, const R* d,
                      Size d_stride, R* c, Size c_stride) {
  const Size look = rows < LOOKED_THROUGH ? rows : LOOKED_THROUGH;
  if (!filled_columns(look, depth, x, x_stride).at)
    return product<R>(depth, width, rows, {x, 1, x_stride}, {d, d_stride}, c, c_stride, true);
  chunks(rows, LOOKED_THROUGH, [&](Size first, Size count) {
    const R *some = x + first * x_stride, *by = d + first * d_stride;
    const Columns columns = all_finite(count, width, by, d_stride)
                                ? filled_columns(count, depth, some, x_stride)
                                : Columns{};
    if (columns.at)
      product<R>(columns.count, width, count, {some, 1, x_stride}, {by, d_stride}, c, c_stride,
                 true, Listed{columns.at});
    else
      product<R>(depth, width, count, {some, 1, x_stride}, {by, d_stride}, c, c_stride, true);
  });
}

}  // namespace metarl
