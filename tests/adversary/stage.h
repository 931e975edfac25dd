#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "chorale/v1/jobs.pb.h"
#include "jobs/masking.h"
#include "secagg/round_messages.h"
#include "secagg/session_view.h"
#include "secagg/setup_messages.h"
#include "tests/adversary/colluder.h"
#include "tests/adversary/loot.h"
#include "tests/adversary/wire.h"

// One signed job of a federation, with a coordinator that can say to each site what it likes and
// with one of the sites on its side. The honest course of things is here; lies are the attacks'.
namespace chorale::adversary {

using secagg::MemberIndex;
using secagg::MessageKind;

// Places of the members, by name.
inline constexpr MemberIndex kFirst = 0;
inline constexpr MemberIndex kVictim = 1;
inline constexpr MemberIndex kSecond = 2;
inline constexpr MemberIndex kThird = 3;
inline constexpr MemberIndex kColluder = 4;
inline constexpr std::uint32_t kNumMembers = 5;
inline constexpr std::uint32_t kThreshold = 4;  // With one colluder among five.
inline constexpr std::uint32_t kNumRounds = 4;  // Of a session.

struct Seat {
  std::string name;
  crypto::Certificate certificate;
  crypto::SigningPublicKey signing_key{};
  std::filesystem::path table;  // Of a real site: what it will sum up.
};

struct World {
  Wire& wire;
  const identity::Identity& coordinator;
  const identity::Identity& researcher;
  const identity::Identity& colluder;
  std::vector<Seat> seats;  // By name, [kNumMembers]; the last is the colluder's.
  std::string roster;
  v1::JobSpec job;
};

// What a site is asked to report in a round.
enum class Work { kPreparation, kTraining };

class Stage {
 public:
  // Signs a job of this name as the researcher would, and calls it that or `job_id`: a job signed
  // twice under one name is the same. `world` must outlive the stage.
  Stage(World& world, const std::string& job, const std::string& job_id = "");
  Stage(const Stage&) = delete;
  Stage& operator=(const Stage&) = delete;

  // ------------------------------------------------------------------ set-up
  [[nodiscard]] v1::SessionManifest Manifest() const;  // A new nonce each time.
  [[nodiscard]] Bytes Signed(const v1::SessionManifest& manifest) const;
  [[nodiscard]] Answer Begin(MemberIndex member, const Bytes& manifest);
  [[nodiscard]] Answer GiveKeys(MemberIndex member, const Bytes& directory);
  [[nodiscard]] Answer GiveShares(MemberIndex member, const secagg::DeliveredShares& delivery);
  // Honest steps, each over everybody. False: somebody refused.
  bool Advertise();
  bool Deal();
  bool Acknowledge();
  bool SetUp() { return Advertise() && Deal() && Acknowledge(); }

  [[nodiscard]] std::vector<Bytes>& advertisements() { return advertisements_; }  // By member.
  [[nodiscard]] static Bytes Directory(const std::vector<Bytes>& messages);
  // The session that follows from these keys.
  [[nodiscard]] std::unique_ptr<secagg::SessionView> ViewOf(const Bytes& directory) const;
  // What `dealers` sealed for this member in the session.
  [[nodiscard]] secagg::DeliveredShares DeliveryTo(MemberIndex member,
                                                   const std::vector<MemberIndex>& dealers) const;
  [[nodiscard]] std::map<MemberIndex, secagg::DealtShares>& dealt() { return dealt_; }
  [[nodiscard]] const secagg::SessionView& view() const { return *view_; }
  [[nodiscard]] Colluder& colluder() { return *colluder_; }
  [[nodiscard]] const Bytes& manifest() const { return manifest_; }

  // ------------------------------------------------------------------ rounds
  [[nodiscard]] secagg::RoundTerms Terms(std::uint32_t round,
                                         const std::vector<MemberIndex>& participants,
                                         Work work = Work::kPreparation) const;
  // Asks a site for its masked vector; what comes goes into the loot. The colluder's is all zeros.
  [[nodiscard]] Answer Open(MemberIndex member, const secagg::RoundTerms& terms);
  [[nodiscard]] Answer OpenTraining(MemberIndex member, const secagg::RoundTerms& terms,
                                    const Bytes& model, const v1::BlobDescriptor& named);
  // Under a task id of the caller's: asked twice with one id, a site answers once.
  [[nodiscard]] Answer OpenAs(const std::string& task_id, MemberIndex member,
                              const secagg::RoundTerms& terms);
  // Signs a set of survivors and asks for the site's signature on the round.
  [[nodiscard]] Answer Tell(MemberIndex member, std::uint32_t round,
                            const std::vector<MemberIndex>& survivors);
  [[nodiscard]] Answer TellBytes(MemberIndex member, const Bytes& survivors);
  // Asks for shares on these signatures; what comes goes into the loot.
  [[nodiscard]] Answer Unmask(MemberIndex member, std::uint32_t round,
                              const std::vector<Bytes>& signatures);
  // The colluder's signature on whatever it is told.
  [[nodiscard]] Bytes ColludersSignature(const secagg::RoundTerms& terms,
                                         const std::vector<MemberIndex>& survivors) const;
  // Everybody masks; false: somebody refused.
  bool OpenAll(const secagg::RoundTerms& terms);
  // Everybody of `survivors` signs for them. Returns the signatures, by member.
  [[nodiscard]] std::vector<Bytes> TellAll(const secagg::RoundTerms& terms,
                                           const std::vector<MemberIndex>& survivors);
  // A whole honest round.
  bool Reveal(std::uint32_t round, const std::vector<MemberIndex>& survivors);

  // What can be made of everything so far, by round and session.
  [[nodiscard]] Learned Search() const;
  // The loot of the session's round.
  [[nodiscard]] Loot& loot(std::uint32_t round);
  // For a site that was shown other keys: what comes of it goes here.
  void Follow(std::unique_ptr<secagg::SessionView> view);

  [[nodiscard]] const crypto::Digest& job_digest() const { return job_digest_; }
  [[nodiscard]] v1::SignedJob& signed_job() { return signed_job_; }
  [[nodiscard]] Wire& wire() { return world_.wire; }
  [[nodiscard]] World& world() { return world_; }
  [[nodiscard]] std::string NextTaskId(MemberIndex member);
  [[nodiscard]] const std::string& site(MemberIndex member) const {
    return world_.seats[member].name;
  }
  [[nodiscard]] std::uint64_t model_bytes() const { return model_bytes_; }

 private:
  [[nodiscard]] v1::Task Task(const std::string& task_id, std::uint32_t round) const;
  [[nodiscard]] Answer AskStep(MemberIndex member, MessageKind answer, const Bytes& message);
  [[nodiscard]] Answer Masked(MemberIndex member, const secagg::RoundTerms& terms, v1::Task task,
                              std::vector<Blob> blobs);
  [[nodiscard]] Answer MaskedByColluder(const secagg::RoundTerms& terms);
  [[nodiscard]] std::vector<v1::FeatureMoments> Moments() const;

  World& world_;
  std::string job_id_;
  v1::JobSpec spec_;
  v1::SignedJob signed_job_;
  crypto::Digest job_digest_{};
  std::optional<jobs::MaskedLayout> preparation_;
  std::optional<jobs::MaskedLayout> training_;
  std::uint64_t model_bytes_ = 0;
  std::map<MemberIndex, Bytes> plaintexts_;  // Of preparation.
  std::unique_ptr<Colluder> colluder_;

  Bytes manifest_;
  std::vector<Bytes> advertisements_;
  std::vector<std::unique_ptr<secagg::SessionView>> views_;
  secagg::SessionView* view_ = nullptr;
  std::map<MemberIndex, secagg::DealtShares> dealt_;
  std::map<std::pair<const secagg::SessionView*, std::uint32_t>, Loot> loot_;
  std::vector<std::uint32_t> training_rounds_;
};

[[nodiscard]] std::vector<MemberIndex> Everybody();
[[nodiscard]] std::vector<MemberIndex> Without(MemberIndex member);

}  // namespace chorale::adversary
