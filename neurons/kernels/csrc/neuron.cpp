// Spiking neurons over a whole sequence, time-major [T, M]: one pass over time with the state of a block of neurons in
// the first-level cache.
#include "dynamics.h"

namespace snnfer {
namespace {

constexpr int64_t BLOCK = 4096;

template <typename F>
struct Forward {
    const F *x, *v0, *rates;
    F *spikes, *potentials, *last;
    int64_t n_steps, n_neurons;
};

template <typename F, int LEAK, bool DECAY_INPUT, int RESET>
void forward_block(const Forward<F> &a, Neuron<F> n, int64_t start, int64_t count) {
    alignas(64) F v[BLOCK];
    std::copy(a.v0 + start, a.v0 + start + count, v);
    const F *rates = LEAK == LEAK_RATES ? a.rates + start : nullptr;
    for (int64_t t = 0; t < a.n_steps; ++t) {
        const int64_t at = t * a.n_neurons + start;
        const F *x = a.x + at;
        F *s = a.spikes + at;
        F *h = a.potentials ? a.potentials + at : nullptr;
        if (h) {
            SNNFER_VECTOR
            for (int64_t i = 0; i < count; ++i) {
                const F y = charged<F, LEAK, DECAY_INPUT, RESET != RESET_ZERO>(
                    x[i], v[i], n, LEAK == LEAK_RATES ? rates[i] : n.rate);
                const bool fires = y >= n.threshold;
                h[i] = y;
                s[i] = fires ? F(1) : F(0);
                v[i] = after_reset<F, RESET>(y, fires, n);
            }
        } else {
            SNNFER_VECTOR
            for (int64_t i = 0; i < count; ++i) {
                const F y = charged<F, LEAK, DECAY_INPUT, RESET != RESET_ZERO>(
                    x[i], v[i], n, LEAK == LEAK_RATES ? rates[i] : n.rate);
                const bool fires = y >= n.threshold;
                s[i] = fires ? F(1) : F(0);
                v[i] = after_reset<F, RESET>(y, fires, n);
            }
        }
    }
    std::copy(v, v + count, a.last + start);
}

template <typename F>
using ForwardBlock = void (*)(const Forward<F> &, Neuron<F>, int64_t, int64_t);

template <typename F, int LEAK, bool DECAY_INPUT>
ForwardBlock<F> choose_reset(const Settings &s) {
    if (s.reset == RESET_SOFT) return forward_block<F, LEAK, DECAY_INPUT, RESET_SOFT>;
    if (s.reset == RESET_VALUE) return forward_block<F, LEAK, DECAY_INPUT, RESET_VALUE>;
    return forward_block<F, LEAK, DECAY_INPUT, RESET_ZERO>;
}

template <typename F, bool DECAY_INPUT>
ForwardBlock<F> choose_leak(const Settings &s) {
    if (s.leak == LEAK_TAU) return choose_reset<F, LEAK_TAU, DECAY_INPUT>(s);
    if (s.leak == LEAK_RATE) return choose_reset<F, LEAK_RATE, DECAY_INPUT>(s);
    return choose_reset<F, LEAK_RATES, DECAY_INPUT>(s);
}

template <typename F>
ForwardBlock<F> choose_forward(const Settings &s) {
    if (s.leak == LEAK_NONE) return choose_reset<F, LEAK_NONE, false>(s);
    return s.decay_input ? choose_leak<F, true>(s) : choose_leak<F, false>(s);
}

template <typename F>
void forward(const Forward<F> &a, const Settings &s, int n_threads) {
    const Neuron<F> neuron(s);
    const auto block = choose_forward<F>(s);
    parallel_blocks((a.n_neurons + BLOCK - 1) / BLOCK, n_threads, [&](int64_t b) {
        const int64_t start = b * BLOCK;
        block(a, neuron, start, std::min(BLOCK, a.n_neurons - start));
    });
}

template <typename F>
struct Backward {
    const F *potentials, *grad_spikes, *grad_last, *rates;
    const F *v0, *x;            // for the gradient of the rate alone; x with decay_input only
    F *grad_x, *grad_v, *grad_rate;  // grad_rate null: not wanted
    int64_t n_steps, n_neurons;
};

template <typename F, int KIND>
void slopes(const F *h, F *out, F threshold, F alpha, int64_t count) {
    SNNFER_VECTOR
    for (int64_t i = 0; i < count; ++i) out[i] = slope<F, KIND>(h[i] - threshold, alpha);
}

template <typename F>
void slopes(const F *h, F *out, Neuron<F> n, const Settings &s, int64_t count) {
    const F alpha = static_cast<F>(s.alpha);
    switch (s.surrogate) {
        case ATAN: return slopes<F, ATAN>(h, out, n.threshold, alpha, count);
        case SIGMOID: return slopes<F, SIGMOID>(h, out, n.threshold, alpha, count);
        case TRIANGLE: return slopes<F, TRIANGLE>(h, out, n.threshold, alpha, count);
        default: return slopes<F, SUPER_SPIKE>(h, out, n.threshold, alpha, count);
    }
}

// Gradient of the potential before the reset, from those of the spikes and of the potential after it.
template <typename F, bool SOFT, bool DETACHED>
void fire_backward(const F *h, const F *slope, const F *grad_s, const F *grad_v, F *out, Neuron<F> n,
                   int64_t count) {
    SNNFER_VECTOR
    for (int64_t i = 0; i < count; ++i) {
        const F carried = grad_v[i], potential = h[i];
        F g = grad_s[i];
        if (!DETACHED) g = SOFT ? g - n.threshold * carried : g + (n.rest - potential) * carried;
        const F kept = SOFT || potential < n.threshold ? carried : F(0);
        out[i] = kept + slope[i] * g;
    }
}

template <typename F>
void fire_backward(const F *h, const F *slope, const F *grad_s, const F *grad_v, F *out, Neuron<F> n,
                   const Settings &s, int64_t count) {
    const bool soft = s.reset == RESET_SOFT;
    if (soft && s.detach_reset) return fire_backward<F, true, true>(h, slope, grad_s, grad_v, out, n, count);
    if (soft) return fire_backward<F, true, false>(h, slope, grad_s, grad_v, out, n, count);
    if (s.detach_reset) return fire_backward<F, false, true>(h, slope, grad_s, grad_v, out, n, count);
    return fire_backward<F, false, false>(h, slope, grad_s, grad_v, out, n, count);
}

// Adds d(loss)/d(rate) of one step; `before` is the potential that the step started from.
template <typename F, bool DECAY_INPUT>
void add_rate_gradient(const F *gradient, const F *before, const F *x, F *sum, F rest, int64_t count) {
    SNNFER_VECTOR
    for (int64_t i = 0; i < count; ++i) {
        const F above = before[i] - rest;
        sum[i] += gradient[i] * (DECAY_INPUT ? x[i] - above : -above);
    }
}

// Potential after the reset of the step whose potential before it was `h`.
template <typename F>
void potential_after(const F *h, F *out, Neuron<F> n, bool soft, int64_t count) {
    if (soft) {
        SNNFER_VECTOR
        for (int64_t i = 0; i < count; ++i) out[i] = after_reset<F, RESET_SOFT>(h[i], h[i] >= n.threshold, n);
    } else {
        SNNFER_VECTOR
        for (int64_t i = 0; i < count; ++i) out[i] = after_reset<F, RESET_VALUE>(h[i], h[i] >= n.threshold, n);
    }
}

template <typename F>
void backward_block(const Backward<F> &a, Neuron<F> n, const Settings &s, int64_t start, int64_t count) {
    alignas(64) F carry[BLOCK], slope[BLOCK], before[BLOCK], rate_sum[BLOCK] = {};
    std::copy(a.grad_last + start, a.grad_last + start + count, carry);
    const F rate = s.leak == LEAK_TAU ? static_cast<F>(1 / s.tau) : n.rate;
    const F kept_share = s.leak == LEAK_TAU ? static_cast<F>(1 - 1 / s.tau) : F(1) - n.rate;
    const F *rates = s.leak == LEAK_RATES ? a.rates + start : nullptr;
    for (int64_t t = a.n_steps - 1; t >= 0; --t) {
        const int64_t at = t * a.n_neurons + start;
        const F *h = a.potentials + at;
        F *g = a.grad_x + at;
        slopes(h, slope, n, s, count);
        fire_backward(h, slope, a.grad_spikes + at, carry, g, n, s, count);
        if (a.grad_rate) {
            const F *v = t ? before : a.v0 + start;
            if (t) potential_after(h - a.n_neurons, before, n, s.reset == RESET_SOFT, count);
            if (s.decay_input) add_rate_gradient<F, true>(g, v, a.x + at, rate_sum, n.rest, count);
            else add_rate_gradient<F, false>(g, v, nullptr, rate_sum, n.rest, count);
        }
        if (s.leak == LEAK_NONE) {
            std::copy(g, g + count, carry);
        } else if (s.leak == LEAK_RATES) {
            SNNFER_VECTOR
            for (int64_t i = 0; i < count; ++i) {
                carry[i] = g[i] * (F(1) - rates[i]);
                if (s.decay_input) g[i] *= rates[i];
            }
        } else {
            SNNFER_VECTOR
            for (int64_t i = 0; i < count; ++i) carry[i] = g[i] * kept_share;
            if (s.decay_input) {
                SNNFER_VECTOR
                for (int64_t i = 0; i < count; ++i) g[i] *= rate;
            }
        }
    }
    std::copy(carry, carry + count, a.grad_v + start);
    if (a.grad_rate) std::copy(rate_sum, rate_sum + count, a.grad_rate + start);
}

template <typename F>
void backward(const Backward<F> &a, const Settings &s, int n_threads) {
    const Neuron<F> neuron(s);
    parallel_blocks((a.n_neurons + BLOCK - 1) / BLOCK, n_threads, [&](int64_t b) {
        const int64_t start = b * BLOCK;
        backward_block(a, neuron, s, start, std::min(BLOCK, a.n_neurons - start));
    });
}

}  // namespace
}  // namespace snnfer

#define SNNFER_NEURON(F, suffix)                                                                                     \
    SNNFER_EXPORT void SNNFER_NAME(neuron_forward_##suffix)(                                                         \
        const F *x, const F *v0, const F *rates, F *spikes, F *potentials, F *last, int64_t n_steps,                 \
        int64_t n_neurons, const snnfer::Settings *settings, int n_threads) {                                        \
        snnfer::forward<F>({x, v0, rates, spikes, potentials, last, n_steps, n_neurons}, *settings, n_threads);      \
    }                                                                                                                \
    SNNFER_EXPORT void SNNFER_NAME(neuron_backward_##suffix)(                                                        \
        const F *potentials, const F *grad_spikes, const F *grad_last, const F *rates, const F *v0, const F *x,      \
        F *grad_x, F *grad_v, F *grad_rate, int64_t n_steps, int64_t n_neurons, const snnfer::Settings *settings,    \
        int n_threads) {                                                                                             \
        snnfer::backward<F>({potentials, grad_spikes, grad_last, rates, v0, x, grad_x, grad_v, grad_rate, n_steps,   \
                             n_neurons}, *settings, n_threads);                                                      \
    }

SNNFER_NEURON(float, f32)
SNNFER_NEURON(double, f64)
