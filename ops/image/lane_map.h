#pragma once

#include <vector>

#include "ops/cpu/panel_gemm.h"
#include "ops/image/separable.h"

namespace tessera {

/// An AxisMap over pixels of few f32 channels as steps of whole vectors. Each step reads
/// neighbouring elements of the input row, moves to every lane of the output the one it has a tap
/// on, and adds it with the tap's weight: no loop over three channels, and no gathers.
class LaneMap {
 public:
  LaneMap(const AxisMap& map, int64_t channels);

  /// y := the map of x, for `Rows` rows together: x is rows of map.in * channels elements, y of
  /// map.out * channels, `x_stride` and `y_stride` apart. Reads kPanelLanes elements of a row that
  /// is shorter. An output is the sum of its taps in one order, wherever it lies.
  template <int Rows>
  void apply(const float* x, int64_t x_stride, float* y, int64_t y_stride) const;

 private:
  struct Step {
    float weight[cpu::kPanelLanes];
    uint8_t index[cpu::kPanelLanes];
    uint32_t first, lanes;  // where it reads the row, and which lanes have a tap
  };

  int64_t outputs_;
  std::vector<size_t> begin_{0};  // steps of each vector of outputs
  std::vector<Step> steps_;
};

}  // namespace tessera
