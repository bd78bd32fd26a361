#include "ops/image/lane_map.h"

#include <algorithm>
#include <array>

#include "ops/cpu/lanes.h"

namespace tessera {

using cpu::kPanelLanes;
using cpu::PanelRegister;

LaneMap::LaneMap(const AxisMap& map, int64_t channels) : outputs_(map.out * channels) {
  struct Lane {
    const int64_t *index, *end;  // taps left
    const double* weight;
    int64_t channel;
  };
  const int64_t last_window = std::max<int64_t>(0, map.in * channels - kPanelLanes);
  const auto vectors = static_cast<size_t>((outputs_ + kPanelLanes - 1) / kPanelLanes);
  begin_.reserve(vectors + 1);
  steps_.reserve(vectors * 2);
  for (int64_t v = 0; v < outputs_; v += kPanelLanes) {
    std::array<Lane, kPanelLanes> lanes;
    const auto count = static_cast<size_t>(std::min<int64_t>(kPanelLanes, outputs_ - v));
    int64_t left = 0;
    for (size_t l = 0; l < count; ++l) {
      const int64_t at = v + static_cast<int64_t>(l);
      const auto pixel = static_cast<size_t>(at / channels);
      lanes[l] = {map.index.data() + map.begin[pixel], map.index.data() + map.begin[pixel + 1],
                  map.weight.data() + map.begin[pixel], at % channels};
      left += lanes[l].end - lanes[l].index;
    }
    while (left > 0) {
      int64_t first = last_window;
      for (size_t l = 0; l < count; ++l)
        if (lanes[l].index != lanes[l].end)
          first = std::min(first, *lanes[l].index * channels + lanes[l].channel);
      Step step = {};
      step.first = static_cast<uint32_t>(first);
      for (size_t l = 0; l < count; ++l) {
        Lane& lane = lanes[l];
        if (lane.index == lane.end) continue;
        const int64_t at = *lane.index * channels + lane.channel - first;
        if (at >= kPanelLanes) continue;
        step.index[l] = static_cast<uint8_t>(at);
        step.weight[l] = static_cast<float>(*lane.weight);
        step.lanes |= uint32_t{1} << l;
        ++lane.index;
        ++lane.weight;
        --left;
      }
      steps_.push_back(step);
    }
    begin_.push_back(steps_.size());
  }
}

template <int Rows>
void LaneMap::apply(const float* x, int64_t x_stride, float* y, int64_t y_stride) const {
  const Step* step = steps_.data();
  for (size_t v = 0; v + 1 < begin_.size(); ++v) {
    PanelRegister sum[Rows] = {};
    for (const Step* const end = steps_.data() + begin_[v + 1]; step < end; ++step) {
      const PanelRegister weight = cpu::load_lanes(step->weight);
      for (int r = 0; r < Rows; ++r)
        sum[r] += weight * cpu::permute_lanes(cpu::load_lanes(x + r * x_stride + step->first),
                                              step->index, step->lanes);
    }
    const int64_t at = static_cast<int64_t>(v) * kPanelLanes;
    const int64_t count = std::min<int64_t>(kPanelLanes, outputs_ - at);
    for (int r = 0; r < Rows; ++r) {
      if (count == kPanelLanes)
        cpu::store_lanes(y + r * y_stride + at, sum[r]);
      else
        cpu::store_lanes(y + r * y_stride + at, sum[r], count);
    }
  }
}

template void LaneMap::apply<1>(const float*, int64_t, float*, int64_t) const;
template void LaneMap::apply<4>(const float*, int64_t, float*, int64_t) const;

}  // namespace tessera
