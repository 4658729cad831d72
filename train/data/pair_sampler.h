// Which image an image is paired with: another one of the same label from another domain.
//
// CDCL (Haslum et al. 2023, section 3.1) shows a network one treatment in two batches, so that what
// the views share is the treatment. For each anchor the partner is uniform over all training images
// of the anchor's label outside the anchor's domain, images and not wells: a control, of which an
// experiment has many, is drawn by their number.
//
// An index sorted by label and, inside a label, by domain makes this one draw: of the label's n
// images, b of them the anchor's domain's in a row, r uniform in [0, n - b) skips these b.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "train/data/dataset.h"

namespace mono {

enum class PairDomain : uint8_t { experiment, plate };
enum class PairRule : uint8_t {
  self,          // an image is its own partner: no cross-batch training
  other_domain,  // every training image must have a partner (CDCL on RxRx1)
  // Where no other domain holds the label, any image of the label, the anchor included (CDCL on
  // CPG0004).
  other_domain_if_any,
};

// What every site is for pairing; both numbered from 0, with a name each for messages.
struct PairKeys {
  std::vector<int> label, domain;  // [site of the dataset]; label -1: unknown
  std::vector<std::string> label_names, domain_names;
};
// Label: the treatment (Site::sirna_id). Domain: the experiment, numbered as in
// Dataset::experiments, or the plate, numbered by experiment and plate.
PairKeys pair_keys(const Dataset& dataset, PairDomain domain);

class PairSampler {
 public:
  // `sites` are the training images: every anchor and every partner. Errors: data for a site
  // without a label, and, under other_domain, where images have no partner: how many, and for the
  // first label its name, domain and the remedy. Usage for an empty training set.
  PairSampler(PairKeys keys, std::span<const int> sites, PairRule rule);

  // A function of its arguments alone; O(1). `anchor` is one of the training images.
  int partner(uint64_t seed, int64_t epoch, int anchor) const;
  // How many images the partner is drawn from.
  int64_t candidates(int anchor) const;

  const std::vector<int>& sites() const { return sites_; }
  const PairKeys& keys() const { return keys_; }
  PairRule rule() const { return rule_; }
  int domains() const { return static_cast<int>(keys_.domain_names.size()); }
  // Training images of each domain (n_d of the centres' update).
  std::vector<int64_t> images_of_domains() const;

 private:
  struct Range {  // of order_
    int begin = 0, end = 0;
    int size() const { return end - begin; }
  };
  struct Block {
    Range label, own;  // the label's images, and among them the domain's
  };
  const Block& block_of(int anchor) const;
  void check_partners() const;

  PairKeys keys_;
  std::vector<int> sites_;
  PairRule rule_;
  std::vector<int> order_;  // training images by label, domain, site
  std::vector<Block> blocks_;
  std::vector<int> block_of_;  // [site] -> block; -1: not a training image
};

}  // namespace mono
