#include "train/explain/centring.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <tuple>

#include "nn/domain/domain_centring.h"
#include "train/evaluate/inference.h"
#include "train/explain/domain_probe.h"
#include "train/run_weights.h"
#include "train/self_supervised_step.h"

namespace mono {
namespace {

// Domains of training, renumbered from 0.
struct Domains {
  std::vector<int> ids;     // [number] as in the run
  std::vector<int> of_row;  // [row] number
};

Domains trained_domains(std::span<const double> shares, std::span<const int> domain) {
  Domains domains;
  for (size_t d = 0; d < shares.size(); ++d)
    if (shares[d] > 0) domains.ids.push_back(static_cast<int>(d));
  for (const int d : domain)
    domains.of_row.push_back(
        static_cast<int>(std::ranges::lower_bound(domains.ids, d) - domains.ids.begin()));
  return domains;
}

double distance(std::span<const double> a, std::span<const double> b) {
  double squares = 0;
  for (size_t k = 0; k < a.size(); ++k) squares += (a[k] - b[k]) * (a[k] - b[k]);
  return std::sqrt(squares / static_cast<double>(a.size()));
}

std::vector<double> in_double(std::span<const float> row) {
  return {row.begin(), row.end()};
}

double entropy_of(std::span<const double> p) {
  double sum = 0;
  for (const double value : p)
    if (value > 0) sum -= value * std::log(value);
  return sum;
}

// softmax((row - centre) / temperature)
std::vector<double> softmax(std::span<const float> row, std::span<const double> centre,
                            double temperature) {
  std::vector<double> p(row.size());
  for (size_t k = 0; k < row.size(); ++k)
    p[k] = (static_cast<double>(row[k]) - centre[k]) / temperature;
  const double most = *std::ranges::max_element(p);
  double sum = 0;
  for (double& value : p) sum += value = std::exp(value - most);
  for (double& value : p) value /= sum;
  return p;
}

CentringWay look(const std::string& name, FeatureView outputs, const Domains& domains,
                 const std::vector<std::vector<double>>& centre_of, double temperature,
                 std::span<const uint8_t> in_bank, uint64_t seed) {
  const size_t K = static_cast<size_t>(outputs.width), D = domains.ids.size();
  CentringWay way;
  way.name = name;
  way.usage.assign(D, std::vector<double>(K));
  std::vector<double> all(K), rows_of(D);
  Features centred(outputs.rows, outputs.width);
  for (int r = 0; r < outputs.rows; ++r) {
    const size_t d = static_cast<size_t>(domains.of_row[static_cast<size_t>(r)]);
    const std::vector<double> p = softmax(outputs.row(r), centre_of[d], temperature);
    way.entropy += entropy_of(p) / outputs.rows;
    ++rows_of[d];
    for (size_t k = 0; k < K; ++k) {
      all[k] += p[k] / outputs.rows;
      way.usage[d][k] += p[k];
      centred.row(r)[k] =
          static_cast<float>(static_cast<double>(outputs.row(r)[k]) - centre_of[d][k]);
    }
  }
  double within = 0, domain_entropy = 0;
  for (size_t d = 0; d < D; ++d) {
    if (rows_of[d] == 0) continue;
    for (double& value : way.usage[d]) value /= rows_of[d];
    const double share = rows_of[d] / outputs.rows;
    within += share * entropy_of(way.usage[d]);
    domain_entropy -= share * std::log(share);
  }
  const double most = std::log(static_cast<double>(K));
  way.spread = entropy_of(all) / most;
  way.information =
      domain_entropy > 0 ? std::max(0.0, entropy_of(all) - within) / domain_entropy : 0;
  way.entropy /= most;
  way.probe = probe_domain(centred, domains.of_row, static_cast<int>(D), in_bank, seed);
  return way;
}

// Means of the outputs of each domain, and the spread within them.
struct OutputMeans {
  std::vector<std::vector<double>> mean;  // [domain] (K)
  std::vector<int64_t> rows;
  double spread = 0;
};

OutputMeans means_of(FeatureView outputs, const Domains& domains) {
  const size_t K = static_cast<size_t>(outputs.width), D = domains.ids.size();
  OutputMeans means{std::vector<std::vector<double>>(D, std::vector<double>(K)),
                    std::vector<int64_t>(D), 0};
  for (const int d : domains.of_row) ++means.rows[static_cast<size_t>(d)];
  for (int r = 0; r < outputs.rows; ++r) {
    const size_t d = static_cast<size_t>(domains.of_row[static_cast<size_t>(r)]);
    for (size_t k = 0; k < K; ++k)
      means.mean[d][k] +=
          static_cast<double>(outputs.row(r)[k]) / static_cast<double>(means.rows[d]);
  }
  double squares = 0;
  for (int r = 0; r < outputs.rows; ++r) {
    const size_t d = static_cast<size_t>(domains.of_row[static_cast<size_t>(r)]);
    for (size_t k = 0; k < K; ++k) {
      const double difference = static_cast<double>(outputs.row(r)[k]) - means.mean[d][k];
      squares += difference * difference;
    }
  }
  means.spread = std::sqrt(squares / (static_cast<double>(outputs.rows) * static_cast<double>(K)));
  return means;
}

// The teacher's answers to the crops of training.
struct Answers {
  Features outputs, features;
  std::vector<int> domain, site;           // [row]
  std::vector<std::vector<int>> of_batch;  // [batch][domain of the run] rows
};

void append(Features& to, const Tensor& rows) {
  const Tensor host = rows.to(Device::cpu);
  const int count = host.shape()[0];
  to.width = host.shape().back();
  to.rows += count;
  for (int r = 0; r < count; ++r) {
    const std::vector<float> row = row_of(host, r);
    to.values.insert(to.values.end(), row.begin(), row.end());
  }
}

Answers ask_teacher(const RunSetup& setup, const SelfSupervised& teacher,
                    const PairSampler& sampler, int64_t batches) {
  ViewOptions options = view_options(setup.recipe);
  options.local_crops = 0;  // the teacher does not see them
  const int pairs = static_cast<int>(setup.recipe.batch.anchors);
  ViewLoader loader(setup, sampler, options, pairs, 0, batches,
                    static_cast<int>(setup.recipe.loader.workers));
  const SegmentTable segment({0, 2 * pairs}, setup.device);
  ForwardContext context;
  context.segments = segment;
  Answers answers;
  for (int64_t b = 0; b < batches; ++b) {
    const ViewBatch batch = loader.next();
    const Variable features = teacher.features(Variable(batch.global), context);
    append(answers.features, features.value());
    append(answers.outputs, teacher.project(features, context).value());
    std::vector<int> count(static_cast<size_t>(sampler.domains()));
    for (const int d : batch.domains) {
      answers.domain.push_back(d);
      ++count[static_cast<size_t>(d)];
    }
    answers.site.insert(answers.site.end(), batch.anchors.begin(), batch.anchors.end());
    answers.site.insert(answers.site.end(), batch.partners.begin(), batch.partners.end());
    answers.of_batch.push_back(std::move(count));
  }
  return answers;
}

// Rows of one well are on one side.
std::vector<uint8_t> bank_of(const Dataset& dataset, std::span<const int> sites, uint64_t seed) {
  std::vector<uint8_t> in_bank;
  std::map<std::tuple<int, int, std::string>, uint32_t> number;
  for (const int index : sites) {
    const Site& site = dataset.sites[static_cast<size_t>(index)];
    number[{site.experiment, site.plate, site.well}] = 0;
  }
  uint32_t next = 0;
  for (auto& [well, id] : number) id = next++;
  for (const int index : sites) {
    const Site& site = dataset.sites[static_cast<size_t>(index)];
    const uint32_t id = number.at({site.experiment, site.plate, site.well});
    in_bank.push_back(Philox(seed, Purpose::explanation, 1, id).next_u32() & 1);
  }
  return in_bank;
}

void add_weights(const Answers& answers, const PairSampler& sampler, CentringExplanation& result) {
  const double most = CentringOptions().most_weight;
  for (CentredDomain& domain : result.domains) {
    domain.name = sampler.keys().domain_names[static_cast<size_t>(domain.id)];
    for (const auto& counts : answers.of_batch) {
      const int count = counts[static_cast<size_t>(domain.id)];
      if (count == 0) continue;
      const int rows = std::accumulate(counts.begin(), counts.end(), 0);
      const double weight = domain_weight(count, rows, domain.share, most);
      result.clamped += weight == most;
      domain.weights.push_back(weight);
      domain.mean_weight += weight / static_cast<double>(answers.of_batch.size());
    }
  }
}

}  // namespace

CentringExplanation centring_of_outputs(FeatureView outputs, FeatureView features,
                                        std::span<const int> domain, FeatureView centres,
                                        std::span<const double> shares, double temperature,
                                        std::span<const uint8_t> in_bank, uint64_t seed) {
  MONO_CHECK(outputs.rows >= 1 && outputs.width == centres.width &&
                 static_cast<int>(domain.size()) == outputs.rows,
             "centring: {} rows of {}, {} domains, centres of {}", outputs.rows, outputs.width,
             domain.size(), centres.width);
  const Domains domains = trained_domains(shares, domain);
  const size_t K = static_cast<size_t>(outputs.width), D = domains.ids.size();
  CentringExplanation result;
  result.per_domain = centres.rows > 1;
  result.outputs = outputs.width;
  result.rows = outputs.rows;
  result.temperature = temperature;

  // The mean centre: of the domains that were trained on, by their images.
  std::vector<double> common(K), none(K);
  std::vector<std::vector<double>> own;
  for (const int id : domains.ids)
    own.push_back(in_double(centres.row(result.per_domain ? id : 0)));
  if (result.per_domain) {
    double all = 0;
    for (const int id : domains.ids) all += shares[static_cast<size_t>(id)];
    for (size_t d = 0; d < D; ++d)
      for (size_t k = 0; k < K; ++k)
        common[k] += own[d][k] * shares[static_cast<size_t>(domains.ids[d])] / all;
  } else {
    common = own[0];
  }

  const OutputMeans means = means_of(outputs, domains);
  result.output_spread = means.spread;
  const double unit = means.spread > 0 ? means.spread : 1;
  for (size_t d = 0; d < D; ++d) {
    CentredDomain& found = result.domains.emplace_back();
    found.id = domains.ids[d];
    found.share = shares[static_cast<size_t>(domains.ids[d])];
    found.rows = means.rows[d];
    found.centre_distance = distance(own[d], common) / unit;
    if (found.rows == 0) continue;
    found.output_distance = distance(means.mean[d], common) / unit;
    found.left_distance = distance(means.mean[d], own[d]) / unit;
  }
  const auto way = [&](const char* name, const std::vector<std::vector<double>>& centre_of) {
    result.ways.push_back(look(name, outputs, domains, centre_of, temperature, in_bank, seed));
  };
  way("not centred", std::vector(D, none));
  way("one centre for all", std::vector(D, common));
  if (result.per_domain)
    way("own centre", own);
  else
    way("own mean", means.mean);
  result.probe_features =
      probe_domain(features, domains.of_row, static_cast<int>(D), in_bank, seed);
  result.chance = chance_of(domains.of_row, static_cast<int>(D), in_bank);
  return result;
}

CentringExplanation explain_centring(const TrainedRun& run, const std::string& run_folder,
                                     int per_domain, int in_all) {
  const RunSetup& setup = *run.setup;
  const Recipe& recipe = setup.recipe;
  if (recipe.batch.form != BatchForm::views)
    fail(ErrorKind::usage,
         "explain centring: this run ({}) was trained on groups and has no teacher; use `explain "
         "adabn` or `explain gradient-reversal`",
         recipe.name);
  if (recipe.method != Method::dino)
    fail(ErrorKind::usage,
         "explain centring: this run ({}) has no centres: only runs of method dino centre their "
         "teacher's outputs (SSL-DINO, SSL-DINO-CB, CDCL); `evaluate` and `evaluate --embeddings` "
         "say what this one's features know of the batch",
         recipe.name);
  const LoadedCheckpoint checkpoint = load_run_checkpoint(run_folder);
  SelfSupervised teacher(teacher_config(setup));
  teacher.norms().set_eps(recipe.bn.eps);
  teacher.initialise(DType::f32, recipe.seed, setup.device);
  load_teacher(teacher, checkpoint.model);

  const PairSampler sampler = pair_sampler(setup);
  const int rows = recipe.ssl.multi_center ? sampler.domains() : 1;
  Features centres(rows, static_cast<int>(recipe.ssl.outputs));
  centres.values = checkpoint.optimizer.values<float>("centres");
  if (centres.values.size() !=
      static_cast<size_t>(centres.rows) * static_cast<size_t>(centres.width))
    fail(ErrorKind::data, "{}: 'centres' has {} numbers, {} domains of {} outputs need {}",
         checkpoint.optimizer.path(), centres.values.size(), centres.rows, centres.width,
         int64_t{centres.rows} * centres.width);

  const std::vector<int64_t> images = sampler.images_of_domains();
  const double all = static_cast<double>(std::accumulate(images.begin(), images.end(), int64_t{}));
  std::vector<double> shares;
  int64_t trained = 0;
  for (const int64_t count : images) {
    shares.push_back(static_cast<double>(count) / all);
    trained += count > 0;
  }
  const int64_t epoch =
      view_steps_per_epoch(sampler, view_options(recipe), static_cast<int>(recipe.batch.anchors));
  const int64_t wanted = std::min<int64_t>(in_all, per_domain * trained);
  const int64_t batches = std::clamp(
      (wanted + 2 * recipe.batch.anchors - 1) / (2 * recipe.batch.anchors), int64_t{1}, epoch);
  const Answers answers = ask_teacher(setup, teacher, sampler, batches);

  const int64_t last = std::max<int64_t>(0, run.step - 1) / epoch;
  CentringExplanation result =
      centring_of_outputs(answers.outputs, answers.features, answers.domain, centres, shares,
                          teacher_temperature(recipe.ssl, last),
                          bank_of(setup.dataset, answers.site, recipe.seed), recipe.seed);
  result.momentum = recipe.ssl.centre_momentum;
  result.batches = batches;
  result.cross_batch = recipe.ssl.cross_batch;
  add_weights(answers, sampler, result);
  return result;
}

}  // namespace mono
