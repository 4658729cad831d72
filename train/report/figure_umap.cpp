// RxRx1, Figure 6; CDCL, Figures 1 and 2.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "kernels/base/error.h"
#include "kernels/base/philox.h"
#include "train/evaluate/trustworthiness.h"
#include "train/evaluate/umap.h"
#include "train/evaluate/z_norm.h"
#include "train/report/chart.h"
#include "train/report/figures.h"

namespace mono::report {
namespace {

constexpr int kNeighbours = 14;                    // in the picture
constexpr int kMostForTrustworthiness = 3000;      // its work grows with the square
constexpr double kInsetShare = 0.22;               // of the picture's extent
constexpr int kInsetSteps = 24;                    // places tried in each direction
constexpr int kLeastOfATreatment = 2;              // images in the inset that make it count
constexpr size_t kNamedTreatments = kColours - 1;  // the last colour is all others'

// Of the nearest points in the picture, the share that is the point's own kind, and what it would
// be if the points were mixed at random. NaN where no point's kind is known.
struct Company {
  double share = std::nan(""), chance = std::nan("");
};
Company company(const NearestByDistance& nearest, const std::vector<int>& kind) {
  Company result;
  std::map<int, double> count;
  for (const int k : kind) ++count[k];
  int64_t same = 0, pairs = 0;
  for (size_t i = 0; i < kind.size(); ++i) {
    if (kind[i] < 0) continue;
    for (size_t n = 0; n < static_cast<size_t>(nearest.k); ++n) {
      same += kind[static_cast<size_t>(nearest.index[i * static_cast<size_t>(nearest.k) + n])] ==
              kind[i];
      ++pairs;
    }
  }
  const double all = static_cast<double>(kind.size());
  double known = 0, by_chance = 0;
  for (const auto& [k, n] : count)
    if (k >= 0) {
      by_chance += n * (n - 1) / (all - 1);
      known += n;
    }
  if (pairs == 0) return {};
  result.chance = by_chance / known;
  result.share = static_cast<double>(same) / static_cast<double>(pairs);
  return result;
}

// At most `most` images, drawn by the seed; in their order.
EmbeddedImages at_most(const EmbeddedImages& all, int most, uint64_t seed) {
  if (all.images() <= most) return all;
  std::vector<uint8_t> marks(static_cast<size_t>(all.images()));
  std::ranges::fill_n(marks.begin(), most, uint8_t{1});
  Philox(seed, Purpose::layout, 0, 0, 3).shuffle(marks);
  return all.subset(marks);
}

std::vector<Points> coloured(const Features& points, const Coding& kind) {
  std::vector<Points> groups;
  std::map<int, size_t> group_of;
  for (const int k : std::set<int>(kind.of.begin(), kind.of.end())) {
    group_of[k] = groups.size();
    groups.push_back({.name = k < 0 ? "unknown" : kind.names[static_cast<size_t>(k)]});
  }
  for (int i = 0; i < points.rows; ++i) {
    Points& group = groups[group_of.at(kind.of[static_cast<size_t>(i)])];
    group.x.push_back(points.row(i)[0]);
    group.y.push_back(points.row(i)[1]);
  }
  return groups;
}

struct Window {
  double x_low, x_high, y_low, y_high;
  bool holds(std::span<const float> point) const {
    const double x = static_cast<double>(point[0]), y = static_cast<double>(point[1]);
    return x >= x_low && x <= x_high && y >= y_low && y <= y_high;
  }
};

// How many images of each known treatment lie in the window.
std::map<int, int> treatments_in(const Window& window, const Features& points,
                                 const Coding& treatment) {
  std::map<int, int> count;
  for (int i = 0; i < points.rows; ++i)
    if (const int t = treatment.of[static_cast<size_t>(i)]; t >= 0 && window.holds(points.row(i)))
      ++count[t];
  return count;
}

// The part of the picture with the most treatments of which several images are there.
Window choose_window(const Features& points, const Coding& treatment) {
  double low[2] = {HUGE_VAL, HUGE_VAL}, high[2] = {-HUGE_VAL, -HUGE_VAL};
  for (int i = 0; i < points.rows; ++i)
    for (size_t d = 0; d < 2; ++d) {
      low[d] = std::min(low[d], static_cast<double>(points.row(i)[d]));
      high[d] = std::max(high[d], static_cast<double>(points.row(i)[d]));
    }
  const double side = kInsetShare * std::max(high[0] - low[0], high[1] - low[1]);
  Window best{};
  std::pair<int, int> most{-1, -1};
  for (int u = 0; u <= kInsetSteps; ++u)
    for (int v = 0; v <= kInsetSteps; ++v) {
      const double x = low[0] + (high[0] - low[0] - side) * u / kInsetSteps;
      const double y = low[1] + (high[1] - low[1] - side) * v / kInsetSteps;
      const Window window{x, x + side, y, y + side};
      std::pair<int, int> found{0, 0};
      for (const auto& [t, n] : treatments_in(window, points, treatment)) {
        found.first += n >= kLeastOfATreatment;
        found.second += n;
      }
      if (found > most) {
        most = found;
        best = window;
      }
    }
  return best;
}

Inset inset_of(const Features& points, const Coding& treatment) {
  const Window window = choose_window(points, treatment);
  const std::map<int, int> count = treatments_in(window, points, treatment);
  std::vector<std::pair<int, int>> frequent;  // most images first
  for (const auto& [t, n] : count) frequent.emplace_back(-n, t);
  std::ranges::sort(frequent);
  if (frequent.size() > kNamedTreatments) frequent.resize(kNamedTreatments);

  Inset inset{
      "Enlarged, by treatment", window.x_low, window.x_high, window.y_low, window.y_high, {}};
  std::map<int, size_t> group_of;
  // The others first: named treatments lie above them.
  inset.groups.push_back({.name = "others", .x = {}, .y = {}, .colour = Colour::ink});
  for (const auto& [n, t] : frequent) {
    group_of[t] = inset.groups.size();
    inset.groups.push_back({.name = treatment.names[static_cast<size_t>(t)],
                            .x = {},
                            .y = {},
                            .colour = static_cast<int>(group_of[t]) - 1});
  }
  for (int i = 0; i < points.rows; ++i) {
    if (!window.holds(points.row(i))) continue;
    const auto found = group_of.find(treatment.of[static_cast<size_t>(i)]);
    Points& group = inset.groups[found == group_of.end() ? 0 : found->second];
    group.x.push_back(points.row(i)[0]);
    group.y.push_back(points.row(i)[1]);
  }
  if (inset.groups[0].x.empty()) inset.groups.erase(inset.groups.begin());
  return inset;
}

// A panel, its row of the table and its numbers.
void add_panel(Figure& figure, const std::string& title, const EmbeddedImages& images,
               const Features& features, const UmapFigureOptions& options) {
  const Umap layout = umap(features, {.seed = options.seed});
  const NearestByDistance nearest =
      nearest_by_distance(layout.points, std::min(kNeighbours, images.images() - 1));
  const Company experiment = company(nearest, images.experiment.of),
                treatment = company(nearest, images.treatment.of);

  Scatter chart;
  chart.title = title;
  const auto percent = [](double share) { return figure_text(100 * share, 1); };
  chart.description = fmt::format(
      "UMAP of {} images, coloured by experiment. Of the {} nearest points {} % are of the same "
      "experiment ({} % by chance){}.",
      images.images(), nearest.k, percent(experiment.share), percent(experiment.chance),
      std::isnan(treatment.share)
          ? ""
          : fmt::format(" and {} % of the same treatment ({} % by chance)",
                        percent(treatment.share), percent(treatment.chance)));
  chart.x = chart.y = {.label = "", .low = {}, .high = {}, .log = false, .ticks = false};
  chart.groups = coloured(layout.points, images.experiment);
  chart.equal_units = true;
  chart.point = images.images() < 3000 ? 4 : 2.4;
  if (options.inset) chart.inset = inset_of(layout.points, images.treatment);
  chart.width = options.inset ? 720 : 430;  // two of a page's width
  chart.height = options.inset ? 480 : 440;
  figure.panels.push_back(draw(chart));

  Json numbers = Json::object();
  numbers["panel"] = title;
  numbers["images"] = images.images();
  numbers["neighbours"] = layout.neighbours;
  numbers["nearest_points"] = nearest.k;
  numbers["epochs"] = layout.epochs;
  numbers["components"] = layout.components;
  numbers["same_experiment"] = experiment.share;
  numbers["same_experiment_by_chance"] = experiment.chance;
  numbers["same_treatment"] = treatment.share;
  numbers["same_treatment_by_chance"] = treatment.chance;
  std::string trust = "not computed";
  if (images.images() <= kMostForTrustworthiness && images.images() > 2 * kNeighbours + 2) {
    const double value = trustworthiness(features, layout.points);
    numbers["trustworthiness"] = value;
    trust = fmt::format("{:.3f}", value);
  }
  figure.numbers["panels"].push_back(std::move(numbers));
  figure.table.rows.push_back({title, fmt::to_string(images.images()), fmt::to_string(nearest.k),
                               percent(experiment.share), percent(experiment.chance),
                               percent(treatment.share), percent(treatment.chance), trust});
}

}  // namespace

Figure umap_figure(std::span<const EmbeddedImages> methods, const UmapFigureOptions& options) {
  Figure figure;
  figure.name = options.name;
  figure.title = "UMAP of embeddings";
  figure.table.caption = "The nearest points of each point in its picture";
  figure.table.columns = {{"", false},
                          {"images", true},
                          {"nearest points", true},
                          {"same experiment (%)", true},
                          {"by chance", true},
                          {"same treatment (%)", true},
                          {"by chance", true},
                          {"trustworthiness", true}};
  figure.numbers["panels"] = Json::array();
  const int neighbours = UmapOptions{}.neighbours;
  bool drawn_from_more = false, fewer = false;
  for (const EmbeddedImages& method : methods) {
    const EmbeddedImages images = at_most(method, options.most_images, options.seed);
    drawn_from_more |= images.images() < method.images();
    fewer |= images.images() <= neighbours;
    add_panel(figure, method.title, images, images.features, options);
    if (options.z_norm)
      add_panel(figure, method.title + " + Z-norm", images,
                z_norm(images.features, images.experiment.of, {}, ZNorm::all), options);
  }
  figure.caption = fmt::format(
      "UMAP of the embeddings of {} (Euclidean distance, {}{} neighbours, seed {}), coloured by "
      "experiment{}. Where experiments lie apart, the embedding tells them apart; axes and "
      "distances between clusters mean nothing.{}",
      images_of(methods), fewer ? "at most " : "", neighbours, options.seed,
      options.inset ? "; the framed part is shown enlarged beside it, coloured by treatment" : "",
      runs_of(methods));
  if (options.z_norm)
    figure.caption +=
        " Z-norm: each experiment standardised by the mean and deviation of all of "
        "its images.";
  if (drawn_from_more)
    figure.caption +=
        fmt::format(" At most {} images are shown, drawn by the seed.", options.most_images);
  return figure;
}

}  // namespace mono::report
