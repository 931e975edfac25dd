#include "core/crypto/openssl_handles.h"

#include <openssl/err.h>

#include <cstdio>
#include <cstdlib>

namespace chorale::crypto {

void DieOfOpenSsl(const char* what) {
  std::fprintf(stderr, "chorale: cryptography failed and there is no safe way on: %s\n", what);
  ERR_print_errors_fp(stderr);
  std::abort();
}

ErrorQueueScope::ErrorQueueScope() { ERR_set_mark(); }
ErrorQueueScope::~ErrorQueueScope() { ERR_pop_to_mark(); }

}  // namespace chorale::crypto
