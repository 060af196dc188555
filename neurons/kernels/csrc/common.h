// What all kernels share. Every file is compiled once per instruction set; SNNFER_NAME gives the exported names their
// suffix, and the Python side takes those that the processor can run.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define SNNFER_JOIN_(a, b) a##_##b
#define SNNFER_JOIN(a, b) SNNFER_JOIN_(a, b)
#define SNNFER_NAME(name) SNNFER_JOIN(name, SNNFER_LEVEL)
#if defined(_WIN32)
#define SNNFER_EXPORT extern "C" __declspec(dllexport)
#else
#define SNNFER_EXPORT extern "C" __attribute__((visibility("default")))
#endif
#if defined(__GNUC__) && !defined(__clang__)
#define SNNFER_VECTOR _Pragma("GCC ivdep")
#elif defined(__clang__)
#define SNNFER_VECTOR _Pragma("clang loop vectorize(enable)")
#else
#define SNNFER_VECTOR
#endif

namespace snnfer {

// Numbers too small for the normal range count as zero while this lives: a decaying potential reaches them and would
// slow every operation down a hundredfold.
class FlushSubnormals {
#if defined(__x86_64__)
  public:
    FlushSubnormals() : saved_(_mm_getcsr()) { _mm_setcsr(saved_ | 0x8040); }
    ~FlushSubnormals() { _mm_setcsr(saved_); }

  private:
    unsigned saved_;
#else
  public:
    FlushSubnormals() {}
    ~FlushSubnormals() {}
#endif
};

// Asks for values that are read soon: a tile goes from page to page, where processors do not look ahead by themselves.
template <typename F>
inline void prefetch(const F *values, int64_t count) {
    for (int64_t i = 0; i < count; i += 64 / static_cast<int64_t>(sizeof(F))) __builtin_prefetch(values + i);
}

constexpr int64_t LARGE = 32 << 20;  // bytes that no cache holds

// Copies past the caches what is read again only after they have seen much else.
template <typename F>
inline void stream(const F *from, F *to, int64_t count) {
    int64_t i = 0;
#if defined(__x86_64__)
    const int64_t width = 16 / static_cast<int64_t>(sizeof(F)), line = 64 / static_cast<int64_t>(sizeof(F));
    const int64_t ahead = static_cast<int64_t>(-reinterpret_cast<uintptr_t>(to) & 63) / static_cast<int64_t>(sizeof(F));
    for (; i < std::min(ahead, count); ++i) to[i] = from[i];
    for (; i + line <= count; i += line)
        for (int64_t j = i; j < i + line; j += width)
            _mm_stream_si128(reinterpret_cast<__m128i *>(to + j),
                             _mm_loadu_si128(reinterpret_cast<const __m128i *>(from + j)));
#endif
    for (; i < count; ++i) to[i] = from[i];
}

// What was streamed is seen by other threads from here on.
inline void finish_streams() {
#if defined(__x86_64__)
    _mm_sfence();
#endif
}

// Runs body(first, last) on contiguous shares of n blocks, one per thread.
template <typename Body>
void parallel_shares(int64_t n_blocks, int n_threads, const Body &body) {
    n_threads = static_cast<int>(std::max<int64_t>(1, std::min<int64_t>(n_threads, n_blocks)));
    auto share = [&](int thread) {
        FlushSubnormals flush;
        body(n_blocks * thread / n_threads, n_blocks * (thread + 1) / n_threads);
    };
    std::vector<std::thread> others;
    for (int thread = 1; thread < n_threads; ++thread) others.emplace_back(share, thread);
    share(0);
    for (auto &other : others) other.join();
}

// Runs body(block) for all blocks, so that sums over blocks do not depend on timing.
template <typename Body>
void parallel_blocks(int64_t n_blocks, int n_threads, const Body &body) {
    parallel_shares(n_blocks, n_threads, [&](int64_t first, int64_t last) {
        for (int64_t block = first; block < last; ++block) body(block);
    });
}

}  // namespace snnfer
