#include "cli/researcher_home.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "tests/support/temporary_directory.h"

namespace chorale::cli {
namespace {

using testing::HasSubstr;

TEST(ResearcherHomeTest, SaysHowToEnrolWhereNobodyIs) {
  const support::TemporaryDirectory directory;

  const auto researcher = OpenResearcher(directory.path(), Time{});

  EXPECT_EQ(researcher.status().code(), StatusCode::kNotFound);
  EXPECT_THAT(MessageOf(researcher.status()), HasSubstr("researcher enrol"));
}

TEST(ResearcherHomeTest, RefusesAnUnknownKeyWithItsLine) {
  const support::TemporaryDirectory directory;
  std::ofstream(directory.path() / "researcher.yaml")
      << "coordinator: \"localhost:1\"\nproxi: none\n";

  const auto researcher = OpenResearcher(directory.path(), Time{});

  EXPECT_EQ(researcher.status().code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(MessageOf(researcher.status()), HasSubstr(":2"));
  EXPECT_THAT(MessageOf(researcher.status()), HasSubstr("proxy"));
}

TEST(ResearcherHomeTest, WritesAFileThatItReads) {
  const support::TemporaryDirectory directory;
  ASSERT_TRUE(SaveResearcherFile(directory.path(), "localhost:8443").ok());

  const auto researcher = OpenResearcher(directory.path(), Time{});

  // The file is fine; what is missing is the identity.
  EXPECT_EQ(researcher.status().code(), StatusCode::kNotFound);
  EXPECT_THAT(MessageOf(researcher.status()), HasSubstr("identity"));
}

TEST(ResearcherHomeTest, RefusesToWriteAMalformedAddress) {
  const support::TemporaryDirectory directory;

  EXPECT_EQ(SaveResearcherFile(directory.path(), "localhost").code(), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace chorale::cli
