// The block behind a convolution: batch normalisation, neuron, max pooling of the spikes, on [T, N, H, W, C] (channels
// last). It is cut into tiles that keep their neurons over all steps in the cache: `pool` rows of pixels, some columns.
#pragma once
#include "dynamics.h"

namespace snnfer {

// None, a given mean and variance, mean and 1 / deviation of the batch.
enum NormKind { NORM_NONE, NORM_STORED, NORM_BATCH };

// Mirrored by _block_cpu.py: keep the order.
struct BlockSettings {
    int64_t steps, samples, channels, height, width, pool;
    double eps;
    int32_t norm;
};

// a * b + c rounded once where the processor can, as torch's batch normalisation does.
template <typename F>
inline F multiply_add(F a, F b, F c) {
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
    return sizeof(F) == 4 ? static_cast<F>(__builtin_fmaf(a, b, c)) : static_cast<F>(__builtin_fma(a, b, c));
#else
    return a * b + c;
#endif
}

struct Tile {
    int64_t input, output;  // offsets of the first pixel within a step
    int64_t rows, run;      // rows of pixels; values in one of them
    int64_t pooled;         // windows in the tile
};

class Tiling {
  public:
    int64_t channels, pool, width, out_width, height, out_height, tile_columns, in_step, out_step, n_tiles;

    // Tiles of at most `most` values. Without pooling all pixels of a step are one row.
    Tiling(const BlockSettings &s, int64_t most) : channels(s.channels), pool(s.pool) {
        const bool flat = pool == 1;
        samples_ = flat ? 1 : s.samples;
        height = flat ? 1 : s.height;
        width = flat ? s.samples * s.height * s.width : s.width;
        out_height = height / pool;
        out_width = width / pool;
        const int64_t windows = std::max<int64_t>(1, most / (pool * pool * channels));
        tile_columns = pool * std::min(windows, (width + pool - 1) / pool);
        bands_ = (height + pool - 1) / pool;
        across_ = (width + tile_columns - 1) / tile_columns;
        in_step = samples_ * height * width * channels;
        out_step = samples_ * out_height * out_width * channels;
        n_tiles = samples_ * bands_ * across_;
    }

    int64_t run() const { return tile_columns * channels; }
    int64_t row_stride() const { return width * channels; }

    Tile tile(int64_t index) const {
        const int64_t column = index % across_ * tile_columns, band = index / across_ % bands_;
        const int64_t sample = index / across_ / bands_, columns = std::min(tile_columns, width - column);
        Tile tile;
        tile.rows = std::min(pool, height - band * pool);
        tile.run = columns * channels;
        tile.pooled = band < out_height ? columns / pool : 0;
        tile.input = ((sample * height + band * pool) * width + column) * channels;
        tile.output = ((sample * out_height + band) * out_width + column / pool) * channels;
        return tile;
    }

  private:
    int64_t samples_, bands_, across_;
};

template <typename F>
struct Norm {
    const F *mean, *spread;  // spread: variance (NORM_STORED) or 1 / deviation (NORM_BATCH)
    const F *weight, *bias;  // null: 1 and 0

    F inverse_deviation(int64_t c, const BlockSettings &s) const {
        return s.norm == NORM_STORED ? F(1) / std::sqrt(spread[c] + static_cast<F>(s.eps)) : spread[c];
    }
};

// What is the same for all pixels, repeated for as many values as one row of a tile has.
template <typename F>
struct Terms {
    std::vector<F> scale, shift, mean, rates, kept;

    Terms(const BlockSettings &s, const Norm<F> &norm, const F *channel_rates, const Settings &n, int64_t run)
        : scale(run, F(1)), shift(run, F(0)), mean(run, F(0)), rates(run), kept(run) {
        for (int64_t i = 0; i < run; ++i) {
            const int64_t c = i % s.channels;
            if (s.norm != NORM_NONE) {
                mean[i] = norm.mean[c];
                scale[i] = norm.inverse_deviation(c, s) * (norm.weight ? norm.weight[c] : F(1));
                shift[i] = multiply_add(-mean[i], scale[i], norm.bias ? norm.bias[c] : F(0));
            }
            rates[i] = n.leak == LEAK_NONE    ? F(0)
                       : n.leak == LEAK_TAU   ? static_cast<F>(1 / n.tau)
                       : n.leak == LEAK_RATES ? channel_rates[c]
                                              : static_cast<F>(n.rate);
            kept[i] = n.leak == LEAK_TAU ? static_cast<F>(1 - 1 / n.tau) : F(1) - rates[i];
        }
    }
};

// Potentials before the reset of one row of pixels in one step; goes on from `v` and leaves the next one there.
template <typename F>
using ChargeRow = void (*)(const F *y, const F *scale, const F *shift, const F *rates, F *v, F *h, Neuron<F> n,
                           int64_t count);

template <typename F, int LEAK, bool DECAY_INPUT, int RESET>
void charge_row(const F *y, const F *scale, const F *shift, const F *rates, F *v, F *h, Neuron<F> n, int64_t count) {
    SNNFER_VECTOR
    for (int64_t i = 0; i < count; ++i) {
        const F x = multiply_add(y[i], scale[i], shift[i]);
        const F potential = charged<F, LEAK, DECAY_INPUT, RESET != RESET_ZERO>(
            x, v[i], n, LEAK == LEAK_RATES ? rates[i] : n.rate);
        h[i] = potential;
        v[i] = after_reset<F, RESET>(potential, potential >= n.threshold, n);
    }
}

template <typename F, int LEAK, bool DECAY_INPUT>
ChargeRow<F> charge_row_by_reset(const Settings &s) {
    if (s.reset == RESET_SOFT) return charge_row<F, LEAK, DECAY_INPUT, RESET_SOFT>;
    if (s.reset == RESET_VALUE) return charge_row<F, LEAK, DECAY_INPUT, RESET_VALUE>;
    return charge_row<F, LEAK, DECAY_INPUT, RESET_ZERO>;
}

template <typename F, bool DECAY_INPUT>
ChargeRow<F> charge_row_by_leak(const Settings &s) {
    if (s.leak == LEAK_TAU) return charge_row_by_reset<F, LEAK_TAU, DECAY_INPUT>(s);
    if (s.leak == LEAK_RATE) return charge_row_by_reset<F, LEAK_RATE, DECAY_INPUT>(s);
    return charge_row_by_reset<F, LEAK_RATES, DECAY_INPUT>(s);
}

template <typename F>
ChargeRow<F> choose_charge_row(const Settings &s) {
    if (s.leak == LEAK_NONE) return charge_row_by_reset<F, LEAK_NONE, false>(s);
    return s.decay_input ? charge_row_by_leak<F, true>(s) : charge_row_by_leak<F, false>(s);
}

// A thread costs some 20 us to start: none for less than it computes in that time.
inline int useful_threads(int n_threads, int64_t n_values) {
    return static_cast<int>(std::min<int64_t>(n_threads, 1 + n_values / 65536));
}

}  // namespace snnfer
