#include "evaluation/svg.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>

namespace chorale::evaluation {
namespace {

constexpr double kWidth = 640;
constexpr double kLargest = 1e9;  // Points beyond are off every scale and left out.
constexpr std::string_view kInk = "#1f2933";
constexpr std::string_view kMuted = "#5b6470";
constexpr std::string_view kGrid = "#e1e5ea";
constexpr std::string_view kDown = "#0b6e69";
constexpr std::string_view kUp = "#b4540a";

std::string At(double value) { return FormatNumber(value, 1); }

std::string Text(double x, double y, std::string_view anchor, std::string_view color,
                 std::string_view text) {
  return "<text x=\"" + At(x) + "\" y=\"" + At(y) + "\" text-anchor=\"" + std::string(anchor) +
         "\" fill=\"" + std::string(color) + "\">" + EscapeHtml(text) + "</text>\n";
}

std::string Line(double x1, double y1, double x2, double y2, std::string_view color, double width) {
  return "<line x1=\"" + At(x1) + "\" y1=\"" + At(y1) + "\" x2=\"" + At(x2) + "\" y2=\"" + At(y2) +
         "\" stroke=\"" + std::string(color) + "\" stroke-width=\"" + At(width) + "\"/>\n";
}

std::string Box(double x, double y, double width, double height, std::string_view color) {
  return "<rect x=\"" + At(x) + "\" y=\"" + At(y) + "\" width=\"" + At(width) + "\" height=\"" +
         At(height) + "\" fill=\"" + std::string(color) + "\"/>\n";
}

// A label that fits left of a plot; tables and descriptions have it in full.
std::string Shorten(const std::string& label) {
  constexpr std::size_t kMaxBytes = 21;
  if (label.size() <= kMaxBytes) return label;
  std::size_t end = kMaxBytes - 1;
  while (end > 0 && (static_cast<unsigned char>(label[end]) & 0xC0) == 0x80)
    --end;  // Inside a UTF-8 character.
  return label.substr(0, end) + "\u2026";
}

std::string Marker(double x, double y, const Style& style) {
  const std::string fill = "\" fill=\"" + std::string(style.color) + "\"/>\n";
  switch (style.mark) {
    case Mark::kCircle:
      return "<circle cx=\"" + At(x) + "\" cy=\"" + At(y) + "\" r=\"4.5" + fill;
    case Mark::kDiamond:
      return "<path d=\"M" + At(x) + " " + At(y - 6.5) + "l6.5 6.5l-6.5 6.5l-6.5 -6.5z" + fill;
    case Mark::kSquare:
      return "<rect x=\"" + At(x - 4.5) + "\" y=\"" + At(y - 4.5) + "\" width=\"9\" height=\"9" +
             fill;
    case Mark::kTriangle:
      return "<path d=\"M" + At(x) + " " + At(y - 6) + "l6 11h-12z" + fill;
  }
  return {};
}

std::string Open(std::string_view id, double height, std::string_view title,
                 std::string_view description) {
  const std::string name(id);
  return "<svg class=\"plot\" font-size=\"13\" role=\"img\" aria-labelledby=\"" + name + "-title " +
         name + "-text\" viewBox=\"0 0 " + At(kWidth) + " " + At(height) +
         "\" xmlns=\"http://www.w3.org/2000/svg\">\n<title id=\"" + name + "-title\">" +
         EscapeHtml(title) + "</title>\n<desc id=\"" + name + "-text\">" + EscapeHtml(description) +
         "</desc>\n";
}

// A linear axis over round numbers that cover the data.
struct Axis {
  double low = 0;
  double high = 1;
  double step = 0.1;
  int decimals = 1;

  static Axis Covering(double low, double high) {
    const double largest = std::max(std::abs(low), std::abs(high));
    if (!(high - low > 1e-9 * largest)) {  // One value, as far as a plot can show.
      const double margin = low == 0 ? 1 : std::abs(low) * 0.1;
      low -= margin;
      high += margin;
    }
    const double rough = (high - low) / 5;
    const double power = std::pow(10, std::floor(std::log10(rough)));
    const double lead = rough / power;
    Axis axis;
    axis.step = power * (lead > 5 ? 10 : lead > 2 ? 5 : lead > 1 ? 2 : 1);
    axis.low = std::floor(low / axis.step + 1e-9) * axis.step;
    axis.high = std::ceil(high / axis.step - 1e-9) * axis.step;
    axis.decimals = std::max(0, static_cast<int>(-std::floor(std::log10(axis.step) + 1e-9)));
    return axis;
  }
  double Place(double value, double first, double last) const {
    return first + (value - low) / (high - low) * (last - first);
  }
  int NumTicks() const { return static_cast<int>(std::lround((high - low) / step)) + 1; }
  double Tick(int index) const { return low + step * index; }
};

}  // namespace

std::string EscapeHtml(std::string_view text) {
  std::string escaped;
  escaped.reserve(text.size());
  for (const char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      case '\'':
        escaped += "&#39;";
        break;
      default:
        escaped += c;
    }
  }
  return escaped;
}

std::string FormatNumber(double value, int decimals) {
  std::array<char, 400> text{};  // The longest double has 309 digits before the point.
  const auto [end, error] = std::to_chars(text.data(), text.data() + text.size(), value,
                                          std::chars_format::fixed, decimals);
  return {text.data(), end};
}

std::string FormatMetric(const Metric& metric, int decimals) {
  if (!metric.estimate) return "not estimable (" + metric.not_estimable + ")";
  return FormatNumber(metric.estimate->value, decimals) + " [" +
         FormatNumber(metric.estimate->lower, decimals) + ", " +
         FormatNumber(metric.estimate->upper, decimals) + "]";
}

std::string FormatBytes(double bytes) {
  constexpr std::array<std::string_view, 5> kUnits = {"B", "kB", "MB", "GB", "TB"};
  std::size_t unit = 0;
  for (; bytes >= 1000 && unit + 1 < kUnits.size(); ++unit) bytes /= 1000;
  const int decimals = unit == 0 || bytes >= 100 ? 0 : bytes >= 10 ? 1 : 2;
  return FormatNumber(bytes, decimals) + " " + std::string(kUnits[unit]);
}

std::string ForestPlot(std::string_view id, std::string_view title,
                       const std::vector<ForestRow>& rows) {
  constexpr double kLeft = 170, kRight = 455, kTop = 14, kRowHeight = 26;
  double low = std::numeric_limits<double>::infinity();
  double high = -low;
  std::string description;
  for (const ForestRow& row : rows) {
    description += row.label + ": " + FormatMetric(row.metric, 3) + ". ";
    if (!row.metric.estimate) continue;
    low = std::min(low, row.metric.estimate->lower);
    high = std::max(high, row.metric.estimate->upper);
  }
  const bool is_empty = !(low <= high);
  const Axis axis = is_empty ? Axis{} : Axis::Covering(low, high);
  const double bottom = kTop + kRowHeight * static_cast<double>(rows.size());
  std::string svg = Open(id, bottom + 26, title, description);
  for (int i = 0; i < axis.NumTicks(); ++i) {
    const double x = axis.Place(axis.Tick(i), kLeft, kRight);
    svg += Line(x, kTop, x, bottom, kGrid, 1);
    svg += Text(x, bottom + 18, "middle", kMuted, FormatNumber(axis.Tick(i), axis.decimals));
  }
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const double y = kTop + kRowHeight * (static_cast<double>(i) + 0.5);
    svg += Text(kLeft - 14, y + 4.5, "end", kInk, Shorten(rows[i].label));
    svg += Text(kRight + 14, y + 4.5, "start", rows[i].metric.estimate ? kInk : kMuted,
                FormatMetric(rows[i].metric, 3));
    if (!rows[i].metric.estimate) continue;
    const Estimate& estimate = *rows[i].metric.estimate;
    svg += Line(axis.Place(estimate.lower, kLeft, kRight), y,
                axis.Place(estimate.upper, kLeft, kRight), y, rows[i].style.color, 2);
    svg += Marker(axis.Place(estimate.value, kLeft, kRight), y, rows[i].style);
  }
  return svg + "</svg>\n";
}

std::string LinePlot(std::string_view id, std::string_view title, std::string_view x_label,
                     std::vector<Series> series) {
  for (Series& line : series) {
    std::erase_if(line.points, [](const auto& point) {
      return !(std::abs(point.first) <= kLargest && std::abs(point.second) <= kLargest);
    });
  }
  constexpr double kLeft = 60, kRight = 500, kTop = 14, kBottom = 230, kHeight = 270;
  const double infinity = std::numeric_limits<double>::infinity();
  double x_low = infinity, x_high = -infinity, y_low = infinity, y_high = -infinity;
  std::string description;
  for (const Series& line : series) {
    for (const auto& [x, y] : line.points) {
      x_low = std::min(x_low, x);
      x_high = std::max(x_high, x);
      y_low = std::min(y_low, y);
      y_high = std::max(y_high, y);
    }
    if (line.points.empty()) continue;
    description += line.label + ": from " + FormatNumber(line.points.front().second, 4) + " to " +
                   FormatNumber(line.points.back().second, 4) + ". ";
  }
  if (!(x_low <= x_high)) return {};
  const Axis x_axis = Axis::Covering(x_low, x_high);
  const Axis y_axis = Axis::Covering(y_low, y_high);
  std::string svg = Open(id, kHeight, title, description);
  for (int i = 0; i < y_axis.NumTicks(); ++i) {
    const double y = y_axis.Place(y_axis.Tick(i), kBottom, kTop);
    svg += Line(kLeft, y, kRight, y, kGrid, 1);
    svg += Text(kLeft - 8, y + 4.5, "end", kMuted, FormatNumber(y_axis.Tick(i), y_axis.decimals));
  }
  for (int i = 0; i < x_axis.NumTicks(); ++i) {
    svg += Text(x_axis.Place(x_axis.Tick(i), kLeft, kRight), kBottom + 18, "middle", kMuted,
                FormatNumber(x_axis.Tick(i), x_axis.decimals));
  }
  svg += Text((kLeft + kRight) / 2, kHeight - 4, "middle", kMuted, x_label);
  double legend_y = kTop + 10;
  for (const Series& line : series) {
    if (line.points.empty()) continue;
    std::string path;
    std::string marks;
    for (const auto& [x, y] : line.points) {
      const double px = x_axis.Place(x, kLeft, kRight);
      const double py = y_axis.Place(y, kBottom, kTop);
      path += (path.empty() ? "M" : "L") + At(px) + " " + At(py);
      if (line.points.size() <= 40) marks += Marker(px, py, line.style);
    }
    svg += "<path d=\"" + path + "\" fill=\"none\" stroke=\"" + std::string(line.style.color) +
           "\" stroke-width=\"2\"/>\n" + marks;
    svg += Marker(kRight + 20, legend_y, line.style);
    svg += Text(kRight + 32, legend_y + 4.5, "start", kInk, line.label);
    legend_y += 22;
  }
  return svg + "</svg>\n";
}

std::string TrafficPlot(std::string_view id, std::string_view title, const std::vector<Bar>& bars) {
  constexpr double kLeft = 170, kRight = 455, kTop = 34, kRowHeight = 28;
  double most = 0;
  std::string description;
  for (const Bar& bar : bars) {
    most = std::max(most, bar.down + bar.up);
    description +=
        bar.label + ": " + FormatBytes(bar.down) + " down, " + FormatBytes(bar.up) + " up. ";
  }
  if (most <= 0) return {};
  const double bottom = kTop + kRowHeight * static_cast<double>(bars.size());
  std::string svg = Open(id, bottom + 8, title, description);
  svg += Box(kLeft, 8, 12, 12, kDown) + Text(kLeft + 18, 18.5, "start", kInk, "model, to the site");
  svg += Box(kLeft + 190, 8, 12, 12, kUp) +
         Text(kLeft + 208, 18.5, "start", kInk, "update, from the site");
  const double scale = (kRight - kLeft) / most;
  for (std::size_t i = 0; i < bars.size(); ++i) {
    const double y = kTop + kRowHeight * static_cast<double>(i);
    const double middle = kLeft + bars[i].down * scale;
    svg += Text(kLeft - 14, y + 17.5, "end", kInk, Shorten(bars[i].label));
    svg += Box(kLeft, y + 5, bars[i].down * scale, 18, kDown);
    svg += Box(middle, y + 5, bars[i].up * scale, 18, kUp);
    svg += Text(kRight + 14, y + 17.5, "start", kInk,
                FormatBytes(bars[i].down) + " + " + FormatBytes(bars[i].up));
  }
  return svg + "</svg>\n";
}

}  // namespace chorale::evaluation
