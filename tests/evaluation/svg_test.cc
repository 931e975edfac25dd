#include "evaluation/svg.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>

namespace chorale::evaluation {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(SvgTest, EscapesWhatHtmlGivesAMeaning) {
  EXPECT_EQ(EscapeHtml("<a href=\"x\">&'"), "&lt;a href=&quot;x&quot;&gt;&amp;&#39;");
}

TEST(SvgTest, FormatsNumbersMetricsAndBytes) {
  EXPECT_EQ(FormatNumber(0.12345, 3), "0.123");
  EXPECT_EQ(FormatNumber(-2, 0), "-2");
  EXPECT_EQ(FormatNumber(std::numeric_limits<double>::max(), 0).size(), 309u);
  EXPECT_EQ(FormatMetric(Estimated(0.5, 0.25, 0.75), 2), "0.50 [0.25, 0.75]");
  EXPECT_EQ(FormatMetric(NotEstimable("one class"), 2), "not estimable (one class)");
  EXPECT_EQ(FormatBytes(0), "0 B");
  EXPECT_EQ(FormatBytes(999), "999 B");
  EXPECT_EQ(FormatBytes(1234), "1.23 kB");
  EXPECT_EQ(FormatBytes(56700000), "56.7 MB");
  EXPECT_EQ(FormatBytes(2e18), "2000000 TB");
}

TEST(SvgTest, AForestPlotShowsEveryRowAndSaysWhyOneHasNoInterval) {
  const std::string svg = ForestPlot(
      "auroc", "AUROC",
      {{.label = "local <a>", .metric = Estimated(0.8, 0.7, 0.9), .style = {.mark = Mark::kCircle}},
       {.label = "federated",
        .metric = Estimated(0.85, 0.75, 0.95),
        .style = {.mark = Mark::kDiamond}},
       {.label = "centralized",
        .metric = NotEstimable("one class"),
        .style = {.mark = Mark::kSquare}}});

  EXPECT_THAT(svg, HasSubstr("role=\"img\""));
  EXPECT_THAT(svg, HasSubstr("<title id=\"auroc-title\">AUROC</title>"));
  EXPECT_THAT(svg, HasSubstr("local &lt;a&gt;"));
  EXPECT_THAT(svg, Not(HasSubstr("<a>")));
  EXPECT_THAT(svg, HasSubstr("0.850 [0.750, 0.950]"));
  EXPECT_THAT(svg, HasSubstr("not estimable (one class)"));
  EXPECT_THAT(svg, HasSubstr("<circle"));
}

TEST(SvgTest, LongLabelsAreCutInThePlotAndWholeInItsDescription) {
  const std::string label(60, 'x');
  const std::string svg =
      ForestPlot("a", "A", {{.label = label, .metric = Estimated(0.5, 0.4, 0.6), .style = {}}});
  EXPECT_THAT(svg, HasSubstr(">" + std::string(20, 'x') + "\u2026<"));
  EXPECT_THAT(svg, HasSubstr(label + ": 0.500"));
}

TEST(SvgTest, AForestPlotWithoutAnyEstimateIsStillAPlot) {
  const std::string svg =
      ForestPlot("a", "A", {{.label = "x", .metric = NotEstimable("no rows"), .style = {}}});
  EXPECT_THAT(svg, HasSubstr("no rows"));
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
}

TEST(SvgTest, ALinePlotStaysInsideForValuesOfAnySize) {
  const double infinity = std::numeric_limits<double>::infinity();
  for (const double value : {0.0, 0.5, -3.0, 1e-300, 1e9, 123456789.0}) {
    const std::string svg = LinePlot(
        "l", "Loss", "round",
        {{.label = "train", .points = {{1, value}, {2, value}, {3, infinity}}, .style = {}}});
    EXPECT_THAT(svg, HasSubstr("<path")) << value;
    EXPECT_THAT(svg, Not(HasSubstr("nan"))) << value;
    EXPECT_THAT(svg, Not(HasSubstr("inf"))) << value;
  }
}

TEST(SvgTest, PlotsWithoutPointsAreEmpty) {
  EXPECT_EQ(LinePlot("l", "Loss", "round", {}), "");
  EXPECT_EQ(LinePlot("l", "Loss", "round", {{.label = "train", .points = {}, .style = {}}}), "");
  EXPECT_EQ(TrafficPlot("t", "Traffic", {}), "");
  EXPECT_EQ(TrafficPlot("t", "Traffic", {{.label = "a", .down = 0, .up = 0}}), "");
}

TEST(SvgTest, ATrafficPlotNamesBothDirections) {
  const std::string svg = TrafficPlot("t", "Traffic", {{.label = "a", .down = 1500, .up = 500}});
  EXPECT_THAT(svg, HasSubstr("1.50 kB + 500 B"));
  EXPECT_THAT(svg, HasSubstr("a: 1.50 kB down, 500 B up."));
}

}  // namespace
}  // namespace chorale::evaluation
