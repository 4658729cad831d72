// What centring does: numbers, and the page.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/train/explain/explain_run.h"
#include "train/explain/explained.h"

namespace mono {
namespace {

using test::expect_well_formed;
using test::Explain;
using test::read_page;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(ExplainCentring, MeasuresByHand) {
  // Two domains that name one prototype each, at a temperature that makes them sure.
  Features outputs(4, 2), features(4, 1), centres(2, 2);
  outputs.values = {3, 0, 5, 0, 0, 3, 0, 5};
  features.values = {0, 0, 0, 0};
  centres.values = {4, 0, 0, 4};
  const std::vector<int> domain = {0, 0, 1, 1};
  const std::vector<double> shares = {0.5, 0.5};
  const std::vector<uint8_t> in_bank = {1, 0, 1, 0};
  const CentringExplanation found =
      centring_of_outputs(outputs, features, domain, centres, shares, 0.1, in_bank, 1);
  // Within a domain one output has standard deviation 1, the other 0.
  EXPECT_NEAR(found.output_spread, std::sqrt(0.5), 1e-12);
  // Centres (4,0) and (0,4), their mean (2,2): 2 away.
  for (const CentredDomain& d : found.domains) {
    EXPECT_NEAR(d.centre_distance, 2 / std::sqrt(0.5), 1e-12);
    EXPECT_NEAR(d.output_distance, 2 / std::sqrt(0.5), 1e-12);
    EXPECT_NEAR(d.left_distance, 0, 1e-12);
  }
  ASSERT_EQ(found.ways.size(), 3u);
  EXPECT_NEAR(found.ways[0].information, 1, 1e-9);  // the prototype is the domain
  EXPECT_NEAR(found.ways[1].information, 1, 1e-9);
  EXPECT_NEAR(found.ways[2].information, 0, 1e-9);  // each domain uses both
  EXPECT_NEAR(found.ways[0].entropy, 0, 1e-9);
  EXPECT_NEAR(found.ways[2].spread, 1, 1e-9);
  EXPECT_NEAR(found.ways[2].usage[0][0], 0.5, 1e-4);
}

TEST(ExplainCentring, OneCentreLeavesDomainsToBeRead) {
  Philox random(8, Purpose::test);
  Features outputs(400, 6), features(400, 2), one(1, 6);
  std::vector<int> domain;
  std::vector<uint8_t> in_bank;
  for (int r = 0; r < 400; ++r) {
    domain.push_back(r % 2 == 0 ? 1 : 3);  // domain 0 and 2 do not occur
    in_bank.push_back(r < 200);
    for (size_t k = 0; k < 6; ++k)
      outputs.row(r)[k] = static_cast<float>(random.normal() + (k == 2 ? 6.0 * (r % 2) : 0));
    for (float& value : features.row(r)) value = static_cast<float>(random.normal());
  }
  std::vector<double> shares = {0, 0.5, 0, 0.5};
  const CentringExplanation found =
      centring_of_outputs(outputs, features, domain, one, shares, 1.0, in_bank, 1);
  EXPECT_FALSE(found.per_domain);
  EXPECT_EQ(found.domains.size(), 2u);
  EXPECT_EQ(found.domains[0].share, 0.5);
  EXPECT_GT(found.ways[0].probe->value(), 0.97);
  EXPECT_EQ(found.ways[0].probe->correct, found.ways[1].probe->correct);
  EXPECT_LT(found.ways[2].probe->value(), 0.65);  // own means
  EXPECT_LT(found.ways[2].information, 0.1 * found.ways[1].information);

  // A domain of training that no crop was of is in the list, and changes no measure of the others.
  shares = {0.2, 0.4, 0, 0.4};
  const CentringExplanation more =
      centring_of_outputs(outputs, features, domain, one, shares, 1.0, in_bank, 1);
  ASSERT_EQ(more.domains.size(), 3u);
  EXPECT_EQ(more.domains[0].rows, 0);
  EXPECT_EQ(more.domains[0].share, 0.2);
  EXPECT_EQ(more.domains[1].output_distance, found.domains[0].output_distance);
  EXPECT_EQ(more.ways[1].information, found.ways[1].information);
  EXPECT_EQ(more.ways[1].entropy, found.ways[1].entropy);
}

TEST_F(Explain, CentringOfATrainedRun) {
  const std::filesystem::path trained = train_views("cdcl");
  ExplainOptions options = options_for("centring", trained);
  options.out = folder_ / "page.html";
  const std::string text = run(options);
  EXPECT_THAT(text, AllOf(HasSubstr("a centre for each domain"), HasSubstr("own centre")));
  const JsonView json = read_json_file((folder_ / "page.json").string());
  EXPECT_TRUE(json["per_domain"].boolean());
  EXPECT_EQ(json["outputs"].integer(), 10);
  EXPECT_EQ(json["domains"].array().size(), 3u);  // HUVEC-04 is for testing
  double weights = 0;
  for (const JsonView& domain : json["domains"].array())
    weights += domain["mean_weight"].number() * domain["share"].number();
  EXPECT_NEAR(weights, 1, 1e-9);  // shares of every batch add up to one
  const std::string html = read_page(folder_ / "page.html");
  expect_well_formed(html);
  EXPECT_THAT(html,
              AllOf(HasSubstr("Pairs across domains show a rare one more often"),
                    HasSubstr("has moved from its centre"), Not(HasSubstr("expectation is"))));

  options.what = "adabn";
  EXPECT_THAT(usage_error_of(options),
              AllOf(HasSubstr("trained on views"), HasSubstr("explain centring")));
  options.what = "gradient-reversal";
  EXPECT_THAT(usage_error_of(options),
              AllOf(HasSubstr("no batch head"), HasSubstr("explain centring")));
}

TEST_F(Explain, CentringWithOneCentre) {
  const std::string text = run(options_for("centring", train_views("ssl-dino")));
  EXPECT_THAT(text, AllOf(HasSubstr("one centre for all"), HasSubstr("own mean")));
  EXPECT_THAT(read_page(folder_ / "ssl-dino" / "explain" / "centring.html"),
              AllOf(HasSubstr("not in their mean"), Not(HasSubstr("its centre follows it"))));
}

}  // namespace
}  // namespace mono
