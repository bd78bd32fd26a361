# `cmake --install`: headers, libtessera, the programs and a package for find_package(Tessera).

include(CMakePackageConfigHelpers)

# Installed programs find libtessera beside them, wherever the prefix is moved to.
file(RELATIVE_PATH bin_to_lib ${CMAKE_INSTALL_FULL_BINDIR} ${CMAKE_INSTALL_FULL_LIBDIR})
if(NOT TESSERA_REFERENCE)
  set_target_properties(tessera_program train_reid_program
                        PROPERTIES INSTALL_RPATH "$ORIGIN/${bin_to_lib}")
  # Public headers of nn/io include nlohmann/json.hpp; everything else is linked privately.
  target_link_libraries(tessera INTERFACE $<INSTALL_INTERFACE:nlohmann_json::nlohmann_json>)
endif()

install(TARGETS tessera EXPORT TesseraTargets
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
        INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/tessera)
set(not_installed PATTERN "*onednn.h" EXCLUDE)
if(TESSERA_REFERENCE)
  list(APPEND not_installed REGEX "/nn/io$" EXCLUDE)
endif()
foreach(folder IN LISTS TESSERA_FOLDERS)
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/${folder}
          DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/tessera
          FILES_MATCHING PATTERN "*.h" ${not_installed})
endforeach()
if(NOT TESSERA_REFERENCE)
  install(TARGETS tessera_program train_reid_program RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()

set(TESSERA_PACKAGE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/Tessera)
install(EXPORT TesseraTargets NAMESPACE Tessera:: DESTINATION ${TESSERA_PACKAGE_DIR})
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/TesseraConfig.cmake.in
                              ${PROJECT_BINARY_DIR}/TesseraConfig.cmake
                              INSTALL_DESTINATION ${TESSERA_PACKAGE_DIR})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/TesseraConfigVersion.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/TesseraConfig.cmake
              ${PROJECT_BINARY_DIR}/TesseraConfigVersion.cmake
        DESTINATION ${TESSERA_PACKAGE_DIR})
