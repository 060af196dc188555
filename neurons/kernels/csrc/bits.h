// Spikes as bits: lists of those that are set, and transposition.
#pragma once
#include "vectors.h"

namespace snnfer {
namespace {

typedef uint16_t Positions __attribute__((vector_size(16)));

// For every byte the positions of its bits, the lowest first.
struct ByteLists {
    uint16_t positions[256][8];
    constexpr ByteLists() : positions() {
        for (int byte = 0; byte < 256; ++byte)
            for (int bit = 0, n = 0; bit < 8; ++bit)
                if (byte >> bit & 1) positions[byte][n++] = static_cast<uint16_t>(bit);
    }
};
alignas(64) constexpr ByteLists BYTE_LISTS;

// Appends `base` + position of every bit of a byte; writes 8 entries whatever their number. Returns that.
inline int append_byte(uint8_t byte, int base, uint16_t *list) {
    Positions positions;
    std::memcpy(&positions, BYTE_LISTS.positions[byte], sizeof positions);
    positions += static_cast<uint16_t>(base);
    std::memcpy(list, &positions, sizeof positions);
    return __builtin_popcount(byte);
}

template <typename Word>
inline int append_bits(Word bits, int base, uint16_t *list) {
    int n = 0;
    for (size_t byte = 0; byte < sizeof bits; ++byte)
        n += append_byte(static_cast<uint8_t>(bits >> (8 * byte)), base + 8 * static_cast<int>(byte), list + n);
    return n;
}

// Word i of the result holds bit i of all 32 words.
inline void transpose_bits(uint32_t (&words)[32]) {
    uint32_t mask = 0x0000FFFF;
    for (int j = 16; j; j >>= 1, mask ^= mask << j)
        for (int k = 0; k < 32; k = ((k | j) + 1) & ~j) {
            const uint32_t swapped = ((words[k] >> j) ^ words[k | j]) & mask;
            words[k] ^= swapped << j;
            words[k | j] ^= swapped;
        }
}

// The active channels of the pixels of an image row, so that the rows of a convolution can share them.
class RowLists {
  public:
    static constexpr int MAX_CHANNELS = 64;
    RowLists(int64_t width) : lists_(width * STRIDE), counts_(width) {}

    void fill(const uint16_t *bits, int64_t width, int64_t channels) {
        for (int64_t x = 0; x < width; ++x) {
            uint16_t *list = &lists_[x * STRIDE];
            int n = 0;
            for (int64_t unit = 0; unit < channels / 16; ++unit)
                n += append_bits(bits[x * channels / 16 + unit], static_cast<int>(16 * unit), list + n);
            counts_[x] = static_cast<uint8_t>(n);
        }
    }

    // Copies the list of pixel x, `base` added; writes in whole groups of 8.
    int copy(int64_t x, int base, uint16_t *list) const {
        const int n = counts_[x];
        const uint16_t *from = &lists_[x * STRIDE];
        for (int i = 0; i < n; i += 8) {
            Positions positions;
            std::memcpy(&positions, from + i, sizeof positions);
            positions += static_cast<uint16_t>(base);
            std::memcpy(list + i, &positions, sizeof positions);
        }
        return n;
    }

  private:
    static constexpr int STRIDE = MAX_CHANNELS + 8;
    Buffer<uint16_t> lists_;
    Buffer<uint8_t> counts_;
};

// 3 x 3 convolution of one frame of bits [H, W, C_in], same size, without bias.
// Weights: [groups, ky, channels_in, kx, G].
class BitConvolution {
  public:
    BitConvolution(int64_t height, int64_t width, int64_t channels_in)
        : height_(height), width_(width), channels_in_(channels_in), columns_(width * COLUMN), counts_(width) {
        for (int64_t y = 0; y < height; ++y) rows_.emplace_back(width);
    }

    // Lists of the rows that output rows first .. last - 1 need.
    void read(const uint16_t *frame, int64_t first, int64_t last) {
        for (int64_t y = std::max<int64_t>(first - 1, 0); y < std::min(last + 1, height_); ++y)
            rows_[y].fill(frame + y * width_ * channels_in_ / 16, width_, channels_in_);
    }

    // Of each column the active inputs of three rows; needed once for all groups.
    void begin_row(int64_t y) {
        for (int64_t x = 0; x < width_; ++x) {
            uint16_t *list = &columns_[x * COLUMN];
            int n = 0;
            for (int64_t ky = 0; ky < 3; ++ky)
                if (y + ky > 0 && y + ky <= height_)
                    n += rows_[y + ky - 1].copy(x, static_cast<int>(ky * channels_in_), list + n);
            counts_[x] = n;
        }
    }

    // Calls done(x, sums) for every pixel of the row. Each input adds to three columns, which stay in registers.
    template <int G, typename Done>
    void run_row(const float *weight, const Done &done) const {
        constexpr int N = G / LANES;
        V before[N] = {}, here[N] = {}, after[N] = {};
        for (int64_t x = 0; x <= width_; ++x) {
            if (x < width_) {
                const uint16_t *list = &columns_[x * COLUMN];
                for (int e = 0; e < counts_[x]; ++e) {
                    const float *w = weight + list[e] * (3 * G);
                    for (int i = 0; i < N; ++i) {
                        after[i] += load(w + i * LANES);
                        here[i] += load(w + G + i * LANES);
                        before[i] += load(w + 2 * G + i * LANES);
                    }
                }
            }
            if (x) done(x - 1, before);
            for (int i = 0; i < N; ++i) {
                before[i] = here[i];
                here[i] = after[i];
                after[i] = V{};
            }
        }
    }

  private:
    static constexpr int COLUMN = 3 * RowLists::MAX_CHANNELS + 8;
    int64_t height_, width_, channels_in_;
    std::vector<RowLists> rows_;
    Buffer<uint16_t> columns_;
    Buffer<int> counts_;
};

}  // namespace
}  // namespace snnfer
