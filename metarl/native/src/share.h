// Agents shared between threads: which agent is worked on where changes no number.
#pragma once
#include <cfenv>
#include <system_error>
#include <thread>
#include <vector>

#include "simd.h"

namespace metarl {

// Calls work(n, k) for every agent n of so many, in thread k of at most `threads`: thread k has a run
// of neighbours, this one, k = 0, the last and never the longest.
template <class Work> void share(Size agents, Size threads, Work work) {
  const Size count = threads < agents ? threads : agents;
  const auto run = [&](Size k) {
    for (Size n = k * agents / count; n < (k + 1) * agents / count; n++) work(n, k);
  };
  if (count < 2) {
    for (Size n = 0; n < agents; n++) work(n, Size{0});
    return;
  }
  std::fenv_t modes;  // how this thread rounds, and whether it flushes denormal numbers
  std::fegetenv(&modes);
  std::vector<std::thread> others;
  others.reserve(count - 1);
  Size begun = 1;
  try {
    for (; begun < count; begun++)
      others.emplace_back([&run, &modes, begun] {
        std::fesetenv(&modes);
        run(begun);
      });
  } catch (const std::system_error&) {  // no more threads to be had: this one does their share
  }
  run(0);
  for (Size k = begun; k < count; k++) run(k);
  for (std::thread& other : others) other.join();
}

}  // namespace metarl
