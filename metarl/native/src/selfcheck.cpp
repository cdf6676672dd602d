// What a library was built for, and one product: whether libraries can be built and called here.
#include "simd.h"

extern "C" {
int metarl_vector_bytes() { return metarl::VECTOR_BYTES; }
void metarl_product_f(metarl::Size rows, metarl::Size width, metarl::Size depth, const float* a,
                      const float* b, float* c) {
  metarl::product<float>(rows, width, depth, {a, depth, 1}, {b, width}, c, width, false);
}
void metarl_product_d(metarl::Size rows, metarl::Size width, metarl::Size depth, const double* a,
                      const double* b, double* c) {
  metarl::product<double>(rows, width, depth, {a, depth, 1}, {b, width}, c, width, false);
}
}
