#include "apps/reid/demo.h"

#include <chrono>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "apps/common/log.h"
#include "apps/common/report.h"
#include "apps/reid/trainer.h"
#include "data/codec.h"
#include "data/market1501.h"
#include "data/pedestrians.h"
#include "io/atomic_file.h"
#include "tensor/parallel.h"

namespace tessera::apps {
namespace {

using nlohmann::json;

constexpr int64_t kEpochs = 8;
constexpr int kQueriesShown = 10;

std::string percent(double share) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f %%", 100 * share);
  return text;
}

// Thrown to leave the drawing of images.
struct Stopped {};

// Images of another set would be trained on and searched with the demo's own; what has its names is
// drawn anew.
void check_no_other_images(const std::filesystem::path& folder,
                           const data::PedestrianSetOptions& set) {
  std::set<std::filesystem::path> own;
  for (const data::PedestrianItem& item : data::pedestrian_items(set))
    own.insert(data::pedestrian_path(folder, item));
  for (const char* part : data::kMarket1501Folders) {
    if (!std::filesystem::exists(folder / part)) continue;
    for (const std::filesystem::path& path : data::list_images(folder / part))
      TESSERA_CHECK(IoError, own.contains(path), path.string(),
                    ": does not belong to the demo's own images; remove ", folder.string(),
                    " or choose another --out");
  }
}

void render_set(const std::filesystem::path& folder, const data::PedestrianSetOptions& set,
                const OutputOptions& output, const StopRequest& stop) {
  Progress progress({.label = "drawing pedestrians",
                     .unit = "images",
                     .total = static_cast<int64_t>(data::pedestrian_items(set).size()),
                     .mode = output.progress()});
  data::write_market1501(
      folder, set,
      // Thousands of small files that can be drawn again: no file is worth a wait for the disk.
      [&](const std::filesystem::path& path, const data::Image& image) {
        if (stop && stop()) throw Stopped{};
        const std::vector<uint8_t> bytes = data::encode_jpeg(image, 95);
        std::ofstream file(path, std::ios::binary | std::ios::trunc);
        file.write(reinterpret_cast<const char*>(bytes.data()),
                   static_cast<std::streamsize>(bytes.size()));
        file.close();
        TESSERA_CHECK(IoError, file.good(), path.string(), ": cannot be written");
      },
      [&](int64_t done, int64_t) { progress.update(done); });
}

data::RetrievalMetrics evaluate_untrained(const ReidTrainOptions& train, ReidModelOptions model,
                                          const StopRequest& stop) {
  const data::Market1501 set = data::load_market1501(train.data);
  model.net.num_classes = set.train_identities;
  manual_seed(train.seed);
  models::ReidNet net(model.net);
  net.to(train.device);
  const auto extract = [&](const std::vector<data::ReidImage>& images, const char* label) {
    ReidFeatures features =
        extract_features(net, model, images, train.batch, train.workers, label, train.output, stop);
    if (stop && stop()) throw Stopped{};
    return features;
  };
  const ReidFeatures query = extract(set.query, "untrained: query");
  const ReidFeatures gallery = extract(set.gallery, "untrained: gallery");
  return data::evaluate(query.set(), gallery.set());
}

Plot cmc_plot(const data::RetrievalMetrics& trained, const data::RetrievalMetrics& untrained) {
  Plot plot;
  plot.options = {.title = "Cumulative match characteristic",
                  .x_label = "rank",
                  .y_label = "share of queries",
                  .y_min = 0,
                  .y_max = 1};
  const auto series = [](const char* name, const data::RetrievalMetrics& m, bool dashed) {
    PlotSeries s{.name = name, .dashed = dashed};
    for (size_t r = 0; r < std::min<size_t>(20, m.cmc.size()); ++r) {
      s.x.push_back(static_cast<double>(r + 1));
      s.y.push_back(m.cmc[r]);
    }
    return s;
  };
  plot.series = {series("trained", trained, false), series("untrained", untrained, true)};
  return plot;
}

void write_report(const ReidDemoOptions& options, const data::PedestrianSetOptions& set,
                  const ReidTrainResult& run, const data::RetrievalMetrics& untrained) {
  Report report("Tessera: person re-identification",
                "A network trained from scratch on drawn pedestrians, on this machine's CPU");
  report.figures({{"Rank@1", percent(run.metrics.rank1), "untrained: " + percent(untrained.rank1)},
                  {"mAP", percent(run.metrics.mAP), "untrained: " + percent(untrained.mAP)},
                  {"Training", cat(static_cast<int64_t>(run.seconds), " s"),
                   cat(run.epochs.size(), " epochs, ", num_threads(), " threads")}});
  report.section("What was done")
      .paragraph(cat(set.train_identities, " drawn people train the network, ", set.test_identities,
                     " others are searched for. Each is seen by ", set.cameras, " cameras in ",
                     set.views,
                     " views. A query is one view; the search looks for the same person "
                     "in the other cameras' images by the network's features alone."));
  report.section("Training").plot(loss_plot(run.epochs)).plot(accuracy_plot(run.epochs));
  report.section("Retrieval").plot(cmc_plot(run.metrics, untrained));
  report.table({"", "Rank@1", "Rank@5", "Rank@10", "mAP", "mINP"},
               {{"trained", percent(run.metrics.rank1), percent(run.metrics.rank5),
                 percent(run.metrics.rank10), percent(run.metrics.mAP), percent(run.metrics.mINP)},
                {"untrained", percent(untrained.rank1), percent(untrained.rank5),
                 percent(untrained.rank10), percent(untrained.mAP), percent(untrained.mINP)}},
               {Report::Align::kLeft, Report::Align::kRight, Report::Align::kRight,
                Report::Align::kRight, Report::Align::kRight, Report::Align::kRight});
  const QueryAndGallery features = load_features(options.out);
  std::vector<int64_t> shown;
  const int64_t queries = features.query.set().rows();
  for (int64_t i = 0; i < std::min<int64_t>(kQueriesShown, queries); ++i)
    shown.push_back(i * queries / kQueriesShown);
  const data::Image sheet = draw_rankings(features, shown, 10);
  data::write_png(options.out / "rankings.png", sheet);
  report.section("Ten queries")
      .image(data::encode_png(sheet), "image/png",
             "The ten nearest gallery images of each query; green: the same person.",
             "ranked galleries of ten queries");
  report.section("Again").code("tessera reid demo");
  io::write_file_atomic(options.out / "report.html", report.html());
}

}  // namespace

json run_reid_demo(const ReidDemoOptions& options, const StopRequest& stop) try {
  const auto start = std::chrono::steady_clock::now();
  const Log log(options.output.quiet);
  const data::PedestrianSetOptions set;
  ReidTrainOptions train;
  train.data = options.out / "data";
  train.out = options.out;
  train.model.net.backbone = "resnet18";
  train.model.net.last_stride = 2;
  train.model.height = set.height;
  train.model.width = set.width;
  train.epochs = options.epochs > 0 ? options.epochs : kEpochs;
  train.batch = 32;
  train.lr = 0.05;
  train.backbone_lr_scale = 1;  // there are no pretrained weights to protect
  train.cosine = true;
  train.warm_epochs = 1;
  train.pad = 6;
  train.seed = options.seed;
  train.device = options.device;
  train.eval_every = 2;
  train.output = options.output;

  check_no_other_images(train.data, set);
  render_set(train.data, set, options.output, stop);
  const data::RetrievalMetrics untrained = evaluate_untrained(train, train.model, stop);
  log.info("untrained network: Rank@1 ", percent(untrained.rank1), ", mAP ",
           percent(untrained.mAP));
  const ReidTrainResult run = train_reid(train, stop);
  if (run.interrupted) throw Stopped{};
  write_report(options, set, run, untrained);

  json result = to_json(run.metrics);
  result["rank1_untrained"] = untrained.rank1;
  result["mAP_untrained"] = untrained.mAP;
  result["epochs"] = run.epochs.size();
  result["final_loss"] = run.epochs.back().loss;
  result["train_accuracy"] = run.epochs.back().accuracy;
  result["training_seconds"] = run.seconds;
  result["threads"] = num_threads();
  result["device"] = to_string(options.device);
  result["seed"] = options.seed;
  result["report"] = (options.out / "report.html").string();
  result["seconds"] =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  io::write_file_atomic(options.out / "result.json", json_text(result, 2) + "\n");
  return result;
} catch (const Stopped&) {
  return {{"interrupted", true}};
}

}  // namespace tessera::apps
