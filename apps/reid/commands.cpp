#include "apps/reid/commands.h"

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "apps/common/cli.h"
#include "apps/common/interrupt.h"
#include "apps/common/log.h"
#include "apps/reid/demo.h"
#include "apps/reid/trainer.h"
#include "apps/reid/weights.h"
#include "data/codec.h"
#include "data/eval/reid_rerank.h"
#include "io/atomic_file.h"

namespace tessera::apps {
namespace {

using nlohmann::json;

void print_metrics(const json& m, const char* prefix = "") {
  std::printf("%sRank@1:%.4f Rank@5:%.4f Rank@10:%.4f mAP:%.4f\n", prefix,
              m.at("rank1").get<double>(), m.at("rank5").get<double>(),
              m.at("rank10").get<double>(), m.at("mAP").get<double>());
}

void warn_unmatched(const json& m) {
  if (const auto lost = m.at("queries_without_match").get<int64_t>(); lost > 0)
    Log().warn(lost, " of ", m.at("queries").get<int64_t>(),
               " queries have no match in the gallery and count as misses");
}

void print_json(const json& result) { std::printf("%s\n", json_text(result).c_str()); }

void write_result(const std::filesystem::path& folder, const json& result) {
  io::write_file_atomic(folder / "result.json", json_text(result, 2) + "\n");
}

void report_interrupt(const InterruptGuard& interrupt, const std::string& what_now) {
  Log().warn("interrupted", what_now);
  set_exit_code(interrupt.exit_code());
}

void add_model_options(CLI::App& c, ReidModelOptions& model, std::shared_ptr<std::string> size) {
  c.add_option("--model", model.net.backbone, "Backbone")
      ->check(CLI::IsMember({"resnet18", "resnet34", "resnet50", "resnet101", "resnet152"}))
      ->capture_default_str();
  c.add_option("--size", *size, "Input HEIGHTxWIDTH")->capture_default_str();
  c.add_option("--stride", model.net.last_stride, "Stride of the last stage: 1 or 2")
      ->check(CLI::IsMember({1, 2}))
      ->capture_default_str();
  c.add_option("--linear-num", model.net.bottleneck, "Width of the head's linear layer; 0: none")
      ->check(CLI::Range(0, 65536))
      ->capture_default_str();
  c.add_option("--droprate", model.net.dropout, "Dropout of the head")
      ->check(share())
      ->capture_default_str();
}

void apply_size(ReidModelOptions& model, const std::string& size) {
  std::tie(model.height, model.width) = parse_size(size, "--size");
}

json train_result(const ReidTrainResult& run, const ReidTrainOptions& o) {
  json result = run.interrupted ? json::object() : to_json(run.metrics);
  result["interrupted"] = run.interrupted;
  result["epochs"] = run.epochs.size();
  if (!run.epochs.empty()) {
    result["loss"] = run.epochs.back().loss;
    result["accuracy"] = run.epochs.back().accuracy;
  }
  result["skipped_images"] = run.skipped_images;
  result["seconds"] = run.seconds;
  result["out"] = o.out.string();
  return result;
}

void run_train(ReidTrainOptions& o) {
  const InterruptGuard interrupt;
  const ReidTrainResult run = train_reid(o, [&] { return interrupt.requested(); });
  const json result = train_result(run, o);
  if (o.output.json)
    print_json(result);
  else if (!run.interrupted)
    print_metrics(result);
  if (!run.interrupted) {
    write_result(o.out, result);
    return warn_unmatched(result);
  }
  report_interrupt(interrupt, run.checkpoint.empty()
                                  ? " before the first step"
                                  : cat("; go on with --resume ", run.checkpoint.string()));
}

void run_test(ReidTestOptions& o) {
  const InterruptGuard interrupt;
  const data::Market1501 set = data::load_market1501(o.data);
  ReidModelOptions model;
  const auto net = load_reid_weights(o.weights, o.fallback, model);
  net->to(o.device);
  make_output_folder(o.out);
  const auto extract = [&](const std::vector<data::ReidImage>& images, const char* label) {
    return extract_features(*net, model, images, o.batch, o.workers, label, o.output,
                            [&] { return interrupt.requested(); });
  };
  const ReidFeatures query = extract(set.query, "query");
  const ReidFeatures gallery =
      interrupt.requested() ? ReidFeatures{} : extract(set.gallery, "gallery");
  if (interrupt.requested()) {
    if (o.output.json) print_json({{"interrupted", true}});
    return report_interrupt(interrupt, " before all features were there; nothing was written");
  }
  save_features(o.out, query, gallery);
  json result = to_json(data::evaluate(query.set(), gallery.set()));
  if (o.rerank) {
    const data::KReciprocal reranked(query.set(), gallery.set());
    result["reranked"] = to_json(data::evaluate(
        query.set(), gallery.set(), [&](int64_t begin, int64_t end, std::span<float> scores) {
          reranked.distances(begin, end, scores);
          for (float& s : scores) s = -s;
        }));
  }
  result["weights"] = o.weights.string();
  write_result(o.out, result);
  warn_unmatched(result);
  if (o.output.json) return print_json(result);
  print_metrics(result);
  if (o.rerank) print_metrics(result["reranked"], "re-ranked ");
}

void run_rank(ReidRankOptions& o) {
  const QueryAndGallery features = load_features(o.features);
  const data::Image sheet = draw_rankings(features, {o.index}, o.top);
  const std::filesystem::path picture =
      o.picture.empty() ? o.features / cat("rank_", o.index, ".png") : o.picture;
  data::write_png(picture, sheet);
  const data::RetrievalSet gallery = features.gallery.set();
  json ranked = json::array();
  for (int64_t g : data::rank_gallery(features.query.set(), o.index, gallery, o.top)) {
    const auto k = static_cast<size_t>(g);
    ranked.push_back({{"path", features.gallery.paths[k]},
                      {"correct", features.gallery.labels[k] ==
                                      features.query.labels[static_cast<size_t>(o.index)]}});
  }
  const json result{{"query", features.query.paths[static_cast<size_t>(o.index)]},
                    {"picture", picture.string()},
                    {"ranked", ranked}};
  if (o.output.json) return print_json(result);
  std::printf("%s\n", result["query"].get<std::string>().c_str());
  for (const json& r : ranked)
    std::printf("%s %s\n", r["correct"].get<bool>() ? "+" : "-",
                r["path"].get<std::string>().c_str());
  std::printf("%s\n", picture.string().c_str());
}

void run_demo(ReidDemoOptions& o) {
  const InterruptGuard interrupt;
  const json result = run_reid_demo(o, [&] { return interrupt.requested(); });
  const bool complete = !result.value("interrupted", false);
  if (!complete) report_interrupt(interrupt, " before the report");
  if (o.output.json) return print_json(result);
  if (!complete) return;
  print_metrics(result);
  std::printf("untrained Rank@1:%.4f\n%s\n", result["rank1_untrained"].get<double>(),
              result["report"].get<std::string>().c_str());
}

void add_train(CLI::App& parent) {
  auto o = std::make_shared<ReidTrainOptions>();
  auto size = std::make_shared<std::string>("256x128");
  CLI::App* c = parent.add_subcommand("train", "Train a re-ID network on a Market-1501 folder");
  c->add_option("--data,--data_dir", o->data,
                "Folder with bounding_box_train, query and bounding_box_test")
      ->required();
  add_model_options(*c, o->model, size);
  c->add_option("--epochs,--total_epoch", o->epochs, "Epochs")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  // One image has no variance for batch norm to learn from.
  c->add_option("--batch,--batchsize", o->batch, "Images per step")
      ->check(CLI::Range(2, 100000))
      ->capture_default_str();
  c->add_option("--lr", o->lr, "Learning rate of the head")
      ->check(non_negative())
      ->capture_default_str();
  c->add_option("--backbone-lr-scale", o->backbone_lr_scale,
                "Backbone's share of it; 1 when training from scratch")
      ->check(non_negative())
      ->capture_default_str();
  c->add_option("--weight-decay", o->weight_decay, "L2 on every parameter")
      ->check(non_negative())
      ->capture_default_str();
  c->add_flag("--cosine", o->cosine, "Cosine decay instead of one step");
  c->add_option("--warm-epoch", o->warm_epochs, "Epochs of loss warm-up")
      ->check(CLI::Range(0, 1000000))
      ->capture_default_str();
  c->add_option("--erasing-p", o->erasing_p, "Probability of random erasing")
      ->check(share())
      ->capture_default_str();
  c->add_option("--pad", o->pad, "Padding before the random crop")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  c->add_flag("!--no-flip", o->flip, "Do not mirror images");
  c->add_flag("--color-jitter", o->color_jitter, "Vary brightness, contrast and saturation");
  c->add_option("--label-smoothing", o->label_smoothing, "Share spread over all identities")
      ->check(share())
      ->capture_default_str();
  c->add_option("--out", o->out, "Folder for weights, curves and figures")->capture_default_str();
  c->add_option("--resume", o->resume, "Checkpoint of the same run to go on from");
  c->add_option("--weights", o->weights, "Initial weights (safetensors)");
  c->add_option("--eval-every", o->eval_every, "Epochs between evaluations; 0: at the end only")
      ->check(CLI::Range(0, 1000000))
      ->capture_default_str();
  c->add_option("--seed", o->seed, "Seed of weights, order and augmentation")
      ->check(seed())
      ->capture_default_str();
  c->add_option("--workers", o->workers, "Loader threads")
      ->check(CLI::Range(0, 64))
      ->capture_default_str();
  c->add_flag("--skip-corrupt", o->skip_corrupt, "Leave out unreadable images instead of stopping");
  add_device_option(*c, o->device);
  add_threads_option(*c);
  add_output_options(*c, o->output);
  c->callback([o, size] {
    apply_size(o->model, *size);
    run_train(*o);
  });
}

void add_test(CLI::App& parent) {
  auto o = std::make_shared<ReidTestOptions>();
  auto size = std::make_shared<std::string>("256x128");
  CLI::App* c = parent.add_subcommand("test", "Extract features and evaluate weights");
  c->add_option("--data,--test_dir", o->data, "Market-1501 folder")->required();
  c->add_option("--weights", o->weights, "Weights (safetensors)")->required();
  add_model_options(*c, o->fallback, size);
  c->add_option("--batch,--batchsize", o->batch, "Images per step")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  c->add_option("--out", o->out, "Folder for features and figures")->capture_default_str();
  c->add_option("--workers", o->workers, "Loader threads")
      ->check(CLI::Range(0, 64))
      ->capture_default_str();
  c->add_flag("--rerank", o->rerank, "Also evaluate k-reciprocal re-ranking");
  add_device_option(*c, o->device);
  add_threads_option(*c);
  add_output_options(*c, o->output);
  c->callback([o, size] {
    apply_size(o->fallback, *size);
    run_test(*o);
  });
}

void add_rank(CLI::App& parent) {
  auto o = std::make_shared<ReidRankOptions>();
  CLI::App* c = parent.add_subcommand("rank", "Draw the ranked gallery of one query");
  c->add_option("--index,--query_index", o->index, "Number of the query, from 0")->required();
  c->add_option("--out,--features", o->features, "Folder that test or train wrote")
      ->capture_default_str();
  c->add_option("--picture", o->picture, "PNG to write (default: rank_<index>.png in that folder)");
  c->add_option("--top", o->top, "Gallery images to show")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  add_output_options(*c, o->output);
  c->callback([o] { run_rank(*o); });
}

void add_demo(CLI::App& parent) {
  auto o = std::make_shared<ReidDemoOptions>();
  CLI::App* c = parent.add_subcommand(
      "demo", "Draw a small set of pedestrians, train on it and write a report");
  c->add_option("--out", o->out, "Folder for the report")->capture_default_str();
  c->add_option("--epochs", o->epochs, "Epochs (default: the demo's own number)")
      ->check(CLI::Range(1, 1000000));
  c->add_option("--seed", o->seed, "Seed of weights, order and augmentation")
      ->check(seed())
      ->capture_default_str();
  add_device_option(*c, o->device);
  add_threads_option(*c);
  add_output_options(*c, o->output);
  c->callback([o] { run_demo(*o); });
}

}  // namespace

void add_reid_commands(CLI::App& parent) {
  parent.require_subcommand(1);
  add_train(parent);
  add_test(parent);
  add_rank(parent);
  add_demo(parent);
}

}  // namespace tessera::apps
