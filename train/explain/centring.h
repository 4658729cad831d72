// Domain centring under the microscope: what the teacher of a DINO or CDCL run puts out for each
// domain, and what is left of the domain behind each way to centre it.
//
//   P = softmax((f(x) - C) / temperature)    C = 0, one centre for all, or C_d of x's own domain
//   centres       the checkpoint's; "one for all" of a run with a centre per domain is their mean,
//                 weighted by the domains' shares of the training images
//   spread        root mean square over the K outputs of their standard deviation within a domain:
//                 the unit of all distances, which are root mean squares over the outputs as well
//   entropy       of P, mean over images, as a share of ln K; 1: the teacher names nothing
//   information   between the prototype named (k ~ P) and the domain, as a share of the domains'
//                 entropy: H(mean P) - sum_d p_d H(mean P of d); 0: no prototype belongs to a
//                 domain. Positive even by chance, about (K - 1)(D - 1) / (2 n) nats for n images;
//                 compare the ways, not one of them with 0.
//   weights       w_d = (share of d in a batch) / (share of d in training), at most 10. Its mean is
//                 1 where images are drawn alike; partners from other domains raise it for rare
//                 ones
// The rows are the global crops of training: the first batches of the run's first epoch.
// Source: CDCL (Haslum et al. 2023) section 3.3; nn/domain/domain_centring.h.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "nn/functional/nearest.h"
#include "train/evaluate/figures.h"
#include "train/evaluate/trained_run.h"

namespace mono {

struct CentredDomain {
  int id = 0;  // in the run
  std::string name;
  double share = 0;             // of the training images
  int64_t rows = 0;             // that were looked at; 0: there is no mean output
  double centre_distance = 0;   // of C_d from the mean centre; 0 with one centre for all
  double output_distance = 0;   // of the mean of its outputs from the mean centre
  double left_distance = 0;     // of the same from C_d: what centring leaves
  std::vector<double> weights;  // w_d in each batch that has the domain
  double mean_weight = 0;       // over all batches, 0 where it was absent
};

struct CentringWay {  // behind one way to centre
  std::string name;
  double entropy = 0, spread = 0;  // spread: entropy of the mean P, as a share of ln K
  double information = 0;
  std::optional<Share> probe;              // of the domain, on the centred outputs
  std::vector<std::vector<double>> usage;  // [domain] mean P (K)
};

struct CentringExplanation {
  bool per_domain = false;   // the run's centres
  bool cross_batch = false;  // pairs are of two domains
  int outputs = 0;           // K
  double temperature = 0;    // the teacher's, at the checkpoint
  double momentum = 0;
  int64_t batches = 0, rows = 0, clamped = 0;  // clamped: weights that were stopped at most_weight
  double output_spread = 0;                    // the unit
  double chance = 1;
  std::vector<CentredDomain> domains;   // of training
  std::vector<CentringWay> ways;        // none, one centre for all, own centre (where there is one)
  std::optional<Share> probe_features;  // of the domain, on the backbone's features
};

// `run_folder`: of `run`. Errors: usage (a run without a teacher's centres; says what to use),
// data (a damaged checkpoint, an image that cannot be read).
CentringExplanation explain_centring(const TrainedRun& run, const std::string& run_folder,
                                     int per_domain, int in_all);

// The same from what the teacher gave: outputs (rows, K) and features, in the order of `domain`;
// centres (domains or 1, K); shares [domain] of the training images, 0: not trained on; `in_bank`
// [row] for probes. Fills all but names and what concerns batches.
CentringExplanation centring_of_outputs(FeatureView outputs, FeatureView features,
                                        std::span<const int> domain, FeatureView centres,
                                        std::span<const double> shares, double temperature,
                                        std::span<const uint8_t> in_bank, uint64_t seed);

}  // namespace mono
