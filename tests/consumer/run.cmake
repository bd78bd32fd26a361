# Installs, configures and builds the consumer against the installed copy, runs it, and compiles every
# installed header without any other include path. Any step that fails ends the test.

function(run)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE code OUTPUT_VARIABLE out ERROR_VARIABLE out)
  if(NOT code EQUAL 0)
    list(JOIN ARGN " " command)
    message(FATAL_ERROR "${command}: exit status ${code}\n${out}")
  endif()
  set(output "${out}" PARENT_SCOPE)
endfunction()

function(expect_in text part)
  string(FIND "${text}" "${part}" at)
  if(at EQUAL -1)
    message(FATAL_ERROR "expected '${part}' in:\n${text}")
  endif()
endfunction()

file(REMOVE_RECURSE ${PREFIX} ${PREFIX}.moved ${WORK_DIR})
# Only the installed copy may be found.
unset(ENV{LD_LIBRARY_PATH})
run(${CMAKE_COMMAND} --install ${BUILD_DIR} --prefix ${PREFIX})
# Moved, because nothing inside may hold the prefix it was installed to.
file(RENAME ${PREFIX} ${PREFIX}.moved)
set(PREFIX ${PREFIX}.moved)

file(GLOB_RECURSE headers RELATIVE ${PREFIX}/include/tessera ${PREFIX}/include/tessera/*.h)
list(LENGTH headers count)
if(count LESS 50)
  message(FATAL_ERROR "only ${count} headers were installed")
endif()
set(text "")
foreach(header IN LISTS headers)
  string(APPEND text "#include \"${header}\"\n")
endforeach()
file(WRITE ${WORK_DIR}/headers.cpp "${text}")

run(${CMAKE_COMMAND} -S ${PROJECT_DIR} -B ${WORK_DIR} -G ${GENERATOR}
    -D CMAKE_CXX_COMPILER=${CXX} "-DCMAKE_CXX_FLAGS=-Wall -Wextra -Werror -Wno-psabi ${FLAGS}"
    -D CMAKE_PREFIX_PATH=${PREFIX} -D HEADERS=${WORK_DIR}/headers.cpp)
run(${CMAKE_COMMAND} --build ${WORK_DIR})
run(${WORK_DIR}/consumer)
expect_in("${output}" "is 6")
if(PROGRAMS)
  run(${PREFIX}/${BINDIR}/tessera --version)
  run(${PREFIX}/${BINDIR}/train_reid --help)
endif()
file(REMOVE_RECURSE ${PREFIX} ${WORK_DIR})
