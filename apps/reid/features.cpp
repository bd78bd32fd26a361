#include "apps/reid/features.h"

#include <nlohmann/json.hpp>
#include <span>

#include "apps/common/ranking_sheet.h"
#include "data/codec.h"
#include "data/loader.h"
#include "io/atomic_file.h"
#include "io/npz.h"
#include "io/read_file.h"
#include "tensor/view.h"

namespace tessera::apps {
namespace {

using nlohmann::json;

class EvalMode {
 public:
  explicit EvalMode(nn::Module& module) : module_(module), previous_(module.training()) {
    module_.eval();
  }
  ~EvalMode() { module_.train(previous_); }
  EvalMode(const EvalMode&) = delete;
  EvalMode& operator=(const EvalMode&) = delete;

 private:
  nn::Module& module_;
  bool previous_;
};

void put(std::map<std::string, io::NpyArray>& out, const std::string& prefix,
         const ReidFeatures& f) {
  const auto rows = static_cast<int64_t>(f.labels.size());
  out[prefix + "_f"] = io::NpyArray::from<float>(f.values, {rows, f.dim});
  out[prefix + "_label"] = io::NpyArray::from<int64_t>(f.labels, {rows});
  out[prefix + "_cam"] = io::NpyArray::from<int64_t>(f.cameras, {rows});
}

ReidFeatures take(const std::map<std::string, io::NpyArray>& arrays, const json& paths,
                  const std::string& prefix, const std::string& where) {
  const auto get = [&](const std::string& name) -> const io::NpyArray& {
    const auto found = arrays.find(prefix + name);
    TESSERA_CHECK(IoError, found != arrays.end(), where, ": array ", prefix, name, " is missing");
    return found->second;
  };
  ReidFeatures f;
  const io::NpyArray& values = get("_f");
  TESSERA_CHECK(IoError, values.shape.size() == 2, where, ": ", prefix, "_f is not a matrix");
  f.dim = values.shape[1];
  f.values = values.as<float>();
  f.labels = get("_label").as<int64_t>();
  f.cameras = get("_cam").as<int64_t>();
  f.paths = paths.at(prefix).get<std::vector<std::string>>();
  const auto rows = static_cast<size_t>(values.shape[0]);
  TESSERA_CHECK(IoError,
                f.labels.size() == rows && f.cameras.size() == rows && f.paths.size() == rows,
                where, ": ", prefix, " has ", rows, " features, ", f.labels.size(), " labels, ",
                f.cameras.size(), " cameras and ", f.paths.size(), " paths");
  return f;
}

}  // namespace

ReidFeatures extract_features(models::ReidNet& net, const ReidModelOptions& model,
                              const std::vector<data::ReidImage>& images, int64_t batch,
                              int workers, const std::string& label, const OutputOptions& output,
                              const StopRequest& stop) {
  const EvalMode eval(net);
  data::Pipeline pipeline;
  pipeline.transforms.push_back(data::resize_to(model.height, model.width, data::Filter::kBicubic));
  auto dataset =
      std::make_shared<data::ImageDataset>(data::Market1501::items(images), std::move(pipeline));
  data::Loader loader(dataset, {.batch_size = batch, .workers = workers});
  loader.start_epoch(0);
  const auto total = static_cast<int64_t>(images.size());
  Progress progress({.label = label, .unit = "images", .total = total, .mode = output.progress()});
  const Device device = net.parameters().front().device();
  ReidFeatures out;
  size_t done = 0;
  while (auto loaded = loader.next()) {
    const Tensor f = net.embed(view::to(loaded->images, device));
    out.dim = f.shape()[1];
    const std::vector<float> rows = f.to_vector<float>();
    out.values.insert(out.values.end(), rows.begin(), rows.end());
    progress.advance(loaded->size());
    done += static_cast<size_t>(loaded->size());
    if (stop && stop()) break;
  }
  progress.finish();
  for (const data::ReidImage& image : std::span(images).first(done)) {
    out.labels.push_back(image.identity);
    out.cameras.push_back(image.camera);
    out.paths.push_back(std::filesystem::absolute(image.path).string());
  }
  return out;
}

json to_json(const data::RetrievalMetrics& m) {
  return {{"rank1", m.rank1},
          {"rank5", m.rank5},
          {"rank10", m.rank10},
          {"mAP", m.mAP},
          {"mAP_rectangular", m.mAP_rectangular},
          {"mINP", m.mINP},
          {"queries", m.ap.size()},
          {"queries_without_match", m.queries_without_match}};
}

void save_features(const std::filesystem::path& folder, const ReidFeatures& query,
                   const ReidFeatures& gallery) {
  std::map<std::string, io::NpyArray> arrays;
  put(arrays, "query", query);
  put(arrays, "gallery", gallery);
  io::write_npz(folder / "features.npz", arrays);
  const json paths{{"query", query.paths}, {"gallery", gallery.paths}};
  io::write_file_atomic(folder / "images.json", json_text(paths, 1) + "\n");
}

QueryAndGallery load_features(const std::filesystem::path& folder) {
  const std::filesystem::path file = folder / "features.npz", list = folder / "images.json";
  const auto arrays = io::read_npz(file);
  const std::vector<uint8_t> text = io::read_file(list);
  const json paths = json::parse(text.begin(), text.end(), nullptr, false);
  try {
    return {take(arrays, paths, "query", file.string()),
            take(arrays, paths, "gallery", file.string())};
  } catch (const json::exception& e) {
    throw IoError(cat(list.string(), ": not a list of query and gallery images: ", e.what()));
  }
}

data::Image draw_rankings(const QueryAndGallery& features, const std::vector<int64_t>& queries,
                          int64_t top, const std::string& title) {
  const data::RetrievalSet query = features.query.set(), gallery = features.gallery.set();
  std::vector<RankingRow> rows;
  for (int64_t q : queries) {
    TESSERA_CHECK(ValueError, q >= 0 && q < query.rows(), "query index must be in [0, ",
                  query.rows(), "), got ", q);
    const auto at = static_cast<size_t>(q);
    RankingRow row;
    row.query = data::read_image(features.query.paths[at]);
    row.note = cat("id ", features.query.labels[at], " c", features.query.cameras[at]);
    for (int64_t g : data::rank_gallery(query, q, gallery, top)) {
      const auto k = static_cast<size_t>(g);
      row.ranked.push_back(
          {data::read_image(features.gallery.paths[k]),
           features.gallery.labels[k] == features.query.labels[at],
           cat("id ", features.gallery.labels[k], " c", features.gallery.cameras[k])});
    }
    rows.push_back(std::move(row));
  }
  return ranking_sheet(rows, {.top = static_cast<int>(top), .title = title});
}

}  // namespace tessera::apps
