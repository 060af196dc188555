// The way back through max pooling of spikes: the first neuron of a window that fires, or the first one if none does,
// gets the gradient, as in torch.
#pragma once
#include "row_backward.h"

namespace snnfer {

template <typename F>
struct Windows {
    const F *h;           // potentials, rows at `stride`
    const F *grad;        // of the pooled spikes
    F *out;               // gradient of each neuron's spikes, laid out as h
    F *chosen, *taken;    // scratch, a value per channel
    int64_t stride, side, count, channels;
};

// KIND SLOPE_APPLIED hands on the gradient as it is, the others multiply it with the slope of the chosen neuron.
template <typename F, int KIND>
void pool_backward_2(Windows<F> w, F threshold, F alpha) {
    const int64_t next = w.channels, below = w.stride;
    for (int64_t p = 0; p < w.count; ++p, w.h += 2 * next, w.out += 2 * next, w.grad += next) {
        SNNFER_VECTOR
        for (int64_t c = 0; c < next; ++c) {
            const F a = w.h[c], b = w.h[next + c], d = w.h[below + c], e = w.h[below + next + c];
            const bool first = a >= threshold, second = b >= threshold, third = d >= threshold, fourth = e >= threshold;
            const bool take2 = second & !first, take3 = third & !(first | second);
            const bool take4 = fourth & !(first | second | third);
            const F chosen = take2 ? b : take3 ? d : take4 ? e : a;
            const F g = w.grad[c] * slope_or_one<F, KIND>(chosen - threshold, alpha);
            w.out[c] = take2 | take3 | take4 ? F(0) : g;
            w.out[next + c] = take2 ? g : F(0);
            w.out[below + c] = take3 ? g : F(0);
            w.out[below + next + c] = take4 ? g : F(0);
        }
    }
}

template <typename F, int KIND>
void pool_backward_any(Windows<F> w, F threshold, F alpha) {
    const int64_t channels = w.channels;
    for (int64_t p = 0; p < w.count; ++p, w.h += w.side * channels, w.out += w.side * channels, w.grad += channels) {
        for (int64_t c = 0; c < channels; ++c) w.chosen[c] = F(0);
        for (int64_t c = 0; c < channels; ++c) w.taken[c] = w.h[c];
        for (int64_t j = w.side * w.side - 1; j >= 0; --j) {  // the last that writes is the first that fires
            const F *h = w.h + j / w.side * w.stride + j % w.side * channels;
            SNNFER_VECTOR
            for (int64_t c = 0; c < channels; ++c) {
                const bool fires = h[c] >= threshold;
                w.chosen[c] = fires ? static_cast<F>(j) : w.chosen[c];
                w.taken[c] = fires ? h[c] : w.taken[c];
            }
        }
        for (int64_t j = 0; j < w.side * w.side; ++j) {
            F *out = w.out + j / w.side * w.stride + j % w.side * channels;
            SNNFER_VECTOR
            for (int64_t c = 0; c < channels; ++c) {
                const F g = w.grad[c] * slope_or_one<F, KIND>(w.taken[c] - threshold, alpha);
                out[c] = w.chosen[c] == static_cast<F>(j) ? g : F(0);
            }
        }
    }
}

template <typename F>
using PoolBackward = void (*)(Windows<F>, F, F);

template <typename F>
PoolBackward<F> choose_pool_backward(int kind, int64_t side) {
    const bool two = side == 2;
    switch (kind) {
        case ATAN: return two ? pool_backward_2<F, ATAN> : pool_backward_any<F, ATAN>;
        case SIGMOID: return two ? pool_backward_2<F, SIGMOID> : pool_backward_any<F, SIGMOID>;
        case TRIANGLE: return two ? pool_backward_2<F, TRIANGLE> : pool_backward_any<F, TRIANGLE>;
        case SUPER_SPIKE: return two ? pool_backward_2<F, SUPER_SPIKE> : pool_backward_any<F, SUPER_SPIKE>;
        default: return two ? pool_backward_2<F, SLOPE_APPLIED> : pool_backward_any<F, SLOPE_APPLIED>;
    }
}

}  // namespace snnfer
