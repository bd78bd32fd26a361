#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>

#include "nn/ema.h"
#include "nn/module.h"
#include "nn/optim/optimizer.h"
#include "tensor/generator.h"

namespace tessera::nn::io {

/// The parts of a training run that a checkpoint holds. Null members are left out.
struct TrainingState {
  Module* model = nullptr;
  Optimizer* optimizer = nullptr;
  Ema* ema = nullptr;
  Generator* generator = nullptr;
  /// The run's own counters and settings: epoch, batch, best metric, configuration, ... Small.
  nlohmann::json progress = nlohmann::json::object();
};

/// Writes one safetensors file: "model.*" (torch's names and layouts), "optimizer.*", "ema.*", and
/// the generator and `progress` as JSON in its metadata. Atomic: a crash or a full disk leaves the
/// previous checkpoint. IoError naming the file, ValueError for progress that is no JSON text.
void save_checkpoint(const std::filesystem::path& path, const TrainingState& state);

/// Restores everything that `state` names, so that the run goes on bit for bit, and sets
/// state.progress. Throws IoError for a damaged file or one that is no checkpoint, ValueError
/// listing the differences of the first part that belongs to another network or optimizer. Then
/// nothing that `state` names is changed.
void load_checkpoint(const std::filesystem::path& path, TrainingState& state);

/// The `progress` of a checkpoint without its tensors applied: to choose the network first.
nlohmann::json read_checkpoint_progress(const std::filesystem::path& path);

}  // namespace tessera::nn::io
