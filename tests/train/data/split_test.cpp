// The two splits, against the numbers of the paper's tables.
#include "train/data/split.h"

#include "kernels/base/error.h"
#include "tests/train/data/test_screen.h"
#include "train/setup.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

namespace mono {
namespace {

// The design of RxRx1: 51 experiments (33 train), 4 plates, 277 treatments + 30 positive controls +
// EMPTY a plate, two sites.
const Dataset& full_design() {
  static const Dataset dataset = [] {
    Dataset d;
    const std::vector<std::tuple<std::string, int, int>> types = {
        {"HEPG2", 11, 7}, {"HUVEC", 24, 16}, {"RPE", 11, 7}, {"U2OS", 5, 3}};
    for (const auto& [type, count, train] : types) {
      for (int e = 1; e <= count; ++e) {
        const int index = static_cast<int>(d.experiments.size());
        d.experiments.push_back(fmt::format("{}-{:02}", type, e));
        d.cell_type_of.push_back(static_cast<int>(d.cell_types.size()));
        for (int plate = 1; plate <= 4; ++plate)
          for (int w = 0; w < 308; ++w)
            for (int s = 1; s <= 2; ++s) {
              Site site;
              site.experiment = index;
              site.plate = plate;
              site.well = fmt::format("{}{:02}", static_cast<char>('B' + w / 22), 2 + w % 22);
              site.site = s;
              site.site_id = fmt::format("{}_{}_{}_{}", d.experiments.back(), plate, site.well, s);
              site.cell_type = type;
              site.in_test = e > train;
              if (w < 277) {
                site.sirna_id = (plate - 1) * 277 + w;
              } else {
                site.well_type = w < 307 ? WellType::positive_control : WellType::negative_control;
                site.sirna_id = kRxrxTreatments + w - 277;
              }
              d.sites.push_back(site);
            }
      }
      d.cell_types.push_back(type);
    }
    d.num_classes = kRxrxClasses;
    std::sort(d.sites.begin(), d.sites.end(),
              [](const Site& a, const Site& b) { return a.site_id < b.site_id; });
    return d;
  }();
  return dataset;
}

SplitOptions options(SplitBy by, uint64_t seed = 0) {
  SplitOptions o;
  o.by = by;
  o.seed = seed;
  o.include_incomplete = true;
  return o;
}

std::string well_of(const Site& s) {
  return s.site_id.substr(0, s.site_id.size() - 2);
}

TEST(Split, SeparatedFollowsTheColumn) {
  const Dataset& d = full_design();
  const Split split = make_split(d, options(SplitBy::separated));
  EXPECT_EQ(split.train.size(), 33u * 4 * 308 * 2);
  EXPECT_EQ(split.test.size(), 18u * 4 * 308 * 2);
  for (const int i : split.test) ASSERT_TRUE(d.sites[static_cast<size_t>(i)].in_test);
}

TEST(Split, StratifiedIsExactAtFullScale) {
  const Dataset& d = full_design();
  for (const uint64_t seed : {0u, 7u}) {
    const Split split = make_split(d, options(SplitBy::stratified, seed));
    std::map<int, std::set<int>> experiments_of_class;
    std::map<int, int> treatments_in, positives_of;
    int empties = 0;
    for (const int i : split.test) {
      const Site& s = d.sites[static_cast<size_t>(i)];
      if (s.well_type == WellType::treatment) {
        experiments_of_class[s.sirna_id].insert(s.experiment);
        ++treatments_in[s.experiment];
      } else if (s.well_type == WellType::positive_control) {
        ++positives_of[s.sirna_id];
      } else {
        ++empties;
      }
    }
    ASSERT_EQ(experiments_of_class.size(), 1108u);
    for (const auto& [id, experiments] : experiments_of_class)
      ASSERT_EQ(experiments.size(), 18u) << id;
    ASSERT_EQ(treatments_in.size(), 51u);
    for (const auto& [e, images] : treatments_in)
      ASSERT_TRUE(images == 2 * 391 || images == 2 * 392) << e << ": " << images;
    ASSERT_EQ(positives_of.size(), 30u);
    for (const auto& [id, images] : positives_of) ASSERT_EQ(images, 2 * 72) << id;
    EXPECT_EQ(empties, 2 * 72);  // of 204 wells
    // Both sites of a well are on one side; nothing is lost.
    std::map<std::string, int> side;
    for (const int i : split.test) side[well_of(d.sites[static_cast<size_t>(i)])] += 1;
    for (const auto& [well, n] : side) ASSERT_EQ(n, 2) << well;
    EXPECT_EQ(split.train.size() + split.test.size(), d.sites.size());
  }
}

TEST(Split, SeveralWellsOfATreatmentInAnExperimentPartEvenly) {
  Dataset d;
  d.cell_types = {"RPE"};
  for (int e = 0; e < 5; ++e) {
    d.experiments.push_back(fmt::format("RPE-{:02}", e + 1));
    d.cell_type_of.push_back(0);
    for (int k = 0; k < 4; ++k)
      for (int w = 0; w < 10; ++w) {
        Site site;
        site.experiment = e;
        site.plate = k % 2 + 1;
        site.well = fmt::format("{}{:02}", static_cast<char>('B' + k), 2 + w);
        site.site_id = fmt::format("{}_{}_{}_1", d.experiments.back(), site.plate, site.well);
        site.sirna_id = k;
        site.in_test = e == 4;
        d.sites.push_back(site);
      }
  }
  std::map<int, int> of_class;
  std::set<std::pair<int, int>> train_pairs, test_pairs;
  SplitOptions o = options(SplitBy::stratified);
  o.include_incomplete = true;
  const Split split = make_split(d, o);
  for (const int i : split.test) {
    const Site& s = d.sites[static_cast<size_t>(i)];
    ++of_class[s.sirna_id];
    test_pairs.emplace(s.sirna_id, s.experiment);
  }
  for (const int i : split.train)
    train_pairs.emplace(d.sites[static_cast<size_t>(i)].sirna_id,
                        d.sites[static_cast<size_t>(i)].experiment);
  EXPECT_EQ(of_class, (std::map<int, int>{{0, 10}, {1, 10}, {2, 10}, {3, 10}}));  // 1/5 of 50
  EXPECT_EQ(train_pairs.size(), 20u);
  EXPECT_GT(test_pairs.size(), 16u);
}

TEST(Split, StratifiedByImageMayPartTheSitesOfAWell) {
  const Dataset& d = full_design();
  SplitOptions o = options(SplitBy::stratified);
  o.stratified_by = StratifiedBy::image;
  const Split split = make_split(d, o);
  std::map<std::string, int> sites;
  std::map<int, int> of_class;
  for (const int i : split.test) {
    const Site& s = d.sites[static_cast<size_t>(i)];
    ++sites[well_of(s)];
    if (s.well_type == WellType::treatment) ++of_class[s.sirna_id];
  }
  EXPECT_GT(std::count_if(sites.begin(), sites.end(), [](auto& w) { return w.second == 1; }), 1000);
  for (const auto& [id, images] : of_class) ASSERT_EQ(images, 36) << id;
}

TEST(Split, SeedDecidesAndRepeats) {
  const Dataset& d = full_design();
  const auto test = [&](uint64_t seed) {
    return make_split(d, options(SplitBy::stratified, seed)).test;
  };
  EXPECT_EQ(test(3), test(3));
  EXPECT_NE(test(3), test(4));
}

TEST(Split, Table4DrawsThreeTrainingExperimentsOfOneCellType) {
  const Dataset& d = full_design();
  SplitOptions o = options(SplitBy::separated, 1);
  o.train_experiments = 3;
  const auto experiments = [&](const std::vector<int>& sites) {
    std::set<std::string> names;
    for (const int i : sites)
      names.insert(d.experiments[static_cast<size_t>(d.sites[static_cast<size_t>(i)].experiment)]);
    return names;
  };
  o.cell_types = {"U2OS"};
  Split split = make_split(d, o);
  EXPECT_THAT(experiments(split.train), testing::ElementsAre("U2OS-01", "U2OS-02", "U2OS-03"));
  EXPECT_THAT(experiments(split.test), testing::ElementsAre("U2OS-04", "U2OS-05"));
  o.cell_types = {"HUVEC"};
  split = make_split(d, o);
  EXPECT_EQ(split.train.size(), 3u * 4 * 308 * 2);
  EXPECT_EQ(experiments(split.test).size(), 8u);
  const auto first = experiments(split.train);
  o.seed = 2;
  EXPECT_NE(experiments(make_split(d, o).train), first);
  o.train_experiments = 17;
  EXPECT_THROW(make_split(d, o), Error);
}

// RxRx1-WILDS trains on the first sites of the 33 training experiments and tests on both sites of
// 14 others; the recipe's list has them.
TEST(Split, WildsTrainsOnOneSiteOfAWell) {
  const Dataset& d = full_design();
  SplitOptions o = split_options(load_recipe("wilds/erm"));
  o.include_incomplete = true;
  const Split split = make_split(d, o);
  EXPECT_EQ(split.train.size(), 33u * 4 * 308);
  EXPECT_EQ(split.test.size(), 14u * 4 * 308 * 2);
  for (const int i : split.train) EXPECT_EQ(d.sites[static_cast<size_t>(i)].site, 1);
}

TEST(Split, FiltersDoNotMoveASite) {
  const Dataset& d = full_design();
  SplitOptions o = options(SplitBy::stratified, 5);
  const Split all = make_split(d, o);
  o.experiments = {"RPE-03", "U2OS-04"};
  const Split some = make_split(d, o);
  EXPECT_EQ(some.train.size() + some.test.size(), 2u * 4 * 308 * 2);
  EXPECT_TRUE(std::includes(all.test.begin(), all.test.end(), some.test.begin(), some.test.end()));
}

TEST(Split, SmallScreen) {
  test::TempDir dir;
  std::string table = test::kHeader;
  for (int e = 1; e <= 6; ++e)
    for (int w = 2; w <= 13; ++w)
      for (int s = 1; s <= 2; ++s)
        table += test::row(fmt::format("HUVEC-{:02}", e), 1, fmt::format("B{:02}", w), s,
                           e <= 4 ? "train" : "test", w == 2 ? "negative_control" : "treatment",
                           w == 2 ? "EMPTY" : fmt::format("s{}", w), w == 2 ? 11 : w - 3);
  test::write_text(dir / "metadata.csv", table);
  const Dataset d = open_dataset(dir.path());
  const Split split = make_split(d, options(SplitBy::stratified));
  std::map<int, std::set<int>> of_class;
  for (const int i : split.test) {
    const Site& s = d.sites[static_cast<size_t>(i)];
    of_class[s.sirna_id].insert(s.experiment);
  }
  EXPECT_EQ(of_class.size(), 12u);
  for (const auto& [id, experiments] : of_class) EXPECT_EQ(experiments.size(), 2u) << id;
}

struct BadSplit {
  const char* name;
  SplitOptions options;
  ErrorKind kind;
  const char* message;
};

TEST(Split, ImpossibleOnesSayWhy) {
  test::TempDir dir;
  test::write_text(dir / "metadata.csv", test::kHeader + test::row("RPE-01", 1, "B02", 1, "train",
                                                                   "negative_control", "EMPTY", 0));
  const Dataset d = open_dataset(dir.path());
  const auto with = [](SplitBy by, auto&& change) {
    SplitOptions o = options(by);
    change(o);
    return o;
  };
  const auto nothing = [](SplitOptions&) {};
  const BadSplit cases[] = {
      {"one experiment, separated", with(SplitBy::separated, nothing), ErrorKind::data,
       "leaves no test images: column `dataset` must name at least one experiment as train and "
       "another one as test (1 experiment(s) in the table)"},
      {"one experiment, stratified", with(SplitBy::stratified, nothing), ErrorKind::data,
       "needs labelled wells of at least two experiments (1 in the table)"},
      {"images missing",
       with(SplitBy::separated, [](SplitOptions& o) { o.include_incomplete = false; }),
       ErrorKind::data, "1 sites lack images; `train_rxrx data check` lists them"},
      {"unknown experiment",
       with(SplitBy::separated, [](SplitOptions& o) { o.experiments = {"RPE-1"}; }),
       ErrorKind::usage, "experiment 'RPE-1' is not in the table; it has RPE-01"},
      {"unknown cell type",
       with(SplitBy::separated, [](SplitOptions& o) { o.cell_types = {"HeLa"}; }), ErrorKind::usage,
       "cell type 'HeLa' is not in the table; it has RPE"},
  };
  for (const BadSplit& c : cases) {
    SCOPED_TRACE(c.name);
    try {
      make_split(d, c.options);
      ADD_FAILURE() << "no error";
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), c.kind);
      EXPECT_THAT(e.what(), testing::HasSubstr(c.message));
    }
  }
}

}  // namespace
}  // namespace mono
