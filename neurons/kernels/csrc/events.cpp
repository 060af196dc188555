// From dense frames to event lists, and the moments of their 3 x 3 patches.
#include "events.h"

namespace snnfer {
namespace {

// Calls found(x, value) for what is not zero.
template <typename Found>
inline void scan(const float *row, int64_t width, const Found &found) {
    int64_t x = 0;
    for (; x + LANES <= width; x += LANES) {
        const V v = load(row + x);
        const VI other = v != V{};
        uint32_t bits = reached(other ? every(1.0f) : V{}, every(1.0f));
        for (; bits; bits &= bits - 1) {
            const int i = __builtin_ctz(bits);
            found(x + i, row[x + i]);
        }
    }
    for (; x < width; ++x)
        if (row[x] != 0) found(x, row[x]);
}

// Correlates the pixels of frames with their neighbours up to two rows and columns away. All 3 x 3 patches have their
// products among these; only a patch around a pixel outside the image is missing, so that the correlations are kept
// apart by where the first pixel lies: in the first row, the last one, both or none, and likewise for columns.
class Correlations {
  public:
    static constexpr int PLACES = 16;
    Correlations(const Events &events)
        : events_(events), span_((5 * events.channels + LANES - 1) / LANES * LANES),
          row_size_((events.width + 4) * events.channels + LANES), image_((events.height + 4) * row_size_),
          sums_(PLACES * events.channels), products_(PLACES * events.channels * 5 * span_) {}

    // Doubles that `add_frame` adds to: sums [places, C], then products [places, C, 5 rows, span].
    int64_t size() const { return PLACES * events_.channels * (1 + 5 * span_); }

    void add_frame(int64_t frame, double *out) {
        each_event(frame, [&](int64_t y, const Event &e) { *pixel(y, e) = e.value; });
        bool used[PLACES] = {};
        each_event(frame, [&](int64_t y, const Event &e) {
            const int place = where(y, events_.height) * 4 + where(e.x, events_.width);
            used[place] = true;
            const int64_t at = place * events_.channels + e.channel;
            sums_[at] += e.value;
            const float *corner = &image_[y * row_size_ + e.x * events_.channels];
            float *products = &products_[at * 5 * span_];
            for (int64_t row = 0; row < 5; ++row)
                for (int64_t i = 0; i < span_; i += LANES) {
                    float *sum = products + row * span_ + i;
                    store(sum, multiply_add(every(e.value), load(corner + row * row_size_ + i), load(sum)));
                }
        });
        each_event(frame, [&](int64_t y, const Event &e) { *pixel(y, e) = 0; });
        for (int place = 0; place < PLACES; ++place)
            if (used[place]) flush(place, out);
    }

    // The moments of the patches, in the order row, column, channel.
    void finish(const double *found, double *sums, double *products) const {
        const int64_t C = events_.channels, n = 9 * C;
        for (int place = 0; place < PLACES; ++place)
            for (int64_t i = 0; i < n; ++i) {
                const int64_t ky = i / (3 * C), kx = i / C % 3, c = i % C, at = place * C + c;
                if (outside(ky, place / 4) || outside(kx, place % 4)) continue;
                sums[i] += found[at];
                const double *near = found + PLACES * C + at * 5 * span_;
                for (int64_t j = 0; j < n; ++j) {
                    const int64_t row = j / (3 * C) - ky + 2, column = j / C % 3 - kx + 2;
                    products[i * n + j] += near[row * span_ + column * C + j % C];
                }
            }
    }

  private:
    const Events &events_;
    int64_t span_, row_size_;  // values of 5 columns, of a row with its border
    Buffer<float> image_, sums_, products_;

    static int where(int64_t i, int64_t size) { return (i == 0) + 2 * (i == size - 1); }

    // Whether tap k of no patch lies on a pixel at this place: that patch would be around one outside the image.
    static bool outside(int64_t k, int place) { return (k == 0 && place & 2) || (k == 2 && place & 1); }

    float *pixel(int64_t y, const Event &e) {
        return &image_[(y + 2) * row_size_ + (e.x + 2) * events_.channels + e.channel];
    }

    template <typename Body>
    void each_event(int64_t frame, const Body &body) const {
        for (int64_t y = 0; y < events_.height; ++y) {
            const int64_t row = frame * events_.height + y;
            for (const Event *e = events_.begin(row); e < events_.end(row); ++e) body(y, *e);
        }
    }

    void flush(int place, double *out) {
        const int64_t C = events_.channels, n = C * 5 * span_;
        for (int64_t i = place * C; i < (place + 1) * C; ++i) out[i] += sums_[i];
        for (int64_t i = place * n; i < (place + 1) * n; ++i) out[PLACES * C + i] += products_[i];
        std::fill_n(&sums_[place * C], C, 0.0f);
        std::fill_n(&products_[place * n], n, 0.0f);
    }
};

}  // namespace
}  // namespace snnfer

using namespace snnfer;

// Frames [T, N, C, H, W] to lists in the order n, t, y, channel, x. The last entry of `row_start` is the number of
// events; those beyond `capacity` are counted, not written.
SNNFER_EXPORT void SNNFER_NAME(events_from_frames)(const float *x, int64_t n_steps, int64_t n_samples,
                                                      int64_t channels, int64_t height, int64_t width,
                                                      int32_t *row_start, Event *list, int64_t capacity,
                                                      int) {
    int64_t count = 0;
    for (int64_t n = 0; n < n_samples; ++n)
        for (int64_t t = 0; t < n_steps; ++t)
            for (int64_t y = 0; y < height; ++y) {
                *row_start++ = static_cast<int32_t>(count);
                for (int64_t c = 0; c < channels; ++c) {
                    const float *row = x + ((((t * n_samples + n) * channels + c) * height) + y) * width;
                    scan(row, width, [&](int64_t at, float value) {
                        if (count < capacity)
                            list[count] = {static_cast<uint16_t>(at), static_cast<uint16_t>(c), value};
                        ++count;
                    });
                }
            }
    *row_start = static_cast<int32_t>(count);
}

// Sums [9 C] and products [9 C, 9 C] of all 3 x 3 patches, over rows, columns, channels. The frames are divided into
// as many parts as there are samples, whatever the number of threads.
SNNFER_EXPORT void SNNFER_NAME(patch_moments)(const int32_t *row_start, const Event *list, int64_t n_parts,
                                              int64_t n_frames, int64_t channels, int64_t height, int64_t width,
                                              double *sums, double *products, int n_threads) {
    const Events events{row_start, list, height, width, channels};
    const int64_t size = Correlations(events).size();
    Buffer<double> parts(n_parts * size);
    parallel_blocks(n_parts, n_threads, [&](int64_t part) {
        Correlations correlations(events);
        for (int64_t f = n_frames * part / n_parts; f < n_frames * (part + 1) / n_parts; ++f)
            correlations.add_frame(f, &parts[part * size]);
    });
    for (int64_t part = 1; part < n_parts; ++part)
        for (int64_t i = 0; i < size; ++i) parts[i] += parts[part * size + i];
    Correlations(events).finish(&parts[0], sums, products);
}
