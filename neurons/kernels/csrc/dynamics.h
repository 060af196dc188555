// One step of a spiking neuron over a run of neurons, forward and backward. Every operation is rounded on its own and in
// the order of the reference (compile with -ffp-contract=off), so that spikes are the same bits.
#pragma once
#include <cmath>

#include "common.h"

namespace snnfer {

enum Leak { LEAK_NONE, LEAK_TAU, LEAK_RATE, LEAK_RATES };  // no leak, division by tau, one rate, a rate per neuron
enum Reset { RESET_ZERO, RESET_VALUE, RESET_SOFT };
enum SurrogateKind { ATAN, SIGMOID, TRIANGLE, SUPER_SPIKE };

// Mirrored by _Settings in cpu.py: keep the order.
struct Settings {
    double v_threshold, v_reset, tau, rate, alpha;
    int32_t leak, reset, surrogate, decay_input, detach_reset;
};

template <typename F>
struct Neuron {
    F threshold, rest, tau, rate;
    explicit Neuron(const Settings &s)
        : threshold(static_cast<F>(s.v_threshold)), rest(static_cast<F>(s.v_reset)), tau(static_cast<F>(s.tau)),
          rate(static_cast<F>(s.rate)) {}
};

template <typename F, int LEAK>
inline F leaked(F d, F tau, F rate) {
    return LEAK == LEAK_TAU ? d / tau : d * rate;
}

// Potential before the reset.
template <typename F, int LEAK, bool DECAY_INPUT, bool RESTS>
inline F charged(F x, F v, const Neuron<F> &n, F rate) {
    if (LEAK == LEAK_NONE) return v + x;
    const F above = RESTS ? v - n.rest : v;
    if (DECAY_INPUT) return leaked<F, LEAK>(x - above, n.tau, rate) + v;
    return (v - leaked<F, LEAK>(above, n.tau, rate)) + x;
}

// Potential after it.
template <typename F, int RESET>
inline F after_reset(F h, bool fires, const Neuron<F> &n) {
    if (RESET == RESET_SOFT) return fires ? h - n.threshold : h;
    return fires ? (RESET == RESET_VALUE ? n.rest : F(0)) : h;
}

// exp(x) for x <= 0 within 2 units in the last place of float32; loops over it vectorise, over std::exp they do not.
inline float exp_negative(float x) {
    x = x < -87.0f ? -87.0f : x;
    const float k = std::nearbyint(x * 1.44269504f);
    const float r = (x - k * 0.693359375f) - k * -2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = (p * r) * r + r + 1.0f;
    const int32_t bits = (static_cast<int32_t>(k) + 127) << 23;
    float scale;
    std::memcpy(&scale, &bits, sizeof scale);
    return p * scale;
}
inline double exp_negative(double x) { return std::exp(x); }

// Surrogate derivative at u; `alpha` and what follows from it are hoisted out of the loops by the compiler.
template <typename F, int KIND>
inline F slope(F u, F alpha) {
    if (KIND == ATAN) {
        const F z = static_cast<F>(1.57079632679489661923) * alpha;
        return (F(1) / (F(1) + (z * z) * (u * u))) * (alpha / 2);
    }
    if (KIND == SIGMOID) {
        const F e = exp_negative(-std::fabs(alpha * u)), s = F(1) / (F(1) + e);
        return alpha * (e * s) * s;
    }
    if (KIND == TRIANGLE) {
        const F y = alpha - (alpha * alpha) * std::fabs(u);
        return y > 0 ? y : F(0);
    }
    const F y = F(1) / (F(1) + alpha * std::fabs(u));
    return y * y;
}

}  // namespace snnfer
