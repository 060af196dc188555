// Gradient of the spikes in front of a fully connected layer: a product of dense matrices, whose result goes straight to
// the layout of the block before it, with the dropout.
#include <type_traits>

#include "vectors.h"

namespace snnfer {
namespace {

struct Layer {
    int64_t n_rows, pixels, channels, outputs;
    int64_t features() const { return pixels * channels; }
};

constexpr int PIXELS = 16;  // whose weights are packed together: a cache line of every row of the matrix

// weight [outputs, C, pixels] to [pixel, group, outputs, W] for some pixels.
template <int W>
void pack(const Layer &layer, const float *weight, int64_t first, int64_t n, float *packed) {
    const int64_t groups = layer.channels / W;
    for (int64_t o = 0; o < layer.outputs; ++o)
        for (int64_t c = 0; c < layer.channels; ++c) {
            const float *from = weight + (o * layer.channels + c) * layer.pixels + first;
            float *to = packed + (c / W * layer.outputs + o) * W + c % W;
            for (int64_t p = 0; p < n; ++p) to[p * groups * layer.outputs * W] = from[p];
        }
}

// out [rows, W] = grad [rows, outputs] * weight [outputs, W]; rows `stride` and `out_stride` apart.
template <int W, int ROWS>
inline void multiply(const float *grad, int64_t stride, const float *weight, int64_t outputs, const float *mask,
                     float *out, int64_t out_stride) {
    constexpr int N = W / LANES;
    V sums[ROWS][N] = {};
    for (int64_t o = 0; o < outputs; ++o) {
        V w[N];
#pragma GCC unroll 4
        for (int i = 0; i < N; ++i) w[i] = load(weight + o * W + i * LANES);
#pragma GCC unroll 12
        for (int r = 0; r < ROWS; ++r) {
            const V g = every(grad[r * stride + o]);
#pragma GCC unroll 4
            for (int i = 0; i < N; ++i) sums[r][i] = multiply_add(g, w[i], sums[r][i]);
        }
    }
#pragma GCC unroll 12
    for (int r = 0; r < ROWS; ++r)
#pragma GCC unroll 4
        for (int i = 0; i < N; ++i)
            store(out + r * out_stride + i * LANES, mask ? sums[r][i] * load(mask + i * LANES) : sums[r][i]);
}

template <int W>
void input_gradient(const Layer &layer, int64_t n_samples, const float *grad, const float *weight, const float *mask,
                    float *out, int n_threads) {
    constexpr int ROWS = LANES == 16 ? 12 : LANES == 8 ? 6 : 3;  // their sums fill the registers
    const int64_t blocks = (layer.pixels + PIXELS - 1) / PIXELS, groups = layer.channels / W;
    const int64_t panel = layer.outputs * W;
    parallel_shares(blocks, n_threads, [&](int64_t from, int64_t to) {
        Buffer<float> packed(PIXELS * layer.channels * layer.outputs);
        for (int64_t block = from; block < to; ++block) {
            const int64_t first = block * PIXELS, n = std::min<int64_t>(PIXELS, layer.pixels - first);
            pack<W>(layer, weight, first, n, packed.get());
            for (int64_t i = 0; i < n * groups; ++i) {
                const int64_t place = (first + i / groups) * layer.channels + i % groups * W;
                const float *w = packed.get() + i * panel;
                for (int64_t sample = 0; sample < n_samples; ++sample) {
                    const float *keep = mask ? mask + sample * layer.features() + place : nullptr;
                    const float *g = grad + sample * layer.n_rows * layer.outputs;
                    float *to_row = out + sample * layer.n_rows * layer.features() + place;
                    auto rows = [&](auto some, int64_t r) {
                        multiply<W, some>(g + r * layer.outputs, layer.outputs, w, layer.outputs, keep,
                                          to_row + r * layer.features(), layer.features());
                        return r + some;
                    };
                    int64_t r = 0;
                    while (r + ROWS <= layer.n_rows) r = rows(std::integral_constant<int, ROWS>{}, r);
                    while (r + 4 <= layer.n_rows) r = rows(std::integral_constant<int, 4>{}, r);
                    while (r < layer.n_rows) r = rows(std::integral_constant<int, 1>{}, r);
                }
            }
        }
    });
}

}  // namespace
}  // namespace snnfer

using namespace snnfer;

// grad [N, T, outputs] to [N, T, pixels, C]; weight [outputs, C, pixels]; mask [N, pixels, C] or null.
SNNFER_EXPORT void SNNFER_NAME(bit_linear_input_gradient)(const float *grad, int64_t n_samples, int64_t n_steps,
                                                          int64_t outputs, const float *weight, const float *mask,
                                                          int64_t pixels, int64_t channels, float *out,
                                                          int n_threads) {
    const Layer layer{n_steps, pixels, channels, outputs};
    const auto run = LANES == 16 && channels % 32 == 0 ? input_gradient<LANES == 16 ? 32 : 16> : input_gradient<16>;
    run(layer, n_samples, grad, weight, mask, out, n_threads);
}
