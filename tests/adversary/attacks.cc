#include "tests/adversary/attacks.h"

#include <algorithm>
#include <bit>
#include <cstdio>

namespace chorale::adversary {

void Finding::Expect(std::string_view asked, const Answer& answer, std::string_view reason) {
  const std::string got = ReasonOf(answer);
  ++reasons_[got];
  if (got == reason) return;
  surprises_.push_back(std::string(asked) + ": expected " + std::string(reason) + ", got " + got +
                       (answer.text.empty() ? "" : " (" + answer.text + ")"));
}

void Finding::Require(std::string_view what, bool holds) {
  if (!holds) surprises_.push_back("not so: " + std::string(what));
}

void Finding::Learn(const Learned& learned) {
  for (const Members sum : learned.sums) {
    const Members others = sum & ~Bit(kColluder);
    if (others == 0) continue;  // The colluder's own is no news.
    sums_.push_back(others);
    fewest_ = std::min(fewest_, std::popcount(others));
  }
  if (!learned.fault.empty()) surprises_.push_back(learned.fault);
}

void Finding::LearnApart(const Learned& learned) {
  Finding apart;
  apart.Learn(learned);
  gave_one_vector_ = gave_one_vector_ || apart.gives_one_vector();
  fewest_ = std::min(fewest_, apart.fewest_);
  surprises_.insert(surprises_.end(), apart.surprises_.begin(), apart.surprises_.end());
}

std::string Finding::Answers() const {
  std::string text;
  for (const auto& [reason, count] : reasons_) {
    text += (text.empty() ? "" : ", ") + std::to_string(count) + " " + reason;
  }
  return text.empty() ? "nothing was asked" : text;
}

std::string Finding::LearnedText() const {
  if (gives_one_vector()) return "ONE SITE'S VECTOR";
  if (fewest_ == kNumMembers) return "nothing";
  return "the sum over " + std::to_string(fewest_) + " sites";
}

bool KillAndAwait(Stage& stage, MemberIndex member) {
  const int before = stage.wire().NumSessions(stage.site(member));
  std::printf("kill %s\n", stage.site(member).c_str());
  std::fflush(stdout);
  return stage.wire().WaitForSession(stage.site(member), before + 1);
}

}  // namespace chorale::adversary
