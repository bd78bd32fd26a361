#include "nn/io/checkpoint.h"

#include <utility>

#include "io/safetensors.h"
#include "nn/io/published.h"

namespace tessera::nn::io {
namespace {

using nlohmann::json;

constexpr const char* kKey = "tessera.checkpoint";
constexpr int kVersion = 1;

json parse_header(const std::map<std::string, std::string>& metadata,
                  const std::filesystem::path& path) {
  const auto found = metadata.find(kKey);
  TESSERA_CHECK(IoError, found != metadata.end(), path.string(),
                ": is a weight file, not a training checkpoint");
  const json header = json::parse(found->second, nullptr, false);
  TESSERA_CHECK(IoError,
                header.is_object() && header.contains("version") && header["version"] == kVersion &&
                    header.contains("progress"),
                path.string(), ": the checkpoint header is damaged or of another version");
  return header;
}

StateDict plain(const OptimizerState& state) { return {state.begin(), state.end()}; }

bool has_prefix(const tessera::io::Safetensors& file, const std::string& prefix) {
  for (const auto& [name, tensor] : file.tensors)
    if (name.starts_with(prefix)) return true;
  return false;
}

}  // namespace

void save_checkpoint(const std::filesystem::path& path, const TrainingState& state) {
  NamedTensors tensors;
  json header{{"version", kVersion}, {"progress", state.progress}};
  if (state.model) append_published(tensors, "model.", state.model->state_dict());
  if (state.optimizer) append_published(tensors, "optimizer.", plain(state.optimizer->state()));
  if (state.ema) {
    append_published(tensors, "ema.", state.ema->state());
    header["ema_updates"] = state.ema->updates();
  }
  if (state.generator) {
    const Generator::State g = state.generator->state();
    header["generator"] = {g.seed, g.stream, g.block};
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const json::exception& e) {  // strings that are not UTF-8
    throw ValueError(cat(path.string(), ": the progress cannot be written: ", e.what()));
  }
  tessera::io::write_safetensors(path, tensors, {{kKey, text}});
}

void load_checkpoint(const std::filesystem::path& path, TrainingState& state) {
  const tessera::io::Safetensors file = tessera::io::read_safetensors(path);
  const json header = parse_header(file.metadata, path);
  try {
    // All that can be found wrong is found before anything changes.
    json progress = header["progress"];
    const auto words = header.value("generator", std::vector<uint64_t>{});
    const auto ema_updates = header.value("ema_updates", int64_t{0});
    TESSERA_CHECK(ValueError, !state.optimizer || has_prefix(file, "optimizer."),
                  "holds no optimizer state");
    TESSERA_CHECK(ValueError, !state.ema || has_prefix(file, "ema."), "holds no moving average");
    TESSERA_CHECK(ValueError, !state.generator || words.size() == 3, "holds no generator state");
    TESSERA_CHECK(ValueError, ema_updates >= 0, "the moving average counts ", ema_updates,
                  " updates");
    StateDict model, average;
    if (state.model) {
      model = take_published(file.tensors, "model.", state.model->state_dict());
      state.model->check_state_dict(model);
    }
    if (state.ema) {
      average = take_published(file.tensors, "ema.", state.ema->state());
      state.ema->check_state(average);
    }
    // Checks itself as a whole; what follows cannot fail any more.
    if (state.optimizer)
      state.optimizer->load_state(take_published(file.tensors, "optimizer.", {}));
    if (state.model) state.model->load_state_dict(model);
    if (state.ema) state.ema->load(average, ema_updates);
    if (state.generator) state.generator->set_state({words[0], words[1], words[2]});
    state.progress = std::move(progress);
  } catch (const ValueError& e) {
    throw ValueError(cat(path.string(), ": ", e.what()));
  } catch (const json::exception& e) {
    throw IoError(cat(path.string(), ": the checkpoint header is damaged: ", e.what()));
  }
}

json read_checkpoint_progress(const std::filesystem::path& path) {
  return parse_header(tessera::io::SafetensorsFile(path).metadata(), path)["progress"];
}

}  // namespace tessera::nn::io
