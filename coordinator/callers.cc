#include "coordinator/callers.h"

#include <utility>

namespace chorale::coordinator {

StatusOr<Caller> Callers::Authenticate(const grpc::ServerContextBase& context, v1::PartyRole role) {
  CHORALE_ASSIGN_OR_RETURN(std::shared_ptr<const crypto::Certificate> certificate,
                           certificates_.Find(context));
  CHORALE_ASSIGN_OR_RETURN(identity::Party party,
                           members_.Authenticate(*certificate, clock_.WallNow()));
  if (party.role != role) {
    return PermissionDenied("this call is for a " + identity::RoleName(role) + "; " + party.name +
                            " is a " + identity::RoleName(party.role));
  }
  return Caller{std::move(party), std::move(certificate)};
}

}  // namespace chorale::coordinator
