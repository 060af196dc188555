// First block of a network: 3 x 3 convolution of event lists, normalisation, neuron and 2 x 2 max pooling to bits. The
// normalisation is folded into weights and bias, so that potentials collect the events directly; the backward pass
// computes them again, a tile of the image at a time.
#include "events.h"
#include "tile.h"

namespace snnfer {
namespace {

struct Block {
    Events events;
    int64_t n_steps, channels;
    const float *weight;  // [channels_in, ky, kx, channels], folded
    const float *bias;    // [channels]: what a step adds where there is no event
    int64_t pooled_height() const { return events.height / 2; }
    int64_t pooled_width() const { return events.width / 2; }
};

// Adds the events of a frame, whose first row is `row`, to the potentials of a tile. With GRADIENT the weights
// [channels_in, ky, kx, G] collect the potentials instead.
template <int G, bool GRADIENT>
inline void scatter(const Block &b, int64_t row, const Tile &tile, float *h, const float *weight, float *grad_weight) {
    const int64_t first = std::max<int64_t>(tile.y0 - 1, 0), last = std::min(tile.y0 + tile.rows, b.events.height - 1);
    for (int64_t y = first; y <= last; ++y)
        for (const Event *e = b.events.begin(row + y); e < b.events.end(row + y); ++e) {
            const int64_t x = e->x - tile.x0;
            if (x < -1 || x > tile.columns) continue;
            const V value = every(e->value);
            for (int k = 0; k < tile.rows; ++k) {
                const int64_t ky = y - (tile.y0 + k) + 1;
                if (ky < 0 || ky > 2) continue;
                for (int64_t kx = 0; kx < 3; ++kx) {
                    const int64_t at = x + 1 - kx;
                    if (at < 0 || at >= tile.columns) continue;
                    float *potential = h + (k * tile.columns + at) * G;
                    const int64_t tap = (e->channel * 3 + ky) * 3 + kx;
                    for (int i = 0; i < G; i += LANES) {
                        if (GRADIENT) {
                            float *out = grad_weight + tap * G + i;
                            store(out, multiply_add(value, load(potential + i), load(out)));
                        } else {
                            const V w = load(weight + tap * b.channels + i);
                            store(potential + i, multiply_add(value, w, load(potential + i)));
                        }
                    }
                }
            }
        }
}

// The potentials of the next step, before its events.
template <int G>
inline void begin_step(float *h, const float *v, const float *bias, const Membrane &m) {
    for (int i = 0; i < G / LANES; ++i) store(h + i * LANES, m.leaked(load(v + i * LANES)) + load(bias + i * LANES));
}

// Bits of the spikes of a pixel; its potential goes on to the next step.
template <int G>
inline uint32_t end_step(float *h, float *last, const float *bias, const Membrane &m) {
    uint32_t bits = 0;
    for (int i = 0; i < G / LANES; ++i) {
        const V potential = load(h + i * LANES);
        bits |= reached(potential, m.threshold) << (i * LANES);
        const V v = m.after_reset(potential);
        if (last) store(last + i * LANES, v);
        store(h + i * LANES, m.leaked(v) + load(bias + i * LANES));
    }
    return bits;
}

// Two rows of one sample over all steps. v: potentials [H, W, C] before and after, in place.
template <int G>
void forward_rows(const Block b, const Membrane m, int64_t sample, int64_t y0, int64_t group, float *v,
                  uint16_t *bits, float *h) {
    const int64_t width = b.events.width, C = b.channels;
    const Tile tile(y0, 0, b.events.height, width, width);
    const int rows = tile.rows;
    const float *bias = b.bias + group * G;
    auto state = [&](int k, int64_t x) { return v + (((y0 + k) * width + x) * C) + group * G; };
    for (int k = 0; k < rows; ++k)
        for (int64_t x = 0; x < width; ++x) begin_step<G>(h + (k * width + x) * G, state(k, x), bias, m);
    for (int64_t t = 0; t < b.n_steps; ++t) {
        const int64_t frame = sample * b.n_steps + t;
        scatter<G, false>(b, frame * b.events.height, tile, h, b.weight + group * G, nullptr);
        const bool ends = t == b.n_steps - 1;
        auto step = [&](int k, int64_t x) {
            return end_step<G>(h + (k * width + x) * G, ends ? state(k, x) : nullptr, bias, m);
        };
        uint16_t *out = bits + ((frame * b.pooled_height() + y0 / 2) * b.pooled_width() * C + group * G) / 16;
        for (int64_t x = 0; x < tile.windows; ++x)
            put_bits<G>(out + x * C / 16, step(0, 2 * x) | step(0, 2 * x + 1) | step(1, 2 * x) | step(1, 2 * x + 1));
        for (int k = 0; k < rows; ++k)
            for (int64_t x = 2 * tile.windows; x < width; ++x) step(k, x);
    }
}

template <int G>
void forward(const Block &b, const Settings &settings, int64_t n_samples, float *v, uint16_t *bits, int n_threads) {
    const Membrane m(settings);
    const int64_t pairs = (b.events.height + 1) / 2, groups = b.channels / G;
    const int64_t state_size = b.events.height * b.events.width * b.channels;
    parallel_shares(n_samples * pairs * groups, n_threads, [&](int64_t first, int64_t last) {
        Buffer<float> h(2 * b.events.width * G);
        for (int64_t i = first; i < last; ++i) {
            const int64_t sample = i / (pairs * groups), pair = i / groups % pairs;
            forward_rows<G>(b, m, sample, 2 * pair, i % groups, v + sample * state_size, bits, h.get());
        }
    });
}

// Potentials before the reset of all steps of a tile: [T, rows, columns, G].
template <int G>
void recompute(const Block b, const Membrane m, const Tile tile, const Ends ends, int64_t group, float *h) {
    const int64_t size = tile.rows * tile.columns * G;
    const float *bias = b.bias + group * G;
    for (int64_t t = 0; t < b.n_steps; ++t, h += size) {
        each_pixel<G>(tile, ends.width, [&](int64_t at, int64_t pixel) {
            for (int i = 0; i < G; i += LANES) {
                const V v = t ? m.after_reset(load(h - size + at + i)) : load(ends.v0 + pixel * ends.channels + i);
                store(h + at + i, m.leaked(v) + load(bias + i));
            }
        });
        scatter<G, false>(b, t * b.events.height, tile, h, b.weight + group * G, nullptr);
    }
}

// Adds to the weights [9 channels_in, G] and the bias [G] of a tile; returns the sum for the leak rate.
template <int G>
V backward_tile(const Block b, const Membrane m, const Tile tile, const Ends ends, const float *grad_out, float *h,
                float *scratch, float *grad_weight, float *grad_bias) {
    const int64_t size = tile.rows * tile.columns * G;
    float *carry = scratch, *grad = scratch + size;
    V rate{}, total[G / LANES] = {};
    begin_backward<G>(tile, ends, carry);
    for (int64_t t = b.n_steps - 1; t >= 0; --t) {
        const float *potential = h + t * size, *next = t < b.n_steps - 1 ? potential + size : nullptr;
        const int64_t pixel = (t * b.pooled_height() + tile.y0 / 2) * b.pooled_width() + tile.x0 / 2;
        rate += backward_step<G>(tile, m, potential, next, carry, grad_out + pixel * b.channels, b.channels,
                                 [&](int64_t at, int i, V g) {
                                     store(grad + at + i, g);
                                     total[i / LANES] += g;
                                 });
        scatter<G, true>(b, t * b.events.height, tile, grad, nullptr, grad_weight);
    }
    for (int i = 0; i < G; i += LANES) store(grad_bias + i, total[i / LANES]);
    return rate + end_backward<G>(tile, m, ends, h, carry);
}

// One sample. Adds to grad_weight [9 channels_in, C], grad_bias [C] and grad_rate, tile after tile.
template <int G>
void backward(const Block &b, const Settings &settings, const Ends &ends, const float *grad_out, double *grad_weight,
              double *grad_bias, double *grad_rate, int n_threads) {
    const Membrane m(settings);
    const int64_t taps = 9 * b.events.channels, groups = b.channels / G, step = tile_columns(b.n_steps, G);
    const int64_t pairs = (b.events.height + 1) / 2, tiles = (b.events.width + step - 1) / step;
    const int64_t size = (taps + 1) * G + LANES, blocks = groups * pairs * tiles;
    Buffer<float> parts(blocks * size);
    parallel_shares(blocks, n_threads, [&](int64_t first, int64_t last) {
        Buffer<float> scratch(4 * step * G), h(b.n_steps * 2 * step * G);
        for (int64_t i = first; i < last; ++i) {
            const int64_t group = i / (pairs * tiles);
            const Tile tile(i / tiles % pairs * 2, i % tiles * step, b.events.height, b.events.width, step);
            const Ends own = ends.at(group * G);
            float *sums = &parts[i * size];
            recompute<G>(b, m, tile, own, group, h.get());
            const V rate = backward_tile<G>(b, m, tile, own, grad_out + group * G, h.get(), scratch.get(), sums,
                                            sums + taps * G);
            store(sums + (taps + 1) * G, rate);
        }
    });
    for (int64_t i = 0; i < blocks; ++i) {
        const float *sums = &parts[i * size];
        const int64_t group = i / (pairs * tiles);
        for (int64_t tap = 0; tap < taps; ++tap)
            for (int c = 0; c < G; ++c) grad_weight[tap * b.channels + group * G + c] += sums[tap * G + c];
        for (int c = 0; c < G; ++c) grad_bias[group * G + c] += sums[taps * G + c];
        *grad_rate += sum_of(load(sums + (taps + 1) * G));
    }
}

}  // namespace
}  // namespace snnfer

using namespace snnfer;

#define SNNFER_EVENTS const int32_t *row_start, const Event *list, int64_t height, int64_t width, int64_t channels_in

// Potentials v [N, H, W, C] in place; bits [N, T, H / 2, W / 2, C].
SNNFER_EXPORT void SNNFER_NAME(event_block_forward)(SNNFER_EVENTS, int64_t n_steps, int64_t n_samples,
                                                    int64_t channels, const float *weight, const float *bias,
                                                    const Settings *settings, float *v, uint16_t *bits,
                                                    int n_threads) {
    const Block b{{row_start, list, height, width, channels_in}, n_steps, channels, weight, bias};
    const auto run = channels % 32 ? forward<16> : forward<32>;
    run(b, *settings, n_samples, v, bits, n_threads);
}

// One sample whose lists start at `row_start`; adds to the three sums.
SNNFER_EXPORT void SNNFER_NAME(event_block_backward)(SNNFER_EVENTS, int64_t n_steps, int64_t channels,
                                                     const float *weight, const float *bias,
                                                     const Settings *settings, const float *v0, const float *grad_out,
                                                     const float *grad_last, float *grad_v0, double *grad_weight,
                                                     double *grad_bias, double *grad_rate, int n_threads) {
    const Block b{{row_start, list, height, width, channels_in}, n_steps, channels, weight, bias};
    const auto run = channels % 32 ? backward<16> : backward<32>;
    run(b, *settings, {v0, grad_last, grad_v0, width, channels}, grad_out, grad_weight, grad_bias, grad_rate, n_threads);
}
