// Input gradient of a 3 x 3 convolution of the same size by Winograd's F(4 x 4, 3 x 3): 36 products of matrices
// instead of 144 multiplications per output and pair of channels.
#pragma once
#include "vectors.h"

namespace snnfer {
namespace {

// A frame of gradients [H, W, C] with a border: one row and column before it, zeros up to whole tiles after it.
struct Padded {
    int64_t height, width, channels;
    int64_t rows() const { return (height + 3) / 4 * 4 + 2; }
    int64_t columns() const { return (width + 3) / 4 * 4 + 2; }
    int64_t size() const { return rows() * columns() * channels; }
    int64_t at(int64_t y, int64_t x) const { return ((y + 1) * columns() + x + 1) * channels; }
};

inline void transform_input(V (&d)[6]) {
    const V a = d[4] - 4.0f * d[2], b = d[3] - 4.0f * d[1], c = d[4] - d[2], e = 2.0f * (d[3] - d[1]);
    d[0] = multiply_add(every(4.0f), d[0], multiply_add(every(-5.0f), d[2], d[4]));
    d[5] = multiply_add(every(4.0f), d[1], multiply_add(every(-5.0f), d[3], d[5]));
    d[1] = a + b;
    d[2] = a - b;
    d[3] = c + e;
    d[4] = c - e;
}

inline void transform_output(const V (&m)[6], V (&o)[4]) {
    const V a = m[1] + m[2], b = m[1] - m[2], c = m[3] + m[4], e = m[3] - m[4];
    o[0] = m[0] + a + c;
    o[1] = multiply_add(every(2.0f), e, b);
    o[2] = multiply_add(every(4.0f), c, a);
    o[3] = multiply_add(every(8.0f), e, b) + m[5];
}

class Winograd {
  public:
    // weight [C_out, C_in, 3, 3]; the gradient convolves with it turned by 180 degrees.
    Winograd(const float *weight, int64_t channels_out, int64_t channels_in)
        : outputs_(channels_out), inputs_(channels_in), weights_(36 * channels_out * channels_in) {
        static const double G[6][3] = {{.25, 0, 0},           {-1 / 6., -1 / 6., -1 / 6.}, {-1 / 6., 1 / 6., -1 / 6.},
                                       {1 / 24., 1 / 12., 1 / 6.}, {1 / 24., -1 / 12., 1 / 6.}, {0, 0, 1}};
        for (int64_t pair = 0; pair < channels_out * channels_in; ++pair) {
            double half[6][3] = {};
            for (int i = 0; i < 6; ++i)
                for (int s = 0; s < 3; ++s)
                    for (int r = 0; r < 3; ++r) half[i][s] += G[i][r] * weight[pair * 9 + (2 - r) * 3 + 2 - s];
            for (int i = 0; i < 6; ++i)
                for (int j = 0; j < 6; ++j) {
                    double sum = 0;
                    for (int s = 0; s < 3; ++s) sum += half[i][s] * G[j][s];
                    weights_[(i * 6 + j) * channels_out * channels_in + pair] = static_cast<float>(sum);
                }
        }
    }

    static constexpr int BATCH = 16;  // tiles that are transformed together
    int64_t scratch_size() const { return 36 * BATCH * (outputs_ + inputs_); }

    // grad [H, W, C_in] from `padded` [rows, columns, C_out].
    void run(const float *padded, const Padded &p, float *grad, float *scratch) const {
        const int64_t across = (p.width + 3) / 4, tiles = (p.height + 3) / 4 * across;
        float *products = scratch + 36 * BATCH * outputs_;
        for (int64_t first = 0; first < tiles; first += BATCH) {
            const int n = static_cast<int>(std::min<int64_t>(BATCH, tiles - first));
            for (int i = 0; i < n; ++i) {
                const int64_t y = (first + i) / across * 4, x = (first + i) % across * 4;
                take_tile(padded + (y * p.columns() + x) * outputs_, p.columns() * outputs_, scratch + i * outputs_);
            }
            for (int k = 0; k < 36; ++k)
                multiply(scratch + k * BATCH * outputs_, &weights_[k * outputs_ * inputs_], n,
                         products + k * BATCH * inputs_);
            for (int i = 0; i < n; ++i) {
                const int64_t y = (first + i) / across * 4, x = (first + i) % across * 4;
                put_tile(products + i * inputs_, grad + (y * p.width + x) * inputs_, p.width * inputs_,
                         static_cast<int>(std::min<int64_t>(4, p.height - y)),
                         static_cast<int>(std::min<int64_t>(4, p.width - x)));
            }
        }
    }

  private:
    int64_t outputs_, inputs_;
    Buffer<float> weights_;  // [36, C_out, C_in]

    void take_tile(const float *from, int64_t row, float *to) const {
        for (int64_t c = 0; c < outputs_; c += LANES) {
            V d[6][6];
#pragma GCC unroll 6
            for (int j = 0; j < 6; ++j) {
                V column[6];
#pragma GCC unroll 6
                for (int i = 0; i < 6; ++i) column[i] = load(from + i * row + j * outputs_ + c);
                transform_input(column);
#pragma GCC unroll 6
                for (int i = 0; i < 6; ++i) d[i][j] = column[i];
            }
#pragma GCC unroll 6
            for (int i = 0; i < 6; ++i) {
                transform_input(d[i]);
#pragma GCC unroll 6
                for (int j = 0; j < 6; ++j) store(to + (i * 6 + j) * BATCH * outputs_ + c, d[i][j]);
            }
        }
    }

    void put_tile(const float *from, float *to, int64_t row, int rows, int columns) const {
        for (int64_t c = 0; c < inputs_; c += LANES) {
            V half[4][6];
#pragma GCC unroll 6
            for (int j = 0; j < 6; ++j) {
                V m[6], o[4];
#pragma GCC unroll 6
                for (int i = 0; i < 6; ++i) m[i] = load(from + (i * 6 + j) * BATCH * inputs_ + c);
                transform_output(m, o);
#pragma GCC unroll 4
                for (int i = 0; i < 4; ++i) half[i][j] = o[i];
            }
            for (int i = 0; i < rows; ++i) {
                V o[4];
                transform_output(half[i], o);
                for (int j = 0; j < columns; ++j) store(to + i * row + j * inputs_ + c, o[j]);
            }
        }
    }

    // out [n, C_in] = in [n, C_out] * weight [C_out, C_in]. Rows up to the next multiple of TILES hold old numbers.
    void multiply(const float *in, const float *weight, int n, float *out) const {
        if (inputs_ % (2 * LANES)) multiply_by<1>(in, weight, n, out);
        else multiply_by<2>(in, weight, n, out);
    }

    template <int N>
    void multiply_by(const float *in, const float *weight, int n, float *out) const {
        constexpr int TILES = LANES == 16 ? 8 : 4;
        for (int64_t c = 0; c < inputs_; c += N * LANES)
            for (int first = 0; first < n; first += TILES) {
                V sums[TILES][N] = {};
                const float *from = in + first * outputs_;
                for (int64_t o = 0; o < outputs_; ++o) {
                    V w[N];
#pragma GCC unroll 2
                    for (int i = 0; i < N; ++i) w[i] = load(weight + o * inputs_ + c + i * LANES);
#pragma GCC unroll 8
                    for (int tile = 0; tile < TILES; ++tile) {
                        const V x = every(from[tile * outputs_ + o]);
#pragma GCC unroll 2
                        for (int i = 0; i < N; ++i) sums[tile][i] = multiply_add(x, w[i], sums[tile][i]);
                    }
                }
#pragma GCC unroll 8
                for (int tile = 0; tile < TILES; ++tile)
#pragma GCC unroll 2
                    for (int i = 0; i < N; ++i) store(out + (first + tile) * inputs_ + c + i * LANES, sums[tile][i]);
            }
    }
};

}  // namespace
}  // namespace snnfer
