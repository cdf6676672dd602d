// Causal attention over the trial, as a mixer of residual blocks: see metarl/nn/transformer.py.
//
//     q, k, v,  split into heads;  q~ = R(p) q / sqrt(K),  k~ = R(p) k
//     w_s = exp(q~_t . k~_s - z_t),  z_t the logarithm of their sum over the steps of the trial so far
//     found_t = sum_s w_s v_s
//
// where R(p) turns pairs (k, k + K/2) by the position p of a step in its trial. Keys and values of
// all steps are kept: of a sequence they lie side by side, keys transposed, so that a step looks at
// many entries at once. The way back goes through one trial after the other, some rows at a time.
#pragma once
#include "block_cell.h"

namespace metarl {

template <class R> class AttentionMixer {
 public:
  // Sequences whose caches stay near while they go through all their steps.
  static constexpr Size GROUP = 6;
  static Size keys_of(Size hidden, Size heads) { return 2 * ((hidden + 2 * heads - 1) / (2 * heads)); }
  static Size mixed_of(Size, Size values) { return 3 * values; }

  struct Layer {
    Kept<R> found;  // [B, V]
    Kept<R> sums;   // z of each head, [B, heads]
    R* keys;        // k~, [B, heads, K, long]
    R* values;      // [B, heads, T, padded(K)]
  };

  // A row of as many numbers as there are steps has room for a vector that begins at any of them.
  explicit AttentionMixer(const Heads& of)
      : of(of),
        length(padded<R>(of.steps) + lanes<R>()),
        keys_size(of.keys * length),
        values_size(of.steps * of.keys_width) {}
  void take(Layer& layer, const Shape& shape, Pieces<R>& trace) const {
    layer.found.take(shape, of.values_width, trace);
    layer.sums.take(shape, padded<R>(of.count), trace);
    layer.keys = trace.take(of.batch * of.count * keys_size);
    layer.values = trace.take(of.batch * of.count * values_size);
  }
  void take(Pieces<R>& weights, Pieces<R>& trace) {
    cosines_ = weights.take(of.steps * of.keys / 2);
    sines_ = weights.take(of.steps * of.keys / 2);
    seen_ = trace.take(of.batch);
    scores_ = trace.take(length);
  }
  // Cosines and sines of all positions: pair i turns once in 2 pi 10000^(i / pairs) steps.
  void prepare() {
    const Size pairs = of.keys / 2;
    for (Size i = 0; i < pairs; i++) {
      const double speed = std::pow(10000., -double(i) / double(pairs));
      for (Size p = 0; p < of.steps; p++) {
        cosines_[p * pairs + i] = R(std::cos(double(p) * speed));
        sines_[p * pairs + i] = R(std::sin(double(p) * speed));
      }
    }
  }

  const Heads of;
  const Size length, keys_size, values_size;  // of a row of steps; of a head's keys and values

  // Steps of the trial before the next one, which a start makes 0; one number for all layers.
  template <class Layers> std::vector<Rows<R>> states(const Layers&, Size) const {
    return {{seen_, 1, 1}};
  }
  template <class Layers> std::vector<Cache<R>> caches(const Layers& layers) const {
    std::vector<Cache<R>> all;
    for (const auto& layer : layers)
      all.push_back({layer.own.keys, of.count * keys_size, of.count, keys_size, 1, of.keys, length});
    for (const auto& layer : layers)
      all.push_back({layer.own.values, of.count * values_size, of.count, values_size, of.keys_width,
                     of.keys, 1});
    return all;
  }
  R* keys_at(const Layer& layer, Size b, Size i) const {
    return layer.keys + (b * of.count + i) * keys_size;
  }
  R* values_at(const Layer& layer, Size b, Size i) const {
    return layer.values + (b * of.count + i) * values_size;
  }

  // From what a step mixes of sequence b, whose queries and keys are turned, to what is found, [V].
  void step(const Layer& layer, Size t, Size b, R* row, R* out) const {
    const Size K = of.keys, V = of.values, seen = Size(seen_[b]);
    const Size position = seen < t ? seen : t, begin = t - position;  // there is nothing before
    R *found = layer.found(t) + b * of.values_width, *sums = layer.sums(t) + b * padded<R>(of.count);
    const R scale = 1 / std::sqrt(R(K));
    for (Size i = 0; i < of.count; i++) {
      R *query = row + i * K, *key = query + V, *value = key + V;
      R *keys = keys_at(layer, b, i), *values = values_at(layer, b, i);
      turn(position, query, R(1)), turn(position, key, R(1));
      for (Size k = 0; k < K; k++) query[k] *= scale, keys[k * length + t] = key[k];
      std::memcpy(values + t * of.keys_width, value, K * sizeof(R));
      sums[i] = attend(position + 1, query, keys + begin, values + begin * of.keys_width,
                       found + i * K);
    }
    std::memcpy(out, found, V * sizeof(R));
  }
  void done(Size first, Size count) const {
    for (Size b = first; b < first + count; b++) seen_[b] += 1;
  }
  void say(const Layer& layer, Size t, Size b, const R*, R* out) const {
    std::memcpy(out, layer.found(t) + b * of.values_width, of.values * sizeof(R));
  }

  // Pairs of one head at a position: turned, or turned back where `way` is -1.
  void turn(Size position, R* x, R way) const {
    const Size pairs = of.keys / 2;
    const R *c = cosines_ + position * pairs, *s = sines_ + position * pairs;
    METARL_VECTORISE
    for (Size i = 0; i < pairs; i++) {
      const R first = x[i], second = x[pairs + i], sine = way * s[i];
      x[i] = first * c[i] - second * sine;
      x[pairs + i] = first * sine + second * c[i];
    }
  }

  // The way back through one sequence, for which all steps are kept. With w and z of the rows of a
  // trial, d = dfound:  dv_s = sum_t w_ts d_t,  e_ts = w_ts (d_t . v_s - d_t . found_t),
  // dq~_t = sum_s e_ts k~_s,  dk~_s = sum_t e_ts q~_t.
  class Back {
   public:
    Back(const AttentionMixer& mixer, Size, Pieces<R>& work) : mixer_(mixer), of(mixer.of) {
      for (R** rows : {&queries_, &keys_, &d_, &d_queries_, &d_keys_, &d_values_})
        *rows = work.take(of.steps * of.keys_width);
      values_ = work.take(mixer.keys_size);
      for (R** rows : {&weights_, &errors_}) *rows = work.take(ROWS * mixer.length);
    }

    // From the gradient by what was found, d_found [T, padded(V)], to that by what was mixed,
    // d_mixed [T, padded(M)]; rows of `mixed` are B of them apart.
    void sequence(const Layer& layer, Size, Size b, const std::uint8_t* starts, const R* mixed,
                  const R* d_found, R* d_mixed) {
      const Size T = of.steps, K = of.keys, V = of.values, width = of.keys_width;
      for (Size i = 0; i < of.count; i++) {
        arrange(layer, b, i, mixed, d_found);
        for (Size begin = 0, end; begin < T; begin = end) {
          for (end = begin + 1; end < T && !(starts && starts[end * of.batch + b]); end++) {
          }
          for (R* rows : {d_keys_, d_values_})
            std::memset(rows + begin * width, 0, (end - begin) * width * sizeof(R));
          for (Size t = begin; t < end; t += ROWS)
            rows_back(layer, b, i, begin, t, t + ROWS < end ? ROWS : end - t);
          for (Size t = begin; t < end; t++) {
            R *by_query = d_mixed + t * of.mixes_width + i * K, *by_key = by_query + V;
            copy_scaled(d_queries_ + t * width, 1 / std::sqrt(R(K)), by_query);
            copy_scaled(d_keys_ + t * width, R(1), by_key);
            mixer_.turn(t - begin, by_query, R(-1)), mixer_.turn(t - begin, by_key, R(-1));
            std::memcpy(by_key + V, d_values_ + t * width, K * sizeof(R));
          }
        }
      }
    }
    // No gradient goes by the number of steps before.
    void store_states(R* const* by_states, Size b) const { by_states[0][b] = 0; }

   private:
    static constexpr Size ROWS = 24;  // that are worked on together

    // q~, k~ and d of head i by rows [T, padded(K)], zero from K on, and v transposed [K, long].
    void arrange(const Layer& layer, Size b, Size i, const R* mixed, const R* d_found) {
      const Size T = of.steps, K = of.keys, width = of.keys_width, length = mixer_.length;
      const R *keys = mixer_.keys_at(layer, b, i), *values = mixer_.values_at(layer, b, i);
      for (Size t = 0; t < T; t++) {
        const R* query = mixed + t * of.batch * of.mixes_width + i * K;
        const R* d = d_found + t * of.values_width + i * K;
        for (Size k = 0; k < width; k++) {
          const bool within = k < K;
          queries_[t * width + k] = within ? query[k] : 0;
          d_[t * width + k] = within ? d[k] : 0;
          keys_[t * width + k] = within ? keys[k * length + t] : 0;
        }
        for (Size k = 0; k < K; k++) values_[k * length + t] = values[t * width + k];
      }
    }
    // Through the rows [first, first + count) of a trial, which look at entries from `begin` on.
    void rows_back(const Layer& layer, Size b, Size i, Size begin, Size first, Size count) {
      const Size K = of.keys, width = of.keys_width, length = mixer_.length;
      const Size entries = first + count - begin, wide = padded<R>(entries);
      const R *queries = queries_ + first * width, *d = d_ + first * width;
      product<R>(count, wide, K, {queries, width, 1},
                 {mixer_.keys_at(layer, b, i) + begin, length}, weights_, length, false);
      product<R>(count, wide, K, {d, width, 1}, {values_ + begin, length}, errors_, length, false);
      for (Size r = 0; r < count; r++) {
        const Size t = first + r, n = t - begin + 1;
        const R sum = layer.sums(t)[b * padded<R>(of.count) + i];
        const R along = dot(K, d + r * width, layer.found(t) + b * of.values_width + i * K);
        R *w = weights_ + r * length, *e = errors_ + r * length;
        METARL_VECTORISE
        for (Size s = 0; s < n; s++) w[s] = exponential(w[s] - sum), e[s] = w[s] * (e[s] - along);
        for (Size s = n; s < entries; s++) w[s] = e[s] = 0;  // later steps
      }
      product<R>(entries, width, count, {weights_, 1, length}, {d, width},
                 d_values_ + begin * width, width, true);
      product<R>(entries, width, count, {errors_, 1, length}, {queries, width},
                 d_keys_ + begin * width, width, true);
      product<R>(count, width, entries, {errors_, length, 1}, {keys_ + begin * width, width},
                 d_queries_ + first * width, width, false);
    }
    void copy_scaled(const R* from, R scale, R* to) const {
      for (Size k = 0; k < of.keys; k++) to[k] = from[k] * scale;
    }

    const AttentionMixer& mixer_;
    const Heads of;
    R *queries_, *keys_, *d_, *d_queries_, *d_keys_, *d_values_;  // of one head, [T, padded(K)]
    R *values_, *weights_, *errors_;                              // [K, long], [ROWS, long] twice
  };

 private:
  // out [K] = sum_s w_s v_s over n entries; returns z.
  R attend(Size n, const R* query, const R* keys, const R* values, R* out) const {
    R* w = scores_;
    stripes<R, 8, 4, 2, 1>(padded<R>(n), [&](auto vectors, Size s) {
      constexpr int VECTORS = decltype(vectors)::value;
      Vector<R> sum[VECTORS]{};
      for (Size k = 0; k < of.keys; k++)
        METARL_UNROLL
        for (int v = 0; v < VECTORS; v++)
          sum[v] += query[k] * load(keys + k * length + s + v * lanes<R>());
      METARL_UNROLL
      for (int v = 0; v < VECTORS; v++) store<R>(w + s + v * lanes<R>(), sum[v]);
    });
    const R most = greatest(n, w);
    METARL_VECTORISE
    for (Size s = 0; s < n; s++) w[s] = exponential(w[s] - most);
    const R sum = sum_of(n, w);
    stripes<R, 2, 1>(of.keys_width, [&](auto vectors, Size k) {
      constexpr int VECTORS = decltype(vectors)::value;
      add_up<VECTORS>(n, w, values + k, 1 / sum, of.keys - k, out + k);
    });
    return most + std::log(sum);
  }
  // out [columns] = scale * sum_s w_s v_s, of so many vectors of v; four sums take turns.
  template <int VECTORS>
  void add_up(Size n, const R* w, const R* values, R scale, Size columns, R* out) const {
    constexpr int TURNS = 4;
    Vector<R> sum[TURNS][VECTORS]{};
    Size s = 0;
    for (; s + TURNS <= n; s += TURNS, values += TURNS * of.keys_width)
      METARL_UNROLL
      for (int i = 0; i < TURNS; i++)
        METARL_UNROLL
        for (int v = 0; v < VECTORS; v++)
          sum[i][v] += w[s + i] * load(values + i * of.keys_width + v * lanes<R>());
    for (; s < n; s++, values += of.keys_width)
      METARL_UNROLL
      for (int v = 0; v < VECTORS; v++) sum[0][v] += w[s] * load(values + v * lanes<R>());
    R whole[VECTORS * lanes<R>()];
    METARL_UNROLL
    for (int v = 0; v < VECTORS; v++)
      store<R>(whole + v * lanes<R>(),
               scale * ((sum[0][v] + sum[1][v]) + (sum[2][v] + sum[3][v])));
    const Size there = VECTORS * lanes<R>();
    std::memcpy(out, whole, (columns < there ? columns : there) * sizeof(R));
  }
  // The largest of n numbers; one that is not a number may be passed by.
  static R greatest(Size n, const R* w) {
    R most = w[0];
    Size s = 0;
    if (n >= lanes<R>()) {
      Vector<R> large = load(w);
      for (; s + lanes<R>() <= n; s += lanes<R>()) {
        const Vector<R> next = load(w + s);
        large = next > large ? next : large;
      }
      for (Size j = 0; j < lanes<R>(); j++) most = large[j] > most ? large[j] : most;
    }
    for (; s < n; s++) most = w[s] > most ? w[s] : most;
    return most;
  }

  R *cosines_, *sines_;  // [T, K / 2]
  R *seen_, *scores_;    // [B], [long]
};

template <class R> using Transformer = BlockCell<R, AttentionMixer<R>>;

}  // namespace metarl
