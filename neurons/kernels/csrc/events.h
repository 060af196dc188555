// Event lists of dense frames: the values that are not zero, row after row.
#pragma once
#include "vectors.h"

namespace snnfer {
namespace {

struct Event {
    uint16_t x, channel;
    float value;
};

// Rows of all frames, one after the other: row y of frame f is row f * height + y; its events end where those of the
// next row start.
struct Events {
    const int32_t *row_start;  // [frames * height + 1]
    const Event *list;
    int64_t height, width, channels;
    const Event *begin(int64_t row) const { return list + row_start[row]; }
    const Event *end(int64_t row) const { return list + row_start[row + 1]; }
};

}  // namespace
}  // namespace snnfer
