// Spiking neurons over a whole sequence, time-major [T, M]: one pass over time with the state of a block of neurons in
// the first-level cache.
#include "row_backward.h"

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
        if (t + 1 < a.n_steps) prefetch(x + a.n_neurons, count);
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

template <typename F>
void backward_block(const Backward<F> &a, Neuron<F> n, const Settings &s, RowBackward<F> row_backward, int64_t start,
                    int64_t count) {
    alignas(64) F carry[BLOCK], kept[BLOCK], share[BLOCK], ones[BLOCK], zeros[BLOCK] = {}, rate_sum[BLOCK] = {};
    std::copy(a.grad_last + start, a.grad_last + start + count, carry);
    const F constant = s.leak == LEAK_TAU ? static_cast<F>(1 / s.tau) : s.leak == LEAK_NONE ? F(0) : n.rate;
    for (int64_t i = 0; i < count; ++i) {
        const F rate = s.leak == LEAK_RATES ? a.rates[start + i] : constant;
        kept[i] = s.leak == LEAK_TAU ? static_cast<F>(1 - 1 / s.tau) : F(1) - rate;
        share[i] = s.decay_input && s.leak != LEAK_NONE ? rate : F(1);
        ones[i] = F(1);
    }
    for (int64_t t = a.n_steps - 1; t >= 0; --t) {
        const int64_t at = t * a.n_neurons + start;
        if (t) {
            prefetch(a.potentials + at - a.n_neurons, count);
            prefetch(a.grad_spikes + at - a.n_neurons, count);
        }
        Row<F> row;
        row.y = a.x ? a.x + at : nullptr;
        row.scale = ones;
        row.shift = zeros;
        row.h = a.potentials + at;
        row.previous = t ? row.h - a.n_neurons : a.v0 ? a.v0 + start : nullptr;
        row.grad_spikes = a.grad_spikes + at;
        row.kept = kept;
        row.input_share = share;
        row.carry = carry;
        row.grad_x = a.grad_x + at;
        row.grad_rate = rate_sum;
        row.first_threshold = t ? n.threshold : std::numeric_limits<F>::infinity();
        row.decay_input = s.decay_input;
        row_backward(row, n, static_cast<F>(s.alpha), count);
    }
    std::copy(carry, carry + count, a.grad_v + start);
    if (a.grad_rate) std::copy(rate_sum, rate_sum + count, a.grad_rate + start);
}

template <typename F>
void backward(const Backward<F> &a, const Settings &s, int n_threads) {
    const Neuron<F> neuron(s);
    const auto row_backward = choose_row_backward<F>(s, s.surrogate, a.grad_rate != nullptr);
    parallel_blocks((a.n_neurons + BLOCK - 1) / BLOCK, n_threads, [&](int64_t b) {
        const int64_t start = b * BLOCK;
        backward_block(a, neuron, s, row_backward, start, std::min(BLOCK, a.n_neurons - start));
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
