# libtessera_cuda.so, where nvcc is found.

if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES 80-real 90a-real 80-virtual)
endif()
include(CheckLanguage)
check_language(CUDA)
if(NOT CMAKE_CUDA_COMPILER)
  message(STATUS "nvcc was not found: no CUDA plug-in")
  return()
endif()
enable_language(CUDA)
find_package(CUDAToolkit REQUIRED)
if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake 3.25 does not know that nvcc compiles C++20
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
endif()
set(CMAKE_CUDA_STANDARD 20)
if(TESSERA_CCACHE)
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${TESSERA_CCACHE})
endif()

add_library(tessera_cuda MODULE ${TESSERA_CUDA_KERNELS} ${PROJECT_SOURCE_DIR}/cuda/runtime.cu
                                ${TESSERA_CUDA_HOST} ${TESSERA_CUDA_LIBRARIES})
# Every warning of the device compiler counts, spilled registers among them.
target_compile_options(
  tessera_cuda
  PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr --extended-lambda -Werror=all-warnings
          -Xptxas=--warn-on-spills -Xfatbin=-compress-all>)
target_compile_definitions(
  tessera_cuda PRIVATE TESSERA_VERSION="${PROJECT_VERSION}"
                       TESSERA_CUDA_RUNTIME="CUDA ${CUDAToolkit_VERSION_MAJOR}.${CUDAToolkit_VERSION_MINOR}")
target_include_directories(tessera_cuda PRIVATE ${PROJECT_SOURCE_DIR})
target_include_directories(tessera_cuda SYSTEM PRIVATE ${CUDAToolkit_INCLUDE_DIRS})
target_link_libraries(tessera_cuda PRIVATE tessera)
set_target_properties(
  tessera_cuda
  PROPERTIES CUDA_RUNTIME_LIBRARY Static
             CXX_VISIBILITY_PRESET hidden
             CUDA_VISIBILITY_PRESET hidden
             BUILD_RPATH "$ORIGIN"
             INSTALL_RPATH "$ORIGIN")
