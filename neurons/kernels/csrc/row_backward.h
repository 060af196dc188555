// The way back through one step of a row of neurons, in one loop.
#pragma once
#include <limits>

#include "dynamics.h"

namespace snnfer {

enum { SLOPE_APPLIED = 4 };  // beside SurrogateKind: the gradient of the spikes was multiplied with the slope before

template <typename F>
struct Row {
    const F *y, *scale, *shift;  // input current = y * scale + shift; read for the gradient of the rate alone
    const F *h, *previous;       // potential before the reset, and that of the step before, which was reset
    const F *grad_spikes;
    const F *kept, *input_share;  // derivative of the potential by the one before it, and by the input
    F *carry;                     // gradient of the potential after the step; then of that before it
    F *grad_x;                    // gradient of the input current
    F *grad_rate;                 // sum so far
    F first_threshold;            // of `previous`: infinite for an initial potential, which was not reset
    bool decay_input;
};

template <typename F, int KIND>
inline F slope_or_one(F u, F alpha) {
    if constexpr (KIND == SLOPE_APPLIED) return F(1);
    else return slope<F, KIND>(u, alpha);
}

template <typename F, int KIND, bool SOFT, bool DETACHED, bool RATE>
void row_backward(Row<F> a, Neuron<F> n, F alpha, int64_t count) {
    SNNFER_VECTOR
    for (int64_t i = 0; i < count; ++i) {
        const F carried = a.carry[i], potential = a.h[i];
        F g = a.grad_spikes[i];
        if (!DETACHED) g = SOFT ? g - n.threshold * carried : g + (n.rest - potential) * carried;
        const F kept = SOFT || potential < n.threshold ? carried : F(0);
        const F d = kept + slope_or_one<F, KIND>(potential - n.threshold, alpha) * g;
        if (RATE) {
            const F before = a.previous[i];
            const F v = after_reset<F, SOFT ? RESET_SOFT : RESET_VALUE>(before, before >= a.first_threshold, n);
            const F x = a.decay_input ? a.y[i] * a.scale[i] + a.shift[i] : F(0);
            a.grad_rate[i] += d * (x - (v - n.rest));
        }
        a.carry[i] = d * a.kept[i];
        a.grad_x[i] = d * a.input_share[i];
    }
}

template <typename F>
using RowBackward = void (*)(Row<F>, Neuron<F>, F, int64_t);

template <typename F, int KIND, bool SOFT>
RowBackward<F> row_backward_by_rate(const Settings &s, bool rate) {
    if (s.detach_reset)
        return rate ? row_backward<F, KIND, SOFT, true, true> : row_backward<F, KIND, SOFT, true, false>;
    return rate ? row_backward<F, KIND, SOFT, false, true> : row_backward<F, KIND, SOFT, false, false>;
}

template <typename F, int KIND>
RowBackward<F> row_backward_by_reset(const Settings &s, bool rate) {
    return s.reset == RESET_SOFT ? row_backward_by_rate<F, KIND, true>(s, rate)
                                 : row_backward_by_rate<F, KIND, false>(s, rate);
}

template <typename F>
RowBackward<F> choose_row_backward(const Settings &s, int kind, bool rate) {
    switch (kind) {
        case ATAN: return row_backward_by_reset<F, ATAN>(s, rate);
        case SIGMOID: return row_backward_by_reset<F, SIGMOID>(s, rate);
        case TRIANGLE: return row_backward_by_reset<F, TRIANGLE>(s, rate);
        case SUPER_SPIKE: return row_backward_by_reset<F, SUPER_SPIKE>(s, rate);
        default: return row_backward_by_reset<F, SLOPE_APPLIED>(s, rate);
    }
}

}  // namespace snnfer
