# chorale_library(NAME name LAYER n SRCS … HDRS … DEPS … [LIBS …] [PRECOMPILED …] [COLD] [TORCH])
#
# One static library a folder. DEPS are chorale libraries: each must lie in the same or a lower layer, or
# configuration stops; `coordinator` and `site_agent` never meet. LIBS are third-party targets, linked privately
# unless after PUBLIC. PRECOMPILED headers are those that most of many sources include. COLD sources spend no time that
# anybody would notice, and a third less of the compiler's without much optimising; chorale_hot names the exceptions.
# TORCH marks the sources for the one-at-a-time job pool and the torch include path.
#
# Also checked here, file by file: a header of ours is included only from a library that depends on its own, and a
# third-party header only in the folder that hides its library.
function(chorale_library)
  cmake_parse_arguments(ARG "COLD;TORCH" "NAME;LAYER" "SRCS;HDRS;DEPS;LIBS;PUBLIC_LIBS;PRECOMPILED" ${ARGN})
  set(target chorale_${ARG_NAME})
  if(ARG_SRCS)
    add_library(${target} STATIC ${ARG_SRCS})
    set(visibility PUBLIC)
    target_link_libraries(${target} PRIVATE ${ARG_LIBS})
    target_precompile_headers(${target} PRIVATE ${ARG_PRECOMPILED})
    if(ARG_COLD)
      target_compile_options(${target} PRIVATE -O1)
    endif()
  else()
    add_library(${target} INTERFACE)
    set(visibility INTERFACE)
  endif()
  target_link_libraries(${target} ${visibility} chorale_flags ${ARG_PUBLIC_LIBS})
  set_property(GLOBAL PROPERTY chorale_layer_${ARG_NAME} ${ARG_LAYER})
  set(reachable ${ARG_NAME} ${ARG_DEPS})
  foreach(dep IN LISTS ARG_DEPS)
    get_property(dep_layer GLOBAL PROPERTY chorale_layer_${dep})
    if(NOT DEFINED dep_layer OR dep_layer STREQUAL "")
      message(FATAL_ERROR "${ARG_NAME} (layer ${ARG_LAYER}) depends on '${dep}', which is not a library of a lower layer")
    endif()
    if(dep_layer GREATER ARG_LAYER)
      message(FATAL_ERROR "upward edge: ${ARG_NAME} (layer ${ARG_LAYER}) depends on ${dep} (layer ${dep_layer})")
    endif()
    target_link_libraries(${target} ${visibility} chorale_${dep})
    get_property(dep_reachable GLOBAL PROPERTY chorale_reachable_${dep})
    list(APPEND reachable ${dep_reachable})
  endforeach()
  if("coordinator" IN_LIST reachable AND "site_agent" IN_LIST reachable AND ARG_LAYER LESS 6)
    message(FATAL_ERROR "${ARG_NAME} joins coordinator and site_agent: the parties know each other through proto/ alone")
  endif()
  list(REMOVE_DUPLICATES reachable)
  set_property(GLOBAL PROPERTY chorale_reachable_${ARG_NAME} ${reachable})
  foreach(header IN LISTS ARG_HDRS)
    set_property(GLOBAL APPEND PROPERTY chorale_public_headers ${CMAKE_CURRENT_SOURCE_DIR}/${header})
    set_property(GLOBAL PROPERTY chorale_owner_of_${CMAKE_CURRENT_SOURCE_DIR}/${header} ${ARG_NAME})
  endforeach()
  chorale_check_includes(${ARG_NAME} "${reachable}" ${ARG_SRCS} ${ARG_HDRS})
  if(ARG_TORCH)
    target_link_libraries(${target} PRIVATE ${TORCH_LIBRARIES})
    set_target_properties(${target} PROPERTIES JOB_POOL_COMPILE torch)
  elseif(CHORALE_TIDY AND ARG_SRCS)
    set_target_properties(${target} PROPERTIES CXX_CLANG_TIDY "${CLANG_TIDY_PROGRAM}")
  endif()
endfunction()

# chorale_hot(source…): sources of a COLD library that go over every parameter of a model.
function(chorale_hot)
  set_property(SOURCE ${ARGN} APPEND PROPERTY COMPILE_OPTIONS $<$<CONFIG:Release>:-O3>)
endfunction()

# What sources that know the messages of both parties include.
set(CHORALE_MESSAGE_HEADERS <algorithm> <functional> <map> <memory> <optional> <string> <variant> <vector>
    <chorale/v1/config.pb.h> <chorale/v1/federation.pb.h>)

# chorale_program(NAME name SRCS … DEPS … [COLD]): a binary in build/bin.
function(chorale_program)
  cmake_parse_arguments(ARG "COLD" "NAME" "SRCS;DEPS;LIBS" ${ARGN})
  add_executable(${ARG_NAME} ${ARG_SRCS})
  list(TRANSFORM ARG_DEPS PREPEND chorale_)
  target_link_libraries(${ARG_NAME} PRIVATE chorale_flags ${ARG_DEPS} ${ARG_LIBS})
  if(ARG_COLD)
    target_compile_options(${ARG_NAME} PRIVATE -O1)
  endif()
endfunction()

# Headers of a library, and the folders that may include them.
set(CHORALE_HIDDEN_HEADERS
    "openssl/=core/crypto"
    "grpcpp/=core/rpc|coordinator/.*_service|site_agent/.*_client|cli/.*_client"
    "sqlite3.h=core/storage"
    "libpq-fe.h=core/storage"
    "torch/=models/|training/|evaluation/|tests/"
    "ATen/=models/|training/"
    "Eigen/=training/newton_|coordinator/aggregation/newton_solver.cc|coordinator/aggregation/noisy_newton.cc|evaluation/newton_arm.cc"
    "unsupported/Eigen/=privacy/"
    "yaml-cpp/=core/config"
    "spdlog/=core/log.cc"
    "prometheus/=core/metrics.cc"
    "nlohmann/=core/json|models/safetensors.cc|evaluation/|coordinator/manifest.cc|cli/"
    "CLI/=cli/|coordinator/main.cc|site_agent/main.cc")

# `reachable` are the libraries whose headers `name` may include, its own among them.
function(chorale_check_includes name reachable)
  foreach(file IN LISTS ARGN)
    set(path ${CMAKE_CURRENT_SOURCE_DIR}/${file})
    file(RELATIVE_PATH relative ${PROJECT_SOURCE_DIR} ${path})
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${path})
    file(STRINGS ${path} includes REGEX "^[ \t]*#[ \t]*include[ \t]*[<\"]")
    foreach(line IN LISTS includes)
      string(REGEX REPLACE "^[ \t]*#[ \t]*include[ \t]*[<\"]([^>\"]*)[>\"].*" "\\1" header "${line}")
      if(relative MATCHES "^coordinator/" AND header MATCHES "^site_agent/" OR
         relative MATCHES "^site_agent/" AND header MATCHES "^coordinator/")
        message(FATAL_ERROR "${relative} includes ${header}: the parties know each other through proto/ alone")
      endif()
      if(EXISTS ${PROJECT_SOURCE_DIR}/${header})
        chorale_check_own_header(${name} "${reachable}" ${relative} ${header})
        continue()
      endif()
      foreach(rule IN LISTS CHORALE_HIDDEN_HEADERS)
        string(REGEX REPLACE "=.*" "" prefix "${rule}")
        string(REGEX REPLACE "^[^=]*=" "" allowed "${rule}")
        string(FIND "${header}" "${prefix}" position)
        if(position EQUAL 0 AND NOT relative MATCHES "^(${allowed})")
          message(FATAL_ERROR "${relative} includes <${header}>, which only ${allowed} may include")
        endif()
      endforeach()
    endforeach()
  endforeach()
endfunction()

# A header that no library has declared so far is private, which is right within one CMakeLists.txt, or belongs to a
# library that comes later, which would be an upward edge.
function(chorale_check_own_header name reachable relative header)
  get_property(owner GLOBAL PROPERTY chorale_owner_of_${PROJECT_SOURCE_DIR}/${header})
  if(owner)
    if(NOT owner IN_LIST reachable)
      message(FATAL_ERROR "${relative} includes ${header} of ${owner}, on which ${name} does not depend")
    endif()
    return()
  endif()
  set(folder ${PROJECT_SOURCE_DIR}/${header})
  while(NOT EXISTS ${folder}/CMakeLists.txt)
    get_filename_component(folder ${folder} DIRECTORY)
  endwhile()
  if(NOT folder STREQUAL CMAKE_CURRENT_SOURCE_DIR)
    message(FATAL_ERROR "${relative} includes ${header}, which is no public header of a lower layer")
  endif()
endfunction()
