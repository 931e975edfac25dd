#pragma once

#include <memory>

#include "chorale/v1/identity.pb.h"
#include "coordinator/members.h"
#include "core/crypto/certificate.h"
#include "core/rpc/server.h"
#include "core/status.h"
#include "core/time.h"
#include "identity/party.h"

namespace chorale::coordinator {

// Who makes a call: known from the certificate of the connection, never from a message.
struct Caller {
  identity::Party party;
  std::shared_ptr<const crypto::Certificate>
      certificate;  // Shared with the cache of parsed certificates.
};

// Safe for concurrent use.
class Callers {
 public:
  // Both must outlive this.
  Callers(Members& members, const Clock& clock) : members_(members), clock_(clock) {}

  // UNAUTHENTICATED, with the reason, for anybody who is no member in good standing;
  // PERMISSION_DENIED for another role.
  [[nodiscard]] StatusOr<Caller> Authenticate(const grpc::ServerContextBase& context,
                                              v1::PartyRole role);

 private:
  Members& members_;
  const Clock& clock_;
  rpc::PeerCertificates certificates_;
};

}  // namespace chorale::coordinator
