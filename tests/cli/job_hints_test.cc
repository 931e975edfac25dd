#include "cli/job_hints.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <regex>
#include <sstream>

#include "tests/support/source_directory.h"

namespace chorale::cli {
namespace {

using testing::ElementsAre;
using testing::Field;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

v1::StoryEntry& Add(v1::ExplainJobResponse& story, v1::StoryKind kind, std::uint32_t round,
                    const std::string& site = "") {
  v1::StoryEntry& entry = *story.add_entries();
  entry.set_kind(kind);
  entry.set_round(round);
  entry.set_attempt(1);
  entry.set_phase("training");
  if (!site.empty()) entry.add_sites(site);
  return entry;
}

TEST(JobHintsTest, EveryDocumentedCodeHasAHintOfItsOwn) {
  std::ifstream file(support::SourceDirectory() / "docs" / "reason_codes.md");
  std::ostringstream page;
  page << file.rdbuf();
  const std::string text = page.str();
  const std::regex row("\\n\\| `([A-Z_]+)` \\|");
  int num_codes = 0;
  for (std::sregex_iterator found(text.begin(), text.end(), row), end; found != end; ++found) {
    ++num_codes;
    EXPECT_THAT(std::string(HintOf((*found)[1].str())), Not(HasSubstr("newer site")))
        << (*found)[1].str();
  }
  EXPECT_GT(num_codes, 30);
}

TEST(JobHintsTest, ACodeOfANewerSiteSaysWhereToLook) {
  EXPECT_THAT(std::string(HintOf("MOON_PHASE")), HasSubstr("docs/reason_codes.md"));
}

TEST(JobHintsTest, WhatWentWrongOftenIsToldOnceWithItsLastRound) {
  v1::ExplainJobResponse story;
  Add(story, v1::STORY_KIND_SITE_LATE, 1, "north");
  Add(story, v1::STORY_KIND_SITE_REFUSED, 2, "west").set_reason_code("BUSY");
  Add(story, v1::STORY_KIND_SITE_LATE, 4, "north");

  EXPECT_THAT(HintsOf(story),
              ElementsAre(Field(&Hint::what, "north: late, 2 times, last in round 4"),
                          Field(&Hint::what, "west: BUSY, in round 2")));
}

TEST(JobHintsTest, AnUndisturbedJobNeedsNone) {
  v1::ExplainJobResponse story;
  Add(story, v1::STORY_KIND_ROUND_STARTED, 1, "north");
  Add(story, v1::STORY_KIND_SITE_REPORTED, 1, "north");
  Add(story, v1::STORY_KIND_ROUND_PUBLISHED, 1, "north");
  EXPECT_THAT(HintsOf(story), IsEmpty());
}

TEST(JobHintsTest, WhatASiteSaidDoesNotDriveTheTerminal) {
  v1::ExplainJobResponse story;
  Add(story, v1::STORY_KIND_SITE_REFUSED, 1, "no\x1b[2Jrth").set_reason_code("B\x1b[2JUSY");
  EXPECT_THAT(HintsOf(story)[0].what, Not(HasSubstr("\x1b")));
}

}  // namespace
}  // namespace chorale::cli
