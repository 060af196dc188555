// Which of the compiled instruction sets this processor can run.
#include <cstdint>

#define SNNFER_EXPORT extern "C" __attribute__((visibility("default")))

// Changes whenever an exported function does, so that an old library beside new Python code is noticed.
SNNFER_EXPORT int32_t snnfer_interface() { return 4; }

SNNFER_EXPORT const char *snnfer_level() {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
        return "avx512";
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2"))
        return "avx2";
#endif
    return "base";
}
