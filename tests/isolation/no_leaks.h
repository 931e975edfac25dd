// Included after a public header: fails the build when that header brought in a library that some
// folder hides.
#pragma once

#if defined(C10_API) || defined(TORCH_API) || defined(TORCH_VERSION)
#error "this public header leaks torch: include torch in a .cc file only"
#endif
#if defined(OPENSSL_VERSION_NUMBER)
#error "this public header leaks OpenSSL, which core/crypto hides"
#endif
#if defined(SQLITE_VERSION_NUMBER) || defined(LIBPQ_FE_H)
#error "this public header leaks a database library, which core/storage hides"
#endif
#if defined(YAML_CPP_API)
#error "this public header leaks yaml-cpp, which core/config hides"
#endif
#if defined(SPDLOG_VER_MAJOR)
#error "this public header leaks spdlog, which core/log.cc hides"
#endif
#if defined(PROMETHEUS_CPP_CORE_EXPORT)
#error "this public header leaks prometheus-cpp, which core/metrics.cc hides"
#endif
