#include "train/data/pair_sampler.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <map>
#include <set>

#include "kernels/base/error.h"
#include "tests/train/data/test_screen.h"
#include "train/data/folds.h"

namespace mono {
namespace {

using testing::AllOf;
using testing::HasSubstr;

// Sites with these labels and domains; all of them train.
struct Screen {
  PairKeys keys;
  std::vector<int> sites;
  void add(int label, int domain, int images = 1) {
    for (; images > 0; --images) {
      sites.push_back(static_cast<int>(keys.label.size()));
      keys.label.push_back(label);
      keys.domain.push_back(domain);
    }
  }
  PairSampler sampler(PairRule rule = PairRule::other_domain) const {
    return PairSampler(keys, sites, rule);
  }
  int label(int site) const { return keys.label[static_cast<size_t>(site)]; }
  int domain(int site) const { return keys.domain[static_cast<size_t>(site)]; }
};

// As in RxRx1: 16 experiments, treatments with two images each, controls with more in some.
Screen rxrx_like() {
  Screen screen;
  for (int e = 0; e < 16; ++e)
    screen.keys.domain_names.push_back(fmt::format("HUVEC-{:02}", e + 1));
  for (int label = 0; label < 12; ++label)
    screen.keys.label_names.push_back(fmt::format("s{}", label));
  for (int e = 0; e < 16; ++e)
    for (int label = 11; label >= 0; --label) screen.add(label, e, label == 11 ? 3 + e % 4 : 2);
  return screen;
}

std::set<int> partners_by_definition(const Screen& screen, int anchor) {
  std::set<int> partners;
  for (const int site : screen.sites)
    if (screen.label(site) == screen.label(anchor) && screen.domain(site) != screen.domain(anchor))
      partners.insert(site);
  return partners;
}

TEST(PairSampler, APartnerHasTheLabelAndAnotherDomainAndEachIsReached) {
  const Screen screen = rxrx_like();
  const PairSampler sampler = screen.sampler();
  for (const int anchor : {0, 1, 2, 17, 40, static_cast<int>(screen.sites.size()) - 1}) {
    const std::set<int> expected = partners_by_definition(screen, anchor);
    EXPECT_EQ(sampler.candidates(anchor), static_cast<int64_t>(expected.size()));
    std::set<int> seen;
    for (int epoch = 0; epoch < 1500; ++epoch) seen.insert(sampler.partner(1, epoch, anchor));
    EXPECT_EQ(seen, expected) << "anchor " << anchor;
  }
  EXPECT_EQ(sampler.candidates(static_cast<int>(screen.sites.size()) - 1), 30);  // s0, 15 x 2
}

// chi^2 of `draws` over their values against the same count for each of n.
double chi_square(const std::vector<int>& draws, int n) {
  std::map<int, int> counts;
  for (const int value : draws) ++counts[value];
  const double expected = static_cast<double>(draws.size()) / n;
  double sum = expected * (n - static_cast<int>(counts.size()));  // values never drawn
  for (const auto& [value, count] : counts)
    sum += (count - expected) * (count - expected) / expected;
  return sum;
}

TEST(PairSampler, PartnersAreUniform) {
  const Screen screen = rxrx_like();
  const PairSampler sampler = screen.sampler();
  const int anchor = static_cast<int>(screen.sites.size()) - 1, other = 0;
  ASSERT_EQ(sampler.candidates(anchor), 30);
  std::vector<int> draws, biased;
  for (int epoch = 0; epoch < 30000; ++epoch) {
    draws.push_back(sampler.partner(7, epoch, anchor));
    // The domain first, then an image of it, favours images of small domains: a control's.
    biased.push_back(epoch % 40 == 0 ? draws.front() : draws.back());
  }
  // 29 degrees of freedom: 58.3 is the 99.9th percentile.
  EXPECT_LT(chi_square(draws, 30), 58.3);
  EXPECT_GT(chi_square(biased, 30), 58.3) << "this test would not see a bias of 2.5 %";

  // A control: images count, whatever the size of their domain.
  std::vector<int> controls;
  for (int epoch = 0; epoch < 60000; ++epoch) controls.push_back(sampler.partner(7, epoch, other));
  const int n = static_cast<int>(sampler.candidates(other));
  EXPECT_EQ(n, 16 * 4 + 8 - 3);
  EXPECT_LT(chi_square(controls, n), 111.1);  // 68 degrees of freedom, 99.9 %

  // Over anchors of one label and domain at one epoch as over epochs.
  std::map<int, int> pairs;
  for (uint64_t seed = 0; seed < 3000; ++seed) ++pairs[sampler.partner(seed, 3, anchor)];
  EXPECT_EQ(pairs.size(), 30u);
}

TEST(PairSampler, IsAFunctionOfSeedEpochAndAnchor) {
  const Screen screen = rxrx_like();
  const PairSampler sampler = screen.sampler(), again = screen.sampler();
  std::vector<int> forwards, backwards, other_seed, other_epoch;
  for (const int anchor : screen.sites) forwards.push_back(sampler.partner(5, 2, anchor));
  for (auto it = screen.sites.rbegin(); it != screen.sites.rend(); ++it)
    backwards.push_back(again.partner(5, 2, *it));
  std::ranges::reverse(backwards);
  EXPECT_EQ(forwards, backwards);
  for (const int anchor : screen.sites) {
    other_seed.push_back(sampler.partner(6, 2, anchor));
    other_epoch.push_back(sampler.partner(5, 3, anchor));
  }
  EXPECT_NE(forwards, other_seed);
  EXPECT_NE(forwards, other_epoch);
}

TEST(PairSampler, OnlyTrainingImagesAreCandidates) {
  Screen screen = rxrx_like();
  const std::vector<int> all = screen.sites;
  std::erase_if(screen.sites, [&](int site) { return screen.domain(site) >= 3; });
  const PairSampler sampler = screen.sampler();
  std::set<int> seen;
  for (int epoch = 0; epoch < 300; ++epoch)
    seen.insert(sampler.partner(1, epoch, screen.sites[20]));
  EXPECT_EQ(seen, partners_by_definition(screen, screen.sites[20]));
  EXPECT_THROW(sampler.partner(1, 0, all.back()), Error);  // a test image
  const std::vector<int64_t> images = sampler.images_of_domains();
  ASSERT_EQ(images.size(), 16u);
  EXPECT_EQ(images[0], 25);
  EXPECT_EQ(images[2], 27);
  EXPECT_EQ(images[3], 0);
}

TEST(PairSampler, WithoutAnotherDomainItSaysSoOrTakesTheLabelsOwn) {
  Screen screen;
  screen.keys.domain_names = {"SQ00015198", "SQ00015230"};
  screen.keys.label_names = {"DMSO", "orantinib", "lonafarnib"};
  screen.add(0, 0, 2), screen.add(0, 1, 2), screen.add(1, 1, 3), screen.add(2, 0, 1);
  try {
    screen.sampler();
    FAIL() << "images without a partner went unnoticed";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::data);
    EXPECT_THAT(error.what(), AllOf(HasSubstr("4 of 8 training images"), HasSubstr("orantinib"),
                                    HasSubstr("3 images"), HasSubstr("SQ00015230"),
                                    HasSubstr("1 more label"), HasSubstr("leave")));
  }
  const PairSampler sampler = screen.sampler(PairRule::other_domain_if_any);
  const auto reached = [&](int anchor) {
    std::set<int> seen;
    for (int epoch = 0; epoch < 200; ++epoch) seen.insert(sampler.partner(1, epoch, anchor));
    return seen;
  };
  EXPECT_EQ(reached(0), (std::set{2, 3}));
  EXPECT_EQ(reached(5), (std::set{4, 5, 6}));  // the anchor itself is one of them
  EXPECT_EQ(reached(7), (std::set{7}));
}

TEST(PairSampler, BadInputIsRefused) {
  Screen empty;
  try {
    empty.sampler();
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    EXPECT_THAT(error.what(), HasSubstr("no training images"));
  }
  Screen unlabelled = rxrx_like();
  unlabelled.keys.label[5] = -1;
  EXPECT_THROW(unlabelled.sampler(), Error);
  EXPECT_EQ(unlabelled.sampler(PairRule::self).partner(1, 0, 5), 5);  // needs none
}

// Fold 1 trains on 16 experiments: a treatment has a well in each, with two images; a positive
// control four.
TEST(PairSampler, RxRx1HasTheCandidatesThatItsDesignGives) {
  const auto table = test::real_data("metadata_reconstructed.csv");
  if (table.empty()) GTEST_SKIP() << "../shared/data is not at hand";
  test::TempDir dir;
  std::filesystem::create_symlink(table, dir / "metadata.csv");
  const Dataset dataset = open_dataset(dir.path());
  FoldOptions fold;
  fold.cell_type = "HUVEC";
  fold.include_incomplete = true;
  const Split split = make_folds(dataset, fold);
  const PairSampler sampler(pair_keys(dataset, PairDomain::experiment), split.train,
                            PairRule::other_domain);
  std::map<WellType, std::map<int64_t, int>> images;  // by number of candidates
  for (const int site : split.train)
    ++images[dataset.sites[static_cast<size_t>(site)].well_type][sampler.candidates(site)];
  const auto usual = [&](WellType type) {
    return std::ranges::max_element(images[type], {}, [](const auto& e) { return e.second; })
        ->first;
  };
  EXPECT_EQ(usual(WellType::treatment), 30);
  EXPECT_EQ(images[WellType::treatment].rbegin()->first, 30);  // fewer where an image is missing
  EXPECT_EQ(usual(WellType::positive_control), 120);
  for (int epoch = 0; epoch < 3; ++epoch)
    for (size_t i = 0; i < split.train.size(); i += 7) {
      const Site& anchor = dataset.sites[static_cast<size_t>(split.train[i])];
      const int at = sampler.partner(1, epoch, split.train[i]);
      ASSERT_TRUE(std::ranges::binary_search(split.train, at));
      const Site& partner = dataset.sites[static_cast<size_t>(at)];
      ASSERT_EQ(partner.sirna_id, anchor.sirna_id);
      ASSERT_NE(partner.experiment, anchor.experiment);
    }
}

TEST(PairSampler, KeysAreTreatmentAndExperimentOrPlate) {
  Dataset dataset;
  dataset.experiments = {"HUVEC-01", "HUVEC-02"};
  dataset.class_names = {"s1", "s2"};
  const auto add = [&](int experiment, int plate, int label) {
    Site site;
    site.experiment = experiment;
    site.plate = plate;
    site.sirna_id = label;
    dataset.sites.push_back(site);
  };
  add(0, 2, 1), add(0, 1, 0), add(1, 3, 1), add(0, 2, 0);
  const PairKeys experiment = pair_keys(dataset, PairDomain::experiment);
  EXPECT_EQ(experiment.label, (std::vector{1, 0, 1, 0}));
  EXPECT_EQ(experiment.domain, (std::vector{0, 0, 1, 0}));
  EXPECT_EQ(experiment.domain_names, dataset.experiments);
  const PairKeys plate = pair_keys(dataset, PairDomain::plate);
  EXPECT_EQ(plate.domain, (std::vector{1, 0, 2, 1}));
  EXPECT_EQ(plate.domain_names,
            (std::vector<std::string>{"HUVEC-01 plate 1", "HUVEC-01 plate 2", "HUVEC-02 plate 3"}));
  dataset.plate_names = {{"A", "B"}, {"C", "D", "E"}};  // of one's own
  EXPECT_EQ(pair_keys(dataset, PairDomain::plate).domain_names,
            (std::vector<std::string>{"HUVEC-01 plate A", "HUVEC-01 plate B", "HUVEC-02 plate E"}));
  const std::vector<int> sites = {0, 1, 3};
  EXPECT_EQ(PairSampler(plate, sites, PairRule::other_domain_if_any).candidates(1), 1);
}

}  // namespace
}  // namespace mono
