// A block whose input are bits, forward: 3 x 3 convolution that visits the spikes alone, normalisation, neuron and
// 2 x 2 max pooling to bits.
#include "bits.h"

namespace snnfer {
namespace {

constexpr int64_t BAND = 8;  // output rows that share their lists of inputs

struct Block {
    int64_t height, width, channels_in, channels, n_steps;
    int64_t input_units() const { return height * width * channels_in / 16; }
    int64_t output_units() const { return (height / 2) * (width / 2) * channels / 16; }
    int64_t pixels() const { return height * width; }
};

// Normalised current of G channels of a pixel, h = leaked(v) + (current * gain + bias), its spikes and next potential.
template <int G>
inline uint32_t step(const V *sums, const float *gain, const float *bias, float *v, const Membrane &m) {
    uint32_t bits = 0;
    for (int i = 0; i < G / LANES; ++i) {
        const int at = i * LANES;
        const V h = m.leaked(load(v + at)) + multiply_add(sums[i], load(gain + at), load(bias + at));
        bits |= reached(h, m.threshold) << at;
        store(v + at, m.after_reset(h));
    }
    return bits;
}

// Some rows of one sample over all steps, without storing a current.
template <int G>
void forward_band(const Block b, const Membrane m, BitConvolution &convolution, const uint16_t *in,
                  const float *weight, const float *gain, const float *bias, float *v, uint16_t *out, int64_t first,
                  uint32_t *row_bits) {
    const int64_t last = std::min(first + BAND, b.height), groups = b.channels / G;
    for (int64_t t = 0; t < b.n_steps; ++t) {
        convolution.read(in + t * b.input_units(), first, last);
        for (int64_t y = first; y < last; ++y) {
            convolution.begin_row(y);
            uint16_t *pooled = out + t * b.output_units() + y / 2 * (b.width / 2) * b.channels / 16;
            for (int64_t group = 0; group < groups; ++group) {
                uint32_t *above = row_bits + group * b.width;  // the spikes of the row before, then of both
                convolution.run_row<G>(
                    weight + group * 9 * b.channels_in * G, [&](int64_t x, const V *sums) {
                        float *potential = v + (y * b.width + x) * b.channels + group * G;
                        const uint32_t bits = step<G>(sums, gain + group * G, bias + group * G, potential, m);
                        above[x] = y % 2 ? above[x] | bits : bits;
                    });
                if (y % 2)
                    for (int64_t x = 0; x < b.width / 2; ++x)
                        put_bits<G>(pooled + (x * b.channels + group * G) / 16, above[2 * x] | above[2 * x + 1]);
            }
        }
    }
}

template <int G>
void forward(const Block &b, const Settings &settings, int64_t n_samples, const uint16_t *in, const float *weight,
             const float *gain, const float *bias, float *v, uint16_t *out, int n_threads) {
    const Membrane m(settings);
    const int64_t bands = (b.height + BAND - 1) / BAND;
    parallel_shares(n_samples * bands, n_threads, [&](int64_t from, int64_t to) {
        BitConvolution convolution(b.height, b.width, b.channels_in);
        Buffer<uint32_t> row_bits(b.width * b.channels / G);
        for (int64_t i = from; i < to; ++i) {
            const int64_t sample = i / bands;
            forward_band<G>(b, m, convolution, in + sample * b.n_steps * b.input_units(), weight, gain, bias,
                            v + sample * b.pixels() * b.channels, out + sample * b.n_steps * b.output_units(),
                            i % bands * BAND, row_bits.get());
        }
    });
}

// Convolution of frames, stored; of each frame the sums and sums of squares [2, C], in double from row to row.
template <int G>
void convolve_frame(const Block b, BitConvolution &convolution, const uint16_t *in, const float *weight,
                    float *current, double *sums) {
    convolution.read(in, 0, b.height);
    for (int64_t y = 0; y < b.height; ++y) {
        convolution.begin_row(y);
        for (int64_t group = 0; group < b.channels / G; ++group) {
            V total[G / LANES] = {}, squares[G / LANES] = {};
            convolution.run_row<G>(weight + group * 9 * b.channels_in * G, [&](int64_t x, const V *found) {
                for (int i = 0; i < G / LANES; ++i) {
                    store(current + (y * b.width + x) * b.channels + group * G + i * LANES, found[i]);
                    total[i] += found[i];
                    squares[i] = multiply_add(found[i], found[i], squares[i]);
                }
            });
            if (!sums) continue;
            float found[2 * G];
            for (int i = 0; i < G / LANES; ++i) {
                store(found + i * LANES, total[i]);
                store(found + G + i * LANES, squares[i]);
            }
            for (int c = 0; c < G; ++c) {
                sums[group * G + c] += found[c];
                sums[b.channels + group * G + c] += found[G + c];
            }
        }
    }
}

template <int G>
void convolve(const Block &b, int64_t n_frames, const uint16_t *in, const float *weight, float *current, double *sums,
              int n_threads) {
    const int64_t size = 2 * b.channels;
    Buffer<double> parts(sums ? n_frames * size : 0);
    parallel_shares(n_frames, n_threads, [&](int64_t from, int64_t to) {
        BitConvolution convolution(b.height, b.width, b.channels_in);
        for (int64_t f = from; f < to; ++f)
            convolve_frame<G>(b, convolution, in + f * b.input_units(), weight,
                              current + f * b.pixels() * b.channels, sums ? &parts[f * size] : nullptr);
    });
    if (!sums) return;
    for (int64_t f = 0; f < n_frames; ++f)
        for (int64_t i = 0; i < size; ++i) sums[i] += parts[f * size + i];
}

// Normalisation, neuron and pooling of a stored current: two rows of one sample over all steps.
template <int G>
void fire_rows(const Block b, const Membrane m, const float *current, const float *gain, const float *bias, float *v,
               uint16_t *out, int64_t y0, int64_t group) {
    const int64_t C = b.channels, row = b.width * C;
    const int rows = y0 + 1 < b.height ? 2 : 1;
    for (int64_t t = 0; t < b.n_steps; ++t) {
        const int64_t start = y0 * row + group * G;
        const float *now = current + t * b.pixels() * C + start;
        auto fire = [&](int64_t at) {
            V sums[G / LANES];
            for (int i = 0; i < G / LANES; ++i) sums[i] = load(now + at + i * LANES);
            return step<G>(sums, gain + group * G, bias + group * G, v + start + at, m);
        };
        uint16_t *pooled = out + t * b.output_units() + (y0 / 2 * (b.width / 2) * C + group * G) / 16;
        const int64_t windows = rows == 2 ? b.width / 2 : 0;
        for (int64_t x = 0; x < windows; ++x) {
            const int64_t at = 2 * x * C;
            put_bits<G>(pooled + x * C / 16, fire(at) | fire(at + C) | fire(at + row) | fire(at + row + C));
        }
        for (int k = 0; k < rows; ++k)
            for (int64_t x = 2 * windows; x < b.width; ++x) fire(k * row + x * C);
    }
}

template <int G>
void fire(const Block &b, const Settings &settings, int64_t n_samples, const float *current, const float *gain,
          const float *bias, float *v, uint16_t *out, int n_threads) {
    const Membrane m(settings);
    const int64_t pairs = (b.height + 1) / 2, groups = b.channels / G, size = b.pixels() * b.channels;
    parallel_blocks(n_samples * pairs * groups, n_threads, [&](int64_t i) {
        const int64_t sample = i / (pairs * groups);
        fire_rows<G>(b, m, current + sample * b.n_steps * size, gain, bias, v + sample * size,
                     out + sample * b.n_steps * b.output_units(), i / groups % pairs * 2, i % groups);
    });
}

}  // namespace
}  // namespace snnfer

using namespace snnfer;

// Bits [N, T, H, W, C_in] to bits [N, T, H / 2, W / 2, C]; potentials v [N, H, W, C] in place. Weights as in bits.h.
SNNFER_EXPORT void SNNFER_NAME(bit_block_forward)(const uint16_t *in, int64_t n_samples, int64_t n_steps,
                                                  int64_t height, int64_t width, int64_t channels_in,
                                                  int64_t channels, const float *weight, const float *gain,
                                                  const float *bias, const Settings *settings, float *v,
                                                  uint16_t *out, int n_threads) {
    const Block b{height, width, channels_in, channels, n_steps};
    const auto run = channels % 32 ? forward<16> : forward<32>;
    run(b, *settings, n_samples, in, weight, gain, bias, v, out, n_threads);
}

// Bits [F, H, W, C_in] to currents [F, H, W, C]; adds their sums and sums of squares [2, C] (null: not wanted).
SNNFER_EXPORT void SNNFER_NAME(bit_convolution)(const uint16_t *in, int64_t n_frames, int64_t height, int64_t width,
                                                int64_t channels_in, int64_t channels, const float *weight,
                                                float *current, double *sums, int n_threads) {
    const Block b{height, width, channels_in, channels, 1};
    const auto run = channels % 32 ? convolve<16> : convolve<32>;
    run(b, n_frames, in, weight, current, sums, n_threads);
}

// Currents [N, T, H, W, C] to bits [N, T, H / 2, W / 2, C]; potentials v [N, H, W, C] in place.
SNNFER_EXPORT void SNNFER_NAME(bit_block_fire)(const float *current, int64_t n_samples, int64_t n_steps,
                                               int64_t height, int64_t width, int64_t channels, const float *gain,
                                               const float *bias, const Settings *settings, float *v, uint16_t *out,
                                               int n_threads) {
    const Block b{height, width, 16, channels, n_steps};
    const auto run = channels % 32 ? fire<16> : fire<32>;
    run(b, *settings, n_samples, current, gain, bias, v, out, n_threads);
}
