// The papers' figures on small data: the numbers behind them against plain counting, and what their
// captions say of what is missing.
#include "train/report/figures.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "kernels/base/error.h"
#include "kernels/base/philox.h"
#include "tests/train/data/test_screen.h"
#include "tests/train/report/markup.h"
#include "train/data/montage.h"
#include "train/data/png.h"
#include "train/evaluate/sample_distance.h"
#include "train/evaluate/shapley.h"

namespace mono::report {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

// Images of `experiments` experiments of two cell types and `treatments` treatments, two of each.
EmbeddedImages embedding(const std::string& title, int experiments, int treatments) {
  EmbeddedImages images;
  images.title = title;
  images.experiment.names.push_back("<script>alert(1)</script>");
  for (int e = 1; e < experiments; ++e) images.experiment.names.push_back(fmt::format("E-{}", e));
  images.cell_type.names = {"HUVEC", "RPE"};
  for (int t = 0; t < treatments; ++t) images.treatment.names.push_back(fmt::format("s{}", t));
  Philox draw(3, Purpose::test);
  images.features.width = 8;
  for (int e = 0; e < experiments; ++e)
    for (int t = 0; t < treatments; ++t)
      for (int copy = 0; copy < 2; ++copy) {
        images.experiment.of.push_back(e);
        images.cell_type.of.push_back(e % 2);
        images.treatment.of.push_back(t);
        for (int c = 0; c < 8; ++c)
          images.features.values.push_back(
              static_cast<float>((c == t % 8) + 0.5 * (c == e % 8) + 0.2 * draw.uniform()));
        ++images.features.rows;
      }
  return images;
}

double number(const Figure& figure, const char* list, size_t at, const char* key) {
  return parse_json(figure.numbers.text(), "figure")[list].array().at(at)[key].number();
}

TEST(UmapFigure, DrawsEveryMethodAndCountsCompany) {
  const std::vector<EmbeddedImages> methods = {embedding("Baseline", 4, 6),
                                               embedding("AdaBN", 4, 6)};
  const Figure figure =
      umap_figure(methods, {.name = "cdcl_fig2", .z_norm = true, .inset = true, .seed = 5});
  ASSERT_EQ(figure.panels.size(), 4u);  // as it is and Z-normed
  EXPECT_THAT(figure.panels[1].text(), HasSubstr("Baseline + Z-norm"));
  EXPECT_THAT(figure.panels[0].text(), HasSubstr("&lt;script&gt;"));
  EXPECT_THAT(figure.panels[0].text(), Not(HasSubstr("<script>")));
  EXPECT_THAT(figure.panels[0].text(), HasSubstr("by treatment"));
  EXPECT_EQ(figure.table.rows.size(), 4u);
  EXPECT_EQ(number(figure, "panels", 0, "images"), 48);
  // 11 others of its experiment among 47, 7 of its treatment.
  EXPECT_NEAR(number(figure, "panels", 0, "same_experiment_by_chance"), 11.0 / 47, 1e-12);
  EXPECT_NEAR(number(figure, "panels", 0, "same_treatment_by_chance"), 7.0 / 47, 1e-12);
  // Treatments differ more than experiments do, and after Z-norm experiments do not.
  EXPECT_GT(number(figure, "panels", 0, "same_treatment"), 0.3);
  EXPECT_LT(number(figure, "panels", 1, "same_experiment"), 0.35);
  EXPECT_GT(number(figure, "panels", 0, "trustworthiness"), 0.7);
  const UmapFigureOptions alone{.name = "x", .z_norm = false, .inset = true, .seed = 5};
  EXPECT_EQ(umap_figure({&methods[1], 1}, alone).panels[0].text(), figure.panels[2].text());
  EXPECT_THAT(figure.caption, HasSubstr("of images (Euclidean distance, 15 neighbours, seed 5)"));
  EXPECT_THAT(figure.caption, Not(HasSubstr("one run")));
}

TEST(UmapFigure, SaysWhichImagesOfWhichRunAndWhatIsNotKnown) {
  std::vector<EmbeddedImages> methods = {embedding("Baseline", 2, 3), embedding("AdaBN", 2, 3)};
  for (EmbeddedImages& method : methods) method.of = "test images";
  methods[0].run = "seed 1";
  methods[1].run = "seed 2";
  methods[1].treatment.of.assign(12, -1);
  const Figure figure = umap_figure(methods);
  EXPECT_THAT(figure.caption, HasSubstr("of test images (Euclidean distance, at most 15"));
  EXPECT_THAT(figure.caption, HasSubstr("one run is shown: seed 1 (Baseline), seed 2 (AdaBN)."));
  EXPECT_EQ(figure.table.rows[0][2].text, "11");  // nearest points of 12
  EXPECT_THAT(figure.panels[0].text(), HasSubstr("Of the 11 nearest points"));
  EXPECT_EQ(figure.table.rows[1][5].text, "–");  // not 0.0 %
  EXPECT_EQ(figure.table.rows[1][6].text, "–");
  EXPECT_THAT(figure.panels[1].text(), Not(HasSubstr("same treatment")));
  EXPECT_TRUE(
      parse_json(figure.numbers.text(), "figure")["panels"].array()[1]["same_treatment"].is_null());
}

TEST(UmapFigure, DrawsASampleOfManyAndSaysSo) {
  const std::vector<EmbeddedImages> methods = {embedding("Baseline", 4, 6)};
  const Figure figure = umap_figure(methods, {.most_images = 20});
  EXPECT_EQ(number(figure, "panels", 0, "images"), 20);
  EXPECT_THAT(figure.caption, HasSubstr("At most 20 images"));
}

// The pairs of each distribution, by a loop over all pairs.
std::vector<double> pairs(const EmbeddedImages& images, bool within, bool same) {
  std::vector<double> values;
  const Features unit = l2_normalised(images.features);
  for (size_t a = 0; a < images.treatment.of.size(); ++a)
    for (size_t b = 0; b < a; ++b) {
      if (images.cell_type.of[a] != images.cell_type.of[b] ||
          (images.experiment.of[a] == images.experiment.of[b]) != within ||
          (images.treatment.of[a] == images.treatment.of[b]) != same ||
          images.treatment.of[a] < 0 || images.treatment.of[b] < 0)
        continue;
      double sum = 0;
      for (size_t c = 0; c < 8; ++c)
        sum += static_cast<double>(unit.row(static_cast<int>(a))[c]) *
               static_cast<double>(unit.row(static_cast<int>(b))[c]);
      values.push_back(sum);
    }
  return values;
}

TEST(SimilarityFigure, CountsEveryPairOfEachKind) {
  std::vector<EmbeddedImages> methods = {embedding("Baseline", 5, 4)};
  methods[0].treatment.of[7] = -1;  // unknown: left out
  const Figure figure = similarity_figure(methods);
  ASSERT_EQ(figure.panels.size(), 2u);
  for (const bool within : {true, false}) {
    const std::vector<double> same = pairs(methods[0], within, true),
                              different = pairs(methods[0], within, false);
    const size_t at = within ? 0 : 1;
    EXPECT_EQ(number(figure, "panels", at, "pairs_same"), static_cast<double>(same.size()));
    EXPECT_EQ(number(figure, "panels", at, "pairs_different"),
              static_cast<double>(different.size()));
    EXPECT_NEAR(number(figure, "panels", at, "ks"), ks_statistic(same, different), 1e-12);
    EXPECT_NEAR(number(figure, "panels", at, "wasserstein"), wasserstein1(same, different), 1e-12);
  }
  EXPECT_THAT(figure.caption, HasSubstr("Every pair counts"));
  EXPECT_THAT(figure.caption, HasSubstr("of the same cell type"));
  EXPECT_THAT(figure.panels[0].text(), HasSubstr("KS"));
  methods[0].cell_type = {};
  methods[0].of = "training images";
  EXPECT_THAT(
      similarity_figure(methods).caption,
      ::testing::AllOf(HasSubstr("pairs of training images"),
                       HasSubstr("(cell types are not known)"), Not(HasSubstr("same cell type"))));
}

// 100 treatments of two equal images each, and one of 15 images at right angles: 205 pairs.
TEST(SimilarityFigure, DrawsPairsOfSmallAndLargeTreatmentsAlike) {
  EmbeddedImages images;
  images.title = "AdaBN";
  images.experiment.names = {"E"};
  images.features = Features(215, 16);
  for (int i = 0; i < 215; ++i) {
    images.experiment.of.push_back(0);
    images.treatment.of.push_back(std::min(i / 2, 100));
    images.features.row(i)[i < 200 ? 15 : static_cast<size_t>(i - 200)] = 1;
  }
  const Figure figure = similarity_figure({&images, 1}, {.most_pairs = 204});
  EXPECT_EQ(number(figure, "panels", 0, "pairs_same"), 205);
  EXPECT_EQ(number(figure, "panels", 0, "drawn_same"), 204);
  EXPECT_NEAR(number(figure, "panels", 0, "mean_same"), 100.0 / 205, 0.09);
}

TEST(SimilarityFigure, DrawsPairsWhereThereAreManyAndNamesWhatIsAbsent) {
  const std::vector<EmbeddedImages> methods = {embedding("AdaBN", 2, 20)};  // one of each cell type
  const Figure figure = similarity_figure(methods, {.most_pairs = 500, .seed = 4});
  ASSERT_EQ(figure.panels.size(), 1u);
  EXPECT_THAT(figure.caption, HasSubstr("AdaBN, across experiments: there are no"));
  EXPECT_THAT(figure.caption, HasSubstr("more than 500 pairs"));
  EXPECT_EQ(number(figure, "panels", 0, "pairs_different"), 2 * (40 * 39 / 2 - 20));
  EXPECT_EQ(number(figure, "panels", 0, "drawn_different"), 500);
  EXPECT_EQ(number(figure, "panels", 0, "drawn_same"), 40);
  EXPECT_NEAR(number(figure, "panels", 0, "ks"),
              ks_statistic(pairs(methods[0], true, true), pairs(methods[0], true, false)), 0.08);
}

ChannelAccuracies three_channels() {
  return channel_accuracies("Baseline", {"1 nuclei", "2 ER", "3 actin"}, 0.1,
                            {{"1", {0.2}},
                             {"2", {0.5}},
                             {"12", {0.55}},
                             {"3", {0.3}},
                             {"13", {0.4}},
                             {"23", {0.6}},
                             {"123", {0.57, 0.59}}});
}

TEST(ChannelFigures, ShapleyValuesSumToTheFullModelLessChance) {
  const ChannelAccuracies method = three_channels();
  const Figure figure = shapley_figure({&method, 1});
  double sum = 0;
  const JsonView numbers = parse_json(figure.numbers.text(), "figure");
  for (const JsonView& value : numbers["methods"].array()[0]["shapley"].array())
    sum += value.number();
  EXPECT_NEAR(sum, 0.48, 1e-12);
  EXPECT_THAT(figure.caption, HasSubstr("Baseline: 48.00 = 58.00 − 10.00 (chance)"));
  EXPECT_THAT(figure.caption, HasSubstr("(1 to 2 seeds of each)"));
  EXPECT_THAT(figure.panels[0].text(), HasSubstr("2 ER"));
  ChannelAccuracies partial = method;
  partial.accuracy[5] = {};
  try {
    shapley_figure({&partial, 1});
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::data);
    EXPECT_THAT(error.what(), HasSubstr("channels 13 was not run"));
  }
}

TEST(ChannelFigures, AccuraciesBySeedBecomeMeansOfSubsets) {
  const ChannelAccuracies method =
      channel_accuracies("AdaBN", {"a", "b"}, 0.25, {{"1", {0.5}}, {"12", {0.6, 0.8}}});
  EXPECT_EQ(method.accuracy[0].mean, 0.25);
  EXPECT_EQ(method.accuracy[1].mean, 0.5);
  EXPECT_FALSE(method.accuracy[1].sd);
  EXPECT_EQ(method.accuracy[2].count, 0u);
  EXPECT_EQ(method.accuracy[3].count, 2u);
  EXPECT_NEAR(method.accuracy[3].mean, 0.7, 1e-12);
  EXPECT_NEAR(*method.accuracy[3].sd, std::sqrt(0.02), 1e-12);
}

TEST(ChannelFigures, SubsetsComeBySizeThenByAccuracy) {
  ChannelAccuracies method = three_channels();
  method.accuracy[4] = {};  // channel 3
  const Figure figure = channel_subsets_figure(method);
  std::vector<std::string> order;
  for (const std::vector<Cell>& row : figure.table.rows) order.push_back(row[0].text);
  EXPECT_THAT(order, ElementsAre("2", "1", "3", "23", "12", "13", "123"));
  EXPECT_THAT(figure.caption, HasSubstr("Best: channels 23 with 60.0 %; all channels: 58.0 %"));
  EXPECT_THAT(figure.caption, HasSubstr("One subset was not run"));
  EXPECT_THAT(figure.caption, HasSubstr("(1 to 2 seeds of each; bars: one standard deviation)"));
  EXPECT_EQ(figure.table.rows[6][2].text, "1.4");  // of 57 and 59
  EXPECT_EQ(figure.table.rows[6][3].text, "2");
  EXPECT_EQ(figure.table.rows[2][3].text, "0");
  ChannelAccuracies six{.title = "AdaBN", .names = {"1", "2", "3", "4", "5", "6"}, .accuracy = {}};
  for (int s = 0; s < 64; ++s) six.accuracy.push_back(spread_of({s / 64.0}));
  EXPECT_EQ(channel_subsets_figure(six).table.rows.size(), 63u);
}

TEST(CurvesFigure, MeanAndDeviationOverSeeds) {
  const std::vector<AccuracyCurves> methods = {
      {"AdaBN", {{1, {1, 2}, {0.5, 0.9}}, {2, {1, 2}, {0.3, 0.8}}}}};
  const Figure figure = accuracy_curves_figure(methods);
  EXPECT_THAT(figure.caption, HasSubstr("2 seeds"));
  ASSERT_EQ(figure.table.rows.size(), 1u);
  EXPECT_EQ(figure.table.rows[0][3].text, "85.0");
  EXPECT_EQ(figure.table.rows[0][4].text, "7.1");  // of 80 and 90
  EXPECT_THAT(accuracy_curves_figure({}).caption, HasSubstr("no runs"));

  // One seed has not come to the end: the figures there are those of the others.
  const std::vector<AccuracyCurves> uneven = {
      {"AdaBN", {{1, {1, 2}, {0.5, 0.9}}, {2, {1}, {0.3}}, {3, {}, {}}}}};
  const Figure partial = accuracy_curves_figure(uneven);
  EXPECT_EQ(partial.table.rows[0][1].text, "1");
  EXPECT_EQ(partial.table.rows[0][3].text, "90.0");
  EXPECT_EQ(partial.table.rows[0][4].text, "–");
  EXPECT_THAT(partial.caption, HasSubstr("2 seeds"));
}

std::vector<std::string> shapes(const Figure& figure) {
  std::vector<std::string> texts;
  for (const std::vector<Cell>& row : figure.table.rows) texts.push_back(row[1].text);
  return texts;
}

TEST(ModelFigure, StagesAndShapesAreThoseOfTheBuiltModel) {
  const ModelOptions model{
      .channels = 5, .classes = 12, .rxrx1 = {.width = 64, .batch_classes = 7}};
  const Figure figure = model_figure("rxrx1_densenet_smoke", model, {.image_size = 64});
  EXPECT_THAT(shapes(figure), ElementsAre("32 × 32 × 32", "16 × 16 × 80", "8 × 8 × 104",
                                          "4 × 4 × 116", "116", "64", "64", "12", "7"));
  EXPECT_THAT(figure.panels[0].text(), HasSubstr("64 × 64 × 5"));
  EXPECT_THAT(figure.panels[0].text(), HasSubstr("7 × 7 × 5"));
  EXPECT_THAT(figure.panels[0].text(), HasSubstr("detached"));
  EXPECT_THAT(figure.caption, HasSubstr("nowhere negative"));
}

std::vector<std::string> operations(const Figure& figure) {
  std::vector<std::string> texts;
  for (const std::vector<Cell>& row : figure.table.rows) texts.push_back(row[0].text);
  return texts;
}

// Those that the code applies, whatever the signs of an output happen to be.
TEST(ModelFigure, HasTheReLUsOfTheModelAndNoOthers) {
  ModelOptions model{.channels = 5, .classes = 12, .rxrx1 = {.width = 64, .batch_classes = 7}};
  const Figure figure = model_figure("rxrx1_densenet_smoke", model, {.image_size = 64});
  EXPECT_EQ(operations(figure)[0], "convolution, batch norm, ReLU");
  EXPECT_EQ(operations(figure)[5], "linear, batch norm, ReLU");
  EXPECT_EQ(operations(figure)[6], "linear, batch norm, ReLU");
  EXPECT_THAT(operations(figure)[3], HasSubstr("batch norm, ReLU"));
  model.rxrx1.relu_before_pool = false;
  const std::string last =
      operations(model_figure("rxrx1_densenet_smoke", model, {.image_size = 64}))[3];
  EXPECT_THAT(last, HasSubstr("batch norm"));
  EXPECT_THAT(last, Not(HasSubstr("ReLU")));
  const Figure transformer = model_figure("cdcl_deit_smoke", {.classes = 9}, {.image_size = 64});
  for (const std::string& text : operations(transformer)) EXPECT_THAT(text, Not(HasSubstr("ReLU")));
  EXPECT_THAT(transformer.caption, Not(HasSubstr("ReLU")));
}

TEST(ModelFigure, OfADenseNetAndOfATransformer) {
  const Figure dense = model_figure("rxrx1_densenet_smoke", {}, {.image_size = 64});
  EXPECT_THAT(dense.table.rows[1][0].text, HasSubstr("max pool, dense block, "));
  EXPECT_THAT(dense.table.rows[1][0].text, Not(HasSubstr("dense block, 0")));
  EXPECT_THAT(dense.panels[0].text(), HasSubstr("detached"));
  const Figure reversed = model_figure("rxrx1_densenet_smoke", {},
                                       {.image_size = 64, .batch_head = BatchHead::Mode::reversed});
  EXPECT_THAT(reversed.panels[0].text(), HasSubstr("gradient reversed"));
  EXPECT_THAT(reversed.panels[0].text(), Not(HasSubstr("detached")));
  const Figure transformer = model_figure("cdcl_deit_smoke", {.classes = 9}, {.image_size = 64});
  EXPECT_EQ(shapes(transformer).back(), "9");
  EXPECT_THAT(transformer.panels[0].text(), HasSubstr("attention"));
  EXPECT_THAT(transformer.panels[0].text(), Not(HasSubstr("detached")));
}

class MontageFigures : public ::testing::Test {
 protected:
  MontageFigures() {
    test::write_text(dir_ / "metadata.csv", test::small_table());
    test::write_images(dir_.path(), 16);
    dataset_ = open_dataset(dir_.path());
    images_ = open_images(dataset_);
  }
  static PngInfo picture(const Figure& figure) {
    const PngInfo info = png_header(figure.png, "figure");
    std::vector<uint8_t> pixels(info.bytes());
    decode_png(figure.png, "figure", info, pixels.data());
    return info;
  }
  test::TempDir dir_;
  Dataset dataset_;
  std::unique_ptr<ImageSource> images_;
};

TEST_F(MontageFigures, ShowWhatThereIsAndSayWhatTheScreenLacks) {
  const MontageFigureOptions options{.tile = 120};
  const Figure figure =
      treatments_by_experiment_figure("rxrx1_fig3", dataset_, *images_, 5, 5, false, options);
  // Two experiments; one treatment, then the two controls.
  const PngInfo info = picture(figure);
  EXPECT_EQ(info.width, 2 * 126 + 6);
  EXPECT_THAT(figure.caption, HasSubstr("3 of the 5 treatments"));
  EXPECT_THAT(figure.caption, HasSubstr("2 of the 5 experiments"));
  EXPECT_THAT(figure.caption, HasSubstr("nuclei 0–51"));
  const Figure turned =
      treatments_by_experiment_figure("cdcl_fig3", dataset_, *images_, 2, 2, true, options);
  EXPECT_EQ(picture(turned).width, 2 * 126 + 6);
  EXPECT_THAT(turned.caption, Not(HasSubstr("The screen has")));

  EXPECT_EQ(picture(channels_figure(dataset_, *images_, options)).width, 4 * 126 + 6);
  const Figure types = cell_types_figure(dataset_, *images_, options);
  EXPECT_GT(picture(types).height, 2 * 126);
  EXPECT_THAT(types.caption, HasSubstr("1 of the 4 cell types"));

  EXPECT_EQ(channels_figure(dataset_, *images_, options).png,
            channels_figure(dataset_, *images_, options).png);
}

// The sites that a figure shows, row by row.
std::vector<const Site*> shown_sites(const Figure& figure, const Dataset& dataset) {
  std::vector<const Site*> sites;
  for (const JsonView& id : parse_json(figure.numbers.text(), "figure")["sites"].array())
    sites.push_back(&*std::ranges::find(dataset.sites, id.string(), &Site::site_id));
  return sites;
}

TEST_F(MontageFigures, ShowTheTreatmentsOfTheirRowsInTheExperimentsOfTheirColumns) {
  constexpr int kTile = 16;  // the images' own size: nothing is resized
  for (const bool turned : {false, true}) {
    const Figure figure =
        treatments_by_experiment_figure("x", dataset_, *images_, 2, 2, turned, {.tile = kTile});
    const std::vector<const Site*> sites = shown_sites(figure, dataset_);
    ASSERT_EQ(sites.size(), 4u);
    EXPECT_EQ(sites[0]->experiment, 0);
    EXPECT_EQ(sites[3]->experiment, 1);
    EXPECT_NE(sites[0]->sirna, sites[3]->sirna);
    EXPECT_EQ(sites[turned ? 2 : 1]->sirna, sites[0]->sirna);
    EXPECT_EQ(sites[turned ? 2 : 1]->experiment, 1);
    EXPECT_EQ(sites[turned ? 1 : 2]->sirna, sites[3]->sirna);
    EXPECT_EQ(sites[turned ? 1 : 2]->experiment, 0);

    const PngInfo info = png_header(figure.png, "figure");
    std::vector<uint8_t> pixels(info.bytes());
    decode_png(figure.png, "figure", info, pixels.data());
    const int row_height = (info.height - 6) / 2, top = 6 + row_height - kTile - 12;
    for (int t = 0; t < 4; ++t) {
      // The same site by itself.
      const int site = static_cast<int>(sites[static_cast<size_t>(t)] - dataset_.sites.data());
      const Picture alone =
          draw_grid(dataset_, *images_, {{"", {{site, -1, ""}}}}, kTile, MontageScale::fixed);
      for (int y = 0; y < kTile; ++y) {
        const auto at = pixels.begin() +
                        ((t / 2 * row_height + top + y) * info.width + 6 + t % 2 * (kTile + 6)) * 3;
        const auto expected =
            alone.rgb.begin() + ((alone.height - kTile - 12 + y) * alone.width + 6) * 3;
        EXPECT_TRUE(std::equal(at, at + kTile * 3, expected)) << t << ' ' << y;
      }
    }
  }
}

// Plate numbers are those of the screen, however large; sites of one row are of one plate.
TEST_F(MontageFigures, DoNotTakeAPlateForAnotherExperiments) {
  Dataset dataset = dataset_;
  for (Site& site : dataset.sites)
    if (site.experiment == 0) site.plate += 64;
  for (uint64_t seed = 0; seed < 6; ++seed) {
    const Figure figure = cell_types_figure(dataset, *images_, {.tile = 16, .seed = seed});
    const std::vector<const Site*> sites = shown_sites(figure, dataset);
    ASSERT_EQ(sites.size(), 4u);  // three on a plate, one of the only cell type
    for (size_t t = 1; t < 3; ++t) {
      EXPECT_EQ(sites[t]->experiment, sites[0]->experiment);
      EXPECT_EQ(sites[t]->plate, sites[0]->plate);
    }
  }
}

TEST_F(MontageFigures, AreLabelledInThePictureWhereTheyAreNotThePapers) {
  Figure figure = channels_figure(dataset_, *images_, {.tile = 120});
  const PngInfo before = picture(figure);
  const std::string caption = figure.caption;
  std::vector<uint8_t> unlabelled(before.bytes());
  decode_png(figure.png, "figure", before, unlabelled.data());
  label(figure, "smoke recipes, synthetic data");
  EXPECT_EQ(figure.caption, "Not the paper's scale: smoke recipes, synthetic data. " + caption);
  const PngInfo after = picture(figure);
  EXPECT_EQ(after.width, before.width);
  ASSERT_GT(after.height, before.height);
  std::vector<uint8_t> pixels(after.bytes());
  decode_png(figure.png, "figure", after, pixels.data());
  EXPECT_TRUE(std::equal(unlabelled.begin(), unlabelled.end(), pixels.begin()));
  EXPECT_TRUE(std::any_of(pixels.begin() + static_cast<int64_t>(unlabelled.size()), pixels.end(),
                          [](uint8_t value) { return value > 200; }));
}

TEST(Figures, AreWrittenWithTheirNumbersAndShownOnAPage) {
  test::TempDir dir;
  const ChannelAccuracies method = three_channels();
  const Figure figure = shapley_figure({&method, 1});
  const std::vector<std::filesystem::path> files = write_figure(figure, dir.path());
  ASSERT_EQ(files.size(), 2u);
  EXPECT_EQ(files[0].filename(), "rxrx1_fig8.svg");
  const JsonView file = read_json_file(files[1].string());
  EXPECT_EQ(file["figure"].string(), "rxrx1_fig8");
  EXPECT_EQ(file["caption"].string(), figure.caption);
  EXPECT_EQ(file["numbers"]["methods"].array().size(), 1u);
  Page page("A report");
  page.section("Figures");
  show(page, figure);
  EXPECT_THAT(page.html(), HasSubstr("Shapley value of each channel"));

  Figure rehearsed = figure;
  label(rehearsed, "smoke recipes, <synthetic> data");
  const test::Element svg = test::parse_markup(rehearsed.panels[0].file());
  EXPECT_THAT(svg.all_text(), HasSubstr("Not the paper's scale: smoke recipes, <synthetic> data."));
  EXPECT_THAT(svg.all_text(), HasSubstr("2 ER"));
  EXPECT_EQ(rehearsed.panels[0].height(), figure.panels[0].height() + 22);
  EXPECT_EQ(svg.attribute("height"), coordinate(rehearsed.panels[0].height()));
}

}  // namespace
}  // namespace mono::report
