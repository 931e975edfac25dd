# The compiler: C++20, warnings, sanitizers, ccache, and where binaries go.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM)
  # Without the first, ccache passes over everything that uses the tests' precompiled header; with the others it serves
  # every clone, wherever it lies.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros
      CCACHE_BASEDIR=${PROJECT_SOURCE_DIR} CCACHE_NOHASHDIR=1 ${CCACHE_PROGRAM})
endif()

# One compiler at a time for files that include torch: each takes over 1 GB.
set_property(GLOBAL APPEND PROPERTY JOB_POOLS torch=1)

add_library(chorale_flags INTERFACE)
target_compile_options(chorale_flags INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wconversion
                       -Wno-sign-conversion)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # GCC 12 sees overlaps and sizes in std::string that are not there (GCC bug 105651).
  target_compile_options(chorale_flags INTERFACE -Wno-restrict -Wno-stringop-overread)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  target_compile_options(chorale_flags INTERFACE -Wthread-safety)
endif()
target_include_directories(chorale_flags INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_definitions(chorale_flags INTERFACE CHORALE_VERSION="${PROJECT_VERSION}")

if(CHORALE_SANITIZE STREQUAL "address")
  add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
  add_link_options(-fsanitize=address,undefined)
elseif(CHORALE_SANITIZE STREQUAL "thread")
  add_compile_options(-fsanitize=thread -fno-omit-frame-pointer)
  add_link_options(-fsanitize=thread)
elseif(NOT CHORALE_SANITIZE STREQUAL "")
  message(FATAL_ERROR "CHORALE_SANITIZE must be address, thread or empty, got ${CHORALE_SANITIZE}")
endif()

if(CHORALE_TIDY)
  find_program(CLANG_TIDY_PROGRAM clang-tidy REQUIRED)
endif()
