// RxRx1, Figure 7.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>

#include "kernels/base/error.h"
#include "kernels/base/philox.h"
#include "kernels/base/thread_pool.h"
#include "train/evaluate/sample_distance.h"
#include "train/report/chart.h"
#include "train/report/figures.h"

namespace mono::report {
namespace {

constexpr int64_t kPairsPerUnit = 4096;

// What an image is.
struct Kind {
  int cell_type, experiment, treatment;
};
using Pair = std::pair<int, int>;

int64_t pairs_of(int64_t images) {
  return images * (images - 1) / 2;
}

// The pairs of images of one cell type that are, or are not, of the same experiment and treatment.
class PairSet {
 public:
  PairSet(const std::vector<Kind>& kinds, bool same_experiment, bool same_treatment)
      : kinds_(kinds), same_experiment_(same_experiment), same_treatment_(same_treatment) {
    // Pools that hold every wanted pair, and few others: drawing from them is seldom in vain.
    std::map<std::array<int, 3>, std::vector<int>> pools;
    for (int i = 0; i < static_cast<int>(kinds.size()); ++i) {
      const Kind& kind = kinds[static_cast<size_t>(i)];
      pools[{kind.cell_type, same_experiment ? kind.experiment : -1,
             same_treatment ? kind.treatment : -1}]
          .push_back(i);
    }
    for (auto& [key, images] : pools) {
      count_ += wanted_in(images);
      ends_.push_back((ends_.empty() ? 0 : ends_.back()) +
                      pairs_of(static_cast<int64_t>(images.size())));
      pools_.push_back(std::move(images));
    }
  }
  int64_t count() const { return count_; }

  std::vector<Pair> all() const {
    std::vector<Pair> pairs;
    for (const std::vector<int>& pool : pools_)
      for (size_t a = 0; a < pool.size(); ++a)
        for (size_t b = 0; b < a; ++b)
          if (wanted(pool[a], pool[b])) pairs.emplace_back(pool[a], pool[b]);
    return pairs;
  }

  // So many, each as likely as any other, with replacement.
  std::vector<Pair> sample(int64_t pairs, Philox draw) const {
    std::vector<Pair> drawn;
    while (static_cast<int64_t>(drawn.size()) < pairs) {
      const auto place = static_cast<int64_t>(draw.uniform() * static_cast<double>(ends_.back()));
      const std::vector<int>& pool =
          pools_[static_cast<size_t>(std::ranges::upper_bound(ends_, place) - ends_.begin())];
      const auto size = static_cast<uint32_t>(pool.size());
      const uint32_t a = draw.below(size), other = draw.below(size - 1);
      const uint32_t b = other + (other >= a);  // two different ones: pools weigh by such pairs
      if (wanted(pool[a], pool[b])) drawn.emplace_back(pool[a], pool[b]);
    }
    return drawn;
  }

 private:
  bool wanted(int a, int b) const {
    const Kind &x = kinds_[static_cast<size_t>(a)], &y = kinds_[static_cast<size_t>(b)];
    return (x.experiment == y.experiment) == same_experiment_ &&
           (x.treatment == y.treatment) == same_treatment_;
  }
  // All pairs, less those that differ from what is wanted, by counting.
  int64_t wanted_in(const std::vector<int>& pool) const {
    std::map<int, int64_t> of_experiment, of_treatment;
    std::map<std::pair<int, int>, int64_t> of_both;
    for (const int i : pool) {
      const Kind& kind = kinds_[static_cast<size_t>(i)];
      ++of_experiment[kind.experiment];
      ++of_treatment[kind.treatment];
      ++of_both[{kind.experiment, kind.treatment}];
    }
    const auto total = [](const auto& counts) {
      int64_t sum = 0;
      for (const auto& [key, n] : counts) sum += pairs_of(n);
      return sum;
    };
    const int64_t both = total(of_both), experiment = total(of_experiment),
                  treatment = total(of_treatment);
    if (same_experiment_) return same_treatment_ ? both : experiment - both;
    if (same_treatment_) return treatment - both;
    return pairs_of(static_cast<int64_t>(pool.size())) - experiment - treatment + both;
  }

  const std::vector<Kind>& kinds_;
  bool same_experiment_, same_treatment_;
  int64_t count_ = 0;
  std::vector<std::vector<int>> pools_;
  std::vector<int64_t> ends_;  // pairs in the pools up to each
};

// The cosine similarities of the pairs of a set.
struct Similarities {
  std::vector<double> values;
  int64_t pairs = 0;  // that there are
  double mean() const {
    double sum = 0;
    for (const double value : values) sum += value;
    return sum / static_cast<double>(values.size());
  }
  std::string count_text() const {
    const std::string all = figure_text(static_cast<double>(pairs), 0);
    const auto drawn = static_cast<int64_t>(values.size());
    if (drawn == pairs) return all;
    return fmt::format("{} of {}", figure_text(static_cast<double>(drawn), 0), all);
  }
};

Similarities similarities(const Features& unit, const PairSet& set, int64_t most, Philox draw) {
  Similarities result;
  result.pairs = set.count();
  const std::vector<Pair> pairs = set.count() <= most ? set.all() : set.sample(most, draw);
  result.values.resize(pairs.size());
  const auto count = static_cast<int64_t>(pairs.size());
  parallel_for((count + kPairsPerUnit - 1) / kPairsPerUnit, [&](int64_t unit_index, int) {
    const int64_t end = std::min(count, (unit_index + 1) * kPairsPerUnit);
    for (int64_t p = unit_index * kPairsPerUnit; p < end; ++p) {
      const Pair pair = pairs[static_cast<size_t>(p)];
      const std::span<const float> a = unit.row(pair.first), b = unit.row(pair.second);
      double sum = 0;
      for (size_t c = 0; c < a.size(); ++c)
        sum += static_cast<double>(a[c]) * static_cast<double>(b[c]);
      result.values[static_cast<size_t>(p)] = sum;
    }
  });
  return result;
}

struct Panel {
  std::string title;
  Similarities same, different;
  double ks = 0, w1 = 0;
};

std::vector<Panel> panels_of(const EmbeddedImages& method, const SimilarityFigureOptions& options,
                             std::vector<std::string>& absent) {
  std::vector<uint8_t> labelled;
  for (const int treatment : method.treatment.of) labelled.push_back(treatment >= 0);
  const EmbeddedImages images = method.subset(labelled);
  const Features unit = l2_normalised(images.features);
  std::vector<Kind> kinds;
  for (size_t i = 0; i < images.treatment.of.size(); ++i)
    kinds.push_back({images.cell_type.known() ? images.cell_type.of[i] : 0, images.experiment.of[i],
                     images.treatment.of[i]});

  std::vector<Panel> panels;
  for (const bool within : {true, false}) {
    Panel panel;
    panel.title = method.title + (within ? ", within experiments" : ", across experiments");
    const PairSet same(kinds, within, true), different(kinds, within, false);
    if (same.count() == 0 || different.count() == 0) {
      absent.push_back(panel.title);
      continue;
    }
    const uint32_t view = within ? 0 : 2;
    panel.same = similarities(unit, same, options.most_pairs,
                              Philox(options.seed, Purpose::pairs, 0, 0, view));
    panel.different = similarities(unit, different, options.most_pairs,
                                   Philox(options.seed, Purpose::pairs, 0, 0, view + 1));
    panel.ks = ks_statistic(panel.same.values, panel.different.values);
    panel.w1 = wasserstein1(panel.same.values, panel.different.values);
    panels.push_back(std::move(panel));
  }
  return panels;
}

// The ends of the axis that all panels share: what nearly all values lie between.
std::pair<double, double> common_ends(const std::vector<Panel>& panels) {
  double low = HUGE_VAL, high = -HUGE_VAL;
  for (const Panel& panel : panels)
    for (const Similarities* s : {&panel.same, &panel.different}) {
      std::vector<double> values = s->values;
      const auto at = [&](double share) {
        const auto place =
            values.begin() + static_cast<int64_t>(share * static_cast<double>(values.size() - 1));
        std::nth_element(values.begin(), place, values.end());
        return *place;
      };
      low = std::min(low, at(0.001));
      high = std::max(high, at(0.999));
    }
  return {std::max(-1.0, std::floor(low * 20) / 20), std::min(1.0, std::ceil(high * 20) / 20)};
}

}  // namespace

Figure similarity_figure(std::span<const EmbeddedImages> methods,
                         const SimilarityFigureOptions& options) {
  Figure figure;
  figure.name = options.name;
  figure.title = "Cosine similarities of embeddings";
  figure.table.caption = "Same against different treatment";
  figure.table.columns = {{"", false},
                          {"KS statistic", true},
                          {"Wasserstein", true},
                          {"mean, same", true},
                          {"mean, different", true},
                          {"pairs, same", true},
                          {"pairs, different", true}};
  figure.numbers["panels"] = Json::array();

  std::vector<Panel> panels;
  std::vector<std::string> absent;
  for (const EmbeddedImages& method : methods)
    std::ranges::move(panels_of(method, options, absent), std::back_inserter(panels));
  const auto [low, high] = panels.empty() ? std::pair{0.0, 1.0} : common_ends(panels);
  for (Panel& panel : panels) {
    Json numbers = Json::object();
    numbers["panel"] = panel.title;
    numbers["ks"] = panel.ks;
    numbers["wasserstein"] = panel.w1;
    numbers["mean_same"] = panel.same.mean();
    numbers["mean_different"] = panel.different.mean();
    numbers["pairs_same"] = panel.same.pairs;
    numbers["pairs_different"] = panel.different.pairs;
    numbers["drawn_same"] = static_cast<int64_t>(panel.same.values.size());
    numbers["drawn_different"] = static_cast<int64_t>(panel.different.values.size());
    figure.numbers["panels"].push_back(std::move(numbers));
    figure.table.rows.push_back({panel.title, figure_text(panel.ks, 3), figure_text(panel.w1, 3),
                                 figure_text(panel.same.mean(), 3),
                                 figure_text(panel.different.mean(), 3), panel.same.count_text(),
                                 panel.different.count_text()});

    Histogram chart;
    chart.title = panel.title;
    chart.description = fmt::format(
        "Cosine similarities of pairs of the same treatment (mean {}) and of different treatments "
        "(mean {}).",
        figure_text(panel.same.mean(), 2), figure_text(panel.different.mean(), 2));
    chart.x.label = fmt::format("cosine similarity; KS {}, W₁ {}", figure_text(panel.ks, 2),
                                figure_text(panel.w1, 2));
    chart.x.low = low;
    chart.x.high = high;
    chart.samples = {{"different treatments", std::move(panel.different.values), Colour::green},
                     {"same treatment", std::move(panel.same.values), Colour::blue}};
    chart.width = 430;  // within and across stand side by side on a page
    chart.height = 280;
    figure.panels.push_back(draw(chart));
  }
  const bool by_cell_type = std::ranges::all_of(
      methods, [](const EmbeddedImages& method) { return method.cell_type.known(); });
  figure.caption = fmt::format(
      "Cosine similarities of pairs of {}: of the same treatment (blue; sites of one well "
      "included) and of different treatments (green), within an experiment and across "
      "experiments{}. "
      "KS: the largest difference of the two distribution functions, 0 (equal) to 1 (apart); W₁: "
      "the mean distance by which one would have to be moved. Where the panels across experiments "
      "look like those within, the embedding has kept its geometry from batch to batch.{}",
      images_of(methods), by_cell_type ? " of the same cell type" : " (cell types are not known)",
      runs_of(methods));
  const bool drawn = std::ranges::any_of(panels, [&](const Panel& panel) {
    return std::max(panel.same.pairs, panel.different.pairs) > options.most_pairs;
  });
  figure.caption +=
      drawn ? fmt::format(" Of distributions of more than {} pairs, so many are drawn (seed {}).",
                          figure_text(static_cast<double>(options.most_pairs), 0), options.seed)
            : " Every pair counts.";
  for (const std::string& title : absent)
    figure.caption += fmt::format(" {}: there are no such pairs.", title);
  return figure;
}

}  // namespace mono::report
