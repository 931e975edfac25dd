#include <gmock/gmock.h>

#include <nlohmann/json.hpp>
#include <string>

#include "tests/cli/command_line_fixture.h"

namespace chorale::cli {
namespace {

using testing::HasSubstr;
using testing::Not;

class SecaggExplainTest : public CommandLineTest {
 protected:
  nlohmann::json Json(const std::string& sites) {
    return nlohmann::json::parse(
        MustRun({"secagg", "explain", "--sites", sites, "--format", "json"}));
  }
  std::string Text(const std::string& sites) {
    return MustRun({"secagg", "explain", "--sites", sites});
  }
};

TEST_F(SecaggExplainTest, TellsWhatAGroupOfEverybodyTolerates) {
  const nlohmann::json json = Json("10");
  EXPECT_EQ(json["graph"], "complete");
  EXPECT_EQ(json["neighbors_drawn"], 9);
  EXPECT_EQ(json["threshold"], 7);
  EXPECT_EQ(json["dropouts_tolerated"], 3);
  EXPECT_EQ(json["colluders_tolerated"], 2);
  EXPECT_EQ(json["honest_sites_in_a_sum"], 5);
  EXPECT_GT(json["site_seconds"], 0.0);
  EXPECT_GT(json["coordinator_seconds_with_dropouts"], json["coordinator_seconds"]);
  EXPECT_THAT(Text("10"), Not(HasSubstr("abandoned")));
  EXPECT_THAT(Text("3"), HasSubstr("tolerates no drop-out"));
}

// A site shares with whom it draws, and the graph bears what it was planned for.
TEST_F(SecaggExplainTest, CountsNeighboursAboveACompleteGraph) {
  const nlohmann::json complete = Json("128");
  const nlohmann::json neighbors = Json("500");
  EXPECT_EQ(complete["neighbors_drawn"], 127);
  EXPECT_EQ(neighbors["graph"], "neighbors");
  EXPECT_EQ(neighbors["neighbors_drawn"], 116);
  EXPECT_EQ(neighbors["threshold"], 301);
  EXPECT_EQ(neighbors["dropouts_tolerated"], 50);
  EXPECT_LT(neighbors["session_bytes_up"], complete["session_bytes_up"]);
  EXPECT_THAT(Text("500"), HasSubstr("planned for so many drop-outs"));
}

TEST_F(SecaggExplainTest, RefusesGroupsThatHideNobodyOrAreTooLarge) {
  for (const std::string sites : {"2", "1001"}) {
    const Result result = Run({"secagg", "explain", "--sites", sites});
    EXPECT_EQ(result.code, ExitCode::kInvalid);
    EXPECT_THAT(result.err, HasSubstr("--sites must be in [3, 1000]"));
  }
}

}  // namespace
}  // namespace chorale::cli
