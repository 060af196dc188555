// Batch normalisation, neuron and max pooling: the way forward.
#include "block.h"

namespace snnfer {
namespace {

constexpr int64_t TILE = 2048;  // values: potentials before and after the reset stay in the first-level cache

template <typename F>
struct Forward {
    const F *y, *v0, *rates;  // v0 null: at rest
    Norm<F> norm;
    F *spikes, *last;  // last null: not wanted
};

// Whether any neuron of a window fires. POOL 0: any size, known at run time.
template <typename F, int POOL>
void pool_row(const F *h, int64_t row_stride, F *out, F threshold, int64_t pool, int64_t windows, int64_t channels) {
    if (POOL == 1) {
        SNNFER_VECTOR
        for (int64_t i = 0; i < windows * channels; ++i) out[i] = h[i] >= threshold ? F(1) : F(0);
        return;
    }
    const int64_t side = POOL ? POOL : pool;
    for (int64_t w = 0; w < windows; ++w, h += side * channels, out += channels) {
        if (POOL == 2) {
            const F *below = h + row_stride;
            SNNFER_VECTOR
            for (int64_t c = 0; c < channels; ++c) {
                const bool upper = (h[c] >= threshold) | (h[channels + c] >= threshold);
                const bool lower = (below[c] >= threshold) | (below[channels + c] >= threshold);
                out[c] = upper | lower ? F(1) : F(0);
            }
            continue;
        }
        std::fill(out, out + channels, F(0));
        for (int64_t r = 0; r < side; ++r)
            for (int64_t q = 0; q < side; ++q) {
                const F *at = h + r * row_stride + q * channels;
                SNNFER_VECTOR
                for (int64_t c = 0; c < channels; ++c) out[c] = at[c] >= threshold ? F(1) : out[c];
            }
    }
}

template <typename F>
using PoolRow = void (*)(const F *, int64_t, F *, F, int64_t, int64_t, int64_t);

template <typename F>
void forward(const Forward<F> &a, const BlockSettings &s, const Settings &settings, int n_threads) {
    const Neuron<F> neuron(settings);
    const Tiling tiling(s, TILE);
    const Terms<F> terms(s, a.norm, a.rates, settings, tiling.run());
    const auto charge = choose_charge_row<F>(settings);
    const PoolRow<F> pool = s.pool == 1 ? pool_row<F, 1> : s.pool == 2 ? pool_row<F, 2> : pool_row<F, 0>;
    const int64_t run = tiling.run(), stride = tiling.row_stride();
    const int n_useful = useful_threads(n_threads, s.steps * tiling.in_step);
    parallel_shares(tiling.n_tiles, n_useful, [&](int64_t first, int64_t last) {
        std::vector<F> v(s.pool * run), h(s.pool * run);
        for (int64_t index = first; index < last; ++index) {
            const Tile tile = tiling.tile(index);
            for (int64_t r = 0; r < tile.rows; ++r) {
                const F *start = a.v0 + tile.input + r * stride;
                if (a.v0) std::copy(start, start + tile.run, v.data() + r * run);
                else std::fill_n(v.data() + r * run, tile.run, neuron.rest);
            }
            for (int64_t t = 0; t < s.steps; ++t) {
                const F *y = a.y + t * tiling.in_step + tile.input;
                for (int64_t r = 0; t + 1 < s.steps && r < tile.rows; ++r)
                    prefetch(y + tiling.in_step + r * stride, tile.run);
                for (int64_t r = 0; r < tile.rows; ++r)
                    charge(y + r * stride, terms.scale.data(), terms.shift.data(), terms.rates.data(),
                           v.data() + r * run, h.data() + r * run, neuron, tile.run);
                pool(h.data(), run, a.spikes + t * tiling.out_step + tile.output, neuron.threshold, s.pool, tile.pooled,
                     s.channels);
            }
            for (int64_t r = 0; a.last && r < tile.rows; ++r)
                std::copy_n(v.data() + r * run, tile.run, a.last + tile.input + r * stride);
        }
    });
}

}  // namespace
}  // namespace snnfer

#define SNNFER_BLOCK_FORWARD(F, suffix)                                                                               \
    SNNFER_EXPORT void SNNFER_NAME(block_forward_##suffix)(                                                           \
        const F *y, const F *mean, const F *spread, const F *weight, const F *bias, const F *v0, const F *rates,      \
        F *spikes, F *last, const snnfer::BlockSettings *block, const snnfer::Settings *neuron, int n_threads) {      \
        snnfer::forward<F>({y, v0, rates, {mean, spread, weight, bias}, spikes, last}, *block, *neuron, n_threads);   \
    }

SNNFER_BLOCK_FORWARD(float, f32)
SNNFER_BLOCK_FORWARD(double, f64)
