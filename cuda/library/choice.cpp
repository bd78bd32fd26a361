#include <cstdlib>
#include <string_view>

#include "cuda/library.h"
#include "cuda/library/status.h"
#include "tensor/error.h"

namespace tessera::cuda::library {

Choice choice() {
  static const Choice chosen = [] {
    const char* text = std::getenv("TESSERA_CONV");
    const std::string_view word = text ? text : "";
    if (word.empty() || word == "auto") return Choice::automatic;
    if (word == "own") return Choice::own;
    TESSERA_CHECK(ValueError, word == "cudnn", "TESSERA_CONV must be auto, own or cudnn, got '",
                  word, "'");
    return Choice::cudnn;
  }();
  return chosen;
}

std::string describe() { return cat(describe_cublas(), ", ", describe_cudnn()); }

}  // namespace tessera::cuda::library
