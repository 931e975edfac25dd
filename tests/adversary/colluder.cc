#include "tests/adversary/colluder.h"

#include <utility>

#include "core/time.h"
#include "secagg/key_schedule.h"
#include "secagg/setup_messages.h"

namespace chorale::adversary {
namespace {

Time Now() { return SystemClock().WallNow(); }

Bytes OnlyMessage(const StatusOr<std::vector<secagg::ClientAction>>& actions) {
  if (!actions.ok()) return {};
  for (const secagg::ClientAction& action : *actions) {
    if (const auto* send = std::get_if<secagg::Send>(&action)) return send->message;
  }
  return {};
}

}  // namespace

// Asks nobody whether members are whom the coordinator says they are.
class Colluder::Believer final : public secagg::MemberVerifier {
 public:
  explicit Believer(std::vector<secagg::Member> members) : members_(std::move(members)) {}
  StatusOr<std::vector<secagg::Member>> Verify(const v1::SessionManifest&, Time) override {
    return members_;
  }

 private:
  std::vector<secagg::Member> members_;
};

Colluder::Colluder(const identity::Identity& identity, Group group, std::uint64_t seed)
    : identity_(identity),
      group_(std::move(group)),
      verifier_(std::make_unique<Believer>(group_.members)),
      random_(seed) {}

Colluder::~Colluder() = default;

Bytes Colluder::Advertise(const Bytes& manifest) {
  session_ = std::make_unique<secagg::ClientSession>(
      secagg::ClientSession::Create({.site = group_.members[group_.colluder].site,
                                     .federation = identity_.party().federation,
                                     .job = group_.job,
                                     .job_digest = group_.job_digest,
                                     .signing_key = identity_.signing_key(),
                                     .coordinator_key = group_.coordinator_key,
                                     .verifier = *verifier_,
                                     .random = random_})
          .value());
  first_ = random_.secrets().size();
  Bytes message = OnlyMessage(session_->Step(secagg::ManifestReceived{manifest}, Now()));
  // A channel key, then one mask key a round.
  num_rounds_ = static_cast<std::uint32_t>(random_.secrets().size() - first_ - 1);
  mask_keys_.clear();
  has_dealt_ = false;
  for (std::size_t i = first_; i < random_.secrets().size(); ++i) {
    mask_keys_.push_back(crypto::X25519PrivateKey::FromBytes(random_.secrets()[i]).value());
  }
  return message;
}

Bytes Colluder::Deal(const Bytes& directory) {
  Bytes message = OnlyMessage(session_->Step(secagg::KeysReceived{directory}, Now()));
  has_dealt_ = !message.empty();
  return message;
}

void Colluder::Open(const secagg::SessionView& view, const secagg::DeliveredShares& delivery) {
  opened_.clear();
  for (const secagg::MemberIndex dealer : delivery.shares.members) {
    const auto key = secagg::ChannelKey(view.id(), mask_keys_[0], group_.colluder,
                                        view.channel_key(dealer), dealer, dealer, group_.colluder);
    if (!key.ok()) continue;
    std::vector<crypto::SecretBytes> rounds;
    for (std::uint32_t r = 1; r <= num_rounds_; ++r) {
      auto opened =
          secagg::OpenShares(*key, view.id(), r, dealer, group_.colluder, secagg::kSharesType,
                             delivery.shares.Of(dealer).subspan(
                                 (r - 1) * secagg::kSealedSharesBytes, secagg::kSealedSharesBytes));
      if (!opened.ok()) break;
      rounds.push_back(*std::move(opened));
    }
    if (rounds.size() == num_rounds_) opened_.emplace(dealer, std::move(rounds));
  }
}

Bytes Colluder::Sign(secagg::MessageKind kind, const Bytes& body) const {
  return secagg::SignMessage(kind, body, identity_.signing_key());
}

Bytes Colluder::Statement(const secagg::RoundSeen& seen) const {
  return Sign(secagg::MessageKind::kConsistencySignature,
              secagg::Encode(secagg::RoundStatement{group_.colluder, seen}));
}

const crypto::X25519PrivateKey& Colluder::mask_key(std::uint32_t round) const {
  return mask_keys_[round];
}

crypto::SecretBytes Colluder::seed(std::uint32_t round) const {
  // After the keys; one a round, in order.
  return crypto::SecretBytes(random_.secrets()[first_ + mask_keys_.size() + round - 1]);
}

const crypto::SecretBytes* Colluder::shares_of(secagg::MemberIndex dealer,
                                               std::uint32_t round) const {
  const auto found = opened_.find(dealer);
  return found == opened_.end() ? nullptr : &found->second[round - 1];
}

}  // namespace chorale::adversary
