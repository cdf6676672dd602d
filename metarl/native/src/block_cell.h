// Residual blocks around a mixer, which alone looks back over the trial: see metarl/nn/blocks.py.
//
//     e = W_e x + b_e
//     e = e + W_o mix(W_i norm(e) + b_i) + b_o      once per layer
//     e = e + W_n gelu(W_w norm(e) + b_w) + b_n
//     h = norm(e)
//
// A mixer (linear_attention.h, attention.h) is a class with `keys_of` and `mixed_of`, the sizes that
// it needs; `Layer`, what it keeps of a layer; `take`, `prepare`, `states` and `caches`; `step` from the
// numbers that a step mixes to what is found, `say`, which finds it again, and `done` after all
// layers; and `Back`, its way back through one sequence.
#pragma once
#include "blocks.h"

namespace metarl {

// Parts of the numbers that a step mixes.
struct Heads {
  Size steps, batch, kept;  // T, B; 1: activations of every step are kept
  Size count, keys;         // heads, numbers of a key or a value K
  Size values, mixes;       // V = heads K; M, all that are mixed
  Size keys_width, values_width, mixes_width;  // padded
};

template <class R, class Mixer> class BlockCell : public Sequence<R> {
  using S = Sequence<R>;

 public:
  using S::batch, S::hidden, S::inputs, S::shape, S::steps, S::stride;
  static constexpr Size NUM_WEIGHTS = 14, GROUP = Mixer::GROUP;
  static std::array<Size, NUM_WEIGHTS> weight_sizes(const Shape& s) {
    const Size H = s.hidden, L = s.options[0], heads = s.options[1], F = s.options[2] * H;
    const Size V = heads * Mixer::keys_of(H, heads), M = Mixer::mixed_of(heads, V);
    return {s.inputs * H, H,         L * 2 * H, L * 2 * H, H,         H,         L * H * F,
            L * F,        L * F * H, L * H,     L * H * M, L * M,     L * V * H, L * H};
  }

  // Matrices of one layer, which a product reads.
  struct Layer {
    Packed<R> mix_in, mix_out, widen, narrow;
    R *mix_in_bias, *mix_out_bias, *widen_bias, *narrow_bias;
    Norm<R> norms[2];
    Kept<R> residual;  // e before the mixer, [B, H]
    Kept<R> mixed;     // W_i norm(e) + b_i, [B, M]
    Kept<R> middle;    // e behind the mixer, [B, H]
    Kept<R> wide;      // W_w norm(e) + b_w, [B, F]
    typename Mixer::Layer own;
  };

  BlockCell(const Shape& of, Pieces<R>& weights, Pieces<R>& trace)
      : S(of, 0, trace),
        wider(of.options[2] * of.hidden),
        width(padded<R>(of.hidden)),
        wider_width(padded<R>(wider)),
        heads(heads_of(of)),
        mixer(heads),
        layers(of.options[0]) {
    embed_.take(weights, inputs, hidden);
    embed_bias_ = weights.take(hidden);
    last = take_norm(weights);
    for (Layer& layer : layers) {
      layer.mix_in.take(weights, hidden, heads.mixes);
      layer.mix_out.take(weights, heads.values, hidden);
      layer.widen.take(weights, hidden, wider);
      layer.narrow.take(weights, wider, hidden);
      layer.mix_in_bias = weights.take(heads.mixes);
      layer.mix_out_bias = weights.take(hidden);
      layer.widen_bias = weights.take(wider);
      layer.narrow_bias = weights.take(hidden);
      for (Norm<R>& norm : layer.norms) norm = take_norm(weights);
      layer.residual.take(of, width, trace);
      layer.mixed.take(of, heads.mixes_width, trace);
      layer.middle.take(of, width, trace);
      layer.wide.take(of, wider_width, trace);
      mixer.take(layer.own, of, trace);
    }
    mixer.take(weights, trace);
    final.take(of, width, trace);
    outputs_ = trace.take(steps * batch * after_stride());
    rows_ = trace.take(GROUP * (width > heads.values_width ? width : heads.values_width));
    wide_ = trace.take(GROUP * wider_width);
  }
  void load(const R* const* fused, Size n) {
    const auto sizes = weight_sizes(shape);
    auto of = [&](Size k) { return fused[k] + n * sizes[k]; };
    auto keep = [](R* to, const R* from, Size count) { std::memcpy(to, from, count * sizeof(R)); };
    auto keep_norm = [&](Norm<R>& norm, const R* gain, const R* bias) {
      keep(const_cast<R*>(norm.gain), gain, hidden), keep(const_cast<R*>(norm.bias), bias, hidden);
    };
    embed_.load(of(0), hidden);
    keep(embed_bias_, of(1), hidden);
    keep_norm(last, of(4), of(5));
    mixer.prepare();
    for (Size l = 0; l < Size(layers.size()); l++) {
      Layer& layer = layers[l];
      for (Size k : {0, 1})
        keep_norm(layer.norms[k], of(2) + (2 * l + k) * hidden, of(3) + (2 * l + k) * hidden);
      layer.widen.load(of(6) + l * hidden * wider, wider);
      keep(layer.widen_bias, of(7) + l * wider, wider);
      layer.narrow.load(of(8) + l * wider * hidden, hidden);
      keep(layer.narrow_bias, of(9) + l * hidden, hidden);
      layer.mix_in.load(of(10) + l * hidden * heads.mixes, heads.mixes);
      keep(layer.mix_in_bias, of(11) + l * heads.mixes, heads.mixes);
      layer.mix_out.load(of(12) + l * heads.values * hidden, hidden);
      keep(layer.mix_out_bias, of(13) + l * hidden, hidden);
    }
  }

  const Size wider, width, wider_width;  // F; H and F padded
  const Heads heads;
  Mixer mixer;
  std::vector<Layer> layers;
  Kept<R> final;  // e behind the last layer, [B, H]
  Norm<R> last;

  // Outputs are no state: they have memory of their own for all steps.
  R* output(Size t) const { return outputs_ + t * batch * after_stride(); }
  Size after_stride() const { return width; }
  Size parted_size() const { return 0; }
  std::vector<Rows<R>> states(Size t) const { return mixer.states(layers, t); }
  std::vector<Cache<R>> caches() const { return mixer.caches(layers); }

  void step(Size t, Size first, Size count) {
    const Size mixes = heads.mixes, mixes_width = heads.mixes_width, found_width = heads.values_width;
    R* e = into(0, t) + first * width;
    embed_.times(count, S::before(t) + first * stride, stride, e, width, false);
    add_bias(count, hidden, embed_bias_, e, width);
    for (Size l = 0; l < Size(layers.size()); l++) {
      const Layer& layer = layers[l];
      R *mixed = layer.mixed(t) + first * mixes_width, *middle = layer.middle(t) + first * width;
      R *wide = layer.wide(t) + first * wider_width, *next = into(l + 1, t) + first * width;

      layer.norms[0].apply(count, hidden, e, width, rows_, width);
      layer.mix_in.times(count, rows_, width, mixed, mixes_width, false);
      add_bias(count, mixes, layer.mix_in_bias, mixed, mixes_width);
      for (Size b = 0; b < count; b++)
        mixer.step(layer.own, t, first + b, mixed + b * mixes_width, rows_ + b * found_width);
      // e = e + W_o found + b_o
      layer.mix_out.times(count, rows_, found_width, middle, width, false);
      add_rows_to(count, e, layer.mix_out_bias, middle);
      // e = e + W_n gelu(W_w norm(e) + b_w) + b_n
      layer.norms[1].apply(count, hidden, middle, width, rows_, width);
      layer.widen.times(count, rows_, width, wide, wider_width, false);
      add_bias(count, wider, layer.widen_bias, wide, wider_width);
      widened(count, wide, wider_width, wide_);
      layer.narrow.times(count, wide_, wider_width, next, width, false);
      add_rows_to(count, middle, layer.narrow_bias, next);
      e = next;
    }
    mixer.done(first, count);
    last.apply(count, hidden, e, width, output(t) + first * width, width);
  }

  // The input of a layer; behind the last one, that of the last normalisation.
  R* into(Size l, Size t) const {
    return l < Size(layers.size()) ? layers[l].residual(t) : final(t);
  }
  void widened(Size count, const R* wide, Size wide_stride, R* out) const {
    const Size out_stride = wider_width;
    each(count, wider, [=](Size b, Size j) {
      out[b * out_stride + j] = gelu(wide[b * wide_stride + j]);
    });
  }

  // The way back through one sequence after another.
  class Backward {
   public:
    Backward(const BlockCell& cell, Pieces<R>& work)
        : cell_(cell), layers_(cell.layers.size()), mixer_(cell.mixer, Size(layers_.size()), work) {
      const Size H = cell.hidden, F = cell.wider, M = cell.heads.mixes, V = cell.heads.values;
      embed_.take(work, H, cell.inputs);
      d_embed_.take(work, cell.inputs, H);
      for (Gradient<R>* d : {&d_embed_bias_, &d_last_gain_, &d_last_bias_}) d->take(work, 1, H);
      for (Layer& layer : layers_) {
        layer.mix_in.take(work, M, H);
        layer.mix_out.take(work, H, V);
        layer.widen.take(work, F, H);
        layer.narrow.take(work, H, F);
        layer.d_mix_in.take(work, H, M);
        layer.d_mix_out.take(work, V, H);
        layer.d_widen.take(work, H, F);
        layer.d_narrow.take(work, F, H);
        layer.d_mix_in_bias.take(work, 1, M);
        layer.d_mix_out_bias.take(work, 1, H);
        layer.d_widen_bias.take(work, 1, F);
        layer.d_narrow_bias.take(work, 1, H);
        for (Gradient<R>* d : {&layer.d_gain, &layer.d_bias}) d->take(work, 2, H);
      }
      de_ = work.take(cell.steps * cell.width);
      ds_ = work.take(cell.steps * cell.width);
      for (R** rows : {&found_, &d_found_}) *rows = work.take(cell.steps * cell.heads.values_width);
      for (R** rows : {&wide_, &d_wide_}) *rows = work.take(cell.steps * cell.wider_width);
      d_mixed_ = work.take(cell.steps * cell.heads.mixes_width);
      n_ = work.take(cell.width);
      dn_ = work.take(cell.width);
      dx_ = work.take(BLOCK * padded<R>(cell.inputs));
    }
    void load(const R* const* fused, Size n) {
      const auto sizes = weight_sizes(cell_.shape);
      auto of = [&](Size k) { return fused[k] + n * sizes[k]; };
      const Size H = cell_.hidden, F = cell_.wider, M = cell_.heads.mixes, V = cell_.heads.values;
      embed_.load_transposed(of(0), H);
      for (auto* d : {&d_embed_, &d_embed_bias_, &d_last_gain_, &d_last_bias_}) d->clear();
      for (Size l = 0; l < Size(layers_.size()); l++) {
        Layer& layer = layers_[l];
        layer.widen.load_transposed(of(6) + l * H * F, F);
        layer.narrow.load_transposed(of(8) + l * F * H, H);
        layer.mix_in.load_transposed(of(10) + l * H * M, M);
        layer.mix_out.load_transposed(of(12) + l * V * H, H);
        for (Gradient<R>* d : layer.gradients()) d->clear();
      }
    }

    // The gradients by the outputs of sequence b go here, [T, padded(H)], before `sequence`.
    Rows<R> by_outputs() const { return {ds_, cell_.width, cell_.hidden}; }

    // Back through sequence b. It was emptied where starts [T, B] say so.
    void sequence(Size b, const std::uint8_t* starts) {
      const Size T = cell_.steps, width = cell_.width, all = cell_.batch * width;
      std::memset(de_, 0, T * width * sizeof(R));
      cell_.last.back(T, cell_.hidden, cell_.final(0) + b * width, all, ds_, width,
                      d_last_gain_.at, d_last_bias_.at, de_, width, n_, dn_);
      for (Size l = Size(layers_.size()) - 1; l >= 0; l--) {
        perceptron_back(l, b);
        mixer_back(l, b, starts);
      }
      // dW_e = x de^T, summed over steps
      d_embed_.add(T, cell_.before(0) + b * cell_.stride, cell_.batch * cell_.stride, de_, width);
      d_embed_bias_.add_sum(T, de_, width);
    }
    // dx = W_e^T de, [T, I] with rows so far apart.
    void inputs_backward(R* out, Size stride) {
      times_rows(embed_, cell_.steps, de_, cell_.width, dx_, out, stride);
    }
    // By the memories before the first step, of row `b` of [N * B].
    void states_backward(R* const* by_states, Size b) const { mixer_.store_states(by_states, b); }
    void store(R* const* d, Size n) const {
      const auto sizes = weight_sizes(cell_.shape);
      auto of = [&](Size k) { return d[k] + n * sizes[k]; };
      const Size H = cell_.hidden, F = cell_.wider, M = cell_.heads.mixes, V = cell_.heads.values;
      d_embed_.store(of(0), H);
      d_embed_bias_.store(of(1), H);
      d_last_gain_.store(of(4), H);
      d_last_bias_.store(of(5), H);
      for (Size l = 0; l < Size(layers_.size()); l++) {
        const Layer& layer = layers_[l];
        layer.d_gain.store(of(2) + l * 2 * H, H);
        layer.d_bias.store(of(3) + l * 2 * H, H);
        layer.d_widen.store(of(6) + l * H * F, F);
        layer.d_widen_bias.store(of(7) + l * F, F);
        layer.d_narrow.store(of(8) + l * F * H, H);
        layer.d_narrow_bias.store(of(9) + l * H, H);
        layer.d_mix_in.store(of(10) + l * H * M, M);
        layer.d_mix_in_bias.store(of(11) + l * M, M);
        layer.d_mix_out.store(of(12) + l * V * H, H);
        layer.d_mix_out_bias.store(of(13) + l * H, H);
      }
    }

   private:
    struct Layer {
      Packed<R> mix_in, mix_out, widen, narrow;  // transposed
      Gradient<R> d_mix_in, d_mix_out, d_widen, d_narrow;
      Gradient<R> d_mix_in_bias, d_mix_out_bias, d_widen_bias, d_narrow_bias;
      Gradient<R> d_gain, d_bias;  // of both norms

      std::array<Gradient<R>*, 10> gradients() {
        return {&d_mix_in,      &d_mix_out,    &d_widen,       &d_narrow, &d_mix_in_bias,
                &d_mix_out_bias, &d_widen_bias, &d_narrow_bias, &d_gain,   &d_bias};
      }
    };

    // Through e' = e + W_n gelu(w) + b_n,  w = W_w s + b_w,  s = norm(e).
    void perceptron_back(Size l, Size b) {
      const typename BlockCell::Layer& of = cell_.layers[l];
      Layer& layer = layers_[l];
      const Size T = cell_.steps, H = cell_.hidden, F = cell_.wider, B = cell_.batch;
      const Size width = cell_.width, wide_width = cell_.wider_width;
      const R *wide = of.wide(0) + b * wide_width, *e = of.middle(0) + b * width;
      const Size wide_stride = B * wide_width;
      // dW_n = gelu(w) de^T, db_n = de, summed over steps
      cell_.widened(T, wide, wide_stride, wide_);
      layer.d_narrow.add(T, wide_, wide_width, de_, width);
      layer.d_narrow_bias.add_sum(T, de_, width);
      // dw = W_n^T de * gelu'(w)
      layer.narrow.times(T, de_, width, d_wide_, wide_width, false);
      R* dw = d_wide_;
      each(T, F, [=](Size t, Size j) {
        dw[t * wide_width + j] *= gelu_slope(wide[t * wide_stride + j]);
      });
      // dW_w = s dw^T, db_w = dw
      of.norms[1].apply(T, H, e, B * width, ds_, width);
      layer.d_widen.add(T, ds_, width, dw, wide_width);
      layer.d_widen_bias.add_sum(T, dw, wide_width);
      // ds = W_w^T dw, and through the normalisation
      layer.widen.times(T, dw, wide_width, ds_, width, false);
      of.norms[1].back(T, H, e, B * width, ds_, width, layer.d_gain.at + width,
                       layer.d_bias.at + width, de_, width, n_, dn_);
    }

    // Through e' = e + W_o mix(m) + b_o,  m = W_i s + b_i,  s = norm(e).
    void mixer_back(Size l, Size b, const std::uint8_t* starts) {
      const typename BlockCell::Layer& of = cell_.layers[l];
      Layer& layer = layers_[l];
      const Size T = cell_.steps, H = cell_.hidden, B = cell_.batch, width = cell_.width;
      const Size found_width = cell_.heads.values_width, mixes_width = cell_.heads.mixes_width;
      const R *e = of.residual(0) + b * width, *mixed = of.mixed(0) + b * mixes_width;
      // dW_o = found de^T, db_o = de;  dfound = W_o^T de
      for (Size t = 0; t < T; t++)
        cell_.mixer.say(of.own, t, b, mixed + t * B * mixes_width, found_ + t * found_width);
      layer.d_mix_out.add(T, found_, found_width, de_, width);
      layer.d_mix_out_bias.add_sum(T, de_, width);
      layer.mix_out.times(T, de_, width, d_found_, found_width, false);
      mixer_.sequence(of.own, l, b, starts, mixed, d_found_, d_mixed_);
      // dW_i = s dm^T, db_i = dm, summed over steps
      of.norms[0].apply(T, H, e, B * width, ds_, width);
      layer.d_mix_in.add(T, ds_, width, d_mixed_, mixes_width);
      layer.d_mix_in_bias.add_sum(T, d_mixed_, mixes_width);
      // ds = W_i^T dm, and through the normalisation
      layer.mix_in.times(T, d_mixed_, mixes_width, ds_, width, false);
      of.norms[0].back(T, H, e, B * width, ds_, width, layer.d_gain.at, layer.d_bias.at, de_, width,
                       n_, dn_);
    }

    const BlockCell& cell_;
    std::vector<Layer> layers_;
    typename Mixer::Back mixer_;
    Packed<R> embed_;  // transposed
    Gradient<R> d_embed_, d_embed_bias_, d_last_gain_, d_last_bias_;
    R *de_, *ds_, *found_, *d_found_, *wide_, *d_wide_, *d_mixed_;  // [T, ...]
    R *n_, *dn_, *dx_;                                             // [H], [H], [BLOCK, I]
  };

 private:
  static Heads heads_of(const Shape& of) {
    const Size count = of.options[1], keys = Mixer::keys_of(of.hidden, count), values = count * keys;
    const Size mixes = Mixer::mixed_of(count, values);
    return {of.steps, of.batch,        of.kept,           count,           keys, values,
            mixes,    padded<R>(keys), padded<R>(values), padded<R>(mixes)};
  }
  Norm<R> take_norm(Pieces<R>& weights) const {
    R* gain = weights.take(hidden);
    return {gain, weights.take(hidden)};
  }
  void add_bias(Size count, Size columns, const R* bias, R* rows, Size rows_stride) const {
    each(count, columns, [=](Size b, Size j) { rows[b * rows_stride + j] += bias[j]; });
  }
  // rows += others + bias, [count, H] each.
  void add_rows_to(Size count, const R* others, const R* bias, R* rows) const {
    const Size step = width;
    each(count, hidden, [=](Size b, Size j) {
      rows[b * step + j] += others[b * step + j] + bias[j];
    });
  }

  Packed<R> embed_;
  R *embed_bias_, *outputs_, *rows_, *wide_;  // [H], [T, B, H], [GROUP, ...]
};

}  // namespace metarl
