// Backward pass of neuron and 2 x 2 max pooling on a tile: two rows (or the last one) and some columns of one sample,
// all steps, a group of G channels. A tile in memory is [rows, columns, G].
#pragma once
#include "vectors.h"

namespace snnfer {
namespace {

struct Tile {
    int64_t y0, x0, columns, windows;  // windows: pooled pixels
    int rows;
    Tile(int64_t y0, int64_t x0, int64_t height, int64_t width, int64_t step)
        : y0(y0), x0(x0), columns(std::min(step, width - x0)),
          windows(y0 + 1 < height ? std::min(columns / 2, width / 2 - x0 / 2) : 0), rows(y0 + 1 < height ? 2 : 1) {}
};

// Columns of a tile, so that the potentials of all steps stay in the second-level cache.
inline int64_t tile_columns(int64_t n_steps, int group) {
    int64_t columns = 16;
    while (columns > 2 && n_steps * 2 * columns * group * 4 > 512 * 1024) columns /= 2;
    return columns;
}

// Calls body(at, pixel): the place of each pixel of a tile in it, and in an image [H, W].
template <int G, typename Body>
inline void each_pixel(const Tile &tile, int64_t width, const Body &body) {
    for (int k = 0; k < tile.rows; ++k)
        for (int64_t x = 0; x < tile.columns; ++x)
            body((k * tile.columns + x) * G, (tile.y0 + k) * width + tile.x0 + x);
}

// Where the gradient of a pooled spike goes: to the first of the four that fires, or to the first.
struct Winners {
    VI second, third, fourth;
};
inline Winners winners(V a, V b, V c, V d, V threshold) {
    const VI fires_a = a >= threshold, fires_b = b >= threshold, fires_c = c >= threshold;
    const VI before_c = fires_a | fires_b, before_d = before_c | fires_c;
    return {fires_b & ~fires_a, fires_c & ~before_c, VI(d >= threshold) & ~before_d};
}

// One step. `potential` before the reset, `next` of the step after (null at the last); `carry`: gradient of the
// potential after the reset, replaced by that of the step before; `out`: of the pooled spikes, pixels `stride` apart.
// Calls sink(at, i, g) with the gradient of the potential before the reset. Returns the term of the leak rate: times
// the rate where the input does not decay, it is d(loss)/dw with rate = sigmoid(w).
template <int G, typename Sink>
inline V backward_step(const Tile tile, const Membrane m, const float *potential, const float *next, float *carry,
                       const float *out, int64_t stride, const Sink &sink) {
    V rate{};
    auto one = [&](int64_t at, int i, V here, V gained) {
        const V flown = load(carry + at + i), kept = here >= m.threshold ? V{} : flown;
        if (next) rate += m.decays ? flown * (load(next + at + i) - m.after_reset(here)) : kept * (m.rest - here);
        const V g = kept + gained;
        store(carry + at + i, g * m.keeps);
        sink(at, i, g);
    };
    for (int64_t x = 0; x < tile.windows; ++x)
        for (int i = 0; i < G; i += LANES) {
            const int64_t p0 = 2 * x * G, p1 = p0 + G, p2 = p0 + tile.columns * G, p3 = p2 + G;
            const V h0 = load(potential + p0 + i), h1 = load(potential + p1 + i), h2 = load(potential + p2 + i),
                    h3 = load(potential + p3 + i);
            const Winners w = winners(h0, h1, h2, h3, m.threshold);
            V chosen = w.second ? h1 : h0;
            chosen = w.third ? h2 : chosen;
            chosen = w.fourth ? h3 : chosen;
            const V gained = load(out + x * stride + i) * slope(chosen - m.threshold, m);
            one(p0, i, h0, (w.second | w.third | w.fourth) ? V{} : gained);
            one(p1, i, h1, w.second ? gained : V{});
            one(p2, i, h2, w.third ? gained : V{});
            one(p3, i, h3, w.fourth ? gained : V{});
        }
    for (int k = 0; k < tile.rows; ++k)  // neurons that no window holds
        for (int64_t x = 2 * tile.windows; x < tile.columns; ++x)
            for (int i = 0; i < G; i += LANES) {
                const int64_t at = (k * tile.columns + x) * G;
                one(at, i, load(potential + at + i), V{});
            }
    return rate;
}

// Ends of a sample: the gradient of the last potentials comes in, that of the first goes out. Images [H, W, C] at the
// first channel of the group; null where there is none.
struct Ends {
    const float *v0, *grad_last;
    float *grad_v0;
    int64_t width, channels;
    Ends at(int64_t offset) const {
        return {v0 + offset, grad_last ? grad_last + offset : nullptr, grad_v0 ? grad_v0 + offset : nullptr, width,
                channels};
    }
};

template <int G>
inline void begin_backward(const Tile tile, const Ends ends, float *carry) {
    each_pixel<G>(tile, ends.width, [&](int64_t at, int64_t pixel) {
        for (int i = 0; i < G; i += LANES)
            store(carry + at + i, ends.grad_last ? load(ends.grad_last + pixel * ends.channels + i) : V{});
    });
}

// Returns the term of the leak rate of the first step, whose potentials are `first`.
template <int G>
inline V end_backward(const Tile tile, const Membrane m, const Ends ends, const float *first, const float *carry) {
    V rate{};
    each_pixel<G>(tile, ends.width, [&](int64_t at, int64_t pixel) {
        for (int i = 0; i < G; i += LANES) {
            const V v = load(ends.v0 + pixel * ends.channels + i), flown = load(carry + at + i);
            rate += flown * (m.decays ? load(first + at + i) - v : m.rest - v);
            if (ends.grad_v0) store(ends.grad_v0 + pixel * ends.channels + i, flown);
        }
    });
    return rate;
}

}  // namespace
}  // namespace snnfer
