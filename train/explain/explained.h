// What an explanation is shown as: a page for people, its numbers for programs, a few lines for the
// terminal. The page says for each measure the formula and where it comes from, what is seen in one
// sentence made of the numbers, the figure, and the table behind it.
#pragma once

#include <string>
#include <vector>

#include "train/explain/adabn.h"
#include "train/explain/centring.h"
#include "train/explain/gradient_reversal.h"
#include "train/json.h"
#include "train/report/page.h"
#include "train/report/phrases.h"

namespace mono {

struct Explained {
  std::string html, text;
  Json numbers;
};

// `command`: what made it, printed at the end of the page.
Explained show_adabn(const TrainedRun& run, const AdabnExplanation& found,
                     const std::string& command);
Explained show_gradient_reversal(const TrainedRun& run, const GradientReversalExplanation& found,
                                 const std::string& command);
Explained show_centring(const TrainedRun& run, const CentringExplanation& found,
                        const std::string& command);

// Pieces that the three have in common.
namespace explained {

// A page with the run's badges under its title.
report::Page page_of(const std::string& title, const TrainedRun& run);
// Its end: the run, and how to make the page again.
void add_origin(report::Page& page, const TrainedRun& run, const std::string& images,
                const std::string& command);
// format_version, what, recipe, recipe_hash, seed, step.
Json numbers_of(const char* what, const TrainedRun& run);

// "94.6 %"; a dash where there is none.
std::string percent(const std::optional<Share>& share);
using report::percent;
// In percent for charts; NaN where there is none.
double in_percent(const std::optional<Share>& share);
Json fraction(const std::optional<Share>& share);
// "12" of 12.3, "1.23" of 1.234, "0.0123": three significant digits.
std::string number(double value);
// Which numbers on the axis of layers are which part of the network: "norm0 1, denseblock1 2 to 5,
// transition1 6, neck 7 to 8".
std::string stages_of(const std::vector<std::string>& names);
// 1, 2, ..., n: layers on the x axis.
std::vector<double> layer_numbers(size_t n);

}  // namespace explained
}  // namespace mono
