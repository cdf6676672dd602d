// Linear attention that decays, as a mixer of residual blocks: see metarl/nn/linear_attention.py.
//
//     q, k, v, g, z, u,  split into heads
//     k~ = b k,  a = sigmoid(z),  b = sigmoid(u);  q and k are silu'd and of length 1
//     S_t = a_t S_{t-1} + k~_t v_t^T,   r_t = S_t^T q_t
//     found = r / |r|' * silu(g),  |r|' the root of the mean square
//
// Only S runs through time, and it is not kept: the way back through one sequence goes once forwards
// with S, for the gradients by queries, and once backwards with the gradient by S.
#pragma once
#include "block_cell.h"
#include "outer.h"

namespace metarl {

template <class R> class LinearMixer {
 public:
  static constexpr Size GROUP = 24;
  static Size keys_of(Size hidden, Size heads) { return (hidden + heads - 1) / heads; }
  static Size mixed_of(Size heads, Size values) { return 4 * values + 2 * heads; }

  struct Layer {
    Kept<R> read;  // r, [B, V]
    R* memories;   // [2, B, heads K, padded(K)]
  };

  explicit LinearMixer(const Heads& of) : of(of), square(of.values * of.keys_width) {}
  void take(Layer& layer, const Shape& shape, Pieces<R>& trace) const {
    layer.read.take(shape, of.values_width, trace);
    layer.memories = trace.take((of.kept + 1) * of.batch * square);
  }
  void take(Pieces<R>&, Pieces<R>& trace) {
    active_ = trace.take(4 * of.values);
    for (R** row : {&query_, &key_, &value_, &found_}) *row = trace.take(of.keys_width);
  }
  void prepare() {}

  const Heads of;
  const Size square;  // of S, padded

  // S of a layer before step t, which only the first step leaves as it is.
  R* memories(const Layer& layer, Size t) const {
    return layer.memories + (of.kept && t ? of.batch * square : 0);
  }
  template <class Layers> std::vector<Rows<R>> states(const Layers& layers, Size t) const {
    std::vector<Rows<R>> all;
    for (const auto& layer : layers)
      all.push_back({memories(layer.own, t), square, of.keys, of.values, of.keys_width, of.steps});
    return all;
  }
  template <class Layers> std::vector<Cache<R>> caches(const Layers&) const { return {}; }

  // From what a step mixes of sequence b to what is found, [V].
  void step(const Layer& layer, Size t, Size b, const R* row, R* out) const {
    const R* from = memories(layer, t) + b * square;
    R *memory = memories(layer, t + 1) + b * square, *read = layer.read(t) + b * of.values_width;
    if (memory != from) std::memcpy(memory, from, square * sizeof(R));
    activate(row);
    for (Size i = 0; i < of.count; i++) {
      head(row, i, query_, key_, value_);
      write_and_read(of.keys, of.keys_width, key_, value_, query_,
                     memory + i * of.keys * of.keys_width, found_, Faded<R>{decay(row, i)});
      std::memcpy(read + i * of.keys, found_, of.keys * sizeof(R));
    }
    say(read, out);
  }
  void done(Size, Size) const {}
  void say(const Layer& layer, Size t, Size b, const R* row, R* out) const {
    activate(row);
    say(layer.read(t) + b * of.values_width, out);
  }

  // The way back through one sequence, for which all steps are kept.
  class Back {
   public:
    Back(const LinearMixer& mixer, Size layers, Pieces<R>& work)
        : mixer_(mixer), of(mixer.of), d_memories_(layers) {
      for (R*& d_memory : d_memories_) d_memory = work.take(mixer.square);
      asked_ = work.take(of.steps * of.values_width);
      turned_ = work.take(mixer.square);
      for (R** row : {&query_, &key_, &value_, &by_read_, &by_query_, &by_key_, &by_value_})
        *row = work.take(of.keys_width);
      for (R** number : {&fade_, &by_decay_}) *number = work.take(of.count);
    }

    // From the gradient by what was found, d_found [T, padded(V)], which is written over, to that by
    // what was mixed, d_mixed [T, padded(M)], of layer l; rows of `mixed` are B of them apart.
    void sequence(const Layer& layer, Size l, Size b, const std::uint8_t* starts, const R* mixed,
                  R* d_found, R* d_mixed) {
      b_ = b, starts_ = starts, mixed_ = mixed, d_found_ = d_found, d_mixed_ = d_mixed;
      std::memset(by_read_, 0, of.keys_width * sizeof(R));  // what pads it is multiplied too
      reads_back(layer);
      queries_back(layer);
      memory_back(d_memories_[l]);
    }
    // By the memories before the first step: S [heads K, K] of each layer.
    void store_states(R* const* by_states, Size b) const {
      const Size numbers = of.values * of.keys;
      for (std::size_t l = 0; l < d_memories_.size(); l++)
        copy(of.values, of.keys, d_memories_[l], of.keys_width, by_states[l] + b * numbers, of.keys);
    }

   private:
    bool begins(Size t) const { return starts_ && starts_[t * of.batch + b_]; }
    const R* mixed(Size t) const { return mixed_ + t * of.batch * of.mixes_width; }

    // found = r s silu(g),  s = 1 / |r|':  with y = dfound silu(g),
    // dr = s (y - r s^2 mean(r y)),  dg = dfound r s silu'(g); dr takes the place of dfound.
    void reads_back(const Layer& layer) {
      const Size K = of.keys, V = of.values;
      for (Size t = 0; t < of.steps; t++) {
        const R *r = layer.read(t) + b_ * of.values_width, *gate = mixed(t) + 3 * V;
        R *d = d_found_ + t * of.values_width, *d_gate = d_mixed_ + t * of.mixes_width + 3 * V;
        for (Size i = 0; i < of.count; i++) {
          const R s = mixer_.loudness(r + i * K);
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
    void queries_back(const Layer& layer) {
      const Size K = of.keys, width = of.keys_width, head = K * width;
      const R* memory = mixer_.memories(layer, 0) + b_ * mixer_.square;
      std::memset(turned_, 0, mixer_.square * sizeof(R));
      for (Size i = 0; i < of.count; i++)
        for (Size k = 0; k < K; k++)
          for (Size j = 0; j < K; j++)
            turned_[i * head + j * width + k] = memory[i * head + k * width + j];
      for (Size t = 0; t < of.steps; t++) {
        const R* row = mixed(t);
        if (begins(t)) std::memset(turned_, 0, mixer_.square * sizeof(R));
        mixer_.activate(row);
        for (Size i = 0; i < of.count; i++) {
          mixer_.head(row, i, query_, key_, value_);
          write_and_read(K, width, value_, key_, d_found_ + t * of.values_width + i * K,
                         turned_ + i * head, by_query_, Faded<R>{mixer_.decay(row, i)});
          std::memcpy(asked_ + t * of.values_width + i * K, by_query_, K * sizeof(R));
        }
      }
    }
    // Through S_t = a_t S_{t-1} + k~_t v_t^T, with N the gradient by S_t: N += q dr^T, dv = N^T k~,
    // dk~ = N v. By log a_t it is <N, a_t S_{t-1}>, which is q . dq - k~ . dk~ and the same of the
    // next step, if it is one of the same trial.
    void memory_back(R* d_memory) {
      const Size K = of.keys, V = of.values, heads = of.count, width = of.keys_width;
      R* d_turned = turned_;  // N of each head is in d_memory, and its transpose here
      std::memset(d_memory, 0, mixer_.square * sizeof(R));
      std::memset(d_turned, 0, mixer_.square * sizeof(R));
      for (Size i = 0; i < heads; i++) fade_[i] = by_decay_[i] = 0;
      for (Size t = of.steps - 1; t >= 0; t--) {
        const R *row = mixed(t), *q = mixer_.active_, *k = q + V;
        R* d = d_mixed_ + t * of.mixes_width;
        mixer_.activate(row);
        for (Size i = 0; i < heads; i++) {
          const Size at = i * K, lines = i * K * width;
          const R written = mixer_.written(row, i), decay = mixer_.decay(row, i);
          const R by_q = mixer_.one_over(q + at), by_k = mixer_.one_over(k + at);
          mixer_.head(row, i, query_, key_, value_);
          std::memcpy(by_read_, d_found_ + t * of.values_width + at, K * sizeof(R));
          // N = a' N' + q dr^T, dv = N^T k~, and in its transpose dk~ = N v
          const Faded<R> fade{fade_[i]};
          write_and_read(K, width, query_, by_read_, key_, d_memory + lines, by_value_, fade);
          write_and_read(K, width, by_read_, query_, value_, d_turned + lines, by_key_, fade);
          std::memcpy(d + 2 * V + at, by_value_, K * sizeof(R));
          // log a = log sigmoid(z)
          const R* by_query = asked_ + t * of.values_width + at;
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
      const Size K = of.keys;
      const bool least = dot(K, y, y) < R(1e-12);
      const R along = least ? R(0) : dot(K, y, d) * factor * scale * scale;
      for (Size j = 0; j < K; j++)
        out[j] = (d[j] * factor - y[j] * along) * scale * silu_slope(m[j]);
    }

    const LinearMixer& mixer_;
    const Heads of;
    std::vector<R*> d_memories_;  // by S of each layer, [heads K, padded(K)]
    Size b_ = 0;
    const std::uint8_t* starts_ = nullptr;
    const R* mixed_ = nullptr;
    R *d_found_ = nullptr, *d_mixed_ = nullptr;
    R *asked_, *turned_;  // the gradient by q [T, V]; S^T, or N^T
    R *query_, *key_, *value_, *by_read_, *by_query_, *by_key_, *by_value_;
    R *fade_, *by_decay_;  // of each head: a of the next step, 0 where that begins a trial; the
                           // gradient by log a of all later steps of this trial
  };

 private:
  // silu of q, k and g of one row, and v: [4 V].
  void activate(const R* row) const {
    R* out = active_;
    const Size asked = 2 * of.values, valued = 3 * of.values, all = 4 * of.values;
    METARL_VECTORISE
    for (Size j = 0; j < asked; j++) out[j] = silu(row[j]);
    std::memcpy(out + asked, row + asked, of.values * sizeof(R));
    METARL_VECTORISE
    for (Size j = valued; j < all; j++) out[j] = silu(row[j]);
  }
  R decay(const R* row, Size i) const { return sigmoid(row[4 * of.values + i]); }
  R written(const R* row, Size i) const { return sigmoid(row[4 * of.values + of.count + i]); }
  // 1 over the length that q or k of head i is divided by.
  R one_over(const R* part) const {
    const R length = std::sqrt(dot(of.keys, part, part));
    return 1 / (length > R(1e-6) || length != length ? length : R(1e-6));
  }
  // q, k~ and v of head i of an active row, [padded(K)] each.
  void head(const R* row, Size i, R* query, R* key, R* value) const {
    const R *q = active_ + i * of.keys, *k = q + of.values, *v = k + of.values;
    const R by_q = one_over(q), by_k = one_over(k) * written(row, i);
    for (Size j = 0; j < of.keys; j++)
      query[j] = q[j] * by_q, key[j] = k[j] * by_k, value[j] = v[j];
    for (Size j = of.keys; j < of.keys_width; j++) query[j] = key[j] = value[j] = 0;
  }
  // 1 / |r|' of one head.
  R loudness(const R* read) const {
    return 1 / std::sqrt(dot(of.keys, read, read) / R(of.keys) + R(1e-5));
  }
  // r / |r|' * silu(g) of the row that is active.
  void say(const R* read, R* out) const {
    const R* gate = active_ + 3 * of.values;
    for (Size i = 0; i < of.count; i++) {
      const R scale = loudness(read + i * of.keys);
      METARL_VECTORISE
      for (Size j = i * of.keys; j < (i + 1) * of.keys; j++) out[j] = read[j] * scale * gate[j];
    }
  }

  R *active_, *query_, *key_, *value_, *found_;  // of one sequence
};

template <class R> using LinearAttention = BlockCell<R, LinearMixer<R>>;

}  // namespace metarl
