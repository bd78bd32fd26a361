#pragma once

#include <string>

namespace tessera::cuda::library {

/// The parts of describe().
std::string describe_cublas();
std::string describe_cudnn();

}  // namespace tessera::cuda::library
