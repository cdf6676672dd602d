// N perceptrons on M rows each: outputs, their gradient, and the gradient of that.
//
// Nothing is kept from one to the other: hidden layers are computed again, some rows at a time, so
// that all that is worked on stays in cache. Arrays are padded (simd.h); those of the caller are not.
//
// Layer l, with h_0 the inputs:      z_l = h_{l-1} W_l + b_l,   h_l = s(z_l)   (+ h_{l-1}: RESIDUAL)
#pragma once
#include "scratch.h"
#include "simd.h"

namespace metarl {

enum Activation : Size { LINEAR = 0, RELU = 1, TANH = 2, RESIDUAL = 3 };  // the last: h + tanh(z)

// Strides are numbers from one task to the next; 0: all tasks share it. Where `way` is nullptr the
// parameter stands still, where `grad` is, its gradient is not wanted.
template <class R> struct Parameter {
  const R* value;
  Size stride;
  const R* way;  // the direction in which it moves
  Size way_stride;
  R* grad;  // one after the other
};

template <class R> struct Layer {
  Size inputs, outputs, activation;
  Parameter<R> weight, bias;  // [N, I, O] and [N, O]
};

template <class R> struct Perceptrons {
  Size num_tasks, num_rows, num_layers;
  const R* inputs;  // [N, M, I]
  Size inputs_stride;
  const R* inputs_way;  // [N, M, I]
  const R* cotangent;   // [N, M, O]
  R* outputs;           // [N, M, O]
  R* inputs_grad;       // [N, M, I]
  Layer<R> layers[1];   // num_layers of them
};

enum class Wanted { OUTPUTS, GRADIENT, SECOND };

// One layer at work: padded weights of the task at hand, and what it makes of some rows.
template <class R> struct Working {
  R *weight, *weight_t, *bias;              // W in panels, W^T in panels, b
  R *way, *way_t, *bias_way;                // the same of the direction; nullptr: it stands still
  R *weight_grad, *bias_grad;               // [I, padded O] or, `turned`, [O, padded I]; [padded O]
  bool turned;
  R *y, *h;                                 // s(z), and the layer's output
  R *rz, *rh;                               // their derivatives in the direction
  R *of_rh, *of_rz, *of_h, *of_z;           // gradients by rh, rz, h and z
};

template <class R, Wanted WANTED> class Pass {
 public:
  static constexpr bool GRADIENT = WANTED != Wanted::OUTPUTS, SECOND = WANTED == Wanted::SECOND;
  static constexpr Size ROWS = 48;

  explicit Pass(const Perceptrons<R>& p) : p(p), memory(Scratch<R>::mine()), working(p.num_layers) {
    for (Size l = 0; l < p.num_layers; l++) allocate(p.layers[l], working[l], l);
    if (!GRADIENT || !p.inputs_grad) return;
    for (R** rows : {&inputs_of_rh, &inputs_of_h})
      *rows = memory.take(ROWS * padded<R>(p.layers[0].inputs));
  }

  void run() {
    for (Size n = 0; n < p.num_tasks; n++) {
      load(n);
      chunks(p.num_rows, ROWS, [&](Size first, Size m) { block(n, first, m); });
      if (GRADIENT) store(n);
    }
  }

  // Weights of task n; what all share stays.
  void load(Size n) {
    for (Size l = 0; l < p.num_layers; l++) {
      const Layer<R>& layer = p.layers[l];
      const Size I = layer.inputs, O = layer.outputs;
      Working<R>& w = working[l];
      if (n == 0 || layer.weight.stride) {
        const R* weight = layer.weight.value + n * layer.weight.stride;
        pack(I, O, weight, O, Size(1), w.weight);
        if (w.weight_t) pack(O, I, weight, Size(1), O, w.weight_t);
      }
      if (n == 0 || layer.bias.stride)
        std::memcpy(w.bias, layer.bias.value + n * layer.bias.stride, O * sizeof(R));
      if (w.way && (n == 0 || layer.weight.way_stride)) {
        const R* way = layer.weight.way + n * layer.weight.way_stride;
        pack(I, O, way, O, Size(1), w.way);
        if (w.way_t) pack(O, I, way, Size(1), O, w.way_t);
      }
      if (w.bias_way && (n == 0 || layer.bias.way_stride))
        std::memcpy(w.bias_way, layer.bias.way + n * layer.bias.way_stride, O * sizeof(R));
      if (w.weight_grad) std::memset(w.weight_grad, 0, gradient_size(w, I, O) * sizeof(R));
      if (w.bias_grad) std::memset(w.bias_grad, 0, padded<R>(O) * sizeof(R));
    }
  }

  // Layer l on m rows of the inputs x [m, I]; h_l is in `working`.
  void forward(Size l, Size m, const R* x) {
    const Layer<R>& layer = p.layers[l];
    Working<R>& w = working[l];
    const Size P = padded<R>(layer.outputs);
    const Rows below = output(l, x);
    product<R>(m, P, layer.inputs, {below.at, below.stride, 1}, {w.weight, 0}, w.y, P, false);
    switch (layer.activation) {
      case LINEAR: each(m, P, [&](Size i, Size j) { w.y[i * P + j] += w.bias[j]; }); break;
      case RELU:
        each(m, P, [&](Size i, Size j) {
          const R z = w.y[i * P + j] + w.bias[j];
          w.y[i * P + j] = z > 0 || z != z ? z : R(0);
        });
        break;
      default: each(m, P, [&](Size i, Size j) { w.y[i * P + j] = tangent(w.y[i * P + j] + w.bias[j]); });
    }
    if (layer.activation == RESIDUAL)
      each(m, layer.outputs, [&](Size i, Size j) {
        w.h[i * P + j] = below.at[i * below.stride + j] + w.y[i * P + j];
      });
  }

  const R* outputs() const { return working[p.num_layers - 1].h; }

 private:
  struct Rows {
    const R* at;
    Size stride;
  };

  const Perceptrons<R>& p;
  Scratch<R>& memory;
  std::vector<Working<R>> working;
  R *inputs_of_rh = nullptr, *inputs_of_h = nullptr;  // gradients by the inputs and their way

  void allocate(const Layer<R>& layer, Working<R>& w, Size l) {
    const Size I = layer.inputs, O = layer.outputs, P = padded<R>(O), Q = padded<R>(I);
    const bool residual = layer.activation == RESIDUAL;
    w = {};
    w.weight = memory.take(I * P);
    w.bias = memory.zeros(P);
    w.y = memory.take(ROWS * P);
    w.h = residual ? memory.take(ROWS * P) : w.y;
    if (!GRADIENT) return;
    const bool down = l > 0 || p.inputs_grad;
    if (down) w.weight_t = memory.take(O * Q);
    // A row of few outputs would be padding in the main.
    w.turned = l > 0 && O * Q < I * P;
    if (layer.weight.grad) w.weight_grad = memory.take(gradient_size(w, I, O));
    if (layer.bias.grad) w.bias_grad = memory.take(P);
    w.of_rh = memory.take(ROWS * P);
    w.of_rz = layer.activation == RESIDUAL ? memory.take(ROWS * P) : w.of_rh;
    if (!SECOND) return;
    if (layer.weight.way) w.way = memory.take(I * P);
    if (layer.weight.way && down) w.way_t = memory.take(O * Q);
    if (layer.bias.way) w.bias_way = memory.zeros(P);
    w.rz = memory.take(ROWS * P);
    w.rh = layer.activation == LINEAR ? w.rz : memory.take(ROWS * P);
    w.of_h = memory.take(ROWS * P);
    w.of_z = residual ? memory.take(ROWS * P) : w.of_h;
  }

  static Size gradient_size(const Working<R>& w, Size I, Size O) {
    return w.turned ? O * padded<R>(I) : I * padded<R>(O);
  }

  // Output of the layer below layer l.
  Rows output(Size l, const R* x) const {
    if (l == 0) return {x, p.layers[0].inputs};
    return {working[l - 1].h, padded<R>(p.layers[l].inputs)};
  }

  Rows moved(Size l, const R* x_way) const {
    if (l == 0) return {x_way, p.layers[0].inputs};
    return {working[l - 1].rh, padded<R>(p.layers[l].inputs)};
  }

  void block(Size n, Size first, Size m) {
    const Size last = p.num_layers - 1, I = p.layers[0].inputs, O = p.layers[last].outputs;
    const R* x = p.inputs + n * p.inputs_stride + first * I;
    const R* x_way = SECOND && p.inputs_way ? p.inputs_way + (n * p.num_rows + first) * I : nullptr;
    const Size at = n * p.num_rows + first;
    for (Size l = 0; l < p.num_layers; l++) {
      // What the last layer makes of its inputs is not asked, if it is linear.
      if (!GRADIENT || l < last || p.layers[l].activation != LINEAR) forward(l, m, x);
      if (SECOND) forward_way(l, m, x, x_way);
    }
    if (!GRADIENT) put(m, O, working[last].h, p.outputs + at * O);
    if (!GRADIENT) return;
    if (SECOND && p.outputs) put(m, O, working[last].rh, p.outputs + at * O);
    const Size P = padded<R>(O);
    R* of_outputs = working[last].of_rh;
    copy(m, O, p.cotangent + at * O, O, of_outputs, P);
    for (Size i = 0; i < m; i++) std::memset(of_outputs + i * P + O, 0, (P - O) * sizeof(R));
    for (Size l = last; l >= 0; l--) backward(l, m, x, x_way);
    if (p.inputs_grad) inputs_gradient(m, p.inputs_grad + at * I);
  }

  // rz_l = h_{l-1} V_l + rh_{l-1} W_l + c_l,   rh_l = s'(z_l) rz_l   (+ rh_{l-1}: RESIDUAL)
  void forward_way(Size l, Size m, const R* x, const R* x_way) {
    const Layer<R>& layer = p.layers[l];
    Working<R>& w = working[l];
    const Size P = padded<R>(layer.outputs), I = layer.inputs;
    const Rows h = output(l, x), rh = moved(l, x_way);
    bool any = false;
    if (w.way) product<R>(m, P, I, {h.at, h.stride, 1}, {w.way, 0}, w.rz, P, false), any = true;
    if (rh.at) product<R>(m, P, I, {rh.at, rh.stride, 1}, {w.weight, 0}, w.rz, P, any), any = true;
    if (!any) std::memset(w.rz, 0, m * P * sizeof(R));
    if (w.bias_way) each(m, P, [&](Size i, Size j) { w.rz[i * P + j] += w.bias_way[j]; });
    switch (layer.activation) {
      case LINEAR: return;
      case RELU: each(1, m * P, [&](Size, Size j) { w.rh[j] = w.y[j] > 0 ? w.rz[j] : R(0); }); return;
      default: each(1, m * P, [&](Size, Size j) { w.rh[j] = (1 - w.y[j] * w.y[j]) * w.rz[j]; });
    }
    if (layer.activation == RESIDUAL && rh.at)
      each(m, I, [&](Size i, Size j) { w.rh[i * P + j] += rh.at[i * rh.stride + j]; });
  }

  // With S = <cotangent, outputs> (of the second pass: <cotangent, their derivative in the
  // direction>), a = dS/drh and b = dS/dh, which come from the layer above:
  //   dS/drz = s' a                      dS/dz = s' b + s'' rz a      (tanh: s' = 1 - y^2, s'' = -2 y s')
  //   dS/dW  = rh_{l-1}^T dS/drz + h_{l-1}^T dS/dz                    (first pass: h_{l-1}^T dS/drz)
  //   a_{l-1} = dS/drz W^T (+ a)         b_{l-1} = dS/drz V^T + dS/dz W^T (+ b)
  void backward(Size l, Size m, const R* x, const R* x_way) {
    const Layer<R>& layer = p.layers[l];
    Working<R>& w = working[l];
    const Size I = layer.inputs, P = padded<R>(layer.outputs);
    const bool top = l + 1 == p.num_layers;
    through_activation(l, m, top);
    const bool straight = SECOND && top && layer.activation == LINEAR;  // dS/dz is zero
    const Rows h = output(l, x), rh = moved(l, x_way);
    if (w.weight_grad) {
      const Size O = layer.outputs, Q = padded<R>(I);
      auto add = [&](Rows left, const R* right) {
        if (w.turned)
          product<R>(O, Q, m, {right, 1, P}, {left.at, left.stride}, w.weight_grad, Q, true);
        else
          product<R>(I, P, m, {left.at, 1, left.stride}, {right, P}, w.weight_grad, P, true);
      };
      if (!SECOND) add(h, w.of_rz);
      if (SECOND && rh.at) add(rh, w.of_rz);
      if (SECOND && !straight) add(h, w.of_z);
    }
    if (w.bias_grad && !straight) add_rows(m, P, SECOND ? w.of_z : w.of_rz, P, w.bias_grad);
    if (l > 0) down(l, m, straight, working[l - 1].of_rh, working[l - 1].of_h);
  }

  void through_activation(Size l, Size m, bool top) {
    Working<R>& w = working[l];
    const Size size = m * padded<R>(p.layers[l].outputs);
    const Size activation = p.layers[l].activation;
    if (SECOND && top) std::memset(w.of_h, 0, size * sizeof(R));
    if (activation == LINEAR) return;
    if (activation == RELU)
      each(1, size, [&](Size, Size j) {
        const R slope = w.y[j] > 0 ? R(1) : R(0);
        w.of_rz[j] = slope * w.of_rh[j];
        if (SECOND) w.of_z[j] = slope * w.of_h[j];
      });
    else
      each(1, size, [&](Size, Size j) {
        const R slope = 1 - w.y[j] * w.y[j], a = slope * w.of_rh[j];
        if (SECOND) w.of_z[j] = slope * w.of_h[j] - 2 * w.y[j] * w.rz[j] * a;
        w.of_rz[j] = a;
      });
  }

  void down(Size l, Size m, bool straight, R* of_rh, R* of_h) {
    const Layer<R>& layer = p.layers[l];
    Working<R>& w = working[l];
    const Size O = layer.outputs, P = padded<R>(O), Q = padded<R>(layer.inputs);
    const bool residual = layer.activation == RESIDUAL;
    product<R>(m, Q, O, {w.of_rz, P, 1}, {w.weight_t, 0}, of_rh, Q, false);
    if (residual) each(1, m * Q, [&](Size, Size j) { of_rh[j] += w.of_rh[j]; });
    if (!SECOND) return;
    if (w.way_t) product<R>(m, Q, O, {w.of_rz, P, 1}, {w.way_t, 0}, of_h, Q, false);
    if (!straight)
      product<R>(m, Q, O, {w.of_z, P, 1}, {w.weight_t, 0}, of_h, Q, w.way_t != nullptr);
    else if (!w.way_t)
      std::memset(of_h, 0, m * Q * sizeof(R));
    if (residual) each(1, m * Q, [&](Size, Size j) { of_h[j] += w.of_h[j]; });
  }

  void inputs_gradient(Size m, R* out) {
    const bool straight = SECOND && p.num_layers == 1 && p.layers[0].activation == LINEAR;
    down(0, m, straight, inputs_of_rh, inputs_of_h);
    put(m, p.layers[0].inputs, SECOND ? inputs_of_h : inputs_of_rh, out);
  }

  // Rows without their padding.
  static void put(Size m, Size width, const R* rows, R* out) {
    copy(m, width, rows, padded<R>(width), out, width);
  }

  void store(Size n) {
    for (Size l = 0; l < p.num_layers; l++) {
      const Layer<R>& layer = p.layers[l];
      const Size I = layer.inputs, O = layer.outputs;
      const R* found = working[l].weight_grad;
      R* out = layer.weight.grad ? layer.weight.grad + n * I * O : nullptr;
      if (out && working[l].turned)
        each(I, O, [&](Size i, Size j) { out[i * O + j] = found[j * padded<R>(I) + i]; });
      else if (out)
        put(I, O, found, out);
      if (layer.bias.grad) put(1, O, working[l].bias_grad, layer.bias.grad + n * O);
    }
  }
};

}  // namespace metarl
