#include "apps/common/output.h"

#include <nlohmann/json.hpp>

#include "io/atomic_file.h"
#include "tensor/error.h"

namespace tessera::apps {

void make_output_folder(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  TESSERA_CHECK(IoError, !error, folder.string(), ": cannot be created: ", error.message());
  const io::AtomicFile probe(folder / "result.json");  // not committed: leaves nothing behind
}

std::string json_text(const nlohmann::json& value, int indent) {
  return value.dump(indent, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace tessera::apps
