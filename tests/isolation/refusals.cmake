# Configures small projects that use cmake/ChoraleLibrary.cmake and checks what it says. Run with cmake -P and
# SOURCE_DIR, SCRATCH_DIR, GENERATOR.

# expect(NAME name SAYS regex FILES path=line … LIBRARIES "NAME … LAYER …" …). A file holds one line; libraries are
# declared in order, each in the folder that its name says. SAYS is left out where configuration must succeed.
function(expect)
  cmake_parse_arguments(ARG "" "NAME;SAYS" "FILES;LIBRARIES" ${ARGN})
  set(project ${SCRATCH_DIR}/${ARG_NAME})
  file(REMOVE_RECURSE ${project})
  set(lists "cmake_minimum_required(VERSION 3.25)\nproject(scratch LANGUAGES NONE)\n")
  string(APPEND lists "add_library(chorale_flags INTERFACE)\ninclude(${SOURCE_DIR}/cmake/ChoraleLibrary.cmake)\n")
  foreach(library IN LISTS ARG_LIBRARIES)
    string(REGEX REPLACE "^NAME ([a-z_]+) .*" "\\1" folder "${library}")
    file(WRITE ${project}/${folder}/CMakeLists.txt "chorale_library(${library})\n")
    string(APPEND lists "add_subdirectory(${folder})\n")
  endforeach()
  file(WRITE ${project}/CMakeLists.txt "${lists}")
  foreach(file IN LISTS ARG_FILES)
    string(REGEX REPLACE "=.*" "" path "${file}")
    string(REGEX REPLACE "^[^=]*=" "" line "${file}")
    file(WRITE ${project}/${path} "#pragma once\n\n${line}\n")
  endforeach()

  execute_process(COMMAND ${CMAKE_COMMAND} -G ${GENERATOR} -S ${project} -B ${project}/build
                  RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
  # CMake folds long messages.
  string(REGEX REPLACE "[ \n]+" " " said "${output}")
  if(NOT ARG_SAYS)
    if(NOT result EQUAL 0)
      message(FATAL_ERROR "${ARG_NAME}: must configure, but: ${output}")
    endif()
  elseif(result EQUAL 0)
    message(FATAL_ERROR "${ARG_NAME}: configures, but must be refused with: ${ARG_SAYS}")
  elseif(NOT said MATCHES "${ARG_SAYS}")
    message(FATAL_ERROR "${ARG_NAME}: must be refused with: ${ARG_SAYS}\nbut: ${output}")
  endif()
  message(STATUS "${ARG_NAME}: as it should")
endfunction()

expect(NAME downward_edge
  FILES "core/a.h=#include <vector>" "models/b.h=#include \"core/a.h\""
  LIBRARIES "NAME core LAYER 1 HDRS a.h" "NAME models LAYER 3 HDRS b.h DEPS core")

expect(NAME upward_edge SAYS "upward edge: core \\(layer 1\\) depends on models \\(layer 3\\)"
  FILES "core/a.h=" "models/b.h="
  LIBRARIES "NAME models LAYER 3 HDRS b.h" "NAME core LAYER 1 HDRS a.h DEPS models")

expect(NAME undeclared_library SAYS "core \\(layer 1\\) depends on 'models', which is not a library of a lower layer"
  FILES "core/a.h=" "models/b.h="
  LIBRARIES "NAME core LAYER 1 HDRS a.h DEPS models" "NAME models LAYER 3 HDRS b.h")

expect(NAME hidden_openssl SAYS "coordinator/a.h includes <openssl/evp.h>, which only core/crypto may include"
  FILES "coordinator/a.h=#include <openssl/evp.h>" LIBRARIES "NAME coordinator LAYER 5 HDRS a.h")

expect(NAME hidden_torch SAYS "coordinator/a.h includes <torch/torch.h>, which only"
  FILES "coordinator/a.h=#include <torch/torch.h>" LIBRARIES "NAME coordinator LAYER 5 HDRS a.h")

expect(NAME hidden_in_quotes SAYS "models/a.h includes <sqlite3.h>, which only core/storage may include"
  FILES "models/a.h=#include \"sqlite3.h\"" LIBRARIES "NAME models LAYER 3 HDRS a.h")

expect(NAME party_includes_the_other SAYS "coordinator/a.h includes site_agent/b.h: the parties know each other"
  FILES "coordinator/a.h=#include \"site_agent/b.h\"" LIBRARIES "NAME coordinator LAYER 5 HDRS a.h")

expect(NAME spaces_do_not_hide SAYS "models/a.h includes <sqlite3.h>, which only core/storage may include"
  FILES "models/a.h= #  include <sqlite3.h>" LIBRARIES "NAME models LAYER 3 HDRS a.h")

expect(NAME include_without_dependency SAYS "models/b.h includes core/a.h of core, on which models does not depend"
  FILES "core/a.h=" "models/b.h=#include \"core/a.h\""
  LIBRARIES "NAME core LAYER 1 HDRS a.h" "NAME models LAYER 3 HDRS b.h")

expect(NAME upward_include SAYS "core/a.h includes models/b.h, which is no public header of a lower layer"
  FILES "core/a.h=#include \"models/b.h\"" "models/b.h="
  LIBRARIES "NAME core LAYER 1 HDRS a.h" "NAME models LAYER 3 HDRS b.h")

expect(NAME include_through_a_dependency
  FILES "core/a.h=" "data/b.h=#include \"core/a.h\"" "jobs/c.h=#include \"core/a.h\""
  LIBRARIES "NAME core LAYER 1 HDRS a.h" "NAME data LAYER 3 HDRS b.h DEPS core" "NAME jobs LAYER 4 HDRS c.h DEPS data")

expect(NAME party_depends_on_the_other SAYS "site_agent joins coordinator and site_agent"
  FILES "coordinator/a.h=" "site_agent/b.h="
  LIBRARIES "NAME coordinator LAYER 5 HDRS a.h" "NAME site_agent LAYER 5 HDRS b.h DEPS coordinator")
