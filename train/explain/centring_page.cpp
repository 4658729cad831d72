#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "train/explain/explained.h"

namespace mono {
namespace {

using namespace explained;
using report::BarChart;
using report::BoxPlot;
using report::Cell;
using report::HeatMap;
using report::Table;

constexpr size_t kMostDomains = 24;     // in a figure; tables have all
constexpr size_t kMostPrototypes = 40;  // in the map of usage

// Domains that were looked at, by falling distance of their outputs from the mean centre.
std::vector<size_t> by_distance(const CentringExplanation& found) {
  std::vector<size_t> order;
  for (size_t d = 0; d < found.domains.size(); ++d)
    if (found.domains[d].rows > 0) order.push_back(d);
  std::ranges::stable_sort(order, [&](size_t a, size_t b) {
    return found.domains[a].output_distance > found.domains[b].output_distance;
  });
  if (order.size() > kMostDomains) order.resize(kMostDomains);
  return order;
}

// Over the domains that were looked at.
double mean_of(const CentringExplanation& found, double CentredDomain::*value) {
  double sum = 0;
  int64_t domains = 0;
  for (const CentredDomain& domain : found.domains) {
    if (domain.rows == 0) continue;
    sum += domain.*value;
    ++domains;
  }
  return sum / static_cast<double>(domains);
}

void add_method(report::Page& page, const CentringExplanation& found) {
  page.section("What domain centring does");
  page.code(fmt::format(
      "P_T = softmax( (f_T(x) - C_d) / temperature )          d: the domain of image x\n"
      "C_d <- (1 - a w_d) C_d + a w_d m_d                     a = 1 - momentum = {}\n"
      "w_d  = (share of d in the batch) / (share of d in the training images), at most 10",
      number(1 - found.momentum)));
  page.paragraph(
      "CDCL (Haslum et al. 2023), section 3.3: DINO keeps its teacher from giving every image one "
      "output by subtracting a running mean of its outputs, the centre C. One centre for all "
      "leaves another way out: one output for each experiment, which reads nothing but the batch "
      "effect. With a centre for each domain the outputs of every domain have mean zero by "
      "themselves, so that \"each batch/plate/domain is evenly distributed across the latent "
      "space\". m_d is the mean of the teacher's outputs of that domain in a batch.");
  page.paragraph(
      found.per_domain
          ? "This run has a centre for each domain; they are kept in its checkpoint."
          : "This run has one centre for all (DINO's). The domains' own means stand here for what "
            "CDCL would subtract.");
}

void add_distances(report::Page& page, const CentringExplanation& found) {
  page.section("Where the domains lie");
  page.code(
      "distance = sqrt( mean over outputs of (a_k - b_k)^2 ) / spread\n"
      "spread   = the same of an output from its domain's mean, over all images");
  page.paragraph(
      fmt::format("The teacher's {} outputs of {} global crops as training makes them, {} domains; "
                  "their spread within a domain is {}. Seen here: the mean output of a domain lies "
                  "{} of that spread from the mean centre on average, and {} from the centre that "
                  "is subtracted from it{}.",
                  found.outputs, found.rows, found.domains.size(), number(found.output_spread),
                  number(mean_of(found, &CentredDomain::output_distance)),
                  number(mean_of(found, &CentredDomain::left_distance)),
                  found.per_domain ? "" : ", which is the same one"));
  BarChart chart{.title = "Distance from the mean centre",
                 .description = "Distances of the domains' centres and outputs",
                 .value = {.label = "distance (spread within a domain)"},
                 .decimals = 2};
  report::Bars centre{.name = "its centre C_d", .colour = report::blue};
  report::Bars output{.name = "its mean output", .colour = report::vermilion};
  report::Bars left{.name = "left after its centre", .colour = report::green};
  for (const size_t d : by_distance(found)) {
    const CentredDomain& domain = found.domains[d];
    chart.categories.push_back(domain.name);
    centre.values.push_back(domain.centre_distance);
    output.values.push_back(domain.output_distance);
    left.values.push_back(domain.left_distance);
  }
  chart.series = found.per_domain ? std::vector{output, centre, left} : std::vector{output};
  std::string caption =
      "A domain whose mean output lies far out is one that the teacher recognises";
  caption += found.per_domain
                 ? "; its centre follows it, as a moving average does, some steps behind."
                 : ".";
  if (chart.categories.size() < found.domains.size())
    caption += fmt::format(" The {} farthest of {} domains.", chart.categories.size(),
                           found.domains.size());
  page.figure(chart, caption);
  Table table{.caption = "All domains",
              .columns = {{"Domain"},
                          {"Share of training", true},
                          {"Crops looked at", true},
                          {"Centre", true},
                          {"Mean output", true},
                          {"Left", true},
                          {"Mean weight", true}}};
  for (const CentredDomain& domain : found.domains) {
    const auto seen = [&](double value) { return domain.rows > 0 ? number(value) : "-"; };
    table.rows.push_back({domain.name, percent(domain.share), fmt::to_string(domain.rows),
                          number(domain.centre_distance), seen(domain.output_distance),
                          seen(domain.left_distance), number(domain.mean_weight)});
  }
  page.folded_table(table);
}

void add_probes(report::Page& page, const CentringExplanation& found) {
  page.section("Can the domain be read from the teacher's outputs?");
  const CentringWay &none = found.ways.front(), &own = found.ways.back();
  page.paragraph(fmt::format(
      "A linear probe on f_T(x) - C, taught on half of the wells and asked on the others. Seen "
      "here: not centred it names the domain of {}, behind {} of {} (chance {}). One centre for "
      "all moves every image alike, so that a probe cannot tell the difference: against the batch "
      "it does not help (what it is good for: the spread of the answers, below). From the "
      "backbone's features, which is what evaluation uses, the probe names {}: centring changes "
      "what the student is asked for, and only through it the features.",
      percent(none.probe), own.name, percent(own.probe), percent(found.chance),
      percent(found.probe_features)));
  BarChart chart{.title = "Domain, read by a linear probe",
                 .description = "Accuracy of a linear probe behind each way to centre",
                 .value = {.label = "right (%)", .high = 100}};
  chart.marks.push_back({100 * found.chance, "chance"});
  report::Bars bars{.name = "fresh linear probe", .colour = report::blue};
  for (const CentringWay& way : found.ways) {
    chart.categories.push_back(way.name);
    bars.values.push_back(in_percent(way.probe));
  }
  chart.categories.push_back("backbone's features");
  bars.values.push_back(in_percent(found.probe_features));
  chart.series = {bars};
  page.figure(
      chart,
      std::string(found.per_domain
                      ? "What a probe still finds behind own centres is how far a domain's mean "
                        "has moved from its centre (above), and the spread and the shape of its "
                        "outputs."
                      : "What a probe still finds behind own means is in the spread and the shape "
                        "of a domain's outputs, not in their mean.") +
          " Somewhat below chance means nothing left: around a common mean, what is above it in "
          "the half that teaches is below it in the half that asks.");
}

// Prototypes by how differently the domains use them without centring by domain.
std::vector<size_t> telling_prototypes(const CentringExplanation& found, const CentringWay& way) {
  const size_t K = way.usage.front().size();
  std::vector<const std::vector<double>*> of_domain;
  for (size_t d = 0; d < way.usage.size(); ++d)
    if (found.domains[d].rows > 0) of_domain.push_back(&way.usage[d]);
  std::vector<double> variance(K);
  for (size_t k = 0; k < K; ++k) {
    double mean = 0;
    for (const auto* usage : of_domain) mean += (*usage)[k] / static_cast<double>(of_domain.size());
    for (const auto* usage : of_domain) variance[k] += ((*usage)[k] - mean) * ((*usage)[k] - mean);
  }
  std::vector<size_t> order(K);
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, [&](size_t a, size_t b) { return variance[a] > variance[b]; });
  order.resize(std::min(K, kMostPrototypes));
  return order;
}

HeatMap usage_map(const CentringExplanation& found, const CentringWay& way,
                  const std::vector<size_t>& prototypes, double high) {
  HeatMap map{.title = "P: " + way.name,
              .description = "How often the teacher names each prototype for each domain",
              .row_title = "domain",
              .column_title = "prototype",
              .unit = "%",
              .low = 0,
              .high = high};
  for (const size_t k : prototypes) map.columns.push_back(fmt::to_string(k));
  for (const size_t d : by_distance(found)) {
    map.rows.push_back(found.domains[d].name);
    for (const size_t k : prototypes) map.values.push_back(100 * way.usage[d][k]);
  }
  return map;
}

void add_softmax(report::Page& page, const CentringExplanation& found) {
  page.section("What the student is asked for");
  page.code(
      "entropy      mean over images of H(P)                       as a share of ln K\n"
      "spread       H(mean over images of P)                       likewise\n"
      "information  H(mean P) - sum_d p_d H(mean P of domain d)    as a share of H(domain)");
  const CentringWay &common = found.ways[1], &own = found.ways.back();
  page.paragraph(fmt::format(
      "P is the teacher's answer at temperature {}. A low entropy: it is sure; a high spread: it "
      "uses all prototypes. Information says how much of the domain is given away by which "
      "prototype is named. Seen here: {} with one centre for all, {} behind {}; entropy {} and {}.",
      number(found.temperature), percent(common.information), percent(own.information), own.name,
      number(common.entropy), number(own.entropy)));
  BarChart chart{.title = "The teacher's answers",
                 .description = "Entropy, spread and information behind each way to centre",
                 .value = {.label = "%", .high = 100}};
  for (const CentringWay& way : found.ways) chart.categories.push_back(way.name);
  report::Bars entropy{.name = "entropy", .colour = report::blue};
  report::Bars spread{.name = "spread", .colour = report::green};
  report::Bars information{.name = "information on the domain", .colour = report::vermilion};
  for (const CentringWay& way : found.ways) {
    entropy.values.push_back(100 * way.entropy);
    spread.values.push_back(100 * way.spread);
    information.values.push_back(100 * way.information);
  }
  chart.series = {entropy, spread, information};
  page.figure(chart,
              "All in percent of the most there can be. Information is positive even by chance "
              "when images are few: compare the bars, not one of them with 0.");
  const std::vector<size_t> prototypes = telling_prototypes(found, common);
  double high = 0;
  for (const CentringWay* way : {&common, &own})
    for (const auto& of_domain : way->usage)
      for (const size_t k : prototypes) high = std::max(high, 100 * of_domain[k]);
  page.figure(usage_map(found, common, prototypes, high),
              fmt::format("Mean P of each domain: the {} prototypes that domains use most "
                          "differently. A column that is bright in one row belongs to a domain.",
                          prototypes.size()));
  page.figure(usage_map(found, own, prototypes, high),
              "The same prototypes on the same scale, each domain centred by itself.");
}

void add_weights(report::Page& page, const CentringExplanation& found) {
  page.section("How often each centre moves");
  if (!found.per_domain) {
    page.note("With one centre for all there are no weights: it moves by every batch.");
    return;
  }
  double least = 1e300, most = 0;
  for (const CentredDomain& domain : found.domains) {
    least = std::min(least, domain.mean_weight);
    most = std::max(most, domain.mean_weight);
  }
  page.paragraph(fmt::format(
      "A rare domain is seldom in a batch and must then move further, w_d times the step. Over the "
      "{} batches looked at, the mean weight of a domain (0 where it was absent) lies between {} "
      "and {}. {} {}",
      found.batches, number(least), number(most),
      found.cross_batch
          ? "Pairs across domains show a rare one more often than the training images have it: "
            "its expected weight is above 1, a frequent one's below."
          : "Its expectation is 1, whatever the domain's frequency, but for weights that are "
            "stopped.",
      found.clamped > 0
          ? fmt::format("{} weights were stopped at 10, where a step would overshoot.",
                        found.clamped)
          : "None reached 10, where it would be stopped."));
  BoxPlot box{.title = "Frequency weights w_d",
              .description = "Weights of the centres' steps by domain",
              .value = {.label = "w_d in the batches that have the domain", .low = 0}};
  box.marks.push_back({1, "as in training"});
  std::vector<size_t> order(found.domains.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, {}, [&](size_t d) { return found.domains[d].share; });
  if (order.size() > kMostDomains) order.resize(kMostDomains);
  for (const size_t d : order)
    box.rows.push_back(
        {.name = fmt::format("{} ({})", found.domains[d].name, percent(found.domains[d].share)),
         .values = found.domains[d].weights});
  page.figure(box, "By share of the training images, the rarest first.");
}

Json centring_numbers(const TrainedRun& run, const CentringExplanation& found) {
  Json json = numbers_of("centring", run);
  json["per_domain"] = found.per_domain;
  json["outputs"] = found.outputs;
  json["temperature"] = found.temperature;
  json["centre_momentum"] = found.momentum;
  json["batches"] = found.batches;
  json["crops"] = found.rows;
  json["output_spread"] = found.output_spread;
  json["clamped_weights"] = found.clamped;
  json["chance"] = found.chance;
  json["probe_features"] = fraction(found.probe_features);
  json["domains"] = Json::array();
  for (const CentredDomain& domain : found.domains) {
    Json entry = Json::object();
    entry["name"] = domain.name;
    entry["share"] = domain.share;
    entry["crops"] = domain.rows;
    entry["centre_distance"] = domain.centre_distance;
    entry["output_distance"] = domain.rows > 0 ? Json(domain.output_distance) : Json();
    entry["left_distance"] = domain.rows > 0 ? Json(domain.left_distance) : Json();
    entry["mean_weight"] = domain.mean_weight;
    json["domains"].push_back(std::move(entry));
  }
  json["ways"] = Json::array();
  for (const CentringWay& way : found.ways) {
    Json entry = Json::object();
    entry["name"] = way.name;
    entry["entropy"] = way.entropy;
    entry["spread"] = way.spread;
    entry["information"] = way.information;
    entry["probe"] = fraction(way.probe);
    json["ways"].push_back(std::move(entry));
  }
  return json;
}

}  // namespace

Explained show_centring(const TrainedRun& run, const CentringExplanation& found,
                        const std::string& command) {
  const CentringWay &common = found.ways[1], &own = found.ways.back();
  report::Page page = page_of("Domain centring under the microscope", run);
  page.lead(
      fmt::format("A linear probe names the domain of {} of the teacher's outputs with one centre "
                  "for all, of {} behind {} (chance {}).",
                  percent(common.probe), percent(own.probe),
                  found.per_domain ? "a centre for each domain" : "each domain's own mean",
                  percent(found.chance)));
  add_method(page, found);
  add_distances(page, found);
  add_probes(page, found);
  add_softmax(page, found);
  add_weights(page, found);
  add_origin(
      page, run,
      fmt::format("{} global crops of training images in {} batches", found.rows, found.batches),
      command);

  Explained shown;
  shown.html = page.html();
  shown.numbers = centring_numbers(run, found);
  shown.text = fmt::format(
      "Centring ({}), {} domains, {} crops, {} outputs, temperature {}\n\n"
      "  {:<22} {:>9} {:>9} {:>9} {:>13}\n",
      found.per_domain ? "a centre for each domain" : "one centre for all", found.domains.size(),
      found.rows, found.outputs, number(found.temperature), "", "probe", "entropy", "spread",
      "information");
  for (const CentringWay& way : found.ways)
    shown.text += fmt::format("  {:<22} {:>9} {:>9} {:>9} {:>13}\n", way.name, percent(way.probe),
                              number(way.entropy), number(way.spread), percent(way.information));
  shown.text += fmt::format("  {:<22} {:>9}\n  {:<22} {:>9}\n\n", "backbone's features",
                            percent(found.probe_features), "chance", percent(found.chance));
  shown.text += fmt::format(
      "  a domain's mean output from the mean centre: {} of the spread; from its own centre: {}\n",
      number(mean_of(found, &CentredDomain::output_distance)),
      number(mean_of(found, &CentredDomain::left_distance)));
  return shown;
}

}  // namespace mono
