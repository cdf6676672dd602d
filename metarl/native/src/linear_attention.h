// Residual blocks mixed by linear attention that decays: see metarl/nn/linear_attention.py.
//
//     e = W_e x + b_e
//     q, k, v, g, z, u = W_i norm(e) + b_i,  split into heads
//     k~ = b k,  a = sigmoid(z),  b = sigmoid(u);  q and k are silu'd and of length 1
//     S_t = a_t S_{t-1} + k~_t v_t^T,   r_t = S_t^T q_t
//     e = e + W_o (r / |r|' * silu(g)) + b_o,  |r|' the root of the mean square
//     e = e + W_n gelu(W_w norm(e) + b_w) + b_n
//     h = norm(e)
//
// Only S runs through time, and it is not kept: the way back through one sequence goes once forwards
// with S, for the gradients by queries, and once backwards with the gradient by S.
#pragma once
#include <vector>

#include "blocks.h"
#include "outer.h"

namespace metarl {

template <class R> class LinearAttention : public Sequence<R> {
  using S = Sequence<R>;

 public:
  using S::batch, S::hidden, S::inputs, S::shape, S::steps, S::stride;
  static constexpr Size NUM_WEIGHTS = 14;
  static std::array<Size, NUM_WEIGHTS> weight_sizes(const Shape& s) {
    const Size H = s.hidden, L = s.options[0], heads = s.options[1], F = s.options[2] * H;
    const Size V = (H + heads - 1) / heads * heads, M = 4 * V + 2 * heads;
    return {s.inputs * H, H,         L * 2 * H, L * 2 * H, H,         H,         L * H * F,
            L * F,        L * F * H, L * H,     L * H * M, L * M,     L * V * H, L * H};
  }
  static constexpr Size GROUP = 24;

  // Matrices of one layer, which a product reads.
  struct Layer {
    Packed<R> mix_in, mix_out, widen, narrow;
    R *mix_in_bias, *mix_out_bias, *widen_bias, *narrow_bias;
    Norm<R> norms[2];
    Kept<R> residual;  // e before the mixer, [B, H]
    Kept<R> mixed;     // W_i norm(e) + b_i, [B, M]
    Kept<R> read;      // r, [B, V]
    Kept<R> middle;    // e behind the mixer, [B, H]
    Kept<R> wide;      // W_w norm(e) + b_w, [B, F]
    R* memories;       // [2, B, heads K, padded(K)]
  };

  LinearAttention(const Shape& of, Pieces<R>& weights, Pieces<R>& trace)
      : S(of, 0, trace),
        heads(of.options[1]),
        keys((of.hidden + heads - 1) / heads),
        values(heads * keys),
        wider(of.options[2] * of.hidden),
        mixes(4 * values + 2 * heads),
        width(padded<R>(of.hidden)),
        keys_width(padded<R>(keys)),
        values_width(padded<R>(values)),
        wider_width(padded<R>(wider)),
        mixes_width(padded<R>(mixes)),
        square(values * keys_width),
        layers(of.options[0]) {
    embed_.take(weights, inputs, hidden);
    embed_bias_ = weights.take(hidden);
    last = take_norm(weights);
    for (Layer& layer : layers) {
      layer.mix_in.take(weights, hidden, mixes);
      layer.mix_out.take(weights, values, hidden);
      layer.widen.take(weights, hidden, wider);
      layer.narrow.take(weights, wider, hidden);
      layer.mix_in_bias = weights.take(mixes);
      layer.mix_out_bias = weights.take(hidden);
      layer.widen_bias = weights.take(wider);
      layer.narrow_bias = weights.take(hidden);
      for (Norm<R>& norm : layer.norms) norm = take_norm(weights);
      layer.residual.take(of, width, trace);
      layer.mixed.take(of, mixes_width, trace);
      layer.read.take(of, values_width, trace);
      layer.middle.take(of, width, trace);
      layer.wide.take(of, wider_width, trace);
      layer.memories = trace.take((of.kept + 1) * batch * square);
    }
    final.take(of, width, trace);
    outputs_ = trace.take(steps * batch * after_stride());
    rows_ = trace.take(GROUP * (width > values_width ? width : values_width));
    wide_ = trace.take(GROUP * wider_width);
    active_ = trace.take(4 * values);
    for (R** row : {&query_, &key_, &value_, &found_}) *row = trace.take(keys_width);
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
    for (Size l = 0; l < Size(layers.size()); l++) {
      Layer& layer = layers[l];
      for (Size k : {0, 1})
        keep_norm(layer.norms[k], of(2) + (2 * l + k) * hidden, of(3) + (2 * l + k) * hidden);
      layer.widen.load(of(6) + l * hidden * wider, wider);
      keep(layer.widen_bias, of(7) + l * wider, wider);
      layer.narrow.load(of(8) + l * wider * hidden, hidden);
      keep(layer.narrow_bias, of(9) + l * hidden, hidden);
      layer.mix_in.load(of(10) + l * hidden * mixes, mixes);
      keep(layer.mix_in_bias, of(11) + l * mixes, mixes);
      layer.mix_out.load(of(12) + l * values * hidden, hidden);
      keep(layer.mix_out_bias, of(13) + l * hidden, hidden);
    }
  }

  const Size heads, keys, values, wider, mixes;  // heads, K, V = heads K, F, M
  const Size width, keys_width, values_width, wider_width, mixes_width;  // padded
  const Size square;                                                     // of S, padded
  std::vector<Layer> layers;
  Kept<R> final;  // e behind the last layer, [B, H]
  Norm<R> last;

  // S of a layer before step t, which only the first step leaves as it is.
  R* memories(const Layer& layer, Size t) const {
    return layer.memories + (shape.kept && t ? batch * square : 0);
  }

  // Outputs are no state: they have memory of their own for all steps.
  R* output(Size t) const { return outputs_ + t * batch * after_stride(); }
  Size after_stride() const { return width; }
  Size parted_size() const { return 0; }
  std::vector<Rows<R>> states(Size t) const {
    std::vector<Rows<R>> all;
    for (const Layer& layer : layers)
      all.push_back({memories(layer, t), square, keys, values, keys_width, steps});
    return all;
  }

  void step(Size t) {
    chunks(batch, GROUP, [&](Size first, Size count) { step(t, first, count); });
  }
  void step(Size t, Size first, Size count) {
    R* e = into(0, t) + first * width;
    embed_.times(count, S::before(t) + first * stride, stride, e, width, false);
    add_bias(count, hidden, embed_bias_, e, width);
    for (Size l = 0; l < Size(layers.size()); l++) {
      const Layer& layer = layers[l];
      R *mixed = layer.mixed(t) + first * mixes_width, *read = layer.read(t) + first * values_width;
      R *middle = layer.middle(t) + first * width, *wide = layer.wide(t) + first * wider_width;
      R* next = into(l + 1, t) + first * width;

      layer.norms[0].apply(count, hidden, e, width, rows_, width);
      layer.mix_in.times(count, rows_, width, mixed, mixes_width, false);
      add_bias(count, mixes, layer.mix_in_bias, mixed, mixes_width);
      for (Size b = 0; b < count; b++) {
        const R *row = mixed + b * mixes_width, *from = memories(layer, t) + (first + b) * square;
        R* memory = memories(layer, t + 1) + (first + b) * square;
        if (memory != from) std::memcpy(memory, from, square * sizeof(R));
        activate(row);
        for (Size i = 0; i < heads; i++) {
          head(row, i, query_, key_, value_);
          write_and_read(keys, keys_width, key_, value_, query_, memory + i * keys * keys_width,
                         found_, Faded<R>{decay(row, i)});
          std::memcpy(read + b * values_width + i * keys, found_, keys * sizeof(R));
        }
        say(read + b * values_width, active_, rows_ + b * values_width);
      }
      // e = e + W_o found + b_o
      layer.mix_out.times(count, rows_, values_width, middle, width, false);
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
    last.apply(count, hidden, e, width, output(t) + first * width, width);
  }

  // ---- what a step makes of its numbers, and the way back makes again ---------------------------
  // The input of a layer; behind the last one, that of the last normalisation.
  R* into(Size l, Size t) const {
    return l < Size(layers.size()) ? layers[l].residual(t) : final(t);
  }
  // silu of q, k and g of one row, and v: [4 V].
  void activate(const R* row) const {
    R* out = active_;
    const Size asked = 2 * values, valued = 3 * values, all = 4 * values;
    METARL_VECTORISE
    for (Size j = 0; j < asked; j++) out[j] = silu(row[j]);
    std::memcpy(out + asked, row + asked, values * sizeof(R));
    METARL_VECTORISE
    for (Size j = valued; j < all; j++) out[j] = silu(row[j]);
  }
  R decay(const R* row, Size i) const { return sigmoid(row[4 * values + i]); }
  R written(const R* row, Size i) const { return sigmoid(row[4 * values + heads + i]); }
  // 1 over the length that q or k of head i is divided by.
  R one_over(const R* part) const {
    const R length = std::sqrt(dot(keys, part, part));
    return 1 / (length > R(1e-6) || length != length ? length : R(1e-6));
  }
  // q, k~ and v of head i of an active row, [padded(K)] each.
  void head(const R* row, Size i, R* query, R* key, R* value) const {
    const R *q = active_ + i * keys, *k = q + values, *v = k + values;
    const R by_q = one_over(q), by_k = one_over(k) * written(row, i);
    for (Size j = 0; j < keys; j++) query[j] = q[j] * by_q, key[j] = k[j] * by_k, value[j] = v[j];
    for (Size j = keys; j < keys_width; j++) query[j] = key[j] = value[j] = 0;
  }
  // 1 / |r|' of one head.
  R loudness(const R* read) const {
    return 1 / std::sqrt(dot(keys, read, read) / R(keys) + R(1e-5));
  }
  // r / |r|' * silu(g) of one row.
  void say(const R* read, const R* active, R* out) const {
    const R* gate = active + 3 * values;
    for (Size i = 0; i < heads; i++) {
      const R scale = loudness(read + i * keys);
      METARL_VECTORISE
      for (Size j = i * keys; j < (i + 1) * keys; j++) out[j] = read[j] * scale * gate[j];
    }
  }
  void widened(Size count, const R* wide, Size wide_stride, R* out) const {
    const Size out_stride = wider_width;
    each(count, wider, [=](Size b, Size j) {
      out[b * out_stride + j] = gelu(wide[b * wide_stride + j]);
    });
  }
  R* active() const { return active_; }

  // The way back through one sequence after another.
  class Backward {
   public:
    Backward(const LinearAttention& cell, Pieces<R>& work)
        : cell_(cell), layers_(cell.layers.size()) {
      const Size H = cell.hidden, F = cell.wider, M = cell.mixes, V = cell.values;
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
        layer.d_memory = work.take(cell.square);
      }
      de_ = work.take(cell.steps * cell.width);
      ds_ = work.take(cell.steps * cell.width);
      rows_ = work.take(cell.steps * cell.values_width);
      d_found_ = work.take(cell.steps * cell.values_width);
      asked_ = work.take(cell.steps * cell.values_width);
      wide_ = work.take(cell.steps * cell.wider_width);
      d_wide_ = work.take(cell.steps * cell.wider_width);
      d_mixed_ = work.take(cell.steps * cell.mixes_width);
      turned_ = work.take(cell.square);
      n_ = work.take(cell.width);
      dn_ = work.take(cell.width);
      for (R** row : {&query_, &key_, &value_, &by_read_, &by_query_, &by_key_, &by_value_})
        *row = work.take(cell.keys_width);
      for (R** number : {&fade_, &by_decay_}) *number = work.take(cell.heads);
      dx_ = work.take(BLOCK * padded<R>(cell.inputs));
    }
    void load(const R* const* fused, Size n) {
      const auto sizes = weight_sizes(cell_.shape);
      auto of = [&](Size k) { return fused[k] + n * sizes[k]; };
      const Size H = cell_.hidden, F = cell_.wider, M = cell_.mixes, V = cell_.values;
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
      std::memset(by_read_, 0, cell_.keys_width * sizeof(R));  // what pads it is multiplied too
    }

    // The gradients by the outputs of sequence b go here, [T, padded(H)], before `sequence`.
    Rows<R> by_outputs() const { return {ds_, cell_.width, cell_.hidden}; }

    // Back through sequence b. It was emptied where starts [T, B] say so.
    void sequence(Size b, const std::uint8_t* starts) {
      b_ = b, starts_ = starts;
      const Size T = cell_.steps, width = cell_.width, all = cell_.batch * width;
      std::memset(de_, 0, T * width * sizeof(R));
      cell_.last.back(T, cell_.hidden, cell_.final(0) + b * width, all, ds_, width,
                      d_last_gain_.at, d_last_bias_.at, de_, width, n_, dn_);
      for (Size l = Size(layers_.size()) - 1; l >= 0; l--) {
        perceptron_back(cell_.layers[l], layers_[l]);
        mixer_back(cell_.layers[l], layers_[l]);
      }
      // dW_e = x de^T, summed over steps
      d_embed_.add(T, cell_.before(0) + b * cell_.stride, cell_.batch * cell_.stride, de_, width);
      d_embed_bias_.add_sum(T, de_, width);
    }
    // dx = W_e^T de, [T, I] with rows so far apart.
    void inputs_backward(R* out, Size stride) {
      times_rows(embed_, cell_.steps, de_, cell_.width, dx_, out, stride);
    }
    // By the memories before the first step, of row `b` of [N * B]: S [heads K, K] of each layer.
    void states_backward(R* const* by_states, Size b) const {
      const Size numbers = cell_.values * cell_.keys;
      for (std::size_t l = 0; l < layers_.size(); l++)
        copy(cell_.values, cell_.keys, layers_[l].d_memory, cell_.keys_width,
             by_states[l] + b * numbers, cell_.keys);
    }
    void store(R* const* d, Size n) const {
      const auto sizes = weight_sizes(cell_.shape);
      auto of = [&](Size k) { return d[k] + n * sizes[k]; };
      const Size H = cell_.hidden, F = cell_.wider, M = cell_.mixes, V = cell_.values;
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
      R* d_memory;                 // by S, [heads K, padded(K)]

      std::array<Gradient<R>*, 10> gradients() {
        return {&d_mix_in,      &d_mix_out,    &d_widen,       &d_narrow, &d_mix_in_bias,
                &d_mix_out_bias, &d_widen_bias, &d_narrow_bias, &d_gain,   &d_bias};
      }
    };
    using Of = typename LinearAttention::Layer;

    bool begins(Size t) const { return starts_ && starts_[t * cell_.batch + b_]; }

    // Through e' = e + W_n gelu(w) + b_n,  w = W_w s + b_w,  s = norm(e).
    void perceptron_back(const Of& of, Layer& layer) {
      const Size T = cell_.steps, H = cell_.hidden, F = cell_.wider, B = cell_.batch;
      const Size width = cell_.width, wide_width = cell_.wider_width;
      const R *wide = of.wide(0) + b_ * wide_width, *e = of.middle(0) + b_ * width;
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

    // Through e' = e + W_o found + b_o,  found = r / |r|' * silu(g),  and what r is read from.
    void mixer_back(const Of& of, Layer& layer) {
      const Size T = cell_.steps, H = cell_.hidden, B = cell_.batch, width = cell_.width;
      const Size values_width = cell_.values_width, mixes_width = cell_.mixes_width;
      const R* e = of.residual(0) + b_ * width;
      // dW_o = found de^T, db_o = de;  dfound = W_o^T de
      for (Size t = 0; t < T; t++) {
        cell_.activate(mixed(of, t));
        cell_.say(read(of, t), cell_.active(), rows_ + t * values_width);
      }
      layer.d_mix_out.add(T, rows_, values_width, de_, width);
      layer.d_mix_out_bias.add_sum(T, de_, width);
      layer.mix_out.times(T, de_, width, d_found_, values_width, false);
      reads_back(of);
      queries_back(of);
      memory_back(of, layer);
      // dW_i = norm(e) dm^T, db_i = dm, summed over steps
      of.norms[0].apply(T, H, e, B * width, ds_, width);
      layer.d_mix_in.add(T, ds_, width, d_mixed_, mixes_width);
      layer.d_mix_in_bias.add_sum(T, d_mixed_, mixes_width);
      // by norm(e): W_i^T dm, and through the normalisation
      layer.mix_in.times(T, d_mixed_, mixes_width, ds_, width, false);
      of.norms[0].back(T, H, e, B * width, ds_, width, layer.d_gain.at, layer.d_bias.at, de_, width,
                       n_, dn_);
    }
    const R* mixed(const Of& of, Size t) const { return of.mixed(t) + b_ * cell_.mixes_width; }
    const R* read(const Of& of, Size t) const { return of.read(t) + b_ * cell_.values_width; }

    // found = r s silu(g),  s = 1 / |r|':  with y = dfound silu(g),
    // dr = s (y - r s^2 mean(r y)),  dg = dfound r s silu'(g); dr takes the place of dfound.
    void reads_back(const Of& of) {
      const Size K = cell_.keys, V = cell_.values;
      for (Size t = 0; t < cell_.steps; t++) {
        const R *row = mixed(of, t), *r = read(of, t), *gate = row + 3 * V;
        R *d = d_found_ + t * cell_.values_width, *d_gate = d_mixed_ + t * cell_.mixes_width + 3 * V;
        for (Size i = 0; i < cell_.heads; i++) {
          const R s = cell_.loudness(r + i * K);
          R along = 0;
          for (Size j = i * K; j < (i + 1) * K; j++) {
            d_gate[j] = d[j] * r[j] * s * silu_slope(gate[j]);
            d[j] *= silu(gate[j]);
            along += d[j] * r[j];
          }
          along *= s * s / R(K);
          for (Size j = i * K; j < (i + 1) * K; j++) d[j] = s * (d[j] - r[j] * along);
        }
      }
    }
    // r = S^T q: dq = S dr, with S^T [K, K] of each head as it was after each step.
    void queries_back(const Of& of) {
      const Size K = cell_.keys, width = cell_.keys_width, head = K * width;
      const R* memory = cell_.memories(of, 0) + b_ * cell_.square;
      std::memset(turned_, 0, cell_.square * sizeof(R));
      for (Size i = 0; i < cell_.heads; i++)
        for (Size k = 0; k < K; k++)
          for (Size j = 0; j < K; j++)
            turned_[i * head + j * width + k] = memory[i * head + k * width + j];
      for (Size t = 0; t < cell_.steps; t++) {
        const R* row = mixed(of, t);
        if (begins(t)) std::memset(turned_, 0, cell_.square * sizeof(R));
        cell_.activate(row);
        for (Size i = 0; i < cell_.heads; i++) {
          cell_.head(row, i, query_, key_, value_);
          write_and_read(K, width, value_, key_, d_found_ + t * cell_.values_width + i * K,
                         turned_ + i * head, by_query_, Faded<R>{cell_.decay(row, i)});
          std::memcpy(asked_ + t * cell_.values_width + i * K, by_query_, K * sizeof(R));
        }
      }
    }
    // Through S_t = a_t S_{t-1} + k~_t v_t^T, with N the gradient by S_t: N += q dr^T, dv = N^T k~,
    // dk~ = N v. By log a_t it is <N, a_t S_{t-1}>, which is q . dq - k~ . dk~ and the same of the
    // next step, if it is one of the same trial.
    void memory_back(const Of& of, Layer& layer) {
      const Size K = cell_.keys, V = cell_.values, heads = cell_.heads, width = cell_.keys_width;
      R *d_memory = layer.d_memory, *d_turned = turned_;  // N of each head, and its transpose
      std::memset(d_memory, 0, cell_.square * sizeof(R));
      std::memset(d_turned, 0, cell_.square * sizeof(R));
      for (Size i = 0; i < heads; i++) fade_[i] = by_decay_[i] = 0;
      for (Size t = cell_.steps - 1; t >= 0; t--) {
        const R *row = mixed(of, t), *q = cell_.active(), *k = q + V;
        R* d = d_mixed_ + t * cell_.mixes_width;
        cell_.activate(row);
        for (Size i = 0; i < heads; i++) {
          const Size at = i * K, lines = i * K * width;
          const R written = cell_.written(row, i), decay = cell_.decay(row, i);
          const R by_q = cell_.one_over(q + at), by_k = cell_.one_over(k + at);
          cell_.head(row, i, query_, key_, value_);
          std::memcpy(by_read_, d_found_ + t * cell_.values_width + at, K * sizeof(R));
          // N = a' N' + q dr^T, dv = N^T k~, and in its transpose dk~ = N v
          const Faded<R> fade{fade_[i]};
          write_and_read(K, width, query_, by_read_, key_, d_memory + lines, by_value_, fade);
          write_and_read(K, width, by_read_, query_, value_, d_turned + lines, by_key_, fade);
          std::memcpy(d + 2 * V + at, by_value_, K * sizeof(R));
          // log a = log sigmoid(z)
          const R* by_query = asked_ + t * cell_.values_width + at;
          by_decay_[i] += dot(K, query_, by_query) - dot(K, key_, by_key_);
          d[4 * V + i] = begins(t) ? 0 : by_decay_[i] * (1 - decay);
          fade_[i] = begins(t) ? 0 : decay;
          if (begins(t)) by_decay_[i] = 0;
          // k~ = sigmoid(u) k
          d[4 * V + heads + i] = dot(K, by_key_, k + at) * by_k * written * (1 - written);
          lengths_back(row + at, q + at, by_q, by_query, R(1), d + at);
          lengths_back(row + V + at, k + at, by_k, by_key_, written, d + V + at);
        }
      }
      // by S_{-1}: a_0 N
      for (Size i = 0; i < heads; i++)
        for (Size j = i * K * width; j < (i + 1) * K * width; j++) d_memory[j] *= fade_[i];
    }

    // u = y / |y|, y = silu(m), scale 1 / |y|: with du = `factor` d, dm = (du - u (u . du)) / |y|
    // silu'(m); a length below the least that is divided by does not change what it is divided by.
    void lengths_back(const R* m, const R* y, R scale, const R* d, R factor, R* out) const {
      const Size K = cell_.keys;
      const bool least = dot(K, y, y) < R(1e-12);
      const R along = least ? R(0) : dot(K, y, d) * factor * scale * scale;
      for (Size j = 0; j < K; j++)
        out[j] = (d[j] * factor - y[j] * along) * scale * silu_slope(m[j]);
    }

    const LinearAttention& cell_;
    std::vector<Layer> layers_;
    Size b_ = 0;
    const std::uint8_t* starts_ = nullptr;
    Packed<R> embed_;  // transposed
    Gradient<R> d_embed_, d_embed_bias_, d_last_gain_, d_last_bias_;
    R *de_, *ds_, *rows_, *d_found_, *asked_, *wide_, *d_wide_, *d_mixed_;  // [T, ...]
    R* turned_;                                                            // S^T, or N^T
    R *n_, *dn_;                                                           // [H]
    R *query_, *key_, *value_, *by_read_, *by_query_, *by_key_, *by_value_, *dx_;
    R *fade_, *by_decay_;  // of each head: a of the next step, 0 where that begins a trial; the
                           // gradient by log a of all later steps of this trial
  };

 private:
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
  R* embed_bias_;
  R *outputs_, *rows_, *wide_;                        // [T, B, H], [GROUP, ...]
  R *active_, *query_, *key_, *value_, *found_;       // of one sequence
};

}  // namespace metarl
