#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "data/codec.h"
#include "data/transform.h"
#include "tensor/generator.h"

namespace tessera::data {

/// One training or test example: the network's input, float HWC, and its class.
struct Sample {
  FloatImage image;
  int64_t label = 0;
};

/// A finite list of samples. Immutable once built; `get` and `describe` are called from several
/// threads at a time.
class Dataset {
 public:
  virtual ~Dataset() = default;
  virtual int64_t size() const = 0;
  /// Sample `index` in [0, size()), augmented by numbers drawn from forks of `generator` only, so
  /// that equal arguments give equal samples. Throws IoError naming the file when it is unreadable.
  virtual Sample get(int64_t index, const Generator& generator) const = 0;
  /// Where the sample comes from (a path), for messages.
  virtual std::string describe(int64_t index) const = 0;
};

/// An image file and its class.
struct ImageItem {
  std::filesystem::path path;
  int64_t label = 0;
};

struct ImageDatasetOptions {
  /// Memory for decoded images, after the pipeline's steps that draw no random numbers; 0 keeps
  /// nothing. When it is full, the images that did not fit are decoded each time.
  int64_t cache_bytes = 0;
  DecodeOptions decode = {};
};

/// Decodes files and runs the pipeline on them.
class ImageDataset : public Dataset {
 public:
  ImageDataset(std::vector<ImageItem> items, Pipeline pipeline,
               const ImageDatasetOptions& options = {});

  int64_t size() const override { return static_cast<int64_t>(items_.size()); }
  Sample get(int64_t index, const Generator& generator) const override;
  std::string describe(int64_t index) const override;

  const std::vector<ImageItem>& items() const { return items_; }
  /// Bytes of cached pixels at the moment.
  int64_t cached_bytes() const;

 private:
  std::shared_ptr<const Image> load(int64_t index, const Generator& generator) const;

  std::vector<ImageItem> items_;
  Pipeline pipeline_;
  ImageDatasetOptions options_;
  mutable std::mutex mutex_;  // guards the two below
  mutable std::vector<std::shared_ptr<const Image>> cache_;
  mutable int64_t cached_bytes_ = 0;
};

/// Images that are already in memory.
class MemoryDataset : public Dataset {
 public:
  /// One label per image (ValueError otherwise). `name` is for messages.
  MemoryDataset(std::vector<Image> images, std::vector<int64_t> labels, Pipeline pipeline,
                std::string name = "memory");

  int64_t size() const override { return static_cast<int64_t>(images_.size()); }
  Sample get(int64_t index, const Generator& generator) const override;
  std::string describe(int64_t index) const override;

 private:
  std::vector<Image> images_;
  std::vector<int64_t> labels_;
  Pipeline pipeline_;
  std::string name_;
};

/// True for jpg, jpeg, png, ppm, bmp, pgm, tif, tiff and webp in any case, unless the name starts
/// with a dot. (TIFF and WebP are listed so that they are reported, not silently left out.)
bool is_image_name(const std::filesystem::path& path);

/// The image files directly in `folder`, sorted by name. Throws IoError when it is missing, not a
/// folder or unreadable.
std::vector<std::filesystem::path> list_images(const std::filesystem::path& folder);

/// One folder per class.
struct ImageFolder {
  std::vector<std::string> classes;  // folder names in plain string order: class i is classes[i]
  std::vector<ImageItem> items;      // by class, then by file name
};

/// Reads `root`/<class>/<image>. Hidden entries and files beside the class folders are skipped.
/// Throws IoError when `root` is missing, has no class folder, or a class folder has no image.
ImageFolder scan_image_folder(const std::filesystem::path& root);

}  // namespace tessera::data
