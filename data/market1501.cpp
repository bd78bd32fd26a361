#include "data/market1501.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

namespace tessera::data {
namespace {

namespace fs = std::filesystem;

/// Consumes a prefix of `text`.
bool take(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

/// Consumes 1 to 9 digits.
std::optional<int64_t> take_number(std::string_view& text) {
  int64_t value = 0;
  size_t n = 0;
  for (; n < text.size() && text[n] >= '0' && text[n] <= '9'; ++n) {
    if (n == 9) return std::nullopt;
    value = value * 10 + (text[n] - '0');
  }
  if (n == 0) return std::nullopt;
  text.remove_prefix(n);
  return value;
}

std::optional<ReidName> match(std::string_view text) {
  const std::string_view whole = text;
  ReidName name;
  if (take(text, "-1")) {
    name.identity = -1;
  } else {
    const auto identity = take_number(text);
    if (!identity) return std::nullopt;
    name.identity = *identity;
  }
  name.identity_text = whole.substr(0, whole.size() - text.size());
  if (!take(text, "_c")) return std::nullopt;
  const auto camera = take_number(text);
  if (!camera) return std::nullopt;
  name.camera = *camera;
  if (take(text, "s") && !take_number(text)) return std::nullopt;
  if (!take(text, "_") || text.empty()) return std::nullopt;
  return name;
}

std::vector<std::pair<ReidName, fs::path>> list_names(const fs::path& folder) {
  std::vector<std::pair<ReidName, fs::path>> named;
  for (const fs::path& path : list_images(folder))
    named.emplace_back(parse_reid_name(path.filename().string(), path.string()), path);
  TESSERA_CHECK(IoError, !named.empty(), folder.string(), ": no image in it");
  // list_images sorted by file name.
  std::stable_sort(named.begin(), named.end(), [](const auto& a, const auto& b) {
    return a.first.identity_text < b.first.identity_text;
  });
  return named;
}

std::vector<ReidImage> list_part(const fs::path& folder) {
  std::vector<ReidImage> images;
  for (const auto& [name, path] : list_names(folder))
    images.push_back({path, name.identity, name.camera, -1});
  return images;
}

}  // namespace

ReidName parse_reid_name(std::string_view file_name, const std::string& path) {
  const std::optional<ReidName> name = match(file_name);
  TESSERA_CHECK(IoError, name, path.empty() ? std::string(file_name) : path,
                ": the name does not match <identity>_c<camera>[s<sequence>]_<rest>, as in "
                "0002_c1s1_000451_03.jpg");
  return *name;
}

std::vector<ImageItem> Market1501::items(const std::vector<ReidImage>& images) {
  std::vector<ImageItem> items;
  items.reserve(images.size());
  for (const ReidImage& image : images) items.push_back({image.path, image.label});
  return items;
}

Market1501 load_market1501(const fs::path& root) {
  Market1501 set;
  std::map<std::string, int64_t> labels;
  const fs::path train = root / kMarket1501Folders[0];
  for (const auto& [name, path] : list_names(train)) {
    if (name.identity < 0) continue;
    // Identities arrive in order, so the count so far is the rank.
    const int64_t rank = static_cast<int64_t>(labels.size());
    const int64_t label = labels.try_emplace(name.identity_text, rank).first->second;
    set.train.push_back({path, name.identity, name.camera, label});
  }
  TESSERA_CHECK(IoError, !set.train.empty(), train.string(), ": only junk (-1) images in it");
  set.train_identities = static_cast<int64_t>(labels.size());
  set.query = list_part(root / kMarket1501Folders[1]);
  set.gallery = list_part(root / kMarket1501Folders[2]);
  return set;
}

}  // namespace tessera::data
