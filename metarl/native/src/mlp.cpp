// Perceptrons as a function that is differentiated twice; see mlp.h.
#include "mlp.h"

namespace metarl {
template <class R> void run(const Perceptrons<R>& p, Size wanted) {
  switch (static_cast<Wanted>(wanted)) {
    case Wanted::OUTPUTS: Pass<R, Wanted::OUTPUTS>(p).run(); break;
    case Wanted::GRADIENT: Pass<R, Wanted::GRADIENT>(p).run(); break;
    case Wanted::SECOND: Pass<R, Wanted::SECOND>(p).run(); break;
  }
}
}  // namespace metarl

extern "C" {
void metarl_perceptrons_f(const void* p, metarl::Size wanted) {
  metarl::run(*static_cast<const metarl::Perceptrons<float>*>(p), wanted);
}
void metarl_perceptrons_d(const void* p, metarl::Size wanted) {
  metarl::run(*static_cast<const metarl::Perceptrons<double>*>(p), wanted);
}
}
