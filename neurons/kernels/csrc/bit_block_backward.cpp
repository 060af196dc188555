// A block whose input are bits, backward. First the neurons: gradients take the place of the stored currents and their
// sums are collected. Then, when the sums of all samples are known, the convolution: its output is computed again where
// the normalisation needs it.
#include "bits.h"
#include "tile.h"
#include "winograd.h"

namespace snnfer {
namespace {

struct Block {
    int64_t height, width, channels_in, channels, n_steps;
    int64_t pixels() const { return height * width; }
    int64_t input_units() const { return height * width * channels_in / 16; }
};

// A tile of one sample; `current` at the first channel of the group. sums [2, G]: of the gradients, of them times the
// current.
template <int G>
V fire_tile(const Block b, const Membrane m, const Tile tile, const Ends ends, const float *gain, const float *bias,
            const float *grad_out, float *current, float *h, float *carry, float *sums) {
    const int64_t size = tile.rows * tile.columns * G, C = b.channels, frame = b.pixels() * C;
    for (int64_t t = 0; t < b.n_steps; ++t)
        each_pixel<G>(tile, b.width, [&](int64_t at, int64_t pixel) {
            for (int i = 0; i < G; i += LANES) {
                const V v = t ? m.after_reset(load(h + (t - 1) * size + at + i)) : load(ends.v0 + pixel * C + i);
                const V x = load(current + t * frame + pixel * C + i);
                store(h + t * size + at + i, m.leaked(v) + multiply_add(x, load(gain + i), load(bias + i)));
            }
        });
    V rate{}, total[G / LANES] = {}, products[G / LANES] = {};
    begin_backward<G>(tile, ends, carry);
    const int64_t first = (tile.y0 * b.width + tile.x0) * C;
    for (int64_t t = b.n_steps - 1; t >= 0; --t) {
        const float *potential = h + t * size, *next = t < b.n_steps - 1 ? potential + size : nullptr;
        const int64_t pixel = (t * (b.height / 2) + tile.y0 / 2) * (b.width / 2) + tile.x0 / 2;
        float *place = current + t * frame + first;
        const int64_t row = tile.columns * G;
        rate += backward_step<G>(tile, m, potential, next, carry, grad_out + pixel * C, C, [&](int64_t at, int i, V g) {
            const bool below = at >= row;
            float *x = place + (below ? b.width * C + (at - row) / G * C : at / G * C) + i;
            total[i / LANES] += g;
            products[i / LANES] = multiply_add(g, load(x), products[i / LANES]);
            store(x, g);
        });
    }
    for (int i = 0; i < G; i += LANES) {
        store(sums + i, total[i / LANES]);
        store(sums + G + i, products[i / LANES]);
    }
    return rate + end_backward<G>(tile, m, ends, h, carry);
}

template <int G>
void fire_backward(const Block &b, const Settings &settings, const Ends &ends, const float *gain, const float *bias,
                   const float *grad_out, float *current, double *sums, double *grad_rate, int n_threads) {
    const Membrane m(settings);
    const int64_t groups = b.channels / G, step = tile_columns(b.n_steps, G), pairs = (b.height + 1) / 2;
    const int64_t tiles = (b.width + step - 1) / step, blocks = groups * pairs * tiles, size = 2 * G + LANES;
    Buffer<float> parts(blocks * size);
    parallel_shares(blocks, n_threads, [&](int64_t from, int64_t to) {
        Buffer<float> carry(2 * step * G), h(b.n_steps * 2 * step * G);
        for (int64_t i = from; i < to; ++i) {
            const int64_t at = i / (pairs * tiles) * G;
            const Tile tile(i / tiles % pairs * 2, i % tiles * step, b.height, b.width, step);
            float *own = &parts[i * size];
            const V rate = fire_tile<G>(b, m, tile, ends.at(at), gain + at, bias + at, grad_out + at, current + at,
                                        h.get(), carry.get(), own);
            store(own + 2 * G, rate);
        }
    });
    for (int64_t i = 0; i < blocks; ++i) {
        const float *own = &parts[i * size];
        const int64_t group = i / (pairs * tiles);
        for (int c = 0; c < G; ++c) {
            sums[group * G + c] += own[c];
            sums[b.channels + group * G + c] += own[G + c];
        }
        *grad_rate += sum_of(load(own + 2 * G));
    }
}

// d(loss)/d(convolution) = a * gradient + b * convolution + d, per channel.
struct Normalisation {
    const float *a, *b, *d;
};

// Weight gradient [groups, ky, channels_in, kx, G] of a frame: for every input channel the places where it fires, in
// bands of rows so that the gradients around them stay in the cache.
template <int G>
class WeightGradient {
  public:
    WeightGradient(const Block &b, const Padded &padded) : b_(b), padded_(padded) {}

    void add_frame(const uint16_t *in, const float *grad, float *sums) {
        for (int64_t y = 0; y < b_.height; y += BAND)
            for (int64_t x = 0; x < b_.width; x += 32)
                for (int64_t c = 0; c < b_.channels_in; c += 32) add_band(in, grad, sums, y, x, c);
    }

  private:
    static constexpr int BAND = 4;
    const Block b_;
    const Padded padded_;
    uint32_t words_[BAND][32];
    uint16_t list_[BAND * 32 + 8];

    void add_band(const uint16_t *in, const float *grad, float *sums, int64_t y0, int64_t x0, int64_t c0) {
        const int rows = static_cast<int>(std::min<int64_t>(BAND, b_.height - y0));
        const int columns = static_cast<int>(std::min<int64_t>(32, b_.width - x0));
        const int channels = static_cast<int>(std::min<int64_t>(32, b_.channels_in - c0));
        for (int r = 0; r < rows; ++r) {
            std::memset(words_[r], 0, sizeof words_[r]);
            for (int x = 0; x < columns; ++x)
                std::memcpy(&words_[r][x], in + (((y0 + r) * b_.width + x0 + x) * b_.channels_in + c0) / 16,
                            channels / 8);
            transpose_bits(words_[r]);
        }
        const float *corner = grad + padded_.at(y0 - 1, x0 - 1);
        const int64_t row = padded_.columns() * b_.channels;
        for (int c = 0; c < channels; ++c) {
            int n = 0;
            for (int r = 0; r < rows; ++r) n += append_bits(words_[r][c], 32 * r, list_ + n);
            for (int64_t group = 0; n && group < b_.channels / G; ++group)
                for (int64_t ky = 0; ky < 3; ++ky)
                    add_places(n, corner + (2 - ky) * row + group * G, row,
                               sums + ((group * 3 + ky) * b_.channels_in + c0 + c) * 3 * G);
        }
    }

    void add_places(int n, const float *grad, int64_t row, float *sums) const {
        constexpr int N = G / LANES;
        V left[N] = {}, middle[N] = {}, right[N] = {};
        for (int e = 0; e < n; ++e) {
            const float *p = grad + list_[e] / 32 * row + list_[e] % 32 * b_.channels;
            for (int i = 0; i < N; ++i) {
                right[i] += load(p + i * LANES);
                middle[i] += load(p + b_.channels + i * LANES);
                left[i] += load(p + 2 * b_.channels + i * LANES);
            }
        }
        for (int i = 0; i < N; ++i) {
            store(sums + i * LANES, load(sums + i * LANES) + left[i]);
            store(sums + G + i * LANES, load(sums + G + i * LANES) + middle[i]);
            store(sums + 2 * G + i * LANES, load(sums + 2 * G + i * LANES) + right[i]);
        }
    }
};

// Gradient of the convolution's output, padded.
template <int G>
void normalise_frame(const Block b, BitConvolution &convolution, const uint16_t *in, const float *weight,
                     const float *grad, const Normalisation n, const Padded &padded, float *out) {
    convolution.read(in, 0, b.height);
    for (int64_t y = 0; y < b.height; ++y) {
        convolution.begin_row(y);
        for (int64_t group = 0; group < b.channels / G; ++group)
            convolution.run_row<G>(weight + group * 9 * b.channels_in * G, [&](int64_t x, const V *sums) {
                const float *g = grad + (y * b.width + x) * b.channels;
                float *to = out + padded.at(y, x);
                for (int i = 0; i < G / LANES; ++i) {
                    const int64_t c = group * G + i * LANES;
                    const V shifted = multiply_add(sums[i], load(n.b + c), load(n.d + c));
                    store(to + c, multiply_add(load(g + c), load(n.a + c), shifted));
                }
            });
    }
}

// One sample in fixed parts of its steps, each with sums of its own.
template <int G>
void convolution_backward(const Block &b, const uint16_t *in, const float *weight, const float *plain_weight,
                          const float *grad, const Normalisation &n, float *grad_in, double *grad_weight,
                          int n_threads) {
    const Padded padded{b.height, b.width, b.channels};
    const Winograd winograd(plain_weight, b.channels, b.channels_in);
    const int64_t size = 9 * b.channels_in * b.channels, parts = std::min<int64_t>(b.n_steps, 8);
    Buffer<float> sums(parts * size);
    parallel_shares(parts, n_threads, [&](int64_t from, int64_t to) {
        BitConvolution convolution(b.height, b.width, b.channels_in);
        WeightGradient<G> weight_gradient(b, padded);
        Buffer<float> frame(padded.size()), scratch(winograd.scratch_size());
        for (int64_t t = b.n_steps * from / parts; t < b.n_steps * to / parts; ++t) {
            int64_t part = from;
            while (t >= b.n_steps * (part + 1) / parts) ++part;
            const uint16_t *bits = in + t * b.input_units();
            normalise_frame<G>(b, convolution, bits, weight, grad + t * b.pixels() * b.channels, n, padded,
                               frame.get());
            winograd.run(frame.get(), padded, grad_in + t * b.pixels() * b.channels_in, scratch.get());
            weight_gradient.add_frame(bits, frame.get(), &sums[part * size]);
        }
    });
    for (int64_t part = 0; part < parts; ++part)
        for (int64_t i = 0; i < size; ++i) grad_weight[i] += sums[part * size + i];
}

}  // namespace
}  // namespace snnfer

using namespace snnfer;

// One sample. Currents [T, H, W, C] are replaced by the gradients of h, the potential before the reset; grad_out is that
// of the pooled spikes [T, H / 2, W / 2, C]. Adds to sums [2, C] and grad_rate.
SNNFER_EXPORT void SNNFER_NAME(bit_block_fire_backward)(float *current, int64_t n_steps, int64_t height,
                                                        int64_t width, int64_t channels,
                                                        const float *gain, const float *bias,
                                                        const Settings *settings, const float *grad_out,
                                                        const float *v0, const float *grad_last, float *grad_v0,
                                                        double *sums, double *grad_rate, int n_threads) {
    const Block b{height, width, 16, channels, n_steps};
    const auto run = channels % 32 ? fire_backward<16> : fire_backward<32>;
    run(b, *settings, {v0, grad_last, grad_v0, width, channels}, gain, bias, grad_out, current, sums,
        grad_rate, n_threads);
}

// One sample: bits [T, H, W, C_in], gradients of h [T, H, W, C] to grad_in [T, H, W, C_in]; adds to grad_weight
// [groups, ky, C_in, kx, G]. plain_weight: [C, C_in, 3, 3].
SNNFER_EXPORT void SNNFER_NAME(bit_convolution_backward)(const uint16_t *in, int64_t n_steps, int64_t height,
                                                         int64_t width, int64_t channels_in, int64_t channels,
                                                         const float *weight, const float *plain_weight,
                                                         const float *grad, const float *a, const float *b,
                                                         const float *d, float *grad_in, double *grad_weight,
                                                         int n_threads) {
    const Block block{height, width, channels_in, channels, n_steps};
    const auto run = channels % 32 ? convolution_backward<16> : convolution_backward<32>;
    run(block, in, weight, plain_weight, grad, {a, b, d}, grad_in, grad_weight, n_threads);
}
