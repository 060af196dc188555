// Batch normalisation over all pixels of all steps, channels last: its statistics, and the last step of its gradient.
#include "block.h"

namespace snnfer {
namespace {

constexpr int64_t MOST_SHARES = 256;  // fixed, so that sums do not depend on the number of threads

// Sums of y - shift and of its square, in double. The shift, a value of the channel, keeps them small.
template <typename F>
void add_moments(const F *y, const double *shift, double *sum, double *square, int64_t n_pixels, int64_t channels) {
    for (int64_t p = 0; p + 4 <= n_pixels; p += 4, y += 4 * channels) {
        SNNFER_VECTOR
        for (int64_t c = 0; c < channels; ++c) {
            const double a = y[c] - shift[c], b = y[channels + c] - shift[c];
            const double d = y[2 * channels + c] - shift[c], e = y[3 * channels + c] - shift[c];
            sum[c] += (a + b) + (d + e);
            square[c] += (a * a + b * b) + (d * d + e * e);
        }
    }
    for (int64_t p = n_pixels / 4 * 4; p < n_pixels; ++p, y += channels) {
        SNNFER_VECTOR
        for (int64_t c = 0; c < channels; ++c) {
            const double d = y[c] - shift[c];
            sum[c] += d;
            square[c] += d * d;
        }
    }
}

template <typename F>
void statistics(const F *y, double *mean, double *variance, int64_t n_pixels, int64_t channels, int n_threads) {
    const std::vector<double> shift(y, y + channels);
    const int64_t n_shares = std::min(MOST_SHARES, n_pixels);
    std::vector<double> sums(2 * n_shares * channels);
    parallel_blocks(n_shares, useful_threads(n_threads, n_pixels * channels), [&](int64_t share) {
        const int64_t first = n_pixels * share / n_shares, last = n_pixels * (share + 1) / n_shares;
        double *sum = sums.data() + 2 * share * channels;
        add_moments(y + first * channels, shift.data(), sum, sum + channels, last - first, channels);
    });
    for (int64_t c = 0; c < channels; ++c) {
        double sum = 0, square = 0;
        for (int64_t share = 0; share < n_shares; ++share) {
            sum += sums[2 * share * channels + c];
            square += sums[(2 * share + 1) * channels + c];
        }
        const double above = sum / n_pixels;
        mean[c] = shift[c] + above;
        variance[c] = std::max(0.0, square / n_pixels - above * above);
    }
}

// Gradient of y from that of its normalisation, in place: the mean and the deviation of the batch depend on y too.
template <typename F>
void through_statistics(const F *y, F *grad, const F *mean, const F *inverse_deviation, const F *weight,
                        const double *sums, int64_t n_pixels, int64_t channels, int n_threads) {
    const int64_t pixels = std::min<int64_t>(n_pixels, std::max<int64_t>(1, 1024 / channels)), run = pixels * channels;
    std::vector<F> centre(run), scale(run), slope(run), shift(run);
    for (int64_t i = 0; i < run; ++i) {
        const int64_t c = i % channels;
        const double s = inverse_deviation[c], a = s * (weight ? weight[c] : F(1));
        centre[i] = mean[c];
        scale[i] = static_cast<F>(a);
        slope[i] = static_cast<F>(-a * s * s * sums[channels + c] / n_pixels);
        shift[i] = static_cast<F>(-a * sums[c] / n_pixels);
    }
    const int64_t n_values = n_pixels * channels;
    parallel_blocks((n_values + run - 1) / run, useful_threads(n_threads, n_values), [&](int64_t block) {
        const F *at = y + block * run, *m = centre.data(), *a = scale.data(), *b = slope.data(), *d = shift.data();
        F *g = grad + block * run;
        const int64_t count = std::min(run, n_values - block * run);
        SNNFER_VECTOR
        for (int64_t i = 0; i < count; ++i) g[i] = a[i] * g[i] + (b[i] * (at[i] - m[i]) + d[i]);
    });
}

}  // namespace
}  // namespace snnfer

#define SNNFER_BLOCK_NORM(F, suffix)                                                                                  \
    SNNFER_EXPORT void SNNFER_NAME(block_statistics_##suffix)(                                                        \
        const F *y, double *mean, double *variance, int64_t n_pixels, int64_t channels, int n_threads) {              \
        snnfer::statistics<F>(y, mean, variance, n_pixels, channels, n_threads);                                      \
    }                                                                                                                 \
    SNNFER_EXPORT void SNNFER_NAME(block_through_statistics_##suffix)(                                                \
        const F *y, F *grad, const F *mean, const F *inverse_deviation, const F *weight, const double *sums,          \
        int64_t n_pixels, int64_t channels, int n_threads) {                                                          \
        snnfer::through_statistics<F>(y, grad, mean, inverse_deviation, weight, sums, n_pixels, channels, n_threads); \
    }

SNNFER_BLOCK_NORM(float, f32)
SNNFER_BLOCK_NORM(double, f64)
