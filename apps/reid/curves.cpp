#include "apps/reid/curves.h"

#include <utility>

namespace tessera::apps {

Plot loss_plot(const std::vector<EpochRecord>& epochs) {
  Plot plot;
  plot.options = {.title = "Training loss", .x_label = "epoch", .y_label = "cross entropy"};
  PlotSeries series{.name = "train", .markers = true};
  for (const EpochRecord& r : epochs) {
    series.x.push_back(static_cast<double>(r.epoch));
    series.y.push_back(r.loss);
  }
  plot.series.push_back(std::move(series));
  return plot;
}

Plot accuracy_plot(const std::vector<EpochRecord>& epochs) {
  Plot plot;
  plot.options = {.title = "Accuracy", .x_label = "epoch", .y_label = "share"};
  PlotSeries train{.name = "train, identity", .markers = true};
  PlotSeries rank1{.name = "test, Rank@1", .markers = true};
  PlotSeries map{.name = "test, mAP", .markers = true};
  for (const EpochRecord& r : epochs) {
    const auto x = static_cast<double>(r.epoch);
    train.x.push_back(x);
    train.y.push_back(r.accuracy);
    if (r.rank1 < 0) continue;
    rank1.x.push_back(x);
    rank1.y.push_back(r.rank1);
    map.x.push_back(x);
    map.y.push_back(r.mAP);
  }
  plot.series = {std::move(train), std::move(rank1), std::move(map)};
  return plot;
}

}  // namespace tessera::apps
