#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "tests/adversary/stage.h"

namespace chorale::adversary {

// What came of one attack.
class Finding {
 public:
  void Did(std::string what) { did_ = std::move(what); }
  // The site's reason (ReasonOf) must be this one.
  void Expect(std::string_view asked, const Answer& answer, std::string_view reason);
  // Something else must hold.
  void Require(std::string_view what, bool holds);
  // Adds what could be made of the loot. Sums of one finding are of one signed job.
  void Learn(const Learned& learned);
  // The same for a job of its own.
  void LearnApart(const Learned& learned);

  [[nodiscard]] bool is_as_expected() const { return surprises_.empty(); }
  // One site's vector, or a sum that only the site itself and the colluder are in.
  [[nodiscard]] bool gives_one_vector() const {
    return gave_one_vector_ || GiveOneVector(sums_, Bit(kColluder), kNumMembers);
  }

  [[nodiscard]] const std::string& did() const { return did_; }
  // "3 BAD_SIGNATURE, 1 done".
  [[nodiscard]] std::string Answers() const;
  [[nodiscard]] std::string LearnedText() const;
  [[nodiscard]] const std::vector<std::string>& surprises() const { return surprises_; }
  [[nodiscard]] const std::map<std::string, int>& reasons() const { return reasons_; }

 private:
  std::string did_;
  std::map<std::string, int> reasons_;
  std::vector<Members> sums_;
  int fewest_ = kNumMembers;  // Sites in a sum.
  bool gave_one_vector_ = false;
  std::vector<std::string> surprises_;
};

struct Attack {
  int number;  // As in tests/secagg/README.md; 0: no attack at all.
  std::string name;
  void (*run)(World& world, Finding& finding);
  bool kills = false;  // Agents: KillAndAwait.
};

// Has the site's agent killed and started again by whoever reads the standard output ("kill
// <site>"). False: it does not come back.
[[nodiscard]] bool KillAndAwait(Stage& stage, MemberIndex member);

[[nodiscard]] std::vector<Attack> SetupAttacks();
[[nodiscard]] std::vector<Attack> RoundAttacks();

}  // namespace chorale::adversary
