// Vectors of the instruction set that a file is compiled for, and what the bit-packed kernels share. Everything has
// internal linkage: the same names mean other types at other instruction sets.
#pragma once
#include <cmath>
#include <memory>

#include "dynamics.h"

namespace snnfer {
namespace {

#if defined(__AVX512F__)
constexpr int LANES = 16;
#elif defined(__AVX__)
constexpr int LANES = 8;
#else
constexpr int LANES = 4;
#endif

typedef float V __attribute__((vector_size(LANES * 4)));
typedef int32_t VI __attribute__((vector_size(LANES * 4)));
typedef float Unaligned __attribute__((vector_size(LANES * 4), aligned(4), may_alias));

inline V load(const float *p) { return *reinterpret_cast<const Unaligned *>(p); }
inline void store(float *p, V v) { *reinterpret_cast<Unaligned *>(p) = v; }
inline V every(float x) { return x - V{}; }
inline V magnitude(V x) { return x < V{} ? -x : x; }

// a * b + c, in one rounding where the processor has it.
inline V multiply_add(V a, V b, V c) {
#if defined(__AVX512F__)
    return _mm512_fmadd_ps(a, b, c);
#elif defined(__FMA__)
    return _mm256_fmadd_ps(a, b, c);
#else
    return a * b + c;
#endif
}

// Bit i says whether lane i reaches the threshold.
inline uint32_t reached(V h, V threshold) {
#if defined(__AVX512F__)
    return _mm512_cmp_ps_mask(h, threshold, _CMP_GE_OQ);
#elif defined(__AVX__)
    return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(h, threshold, _CMP_GE_OQ)));
#elif defined(__SSE2__)
    return static_cast<uint32_t>(_mm_movemask_ps(_mm_cmpge_ps(h, threshold)));
#else
    uint32_t bits = 0;
    for (int i = 0; i < LANES; ++i) bits |= static_cast<uint32_t>(h[i] >= threshold[i]) << i;
    return bits;
#endif
}

// Zeroed memory on the boundary of a cache line.
template <typename T>
class Buffer {
  public:
    explicit Buffer(size_t n) : memory_(new char[n * sizeof(T) + 64]()) {
        const auto address = reinterpret_cast<uintptr_t>(memory_.get());
        data_ = reinterpret_cast<T *>((address + 63) & ~uintptr_t{63});
    }
    T *get() const { return data_; }
    T &operator[](size_t i) const { return data_[i]; }

  private:
    std::unique_ptr<char[]> memory_;
    T *data_;
};

// A neuron whose leak is one rate (0: none) and whose reset is hard:
// h = v - rate * v + (input_scale * current + rate * rest); the bracket is folded into weights and bias.
struct Membrane {
    V threshold, rest, rate, keeps, alpha;
    float input_scale;
    int32_t surrogate;
    bool decays;  // the input is scaled by the rate
    explicit Membrane(const Settings &s)
        : threshold(every(static_cast<float>(s.v_threshold))), rest(every(static_cast<float>(s.v_reset))),
          rate(every(static_cast<float>(s.rate))), keeps(every(1.0f - static_cast<float>(s.rate))),
          alpha(every(static_cast<float>(s.alpha))),
          input_scale(s.decay_input ? static_cast<float>(s.rate) : 1.0f), surrogate(s.surrogate),
          decays(s.decay_input) {}
    V leaked(V v) const { return v - v * rate; }
    V after_reset(V h) const { return h >= threshold ? rest : h; }
};

inline V exp_negative(V x) {
    x = x < -87.0f ? every(-87.0f) : x;
    const V shifted = x * 1.44269504f + 12582912.0f;  // rounds to a whole number
    const V k = shifted - 12582912.0f;
    const V r = (x - k * 0.693359375f) - k * -2.12194440e-4f;
    V p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = (p * r) * r + r + 1.0f;
    const VI bits = (__builtin_convertvector(k, VI) + 127) << 23;
    V scale;
    std::memcpy(&scale, &bits, sizeof scale);
    return p * scale;
}

// Surrogate derivative at u, the potential above the threshold.
inline V slope(V u, const Membrane &m) {
    if (m.surrogate == ATAN) {
        const V z = u * (m.alpha * 1.57079632679489661923f);
        return (m.alpha * 0.5f) / multiply_add(z, z, every(1.0f));
    }
    if (m.surrogate == SIGMOID) {
        const V e = exp_negative(-magnitude(m.alpha * u)), s = 1.0f / (1.0f + e);
        return m.alpha * (e * s) * s;
    }
    if (m.surrogate == TRIANGLE) {
        const V y = m.alpha - (m.alpha * m.alpha) * magnitude(u);
        return y > V{} ? y : V{};
    }
    const V y = 1.0f / (1.0f + m.alpha * magnitude(u));
    return y * y;
}

// Spikes are kept as `channels` bits per pixel, in units of 16; a group of G channels is one or two units.
template <int G>
inline void put_bits(uint16_t *units, uint32_t bits) {
    std::memcpy(units, &bits, G / 8);
}

inline double sum_of(V v) {
    double sum = 0;
    for (int i = 0; i < LANES; ++i) sum += v[i];
    return sum;
}

}  // namespace
}  // namespace snnfer
