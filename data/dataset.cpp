#include "data/dataset.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <system_error>
#include <utility>

namespace tessera::data {
namespace {

namespace fs = std::filesystem;

void check_index(int64_t index, int64_t size, const char* op) {
  TESSERA_CHECK(ValueError, index >= 0 && index < size, op, ": index ", index, " is outside [0, ",
                size, ")");
}

bool hidden(const fs::path& path) { return path.filename().string().starts_with('.'); }

/// The entries of a folder that `keep` accepts, sorted by name.
template <class Keep>
std::vector<fs::path> list_folder(const fs::path& folder, Keep&& keep) {
  std::error_code error;
  TESSERA_CHECK(IoError, fs::exists(folder, error), folder.string(), ": no such folder");
  TESSERA_CHECK(IoError, fs::is_directory(folder, error), folder.string(), ": not a folder");
  std::vector<fs::path> found;
  fs::directory_iterator it(folder, error);
  for (; !error && it != fs::directory_iterator(); it.increment(error))
    if (keep(it->path())) found.push_back(it->path());
  TESSERA_CHECK(IoError, !error, folder.string(), ": cannot list: ", error.message());
  std::sort(found.begin(), found.end(),
            [](const fs::path& a, const fs::path& b) { return a.native() < b.native(); });
  return found;
}

}  // namespace

bool is_image_name(const fs::path& path) {
  constexpr std::array<std::string_view, 9> kExtensions = {".jpg", ".jpeg", ".png",  ".ppm", ".bmp",
                                                           ".pgm", ".tif",  ".tiff", ".webp"};
  std::string extension = path.extension().string();
  for (char& c : extension)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return !hidden(path) &&
         std::find(kExtensions.begin(), kExtensions.end(), extension) != kExtensions.end();
}

std::vector<fs::path> list_images(const fs::path& folder) {
  return list_folder(folder, [](const fs::path& path) {
    std::error_code error;
    return is_image_name(path) && !fs::is_directory(path, error);
  });
}

ImageFolder scan_image_folder(const fs::path& root) {
  const std::vector<fs::path> folders = list_folder(root, [](const fs::path& path) {
    std::error_code error;
    return !hidden(path) && fs::is_directory(path, error);
  });
  TESSERA_CHECK(IoError, !folders.empty(), root.string(),
                ": no class folders (expected <class>/<image> below it)");
  ImageFolder result;
  for (const fs::path& folder : folders) {
    const std::vector<fs::path> images = list_images(folder);
    TESSERA_CHECK(IoError, !images.empty(), folder.string(), ": class folder without an image");
    const int64_t label = static_cast<int64_t>(result.classes.size());
    result.classes.push_back(folder.filename().string());
    for (const fs::path& path : images) result.items.push_back({path, label});
  }
  return result;
}

ImageDataset::ImageDataset(std::vector<ImageItem> items, Pipeline pipeline,
                           const ImageDatasetOptions& options)
    : items_(std::move(items)), pipeline_(std::move(pipeline)), options_(options) {
  if (options_.cache_bytes > 0) cache_.resize(items_.size());
}

int64_t ImageDataset::cached_bytes() const {
  const std::lock_guard lock(mutex_);
  return cached_bytes_;
}

std::shared_ptr<const Image> ImageDataset::load(int64_t index, const Generator& generator) const {
  const size_t i = static_cast<size_t>(index);
  if (!cache_.empty()) {
    const std::lock_guard lock(mutex_);
    if (cache_[i]) return cache_[i];
  }
  auto image = std::make_shared<const Image>(pipeline_.run(
      read_image(items_[i].path, options_.decode), generator, 0, pipeline_.fixed_prefix()));
  if (!cache_.empty()) {
    const std::lock_guard lock(mutex_);
    const int64_t bytes = static_cast<int64_t>(image->pixels.size());
    if (!cache_[i] && cached_bytes_ + bytes <= options_.cache_bytes) {
      cache_[i] = image;
      cached_bytes_ += bytes;
    }
  }
  return image;
}

Sample ImageDataset::get(int64_t index, const Generator& generator) const {
  check_index(index, size(), "ImageDataset");
  const std::shared_ptr<const Image> image = load(index, generator);
  const size_t first = pipeline_.fixed_prefix(), last = pipeline_.transforms.size();
  const int64_t label = items_[static_cast<size_t>(index)].label;
  if (first == last) return {pipeline_.finish(*image, generator), label};
  return {pipeline_.finish(pipeline_.run(*image, generator, first, last), generator), label};
}

std::string ImageDataset::describe(int64_t index) const {
  check_index(index, size(), "ImageDataset");
  return items_[static_cast<size_t>(index)].path.string();
}

MemoryDataset::MemoryDataset(std::vector<Image> images, std::vector<int64_t> labels,
                             Pipeline pipeline, std::string name)
    : images_(std::move(images)),
      labels_(std::move(labels)),
      pipeline_(std::move(pipeline)),
      name_(std::move(name)) {
  TESSERA_CHECK(ValueError, images_.size() == labels_.size(), name_, ": ", images_.size(),
                " images but ", labels_.size(), " labels");
}

Sample MemoryDataset::get(int64_t index, const Generator& generator) const {
  check_index(index, size(), "MemoryDataset");
  const size_t i = static_cast<size_t>(index);
  if (pipeline_.transforms.empty()) return {pipeline_.finish(images_[i], generator), labels_[i]};
  return {pipeline_(images_[i], generator), labels_[i]};
}

std::string MemoryDataset::describe(int64_t index) const {
  check_index(index, size(), "MemoryDataset");
  return cat(name_, "[", index, "]");
}

}  // namespace tessera::data
