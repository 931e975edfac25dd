#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/bytes.h"
#include "core/crypto/signature.h"
#include "core/random.h"
#include "core/time.h"
#include "secagg/client_session.h"
#include "secagg/server_session.h"
#include "secagg/vector_spec.h"

// A coordinator and its sites in one process, with real keys and deterministic chance: what goes
// over the wire in life goes through here, where tests can look at it, change it or lose it.
namespace chorale::secagg {

// Chance of one site. Remembers every 32 bytes that it gave: keys and seeds.
class RecordingRandom final : public RandomSource {
 public:
  explicit RecordingRandom(std::uint64_t seed) : random_(seed) {}
  void Fill(std::span<std::uint8_t> bytes) override {
    random_.Fill(bytes);
    if (bytes.size() == 32) secrets_.emplace_back(bytes.begin(), bytes.end());
  }
  // Channel key, mask keys by round, seeds by round, and whatever else has 32 bytes.
  [[nodiscard]] const std::vector<Bytes>& secrets() const { return secrets_; }

 private:
  SeededRandom random_;
  std::vector<Bytes> secrets_;
};

// Vouches for certificates that read "<site>:<signing key in hexadecimal>".
class PlainVerifier final : public MemberVerifier {
 public:
  StatusOr<std::vector<Member>> Verify(const v1::SessionManifest& manifest, Time now) override;
  Status VerifyStanding(const Member& member, Time now) override;

  void Admit(const SiteId& site, const crypto::SigningPublicKey& key) { keys_[site] = key; }
  void Revoke(const SiteId& site) { revoked_.push_back(site); }
  [[nodiscard]] static std::string CertificateOf(const SiteId& site,
                                                 const crypto::SigningPublicKey& key);

 private:
  std::map<SiteId, crypto::SigningPublicKey> keys_;
  std::vector<SiteId> revoked_;
};

enum class DropPoint {
  kNever,
  kBeforeKeys,      // Never says anything.
  kAfterKeys,       // Advertised keys.
  kAfterShares,     // Dealt shares; acknowledges nothing.
  kBeforeUpload,    // Was told of the round.
  kDuringUpload,    // Announced a vector that never arrives whole.
  kAfterUpload,     // Its vector is in the sum.
  kAfterSignature,  // Signed, gives no shares.
};
using Drops = std::map<MemberIndex, DropPoint>;

struct FederationOptions {
  std::uint32_t num_members = 5;
  std::uint32_t num_rounds = 3;
  std::optional<GroupParameters> group = {};
  Suite suite = Suite::kAes128Ctr;
  std::uint64_t seed = 1;
  ClientPolicy policy = {};
  std::uint32_t min_difference = 2;
  std::vector<Section> sections = {{RingBits::k32, 24}};
  std::uint8_t nonce = 7;
};

struct Outcome {
  bool is_revealed = false;
  Bytes sum = {};
  std::vector<MemberIndex> survivors = {};
  Status reason = {};  // Of an abandoned round.
  std::vector<MemberIndex> blamed = {};
  std::vector<std::pair<MemberIndex, MemberIndex>> suspects = {};  // Dealer, holder.
};

// One message that crossed the wire.
struct Crossing {
  MessageKind kind;
  bool is_from_site = false;
  MemberIndex member = 0;  // Sender or receiver.
  Bytes message = {};
};

class Federation {
 public:
  explicit Federation(FederationOptions options = {});
  Federation(const Federation&) = delete;
  Federation& operator=(const Federation&) = delete;

  // ------------------------------------------------------------------ the honest course of things

  // Set-up, step by step or as a whole. Whoever drops is silent from then on.
  void Advertise(const Drops& drops = {});
  void Share(const Drops& drops = {});
  void Acknowledge(const Drops& drops = {});
  void SetUp(const Drops& drops = {});

  // A round, step by step or as a whole, over `participants` or everybody eligible.
  void Start(std::uint32_t round, const std::vector<MemberIndex>& participants = {});
  void Collect(const Drops& drops = {});
  void Check(const Drops& drops = {});
  void Unmask(const Drops& drops = {});
  [[nodiscard]] Outcome Finish();
  Outcome Run(std::uint32_t round, const Drops& drops = {},
              const std::vector<MemberIndex>& participants = {});

  // ------------------------------------------------------------------------------- parts of it

  [[nodiscard]] const ServerSession& server() const { return *server_; }
  [[nodiscard]] ClientSession& site(MemberIndex member) { return *sites_[member]; }
  [[nodiscard]] const crypto::SigningKey& key(MemberIndex member) const { return keys_[member]; }
  [[nodiscard]] const crypto::SigningKey& coordinator_key() const { return coordinator_key_; }
  [[nodiscard]] const RecordingRandom& random(MemberIndex member) const { return *random_[member]; }
  [[nodiscard]] PlainVerifier& verifier() { return verifier_; }
  [[nodiscard]] const SessionView& view() const { return *server_->session(); }
  [[nodiscard]] const SessionView& view_of(MemberIndex member) const {
    return *sites_[member]->session();
  }
  [[nodiscard]] std::uint32_t num_members() const { return options_.num_members; }
  [[nodiscard]] ClientOptions OptionsOf(MemberIndex member);
  [[nodiscard]] ServerOptions ServerOptionsNow() const;
  // A session of this site from the beginning, as after a restart.
  void Restart(MemberIndex member);

  // The site's step; the server's step, keeping the actions for the next step of the round.
  StatusOr<std::vector<ClientAction>> Step(MemberIndex member, const ClientEvent& event);
  StatusOr<std::vector<ServerAction>> Step(const ServerEvent& event);
  // What the server asked for in its last step that concerns this member; null: nothing.
  [[nodiscard]] const Bytes* MessageTo(MemberIndex member) const;
  [[nodiscard]] const std::vector<ServerAction>& actions() const { return actions_; }

  [[nodiscard]] Bytes BySite(MemberIndex member, MessageKind kind, const Bytes& body) const {
    return SignMessage(kind, body, keys_[member]);
  }
  [[nodiscard]] Bytes ByCoordinator(MessageKind kind, const Bytes& body) const {
    return SignMessage(kind, body, coordinator_key_);
  }
  [[nodiscard]] RoundTerms Terms(std::uint32_t round,
                                 const std::vector<MemberIndex>& participants) const;
  [[nodiscard]] RoundStarted Started(const Bytes& message) const;
  [[nodiscard]] Bytes Survivors(std::uint32_t round,
                                const std::vector<MemberIndex>& survivors) const;
  [[nodiscard]] Bytes Start(const RoundTerms& terms) const {
    return ByCoordinator(MessageKind::kRoundStart, Encode(terms));
  }
  // All members of the group.
  [[nodiscard]] std::vector<MemberIndex> Everybody() const;
  // Without one.
  [[nodiscard]] std::vector<MemberIndex> Without(MemberIndex member) const;

  // The bytes that this site wants summed, and their sum, computed element by element.
  [[nodiscard]] const Bytes& input(MemberIndex member) const { return inputs_[member]; }
  [[nodiscard]] Bytes SumOf(const std::vector<MemberIndex>& members) const;
  // Masks the site's input and steps on; the masked bytes are in masked(member).
  StatusOr<std::vector<ClientAction>> MaskInputOf(MemberIndex member, MaskInput mask);
  [[nodiscard]] const Bytes& masked(MemberIndex member) const { return masked_[member]; }

  [[nodiscard]] const VectorSpec& spec() const { return *spec_; }
  [[nodiscard]] const std::vector<Crossing>& transcript() const { return transcript_; }
  [[nodiscard]] const std::vector<ServerEvent>& server_events() const { return server_events_; }
  [[nodiscard]] const std::vector<MemberIndex>& blamed() const { return outcome_.blamed; }

  Time now;
  crypto::Digest model{};
  crypto::Digest task{};
  crypto::Digest encoding{};

 private:
  [[nodiscard]] bool IsHere(MemberIndex member, DropPoint until) const;
  void Close();
  void Give(MemberIndex member, const ClientEvent& event);
  void Note(const std::vector<ServerAction>& actions);

  FederationOptions options_;
  std::vector<crypto::SigningKey> keys_;
  crypto::SigningKey coordinator_key_;
  PlainVerifier verifier_;
  std::optional<VectorSpec> spec_;
  std::vector<std::unique_ptr<RecordingRandom>> random_;
  std::vector<std::unique_ptr<ClientSession>> sites_;
  std::unique_ptr<ServerSession> server_;
  std::vector<Bytes> inputs_;
  std::vector<Bytes> masked_;
  std::vector<ServerAction> actions_;
  std::vector<Crossing> transcript_;
  std::vector<ServerEvent> server_events_;
  Drops drops_;
  Outcome outcome_;
  std::vector<MemberIndex> arrived_;
};

// The one message of a step that sends one.
[[nodiscard]] Bytes OnlySend(const StatusOr<std::vector<ClientAction>>& actions);
// Its refusal; unset when it is none.
template <typename T>
[[nodiscard]] std::optional<RefusalCode> RefusalIn(const StatusOr<T>& result) {
  return result.ok() ? std::nullopt : RefusalOf(result.status());
}
[[nodiscard]] crypto::Digest DigestOf(std::uint8_t byte);

}  // namespace chorale::secagg
