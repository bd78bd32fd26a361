#include "apps/reid/trainer.h"

#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "apps/common/log.h"
#include "apps/common/progress.h"
#include "apps/reid/weights.h"
#include "autograd/engine.h"
#include "data/codec.h"
#include "data/loader.h"
#include "io/atomic_file.h"
#include "nn/init.h"
#include "nn/io/checkpoint.h"
#include "nn/io/weights.h"
#include "nn/optim/schedule.h"
#include "ops/loss/cross_entropy.h"
#include "ops/pointwise/arithmetic.h"
#include "ops/reduce/extreme.h"
#include "tensor/view.h"

namespace tessera::apps {
namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

data::Pipeline train_pipeline(const ReidTrainOptions& o) {
  data::Pipeline p;
  if (o.color_jitter)
    p.transforms.push_back(
        data::jitter_color({.brightness = 0.1, .contrast = 0.1, .saturation = 0.1}));
  p.transforms.push_back(data::resize_to(o.model.height, o.model.width, data::Filter::kBicubic));
  if (o.pad > 0) p.transforms.push_back(data::random_crop_to(o.model.height, o.model.width, o.pad));
  if (o.flip) p.transforms.push_back(data::random_flip(0.5));
  if (o.erasing_p > 0) p.erasing.push_back({.probability = o.erasing_p});
  return p;
}

// The baseline's schedules; both count epochs.
nn::SchedulePtr schedule_of(const ReidTrainOptions& o) {
  if (o.cosine) return nn::cosine_schedule(o.epochs, 0.01 * o.lr);
  return nn::step_schedule(std::max<int64_t>(1, 2 * o.epochs / 3), 0.1);
}

void check_options(const ReidTrainOptions& o) {
  const auto positive = [](const char* name, double value) {
    TESSERA_CHECK(ValueError, value > 0, name, " must be positive, got ", value);
  };
  positive("--epochs", static_cast<double>(o.epochs));
  positive("--batch", static_cast<double>(o.batch));
  positive("--size", static_cast<double>(std::min(o.model.height, o.model.width)));
  TESSERA_CHECK(ValueError, o.lr >= 0, "--lr must not be negative, got ", o.lr);
  TESSERA_CHECK(ValueError, o.erasing_p >= 0 && o.erasing_p <= 1,
                "--erasing-p must be in [0, 1], got ", o.erasing_p);
}

std::string json_line(const EpochRecord& r) {
  json line{{"epoch", r.epoch},
            {"loss", r.loss},
            {"accuracy", r.accuracy},
            {"learning_rate", r.lr},
            {"seconds", r.seconds}};
  if (r.rank1 >= 0) {
    line["rank1"] = r.rank1;
    line["mAP"] = r.mAP;
  }
  return line.dump() + "\n";
}

EpochRecord record_from(const json& line) {
  return {line.at("epoch").get<int64_t>(),
          line.at("loss").get<double>(),
          line.at("accuracy").get<double>(),
          line.at("learning_rate").get<double>(),
          line.at("seconds").get<double>(),
          line.value("rank1", -1.0),
          line.value("mAP", -1.0)};
}

// One training run: everything that lives from the first batch to the last.
class Trainer {
 public:
  Trainer(const ReidTrainOptions& options, StopRequest stop)
      : stop_(std::move(stop)), o_(options), log_(options.output.quiet) {
    check_options(o_);
    data_ = data::load_market1501(o_.data);
    TESSERA_CHECK(ValueError, data_.train_identities >= 2, o_.data.string(),
                  ": training needs at "
                  "least two identities, bounding_box_train has ",
                  data_.train_identities);
    const auto images = static_cast<int64_t>(data_.train.size());
    TESSERA_CHECK(ValueError, o_.batch <= images, "--batch ", o_.batch, " is larger than the ",
                  images, " training images");
    o_.model.net.num_classes = data_.train_identities;
    manual_seed(o_.seed);
    {
      std::optional<nn::init::Skip> read_by_resume;
      if (!o_.resume.empty()) read_by_resume.emplace();
      net_ = std::make_shared<models::ReidNet>(o_.model.net);
    }
    if (!o_.weights.empty() && o_.resume.empty()) load_initial_weights();
    net_->to(o_.device);
    optimizer_ = std::make_unique<nn::Sgd>(
        std::vector<nn::ParameterGroup>{
            {net_->backbone().parameters(), o_.lr * o_.backbone_lr_scale},
            {net_->head().parameters(), o_.lr}},
        nn::Sgd::Options{.lr = o_.lr,
                         .momentum = o_.momentum,
                         .weight_decay = o_.weight_decay,
                         .nesterov = o_.momentum > 0});
    schedule_ = schedule_of(o_);
    auto dataset = std::make_shared<data::ImageDataset>(
        data_.train_items(), train_pipeline(o_),
        data::ImageDatasetOptions{.cache_bytes = int64_t{1} << 30});
    loader_ = std::make_unique<data::Loader>(
        dataset, data::LoaderOptions{.batch_size = o_.batch,
                                     .workers = o_.workers,
                                     .prefetch = 4,
                                     .shuffle = true,
                                     .drop_last = true,
                                     .seed = o_.seed,
                                     .on_corrupt = o_.skip_corrupt ? data::OnCorrupt::kSkip
                                                                   : data::OnCorrupt::kThrow});
    make_output_folder(o_.out);
    if (!o_.resume.empty()) resume();
  }

  ReidTrainResult run() {
    const auto start = Clock::now();
    ReidTrainResult result;
    // The run was stopped in the evaluation after its last epoch.
    if (batch_ == 0 && evaluation_due() && history_.back().rank1 < 0) evaluate_epoch();
    bool trained = false;
    while (epoch_ < o_.epochs && !stopped()) {
      run_epoch();
      save_checkpoint();
      write_history();
      trained = true;
    }
    if (epoch_ == o_.epochs) {
      save_reid_weights(o_.out / "net_last.safetensors", *net_, o_.model);
      if (const auto metrics = evaluate(true)) {
        result.metrics = *metrics;
        result.interrupted = false;
        if (!history_.empty()) record(*metrics);
        write_history();
      }
    }
    result.model = o_.model;
    if (result.interrupted) result.checkpoint = what_to_resume(trained);
    result.skipped_images = static_cast<int64_t>(skipped_.size());
    result.epochs = history_;
    result.seconds = seconds_since(start);
    return result;
  }

 private:
  bool stopped() const { return stop_ && stop_(); }
  std::filesystem::path checkpoint_path() const { return o_.out / "checkpoint.safetensors"; }

  // Where nothing was trained there is nothing to lose but an earlier run's file.
  std::filesystem::path what_to_resume(bool trained) const {
    if (trained) return checkpoint_path();
    if (!o_.resume.empty()) return o_.resume;
    if (std::filesystem::exists(checkpoint_path())) return {};
    save_checkpoint();
    return checkpoint_path();
  }

  // Ends early when stopped; then a later run goes on behind the last finished batch.
  void run_epoch() {
    const auto start = Clock::now();
    schedule_->apply(*optimizer_, epoch_);
    loader_->start_epoch(epoch_, batch_);
    net_->train();
    Progress progress({.label = cat("epoch ", epoch_ + 1, "/", o_.epochs),
                       .unit = "images",
                       .total = (loader_->batches_per_epoch() - batch_) * o_.batch,
                       .mode = o_.output.progress()});
    int64_t done = 0;
    while (auto batch = next_batch()) {
      train_batch(*batch);
      done += batch->size();
      progress.update(done, cat("loss ", rounded(loss_sum_ / images_seen())));
      if (stopped() && batch_ < loader_->batches_per_epoch()) {
        name_skipped();
        partial_seconds_ += seconds_since(start);
        return;
      }
    }
    progress.finish();
    name_skipped();
    finish_epoch(partial_seconds_ + seconds_since(start));
  }

  // An unreadable image ends the run, but not the work of the epoch so far.
  std::optional<data::Batch> next_batch() {
    try {
      return loader_->next();
    } catch (const IoError&) {
      if (batch_ > 0) save_checkpoint();
      throw;
    }
  }

  double images_seen() const { return static_cast<double>(std::max<int64_t>(seen_, 1)); }

  // Each image that was left out is named once.
  void name_skipped() {
    for (const data::SkippedSample& sample : loader_->skipped())
      if (skipped_.insert(sample.index).second) log_.warn("left out: ", sample.message);
  }

  void train_batch(const data::Batch& batch) {
    batch_ = batch.number + 1;
    // What others left out may leave one image; it has no variance for batch norm.
    if (batch.size() < 2) return;
    optimizer_->zero_grad();
    const models::ReidOutput out = net_->run(view::to(batch.images, o_.device));
    const Tensor loss = cross_entropy(out.logits, view::to(batch.labels, o_.device),
                                      {.label_smoothing = o_.label_smoothing});
    // Warm-up scales the loss, as the baseline does: w grows from 0.1 by 0.9 / I a step.
    if (epoch_ < o_.warm_epochs) {
      const double steps =
          std::nearbyint(static_cast<double>(data_.train.size()) / static_cast<double>(o_.batch)) *
          static_cast<double>(o_.warm_epochs);
      warm_up_ = std::min(1.0, warm_up_ + 0.9 / steps);
    }
    const double value = loss.item();
    TESSERA_CHECK(ValueError, std::isfinite(value), "the loss became ", value, " in epoch ",
                  epoch_ + 1, "; try a smaller --lr or a --warm-epoch");
    loss_sum_ += value * static_cast<double>(batch.size());
    backward(epoch_ < o_.warm_epochs ? loss * warm_up_ : loss);
    optimizer_->step();
    const std::vector<int64_t> guess = argmax(out.logits.detach(), 1).to_vector<int64_t>();
    const std::vector<int64_t> truth = batch.labels.to_vector<int64_t>();
    for (size_t i = 0; i < truth.size(); ++i) correct_ += guess[i] == truth[i];
    seen_ += batch.size();
  }

  void finish_epoch(double seconds) {
    EpochRecord record{.epoch = epoch_ + 1,
                       .loss = loss_sum_ / images_seen(),
                       .accuracy = static_cast<double>(correct_) / images_seen(),
                       .lr = optimizer_->groups().back().lr,
                       .seconds = seconds};
    ++epoch_;
    batch_ = seen_ = correct_ = 0;
    loss_sum_ = partial_seconds_ = 0;
    history_.push_back(record);
    if (evaluation_due()) evaluate_epoch();
    const EpochRecord& done = history_.back();
    log_.info("epoch ", done.epoch, "/", o_.epochs, "  loss ", rounded(done.loss), "  accuracy ",
              rounded(done.accuracy), "  lr ", done.lr, "  ", rounded(done.seconds), " s",
              done.rank1 >= 0 ? cat("  Rank@1 ", rounded(done.rank1), "  mAP ", rounded(done.mAP))
                              : std::string());
  }

  // Whether an evaluation follows the last epoch; the very last one is run()'s.
  bool evaluation_due() const {
    return o_.eval_every > 0 && epoch_ > 0 && epoch_ % o_.eval_every == 0 && epoch_ < o_.epochs;
  }

  void evaluate_epoch() {
    try {
      if (const auto metrics = evaluate(false)) record(*metrics);
    } catch (const IoError&) {
      save_checkpoint();
      throw;
    }
  }

  void record(const data::RetrievalMetrics& metrics) {
    history_.back().rank1 = metrics.rank1;
    history_.back().mAP = metrics.mAP;
  }

  // Nothing when stopped.
  std::optional<data::RetrievalMetrics> evaluate(bool save) {
    const auto extract = [&](const std::vector<data::ReidImage>& images, const char* label) {
      return extract_features(*net_, o_.model, images, o_.batch, o_.workers, label, o_.output,
                              stop_);
    };
    const ReidFeatures query = extract(data_.query, "query");
    if (stopped()) return std::nullopt;
    const ReidFeatures gallery = extract(data_.gallery, "gallery");
    if (stopped()) return std::nullopt;
    if (save) save_features(o_.out, query, gallery);
    return data::evaluate(query.set(), gallery.set());
  }

  void load_initial_weights() {
    const nn::LoadReport report = nn::io::load_weights(*net_, o_.weights, false);
    log_.info(o_.weights.string(), ": ", report.missing.size(),
              " entries of the network not found, ", report.mismatched.size(),
              " of another shape, ", report.unexpected.size(), " unused");
  }

  nn::io::TrainingState training_state() const {
    nn::io::TrainingState state;
    state.model = net_.get();
    state.optimizer = optimizer_.get();
    state.generator = &default_generator();
    return state;
  }

  void save_checkpoint() const {
    nn::io::TrainingState state = training_state();
    json history = json::array();
    for (const EpochRecord& r : history_) history.push_back(json::parse(json_line(r)));
    state.progress = {{"options", settings()}, {"epoch", epoch_},
                      {"batch", batch_},       {"warm_up", warm_up_},
                      {"loss_sum", loss_sum_}, {"correct", correct_},
                      {"seen", seen_},         {"seconds", partial_seconds_},
                      {"history", history}};
    nn::io::save_checkpoint(checkpoint_path(), state);
  }

  // What a resumed run must agree in, without nesting.
  json settings() const {
    json all = to_json(o_).flatten();
    all["/train_images"] = data_.train.size();
    return all;
  }

  void check_same_run(const json& progress) const {
    const json stored = progress.is_object() ? progress.value("options", json()) : json();
    TESSERA_CHECK(ValueError, stored.is_object(), o_.resume.string(),
                  ": is not a checkpoint of a re-ID training run");
    std::string difference;
    const json mine = settings();
    for (const auto& [key, value] : mine.items()) {
      const json other = stored.value(key, json());
      if (other != value)
        difference += cat("\n", key.substr(1), " was ", other.dump(), " and is now ", value.dump());
    }
    TESSERA_CHECK(ValueError, difference.empty(), o_.resume.string(),
                  ": belongs to a run with other settings:", difference);
  }

  void resume() {
    check_same_run(nn::io::read_checkpoint_progress(o_.resume));
    nn::io::TrainingState state = training_state();
    nn::io::load_checkpoint(o_.resume, state);
    try {
      const json& p = state.progress;
      epoch_ = p.at("epoch").get<int64_t>();
      batch_ = p.at("batch").get<int64_t>();
      warm_up_ = p.at("warm_up").get<double>();
      loss_sum_ = p.at("loss_sum").get<double>();
      correct_ = p.at("correct").get<int64_t>();
      seen_ = p.at("seen").get<int64_t>();
      partial_seconds_ = p.at("seconds").get<double>();
      for (const json& line : p.at("history")) history_.push_back(record_from(line));
    } catch (const json::exception& e) {
      throw IoError(cat(o_.resume.string(), ": the stored progress is incomplete: ", e.what()));
    }
    TESSERA_CHECK(IoError,
                  epoch_ >= 0 && epoch_ <= o_.epochs && std::ssize(history_) == epoch_ &&
                      batch_ >= 0 && batch_ <= loader_->batches_per_epoch(),
                  o_.resume.string(), ": the stored progress is damaged: epoch ", epoch_, " of ",
                  o_.epochs, " with ", history_.size(), " records, batch ", batch_, " of ",
                  loader_->batches_per_epoch());
    log_.info("resumed ", o_.resume.string(), " at epoch ", epoch_ + 1, ", batch ", batch_ + 1);
  }

  void write_history() const {
    std::string lines;
    for (const EpochRecord& r : history_) lines += json_line(r);
    io::write_file_atomic(o_.out / "train.jsonl", lines);
    if (!history_.empty()) data::write_png(o_.out / "curves.png", plot_image(loss_plot(history_)));
  }

  static std::string rounded(double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%.4g", value);
    return text;
  }

  StopRequest stop_;
  ReidTrainOptions o_;
  Log log_;
  data::Market1501 data_;
  std::shared_ptr<models::ReidNet> net_;
  std::unique_ptr<nn::Sgd> optimizer_;
  nn::SchedulePtr schedule_;
  std::unique_ptr<data::Loader> loader_;
  std::vector<EpochRecord> history_;
  std::set<int64_t> skipped_;  // indices of the images left out

  // Where the run stands; all of it is in the checkpoint.
  int64_t epoch_ = 0, batch_ = 0;
  double warm_up_ = 0.1, loss_sum_ = 0, partial_seconds_ = 0;
  int64_t correct_ = 0, seen_ = 0;
};

}  // namespace

ReidTrainResult train_reid(const ReidTrainOptions& options, StopRequest stop) {
  return Trainer(options, std::move(stop)).run();
}

}  // namespace tessera::apps
