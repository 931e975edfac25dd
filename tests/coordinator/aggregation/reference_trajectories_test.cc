// Every rule over three rounds of a small federation, beside the numbers that
// tests/golden/algorithms.py calculated from the papers.
#include <google/protobuf/util/json_util.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/coordinator/aggregation/rule_fixture.h"
#include "tests/support/source_directory.h"

namespace chorale::coordinator {
namespace {

using nlohmann::json;

const json& Golden() {
  static const json golden = [] {
    std::ifstream file(support::SourceDirectory() / "tests" / "golden" / "algorithms.json");
    return json::parse(file);
  }();
  return golden;
}

// A site whose loss is sum_j curvature[j] / 2 * (w[j] - target[j])^2.
struct QuadraticSite {
  std::vector<double> curvature;
  std::vector<double> target;
  std::uint64_t num_examples = 0;
  bool is_hostile = false;
  std::vector<double> control_variate;
};

std::vector<QuadraticSite> Sites(std::size_t count) {
  std::vector<QuadraticSite> sites;
  for (std::size_t k = 0; k < count; ++k) {
    const json& site = Golden()["sites"][k];
    sites.push_back({site["curvature"], site["target"], site["examples"], site["hostile"],
                     std::vector<double>(site["target"].size())});
  }
  return sites;
}

// A few steps of gradient descent, corrected by the difference of two control variates.
std::vector<float> TrainLocally(const QuadraticSite& site, const std::vector<float>& model,
                                const std::vector<float>& server_variate) {
  const double rate = Golden()["local_rate"];
  const double factor = site.is_hostile ? Golden()["hostile_factor"].get<double>() : 1.0;
  std::vector<float> update;
  for (std::size_t j = 0; j < model.size(); ++j) {
    double w = model[j];
    for (int step = 0; step < Golden()["local_steps"].get<int>(); ++step) {
      const double gradient = site.curvature[j] * (w - site.target[j]);
      w -= rate * (gradient + static_cast<double>(server_variate[j]) - site.control_variate[j]);
    }
    update.push_back(static_cast<float>(factor * (w - static_cast<double>(model[j]))));
  }
  return update;
}

// Adds the change of the site's control variate behind its update (option II of SCAFFOLD).
void AddControlChange(QuadraticSite& site, const std::vector<float>& server_variate,
                      std::vector<float>& payload) {
  const double span = Golden()["local_steps"].get<double>() * Golden()["local_rate"].get<double>();
  const std::size_t size = server_variate.size();
  for (std::size_t j = 0; j < size; ++j) {
    const auto change = static_cast<float>(-static_cast<double>(server_variate[j]) -
                                           static_cast<double>(payload[j]) / span);
    site.control_variate[j] += static_cast<double>(change);
    payload.push_back(change);
  }
}

// Within a few units in the last place of float32.
void ExpectNear(const std::vector<float>& values, const json& expected, const std::string& what) {
  ASSERT_EQ(values.size(), expected.size()) << what;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double number = expected[i];
    EXPECT_NEAR(values[i], number, 5e-7 * (1e-3 + std::abs(number))) << what << " " << i;
  }
}

class ReferenceTrajectoriesTest : public RuleFixture {
 protected:
  void Run(const json& trajectory) {
    const bool has_control_variates = trajectory["scaffold"];
    std::vector<QuadraticSite> sites = Sites(trajectory["num_sites"]);
    std::vector<float> model = Golden()["start"];
    std::vector<float> state;
    std::size_t round = 0;
    for (const json& expected : trajectory["rounds"]) {
      const std::string what =
          trajectory["name"].get<std::string>() + ", round " + std::to_string(round + 1);
      ServerRuleRequest request{.model = Keep(model),
                                .has_control_variates = has_control_variates,
                                .cohort_size = trajectory.value("cohort_size", 0u)};
      ASSERT_TRUE(
          google::protobuf::util::JsonStringToMessage(trajectory["rule"].dump(), &request.rule)
              .ok());
      if (!state.empty()) request.state = Keep(state);
      const std::vector<float> server_variate =
          has_control_variates && !state.empty() ? state : std::vector<float>(model.size(), 0.0F);
      for (std::size_t k = 0; k < sites.size(); ++k) {
        if (request.rule.has_cyclic() && k != round % sites.size()) continue;
        std::vector<float> payload = TrainLocally(sites[k], model, server_variate);
        if (has_control_variates) AddControlChange(sites[k], server_variate, payload);
        ExpectNear(payload, expected["updates"][request.contributions.size()],
                   what + ", update of site " + std::to_string(k));
        request.contributions.push_back(
            {SiteId("site-" + std::to_string(k)), Keep(payload), sites[k].num_examples});
      }

      const auto result = Apply(request);

      ASSERT_TRUE(result.ok()) << what << ": " << result.status();
      model = Load(result->model.id());
      state = result->state.has_value() ? Load(result->state->id()) : std::vector<float>();
      ExpectNear(model, expected["model"], what + ", model");
      ExpectNear(state, expected["state"], what + ", state");
      ++round;
    }
    EXPECT_EQ(round, 3u);
  }
};

TEST_F(ReferenceTrajectoriesTest, FollowsTheIndependentCalculationOfEveryRule) {
  ASSERT_EQ(Golden()["cases"].size(), 16u);
  for (const json& trajectory : Golden()["cases"]) Run(trajectory);
}

}  // namespace
}  // namespace chorale::coordinator
