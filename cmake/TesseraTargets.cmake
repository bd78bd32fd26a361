# Compiler settings and the few functions that the folders' CMakeLists use.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_CXX_VISIBILITY_PRESET default)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()
set(CMAKE_CXX_FLAGS_RELEASE "-O3 -DNDEBUG")

find_program(TESSERA_CCACHE ccache)
if(TESSERA_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${TESSERA_CCACHE})
endif()

# Options of the C++ compiler; nvcc has its own.
function(tessera_cxx_options)
  foreach(option IN LISTS ARGN)
    add_compile_options($<$<COMPILE_LANGUAGE:CXX>:${option}>)
  endforeach()
endfunction()

tessera_cxx_options(-Wall -Wextra -Werror)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  tessera_cxx_options(-Wno-restrict)  # false for `"text" + std::string`, GCC bug 105651
endif()
# Nothing reads errno or floating-point traps; without these no loop over sqrt or a comparison is
# vectorised.
tessera_cxx_options(-fno-math-errno -fno-trapping-math)
if(TESSERA_ARCH)
  tessera_cxx_options(-march=${TESSERA_ARCH})
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # GCC's vector types in std::function signatures and the like only warn about ABI.
    tessera_cxx_options(-Wno-psabi)
  endif()
endif()
if(TESSERA_SANITIZE)
  tessera_cxx_options(-fsanitize=${TESSERA_SANITIZE} -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${TESSERA_SANITIZE})
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    tessera_cxx_options(-Wno-maybe-uninitialized)  # false alarms in instrumented code
  endif()
  if(TESSERA_SANITIZE MATCHES "undefined")
    tessera_cxx_options(-fno-sanitize-recover=undefined)
  endif()
endif()

# One object library per folder: `tessera_<name>`, its *.cpp files (and those one level below), linked
# to what the module map allows.
function(tessera_add_folder name)
  cmake_parse_arguments(ARG "" "" "LINK;EXCLUDE" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp
       ${CMAKE_CURRENT_SOURCE_DIR}/*/*.cpp)
  foreach(pattern IN LISTS ARG_EXCLUDE)
    list(FILTER sources EXCLUDE REGEX ${pattern})
  endforeach()
  if(NOT sources)
    message(FATAL_ERROR "folder ${name} has no sources")
  endif()
  add_library(tessera_${name} OBJECT ${sources})
  target_include_directories(tessera_${name} PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>)
  target_link_libraries(tessera_${name} PUBLIC ${ARG_LINK})
  if(TESSERA_REFERENCE)
    target_compile_definitions(tessera_${name} PUBLIC TESSERA_REFERENCE)
  endif()
endfunction()

# libtessera: the objects of all folders, so that kernels that register themselves are never dropped.
function(tessera_add_library)
  add_library(tessera SHARED)
  add_library(Tessera::tessera ALIAS tessera)
  foreach(folder IN LISTS ARGN)
    target_link_libraries(tessera PRIVATE tessera_${folder})
  endforeach()
  target_include_directories(tessera PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>
                             $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/tessera>)
  target_compile_features(tessera PUBLIC cxx_std_20)
  if(TESSERA_REFERENCE)
    target_compile_definitions(tessera PUBLIC TESSERA_REFERENCE)
  endif()
  set_target_properties(tessera PROPERTIES VERSION ${PROJECT_VERSION}
                        SOVERSION ${PROJECT_VERSION_MAJOR})
endfunction()
