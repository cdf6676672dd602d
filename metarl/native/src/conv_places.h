// Which places of an image a convolution joins: places whose taps lie alike are worked on together.
//
// Along one axis every target has a run of taps that fall inside the source; what falls outside is
// padding, and is left out of all sums. Targets of which the run is the same form a group: within
// it one step to the next target is one fixed step in the source.
#pragma once
#include "simd.h"

namespace metarl {

struct Group {
  Size target, count;  // the first target, how many
  Size source;         // where the first tap of the first target lies
  Size tap, num_taps;  // the first tap, how many
};

constexpr int MAX_GROUPS = 12;

struct Axis {
  Group groups[MAX_GROUPS];
  int num_groups = 0;
  Size target_step, source_step;      // from a target of a group to the next
  Size tap_step, tap_source_step;     // from a tap of a target to the next

  void append(Size target, Size source, Size tap, Size num_taps) {
    if (num_groups) {
      Group& last = groups[num_groups - 1];
      if (last.tap == tap && last.num_taps == num_taps &&
          last.target + last.count * target_step == target) {
        last.count++;
        return;
      }
    }
    groups[num_groups++] = {target, 1, source, tap, num_taps};
  }
};

struct Line {  // one axis of a convolution with half a kernel of padding
  Size size, kernel, stride;
  Size padding() const { return kernel / 2; }
  Size outputs() const { return (size + 2 * padding() - kernel) / stride + 1; }
};

// Output t reads input t stride - padding + tap.
inline Axis reading(Line line) {
  Axis axis;
  axis.target_step = 1, axis.source_step = line.stride, axis.tap_step = axis.tap_source_step = 1;
  for (Size t = 0; t < line.outputs(); t++) {
    const Size start = t * line.stride - line.padding();
    const Size first = start < 0 ? -start : 0;
    const Size end = line.size - start < line.kernel ? line.size - start : line.kernel;
    axis.append(t, start + first, first, end - first);
  }
  return axis;
}

// Input t is read by output (t + padding - tap) / stride, where that is whole and there is one.
inline Axis read_by(Line line) {
  Axis axis;
  axis.target_step = axis.tap_step = line.stride, axis.source_step = 1, axis.tap_source_step = -1;
  for (Size rest = 0; rest < line.stride; rest++)
    for (Size t = rest; t < line.size; t += line.stride) {
      Size tap = (t + line.padding()) % line.stride, count = 0;
      while ((t + line.padding() - tap) / line.stride >= line.outputs()) tap += line.stride;
      const Size source = (t + line.padding() - tap) / line.stride;
      while (tap + count * line.stride < line.kernel && source - count >= 0) count++;
      axis.append(t, source, tap, count);
    }
  return axis;
}

}  // namespace metarl
