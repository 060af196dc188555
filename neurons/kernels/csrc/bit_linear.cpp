// Flattened spikes as rows of bits in the order of torch (channel, row, column), and the fully connected layer on them.
// Four inputs have 16 sums of weights: a table of them turns four additions into one look-up. A list of the spikes adds
// in the same order, so that both give the same bits.
#include "bits.h"

namespace snnfer {
namespace {

struct Rows {
    int64_t n_rows, features;
    int64_t words() const { return (features + 31) / 32; }
};

// ORs `count` low bits of `bits` into a row that starts at zero.
inline void put(uint32_t *row, int64_t position, uint32_t bits, int64_t count) {
    if (count < 32) bits &= (1u << count) - 1;
    const int shift = static_cast<int>(position % 32);
    row[position / 32] |= bits << shift;
    if (shift && bits >> (32 - shift)) row[position / 32 + 1] |= bits >> (32 - shift);
}

// One frame [pixels, C] to one row [C, pixels].
void flatten(const uint16_t *frame, int64_t pixels, int64_t channels, uint32_t *row) {
    for (int64_t p = 0; p < pixels; p += 32) {
        const int64_t count = std::min<int64_t>(32, pixels - p);
        for (int64_t c = 0; c < channels; c += 32) {
            uint32_t words[32] = {};
            const int units = channels - c > 16 ? 2 : 1;
            for (int64_t i = 0; i < count; ++i) std::memcpy(&words[i], frame + ((p + i) * channels + c) / 16, 2 * units);
            transpose_bits(words);
            for (int i = 0; i < 16 * units; ++i) put(row, (c + i) * pixels + p, words[i], count);
        }
    }
}

// All 16 sums of four rows of W values; the higher rows are added last.
template <int W>
inline void build_table(const float *const (&rows)[4], float *table) {
    for (int i = 0; i < W; i += LANES) {
        V sums[16] = {};
#pragma GCC unroll 16
        for (int subset = 1; subset < 16; ++subset) {
            const int highest = subset >= 8 ? 3 : subset >= 4 ? 2 : subset >= 2 ? 1 : 0;
            const V last = rows[highest] ? load(rows[highest] + i) : V{};
            sums[subset] = subset == 1 << highest ? last : sums[subset ^ (1 << highest)] + last;
        }
#pragma GCC unroll 16
        for (int subset = 0; subset < 16; ++subset) store(table + subset * W + i, sums[subset]);
    }
}

// Adds to sums [n, W] what the bits of word after word select from 8 tables.
template <int W>
inline void look_up(const uint32_t *words, int64_t n, const float *tables, float *sums) {
    for (int64_t r = 0; r < n; ++r) {
        const uint32_t bits = words[r];
        V total[W / LANES];
        for (int i = 0; i < W / LANES; ++i) total[i] = load(sums + r * W + i * LANES);
#pragma GCC unroll 8
        for (int nibble = 0; nibble < 8; ++nibble) {
            const float *entry = tables + (nibble * 16 + (bits >> (4 * nibble) & 15)) * W;
            for (int i = 0; i < W / LANES; ++i) total[i] += load(entry + i * LANES);
        }
        for (int i = 0; i < W / LANES; ++i) store(sums + r * W + i * LANES, total[i]);
    }
}

// W outputs of all rows. transposed: words [words, rows]; weight [outputs, features] at the first of them.
template <int W>
void forward_block(const Rows rows, const uint32_t *transposed, const float *weight, float *tables, float *columns,
                   float *sums) {
    std::fill_n(sums, rows.n_rows * W, 0.0f);
    for (int64_t word = 0; word < rows.words(); ++word) {
        const int64_t first = 32 * word, count = std::min<int64_t>(32, rows.features - first);
        for (int o = 0; o < W; ++o)
            for (int64_t j = 0; j < count; ++j) columns[j * W + o] = weight[o * rows.features + first + j];
        for (int nibble = 0; nibble < 8; ++nibble) {
            const float *four[4];
            for (int j = 0; j < 4; ++j) four[j] = 4 * nibble + j < count ? columns + (4 * nibble + j) * W : nullptr;
            build_table<W>(four, tables + nibble * 16 * W);
        }
        look_up<W>(transposed + word * rows.n_rows, rows.n_rows, tables, sums);
    }
}

template <int W>
void forward(const Rows &rows, const uint32_t *bits, const float *weight, const float *bias, float scale,
             int64_t outputs, float *out, int n_threads) {
    Buffer<uint32_t> transposed(rows.words() * rows.n_rows);
    for (int64_t r = 0; r < rows.n_rows; ++r)
        for (int64_t word = 0; word < rows.words(); ++word)
            transposed[word * rows.n_rows + r] = bits[r * rows.words() + word];
    parallel_shares(outputs / W, n_threads, [&](int64_t from, int64_t to) {
        Buffer<float> tables(8 * 16 * W), columns(32 * W), sums(rows.n_rows * W);
        for (int64_t block = from; block < to; ++block) {
            forward_block<W>(rows, transposed.get(), weight + block * W * rows.features, tables.get(), columns.get(),
                             sums.get());
            for (int64_t r = 0; r < rows.n_rows; ++r)
                for (int o = 0; o < W; ++o)
                    out[r * outputs + block * W + o] = sums[r * W + o] * scale + (bias ? bias[block * W + o] : 0.0f);
        }
    });
}

// W outputs of one row from the list of its spikes. weight: [features, outputs].
template <int W>
void add_list(const uint16_t *list, int64_t n, int64_t first_feature, const float *weight, int64_t outputs,
              float *sums) {
    V total[W / LANES];
    for (int i = 0; i < W / LANES; ++i) total[i] = load(sums + i * LANES);
    auto row = [&](int64_t e) { return weight + (first_feature + list[e]) * outputs; };
    for (int64_t e = 0; e < n;) {
        for (int i = 0; i < W; i += 16) __builtin_prefetch(row(std::min(e + 12, n - 1)) + i);
        int64_t end = e + 1;
        while (end < n && list[end] / 4 == list[e] / 4) ++end;
        if (end == e + 1) {
            const float *w = row(e);
            for (int i = 0; i < W / LANES; ++i) total[i] += load(w + i * LANES);
        } else {
            V four[W / LANES];
            for (int i = 0; i < W / LANES; ++i) four[i] = load(row(e) + i * LANES);
            for (int64_t j = e + 1; j < end; ++j)
                for (int i = 0; i < W / LANES; ++i) four[i] += load(row(j) + i * LANES);
            for (int i = 0; i < W / LANES; ++i) total[i] += four[i];
        }
        e = end;
    }
    for (int i = 0; i < W / LANES; ++i) store(sums + i * LANES, total[i]);
}

template <int W>
void forward_list(const Rows &rows, const uint32_t *bits, const float *weight, const float *bias, float scale,
                  int64_t outputs, float *out, int n_threads) {
    constexpr int64_t SECTION = 2048;  // words whose positions fit 16 bits
    parallel_blocks(rows.n_rows, n_threads, [&](int64_t r) {
        Buffer<uint16_t> list(std::min(SECTION, rows.words()) * 32 + 8);
        float *sums = out + r * outputs;
        std::fill_n(sums, outputs, 0.0f);
        for (int64_t first = 0; first < rows.words(); first += SECTION) {
            const int64_t last = std::min(first + SECTION, rows.words());
            int64_t n = 0;
            for (int64_t word = first; word < last; ++word)
                n += append_bits(bits[r * rows.words() + word], static_cast<int>(32 * (word - first)), &list[n]);
            for (int64_t o = 0; o < outputs; o += W)
                add_list<W>(list.get(), n, 32 * first, weight + o, outputs, sums + o);
        }
        for (int64_t o = 0; o < outputs; ++o) sums[o] = sums[o] * scale + (bias ? bias[o] : 0.0f);
    });
}

// grad_weight [outputs, features] = scale * sum over rows of grad [rows, outputs] where the bit is set.
template <int W>
void weight_gradient(const Rows &rows, const uint32_t *bits, const float *grad, float scale, int64_t outputs,
                     float *grad_weight, int n_threads) {
    constexpr int64_t WORDS = 8;  // of features, in a block
    const int64_t row_words = (rows.n_rows + 31) / 32, blocks = (rows.words() + WORDS - 1) / WORDS;
    parallel_shares(blocks, n_threads, [&](int64_t from, int64_t to) {
        Buffer<float> tables(8 * 16 * W), sums(32 * WORDS * W);
        Buffer<uint32_t> of_feature(row_words * 32 * WORDS);  // [row words, features of the block]
        for (int64_t block = from; block < to; ++block) {
            const int64_t first = block * WORDS, last = std::min(first + WORDS, rows.words());
            const int64_t features = 32 * (last - first);
            for (int64_t word = first; word < last; ++word)
                for (int64_t r = 0; r < row_words; ++r) {
                    uint32_t words[32] = {};
                    for (int64_t i = 0; i < std::min<int64_t>(32, rows.n_rows - 32 * r); ++i)
                        words[i] = bits[(32 * r + i) * rows.words() + word];
                    transpose_bits(words);
                    std::copy_n(words, 32, &of_feature[r * features + 32 * (word - first)]);
                }
            for (int64_t o = 0; o < outputs; o += W) {
                std::fill_n(sums.get(), features * W, 0.0f);
                for (int64_t r = 0; r < row_words; ++r) {
                    for (int nibble = 0; nibble < 8; ++nibble) {
                        const float *four[4];
                        for (int j = 0; j < 4; ++j) {
                            const int64_t row = 32 * r + 4 * nibble + j;
                            four[j] = row < rows.n_rows ? grad + row * outputs + o : nullptr;
                        }
                        build_table<W>(four, tables.get() + nibble * 16 * W);
                    }
                    look_up<W>(&of_feature[r * features], features, tables.get(), sums.get());
                }
                const int64_t count = std::min(features, rows.features - 32 * first);
                for (int i = 0; i < W; ++i)
                    for (int64_t k = 0; k < count; ++k)
                        grad_weight[(o + i) * rows.features + 32 * first + k] = sums[k * W + i] * scale;
            }
        }
    });
}

}  // namespace
}  // namespace snnfer

using namespace snnfer;

// Bits [N, T, pixels, C] to rows [T, N, words] of C * pixels features; `keep` [N, words] (or null) drops features.
SNNFER_EXPORT void SNNFER_NAME(bit_rows)(const uint16_t *in, int64_t n_samples, int64_t n_steps, int64_t pixels,
                                         int64_t channels, const uint32_t *keep, uint32_t *rows, int n_threads) {
    const int64_t words = (pixels * channels + 31) / 32;
    parallel_blocks(n_samples * n_steps, n_threads, [&](int64_t f) {
        const int64_t sample = f / n_steps, step = f % n_steps;
        uint32_t *row = rows + (step * n_samples + sample) * words;
        std::fill_n(row, words, 0);
        flatten(in + f * pixels * channels / 16, pixels, channels, row);
        if (keep)
            for (int64_t i = 0; i < words; ++i) row[i] &= keep[sample * words + i];
    });
}

// Rows of bits to numbers 0 and 1 [rows, features], and back: what is not zero.
SNNFER_EXPORT void SNNFER_NAME(bits_to_floats)(const uint32_t *bits, int64_t n_rows, int64_t features, float *out,
                                               int n_threads) {
    const int64_t words = (features + 31) / 32;
    parallel_blocks(n_rows, n_threads, [&](int64_t r) {
        for (int64_t k = 0; k < features; ++k)
            out[r * features + k] = static_cast<float>(bits[r * words + k / 32] >> (k % 32) & 1);
    });
}
SNNFER_EXPORT void SNNFER_NAME(floats_to_bits)(const float *in, int64_t n_rows, int64_t features, uint32_t *bits,
                                               int n_threads) {
    const int64_t words = (features + 31) / 32;
    parallel_blocks(n_rows, n_threads, [&](int64_t r) {
        uint32_t *row = bits + r * words;
        std::fill_n(row, words, 0);
        for (int64_t k = 0; k < features; ++k)
            row[k / 32] |= static_cast<uint32_t>(in[r * features + k] != 0) << (k % 32);
    });
}

// out [rows, outputs] = scale * bits * weight^T + bias; weight [outputs, features], or its transpose with `listed`.
SNNFER_EXPORT void SNNFER_NAME(bit_linear)(const uint32_t *bits, int64_t n_rows, int64_t features,
                                           const float *weight, const float *bias, float scale, int64_t outputs,
                                           int64_t listed, float *out, int n_threads) {
    const Rows rows{n_rows, features};
    if (listed) {
        const auto run = outputs % 128 ? forward_list<16> : forward_list<128>;
        return run(rows, bits, weight, bias, scale, outputs, out, n_threads);
    }
    const auto run = outputs % 32 ? forward<16> : forward<32>;
    run(rows, bits, weight, bias, scale, outputs, out, n_threads);
}

SNNFER_EXPORT void SNNFER_NAME(bit_linear_weight_gradient)(const uint32_t *bits, int64_t n_rows, int64_t features,
                                                           const float *grad, float scale, int64_t outputs,
                                                           float *grad_weight, int n_threads) {
    const auto run = outputs % 32 ? weight_gradient<16> : weight_gradient<32>;
    run({n_rows, features}, bits, grad, scale, outputs, grad_weight, n_threads);
}

// Images [rows, C, pixels], `row` floats apart, to [rows, pixels, C].
SNNFER_EXPORT void SNNFER_NAME(channels_last)(const float *in, int64_t row, int64_t n_rows, int64_t pixels,
                                              int64_t channels, float *out, int n_threads) {
    parallel_blocks(n_rows, n_threads, [&](int64_t r) {
        const float *from = in + r * row;
        float *to = out + r * pixels * channels;
        for (int64_t p = 0; p < pixels; ++p)
            for (int64_t c = 0; c < channels; ++c) to[p * channels + c] = from[c * pixels + p];
    });
}
