#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "evaluation/intervals.h"

// Small plots as inline SVG for the report: no script, no font, no picture from elsewhere; each has
// a title and a description for readers that do not see it, and shapes as well as colours tell the
// arms apart.
namespace chorale::evaluation {

// `text` with the five characters escaped that HTML and SVG give a meaning.
[[nodiscard]] std::string EscapeHtml(std::string_view text);
// "0.843": fixed decimals, whatever the locale.
[[nodiscard]] std::string FormatNumber(double value, int decimals);
// "0.843 [0.801, 0.880]", or "not estimable (one class)".
[[nodiscard]] std::string FormatMetric(const Metric& metric, int decimals);
// "1.2 MB" (powers of 1000).
[[nodiscard]] std::string FormatBytes(double bytes);

enum class Mark { kCircle, kDiamond, kSquare, kTriangle };
struct Style {
  Mark mark = Mark::kCircle;
  std::string_view color = "#5b6470";
};

// One line of a forest plot: an estimate with its interval, or the words that stand for it.
struct ForestRow {
  std::string label;
  Metric metric;
  Style style;
};
[[nodiscard]] std::string ForestPlot(std::string_view id, std::string_view title,
                                     const std::vector<ForestRow>& rows);

// One curve. Points by x; those beyond 1e9 either way are left out.
struct Series {
  std::string label;
  std::vector<std::pair<double, double>> points;
  Style style;
};
// Empty when no series has a point.
[[nodiscard]] std::string LinePlot(std::string_view id, std::string_view title,
                                   std::string_view x_label, std::vector<Series> series);

struct Bar {
  std::string label;
  double down = 0;  // Stacked: to the site, then from it. Bytes.
  double up = 0;
};
[[nodiscard]] std::string TrafficPlot(std::string_view id, std::string_view title,
                                      const std::vector<Bar>& bars);

}  // namespace chorale::evaluation
