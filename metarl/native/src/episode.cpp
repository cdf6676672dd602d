// Episodes of stacked perceptrons; see episode.h.
#include "episode.h"

#include "plane.h"

namespace metarl {
template <class R>
void in_the_plane(const void* perceptrons, const void* episodes, const void* world) {
  play(*static_cast<const Perceptrons<R>*>(perceptrons),
       *static_cast<const Episodes<R>*>(episodes),
       Plane(*static_cast<const Plane::Numbers*>(world)));
}
template <class R> void by_tables(const void* perceptrons, const void* steps, const void* world) {
  play(*static_cast<const Perceptrons<R>*>(perceptrons), *static_cast<const Steps<R>*>(steps),
       *static_cast<const World<R>*>(world));
}
}  // namespace metarl

extern "C" {
void metarl_plane_f(const void* perceptrons, const void* episodes, const void* world) {
  metarl::in_the_plane<float>(perceptrons, episodes, world);
}
void metarl_plane_d(const void* perceptrons, const void* episodes, const void* world) {
  metarl::in_the_plane<double>(perceptrons, episodes, world);
}
void metarl_tables_f(const void* perceptrons, const void* steps, const void* world) {
  metarl::by_tables<float>(perceptrons, steps, world);
}
void metarl_tables_d(const void* perceptrons, const void* steps, const void* world) {
  metarl::by_tables<double>(perceptrons, steps, world);
}
}
