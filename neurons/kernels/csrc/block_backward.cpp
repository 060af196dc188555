// Batch normalisation, neuron and max pooling: the way back. Potentials are computed again, tile by tile, into a
// scratch that stays in the second-level cache.
#include "block.h"
#include "pool_backward.h"

namespace snnfer {
namespace {

constexpr int64_t SCRATCH = 256 * 1024;  // bytes of potentials of a tile
constexpr int64_t MOST_VALUES = 2048;    // of a tile in one step
constexpr int64_t MOST_SHARES = 256;     // fixed, so that sums do not depend on the number of threads

template <typename F>
struct Backward {
    const F *y, *v0, *rates;  // v0 null: at rest
    Norm<F> norm;
    const F *grad_spikes, *grad_last;  // null: zero
    F *grad_y, *grad_v;                // null: not wanted. With NORM_BATCH grad_y is that of the normalised y
    double *sums;                      // per channel: of g, of g * (y - mean), of the gradient of the rate
    bool wants_rate;
};

template <typename F>
class BackwardTiles {
  public:
    BackwardTiles(const Backward<F> &a, const BlockSettings &s, const Settings &settings)
        : a_(a), s_(s), settings_(settings), neuron_(settings),
          tiling_(s, std::min(MOST_VALUES, SCRATCH / static_cast<int64_t>(sizeof(F)) / std::max<int64_t>(1, s.steps))),
          terms_(s, a.norm, a.rates, settings, tiling_.run()), charge_(choose_charge_row<F>(settings)) {
        // Where the reset is detached only the chosen neuron of a window needs the slope.
        const bool early = s.pool > 1 && settings.detach_reset;
        const int kind = settings.surrogate;
        row_ = choose_row_backward<F>(settings, early ? static_cast<int>(SLOPE_APPLIED) : kind, a.wants_rate);
        pool_ = choose_pool_backward<F>(early ? kind : static_cast<int>(SLOPE_APPLIED), s.pool);
        ones_.assign(tiling_.run(), F(1));
        large_ = s.steps * tiling_.in_step * static_cast<int64_t>(sizeof(F)) > LARGE;
        input_share_ = settings.decay_input && settings.leak != LEAK_NONE ? terms_.rates.data() : ones_.data();
    }

    int64_t n_tiles() const { return tiling_.n_tiles; }
    int64_t in_step() const { return tiling_.in_step; }

    // All tiles from first to last; adds their sums to `sums` [3, C].
    void run(int64_t first, int64_t last, double *sums) {
        Scratch k(s_.pool * tiling_.run(), s_);
        for (int64_t index = first; index < last; ++index) {
            const Tile tile = tiling_.tile(index);
            start(tile, k);
            for (int64_t t = s_.steps - 1; t >= 0; --t) step_back(tile, t, k);
            finish(tile, k, sums);
        }
        finish_streams();
    }

  private:
    struct Scratch {
        std::vector<F> h, v, start, carry, grad_spikes, grad_x, sum, product, grad_rate, chosen, taken;
        Scratch(int64_t n, const BlockSettings &s)
            : h(n * s.steps), v(n), start(n), carry(n), grad_spikes(n), grad_x(n), sum(n), product(n), grad_rate(n),
              chosen(s.channels), taken(s.channels) {}
    };

    // Potentials of all steps, from those at the start.
    void start(const Tile &tile, Scratch &k) const {
        const int64_t run = tiling_.run(), stride = tiling_.row_stride(), size = s_.pool * run;
        for (auto *zeroed : {&k.sum, &k.product, &k.grad_rate, &k.grad_spikes, &k.carry})
            std::fill(zeroed->begin(), zeroed->end(), F(0));
        for (int64_t r = 0; r < tile.rows; ++r) {
            const int64_t at = tile.input + r * stride;
            if (a_.v0) std::copy_n(a_.v0 + at, tile.run, k.start.data() + r * run);
            else std::fill_n(k.start.data() + r * run, tile.run, neuron_.rest);
            if (a_.grad_last) std::copy_n(a_.grad_last + at, tile.run, k.carry.data() + r * run);
        }
        k.v = k.start;
        for (int64_t t = 0; t < s_.steps; ++t) {
            const F *y = a_.y + t * tiling_.in_step + tile.input;
            for (int64_t r = 0; t + 1 < s_.steps && r < tile.rows; ++r)
                prefetch(y + tiling_.in_step + r * stride, tile.run);
            for (int64_t r = 0; r < tile.rows; ++r)
                charge_(y + r * stride, terms_.scale.data(), terms_.shift.data(),
                        terms_.rates.data(), k.v.data() + r * run, k.h.data() + t * size + r * run, neuron_, tile.run);
        }
    }

    void step_back(const Tile &tile, int64_t t, Scratch &k) const {
        const int64_t run = tiling_.run(), size = s_.pool * run;
        const F alpha = static_cast<F>(settings_.alpha);
        const F *h = k.h.data() + t * size;
        const int64_t out = t * tiling_.out_step + tile.output;
        const F *grad_spikes = a_.grad_spikes && tile.pooled ? a_.grad_spikes + out : nullptr;
        if (grad_spikes && t) prefetch(grad_spikes - tiling_.out_step, tile.pooled * s_.channels);
        for (int64_t r = 0; t && s_.norm != NORM_NONE && r < tile.rows; ++r)
            prefetch(a_.y + (t - 1) * tiling_.in_step + tile.input + r * tiling_.row_stride(), tile.run);
        if (grad_spikes && s_.pool > 1)
            pool_({h, grad_spikes, k.grad_spikes.data(), k.chosen.data(), k.taken.data(), run, s_.pool, tile.pooled,
                   s_.channels}, neuron_.threshold, alpha);
        for (int64_t r = 0; r < tile.rows; ++r) {
            const int64_t at = t * tiling_.in_step + tile.input + r * tiling_.row_stride(), o = r * run;
            Row<F> row;
            row.y = a_.y + at;
            row.scale = terms_.scale.data();
            row.shift = terms_.shift.data();
            row.h = h + o;
            row.previous = t ? h - size + o : k.start.data() + o;
            row.grad_spikes = grad_spikes && s_.pool == 1 ? grad_spikes : k.grad_spikes.data() + o;
            row.kept = terms_.kept.data();
            row.input_share = input_share_;
            row.carry = k.carry.data() + o;
            row.grad_x = k.grad_x.data() + o;
            row.grad_rate = k.grad_rate.data() + o;
            row.first_threshold = t ? neuron_.threshold : std::numeric_limits<F>::infinity();
            row.decay_input = settings_.decay_input;
            row_(row, neuron_, alpha, tile.run);
            add_row(row.y, row.grad_x, k.sum.data() + o, k.product.data() + o, a_.grad_y ? a_.grad_y + at : nullptr,
                    tile.run);
        }
    }

    // Adds a row to the sums of the normalisation, and writes it.
    void add_row(const F *y, F *g, F *sum, F *product, F *out, int64_t count) const {
        const F *mean = terms_.mean.data(), *scale = terms_.scale.data();
        if (s_.norm != NORM_NONE) {
            SNNFER_VECTOR
            for (int64_t i = 0; i < count; ++i) {
                sum[i] += g[i];
                product[i] += g[i] * (y[i] - mean[i]);
            }
        }
        if (!out) return;
        if (s_.norm == NORM_STORED) {
            SNNFER_VECTOR
            for (int64_t i = 0; i < count; ++i) g[i] *= scale[i];
        }
        if (large_) stream(g, out, count);
        else std::copy(g, g + count, out);
    }

    void finish(const Tile &tile, const Scratch &k, double *sums) const {
        const int64_t run = tiling_.run(), channels = s_.channels;
        for (int64_t r = 0; r < tile.rows; ++r) {
            if (a_.grad_v)
                std::copy_n(k.carry.data() + r * run, tile.run, a_.grad_v + tile.input + r * tiling_.row_stride());
            for (int64_t i = 0; i < tile.run; i += channels)
                for (int64_t c = 0; c < channels; ++c) {
                    sums[c] += k.sum[r * run + i + c];
                    sums[channels + c] += k.product[r * run + i + c];
                    sums[2 * channels + c] += k.grad_rate[r * run + i + c];
                }
        }
    }

    const Backward<F> &a_;
    const BlockSettings &s_;
    const Settings &settings_;
    Neuron<F> neuron_;
    Tiling tiling_;
    Terms<F> terms_;
    ChargeRow<F> charge_;
    RowBackward<F> row_;
    PoolBackward<F> pool_;
    std::vector<F> ones_;
    const F *input_share_;
    bool large_;
};

template <typename F>
void backward(const Backward<F> &a, const BlockSettings &s, const Settings &settings, int n_threads) {
    BackwardTiles<F> tiles(a, s, settings);
    const int64_t n_shares = std::min(MOST_SHARES, tiles.n_tiles()), width = 3 * s.channels;
    std::vector<double> sums(n_shares * width);
    parallel_blocks(n_shares, useful_threads(n_threads, s.steps * tiles.in_step()), [&](int64_t share) {
        const int64_t first = tiles.n_tiles() * share / n_shares, last = tiles.n_tiles() * (share + 1) / n_shares;
        tiles.run(first, last, sums.data() + share * width);
    });
    std::fill(a.sums, a.sums + width, 0.0);
    for (int64_t share = 0; share < n_shares; ++share)
        for (int64_t i = 0; i < width; ++i) a.sums[i] += sums[share * width + i];
}

}  // namespace
}  // namespace snnfer

#define SNNFER_BLOCK_BACKWARD(F, suffix)                                                                              \
    SNNFER_EXPORT void SNNFER_NAME(block_backward_##suffix)(                                                          \
        const F *y, const F *mean, const F *spread, const F *weight, const F *bias, const F *v0, const F *rates,      \
        const F *grad_spikes, const F *grad_last, F *grad_y, F *grad_v, double *sums, int wants_rate,                 \
        const snnfer::BlockSettings *block, const snnfer::Settings *neuron, int n_threads) {                          \
        snnfer::backward<F>({y, v0, rates, {mean, spread, weight, bias}, grad_spikes, grad_last, grad_y, grad_v,      \
                             sums, wants_rate != 0}, *block, *neuron, n_threads);                                     \
    }

SNNFER_BLOCK_BACKWARD(float, f32)
SNNFER_BLOCK_BACKWARD(double, f64)
