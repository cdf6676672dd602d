// Blocks of convolution, batch norm, ReLU and pooling for N tasks: outputs, gradients, and the
// gradient of a product of the gradients with a direction.
//
// The third is the derivative of the first two along that direction (a Hessian is symmetric):
// with R for the derivative along the tangents v of the parameters and of the input,
//     d <v, gradient> / d cotangent = R output,    d <v, gradient> / d parameter = R gradient.
//
// One block, rows = images x places, by channel (a_q is the cotangent of q):
//     z = conv(h_in, W)                   x = (z - mean z) s      s = (var z + eps)^-1/2
//     y = scale x + shift                 h = largest of each window of relu(y)
// and, where the pooling comes first, z is the largest of each window of the convolution. The bias
// falls out with the mean. Where the statistics are those of reference images they are constants;
// where there is no norm, mean = -bias, s = scale = 1 and shift = 0.
#include "conv_outputs.h"
#include "conv_second.h"

namespace metarl {

// Numbers of a task's state and of its first gradients, and of the scratch, for a call of a mode.
template <class R> void sizes(const Net<R>* net, const Layer<R>* layers, int mode, Size* out) {
  const Work<R> work(*net, layers, (Mode)mode);
  out[0] = work.state_size, out[1] = work.first_size, out[2] = work.scratch_size;
}

template <class R> void run(const Net<R>* net, const Layer<R>* layers, int mode) {
  Work<R> work(*net, layers, (Mode)mode);
  for (Block<R>& b : work.blocks) b.tabulate();
  for (Size task = 0; task < net->tasks; task++, work.next_task((Mode)mode)) {
    if (mode == OUTPUTS) outputs(work, task);
    if (mode == GRADIENTS) gradients(work, task);
    if (mode == SECOND) second(work, task);
  }
}

}  // namespace metarl

extern "C" {
using metarl::Layer, metarl::Net, metarl::Size;
void metarl_conv_sizes_f(const Net<float>* net, const Layer<float>* layers, int mode, Size* out) {
  metarl::sizes(net, layers, mode, out);
}
void metarl_conv_sizes_d(const Net<double>* net, const Layer<double>* layers, int mode, Size* out) {
  metarl::sizes(net, layers, mode, out);
}
void metarl_conv_f(const Net<float>* net, const Layer<float>* layers, int mode) {
  metarl::run(net, layers, mode);
}
void metarl_conv_d(const Net<double>* net, const Layer<double>* layers, int mode) {
  metarl::run(net, layers, mode);
}
}
