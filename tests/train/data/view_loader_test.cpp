#include "train/data/view_loader.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <set>

#include "runtime/copy.h"
#include "tests/kernels/gpu_test.h"
#include "tests/train/tiny_screen.h"
#include "train/data/batch.h"

namespace mono {
namespace {

using testing::HasSubstr;

constexpr int kPairs = 5;

// 48 training images of 20 x 20 pixels, three experiments of two plates, four labels.
class ViewLoaderTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    screen_ = new test::TempDir;
    test::write_tiny_screen(screen_->path());
  }
  static void TearDownTestSuite() { delete screen_; }
  static std::unique_ptr<RunSetup> setup(std::vector<std::string> sets = {},
                                         Device device = Device::cpu) {
    sets.push_back("data.normalisation=control-plate");
    return set_up(test::tiny_recipe(sets), screen_->path(), {}, device);
  }
  static PairSampler sampler(const RunSetup& s, PairRule rule = PairRule::other_domain,
                             PairDomain domain = PairDomain::experiment) {
    return PairSampler(pair_keys(s.dataset, domain), s.split.train, rule);
  }
  static ViewOptions options() {
    ViewOptions options;
    options.global.side = 13;
    options.local.side = 6;
    return options;
  }
  static test::TempDir* screen_;
};
test::TempDir* ViewLoaderTest::screen_ = nullptr;

// The pixels of images (M,P,P,C), packed, wherever they are.
std::vector<float> pixels_of(const Tensor& images) {
  const Shape& s = images.shape();
  std::vector<float> pitched(static_cast<size_t>(s.rows() * images.ld())), packed;
  download(images.stream(), pitched.data(), images.raw(), pitched.size() * sizeof(float));
  for (size_t at = 0; at < pitched.size(); at += static_cast<size_t>(images.ld()))
    packed.insert(packed.end(), pitched.begin() + static_cast<ptrdiff_t>(at),
                  pitched.begin() + static_cast<ptrdiff_t>(at) + s[3]);
  return packed;
}

// One view by itself: its image read, drawn, cropped, normalised with its plate's statistics.
std::vector<float> view_alone(const RunSetup& s, const ViewOptions& options, int view, int epoch,
                              int anchor, int site) {
  const int C = static_cast<int>(s.channels.size());
  const Tensor planes = Tensor::empty({1, C, 20, 20}, DType::u8);
  s.images->read(site, s.channels, planes.data<uint8_t>());
  std::vector<float> gain(6), shift(6), mean, inv_std;
  const CropView crop = draw_view(options, view, 20, 20, s.recipe.seed, epoch, anchor, gain, shift);
  for (const int channel : s.channels) {
    const MeanStd& of = s.normalisation.of(site, channel);
    mean.push_back(static_cast<float>(of.mean / 255));
    inv_std.push_back(static_cast<float>(1 / (of.std / 255)));
  }
  return pixels_of(cropped_views(planes, {&crop, 1}, {gain, shift},
                                 plane_scale(mean, inv_std, Device::cpu),
                                 view < 2 ? options.global.side : options.local.side, DType::f32));
}

TEST_F(ViewLoaderTest, RowsAreTheViewsOfTheirPairs) {
  const auto s = setup();
  const PairSampler pairs = sampler(*s);
  ViewLoader loader(*s, pairs, options(), kPairs, 0, 12, 1);
  const int image_of_view[8] = {0, 1, 0, 0, 0, 1, 1, 1};
  for (int step = 0; step < 12; ++step) {
    const int epoch = step / 9;
    const ViewBatch batch = loader.next();
    ASSERT_EQ(batch.pairs, kPairs);
    ASSERT_EQ(batch.global.shape(), (Shape{2 * kPairs, 13, 13, 6}));
    ASSERT_EQ(batch.local.shape(), (Shape{6 * kPairs, 6, 6, 6}));
    for (int b = 0; b < kPairs; ++b) {
      const size_t i = static_cast<size_t>(b);
      const Site& anchor = s->dataset.sites[static_cast<size_t>(batch.anchors[i])];
      const Site& partner = s->dataset.sites[static_cast<size_t>(batch.partners[i])];
      EXPECT_EQ(batch.partners[i], pairs.partner(s->recipe.seed, epoch, batch.anchors[i]));
      EXPECT_EQ(batch.labels[i], anchor.sirna_id);
      EXPECT_EQ(anchor.sirna_id, partner.sirna_id);
      EXPECT_EQ(batch.domains[i], anchor.experiment);
      EXPECT_EQ(batch.domains[i + kPairs], partner.experiment);
      EXPECT_NE(anchor.experiment, partner.experiment);
    }
    if (step % 4 != 1) continue;
    for (int v = 0; v < 8; ++v)
      for (int b = 0; b < kPairs; ++b) {
        const size_t i = static_cast<size_t>(b);
        const Tensor& all = v < 2 ? batch.global : batch.local;
        const int row = (v < 2 ? v : v - 2) * kPairs + b;
        const std::vector<float> want =
            view_alone(*s, options(), v, epoch, batch.anchors[i],
                       image_of_view[v] ? batch.partners[i] : batch.anchors[i]);
        const std::vector<float> got = pixels_of(all.images(row, row + 1));
        ASSERT_EQ(got.size(), want.size());
        for (size_t k = 0; k < got.size(); ++k)
          ASSERT_NEAR(got[k], want[k], 1e-4 * (1 + std::abs(want[k])))
              << "view " << v << " of " << b;
      }
  }
}

TEST_F(ViewLoaderTest, WithoutCrossBatchPairsAllViewsAreTheAnchors) {
  const auto s = setup();
  const PairSampler pairs = sampler(*s, PairRule::self);
  ViewLoader loader(*s, pairs, options(), kPairs, 0, 1, 0);
  const ViewBatch batch = loader.next();
  EXPECT_EQ(batch.partners, batch.anchors);
  for (size_t b = 0; b < kPairs; ++b) EXPECT_EQ(batch.domains[b], batch.domains[b + kPairs]);
  const std::vector<float> want =
      view_alone(*s, options(), 7, 0, batch.anchors[2], batch.anchors[2]);
  const std::vector<float> got = pixels_of(batch.local.images(5 * kPairs + 2, 5 * kPairs + 3));
  for (size_t k = 0; k < got.size(); ++k)
    EXPECT_NEAR(got[k], want[k], 1e-4 * (1 + std::abs(want[k])));

  ViewOptions supervised = options();
  supervised.global_crops = 1;
  supervised.local_crops = 0;
  ViewLoader one(*s, pairs, supervised, 1, 0, 1, 0);
  const ViewBatch single = one.next();
  EXPECT_EQ(single.global.shape(), (Shape{1, 13, 13, 6}));
  EXPECT_FALSE(single.local.defined());
}

// Everything of the batches of steps [first, 14).
std::vector<double> contents(const RunSetup& s, const PairSampler& pairs,
                             const ViewOptions& options, int first, int workers,
                             bool prefetch = false) {
  std::vector<double> all;
  ViewLoader loader(s, pairs, options, kPairs, first, 14, workers);
  for (int step = first; step < 14; ++step) {
    const ViewBatch batch = loader.next();
    if (prefetch && step % 3 != 1) loader.prefetch();
    for (const auto* values : {&batch.anchors, &batch.partners, &batch.domains, &batch.labels})
      all.insert(all.end(), values->begin(), values->end());
    for (const Tensor& tensor : {batch.global, batch.local})
      for (const float v : pixels_of(tensor)) all.push_back(v);
  }
  return all;
}

TEST_F(ViewLoaderTest, AnyNumberOfWorkersAndAnyStepResumedFromGiveTheSame) {
  const auto s = setup();
  const PairSampler pairs = sampler(*s, PairRule::other_domain, PairDomain::plate);
  const std::vector<double> expected = contents(*s, pairs, options(), 0, 0);
  EXPECT_EQ(contents(*s, pairs, options(), 0, 1), expected);
  EXPECT_EQ(contents(*s, pairs, options(), 0, 3), expected);
  for (const int first : {5, 9, 11}) {  // an epoch has 9 steps
    const std::vector<double> tail = contents(*s, pairs, options(), first, 2);
    ASSERT_LT(tail.size(), expected.size());
    EXPECT_TRUE(std::equal(tail.rbegin(), tail.rend(), expected.rbegin())) << "from " << first;
  }
  EXPECT_NE(contents(*setup({"seed=9"}), pairs, options(), 0, 0), expected);
}

// On the GPU: the same bits, whatever order its streams are in, copied ahead or not.
class DeviceViews : public ViewLoaderTest {};
TEST_F(DeviceViews, AreTheCpusBitForBit) {
  const auto host = setup();
  const PairSampler pairs = sampler(*host);
  ViewOptions few = options();
  few.local_crops = 2;
  const std::vector<double> expected = contents(*host, pairs, few, 9, 0);
  test::for_each_schedule([&] {
    const auto s = setup({}, kGpu);
    EXPECT_EQ(contents(*s, pairs, few, 9, 1, true), expected);
    EXPECT_EQ(contents(*s, pairs, few, 9, 0, false), expected);
    const std::vector<int> sites = {s->split.train[3], s->split.test[5]};
    EXPECT_EQ(pixels_of(evaluation_views(*s, sites, 15)),
              pixels_of(evaluation_views(*host, sites, 15)));
    synchronize(compute_stream(kGpu));
  });
}

TEST_F(ViewLoaderTest, AnEpochTakesEveryImageOnceAsAnAnchor) {
  const auto s = setup();
  const PairSampler pairs = sampler(*s);
  EXPECT_EQ(view_steps_per_epoch(pairs, options(), 5), 9);  // 48 images; 3 sit out
  EXPECT_EQ(view_steps_per_epoch(pairs, options(), 48), 1);
  std::set<int> sat_out;
  for (int epoch = 0; epoch < 40; ++epoch) {
    const std::vector<int> anchors = plan_anchors(pairs, 1, epoch, 5);
    const std::set<int> once(anchors.begin(), anchors.end());
    ASSERT_EQ(anchors.size(), 45u);
    ASSERT_EQ(once.size(), 45u);
    for (const int site : s->split.train)
      if (!once.contains(site)) sat_out.insert(site);
  }
  EXPECT_GT(sat_out.size(), 40u);
  std::vector<int> all = plan_anchors(pairs, 1, 0, 8), other = plan_anchors(pairs, 1, 1, 8);
  EXPECT_NE(all, other);
  EXPECT_NE(all, plan_anchors(pairs, 2, 0, 8));
  std::ranges::sort(all);
  EXPECT_EQ(all, s->split.train);
}

TEST_F(ViewLoaderTest, BatchesThatCannotBeAreRefused) {
  const auto s = setup();
  const PairSampler pairs = sampler(*s);
  const auto expect = [&](const RunSetup& of, const ViewOptions& views, int size,
                          const char* what) {
    try {
      ViewLoader(of, pairs, views, size, 0, 1, 0);
      ADD_FAILURE() << what;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::usage);
      EXPECT_THAT(error.what(), HasSubstr(what));
    }
  };
  expect(*s, options(), 49, "the 48 training images do not fill one batch of 49 pairs");
  expect(*s, options(), 0, "batch of 0 pairs");
  expect(*s, options(), 1, "2 pairs or more");
  expect(*s, {.global_crops = 5}, 4, "5 global");
  const auto by_itself = set_up(test::tiny_recipe(), screen_->path());
  expect(*by_itself, options(), 4, "data.normalisation");
  EXPECT_THROW(evaluation_views(*by_itself, {}, 16), Error);
  const std::vector<int> site = {0};
  EXPECT_THROW(evaluation_views(*s, site, 21), Error);
}

TEST_F(ViewLoaderTest, ADamagedImageSurfacesWhereItsBatchIs) {
  test::TempDir dir;
  test::write_tiny_screen(dir.path());
  const auto s = set_up(test::tiny_recipe({"data.normalisation=control-plate"}), dir.path());
  const std::string name = "images/HUVEC-02/Plate1/B03_s1_w4.png";  // a treatment: no statistics
  std::string text = test::read_text(dir / name);
  text[text.size() / 2] = static_cast<char>(text[text.size() / 2] ^ 4);
  test::write_text(dir / name, text);
  const PairSampler pairs = sampler(*s);
  int damaged_at = -1;
  for (const int workers : {0, 1, 3}) {
    ViewLoader loader(*s, pairs, options(), kPairs, 0, 9, workers);
    int step = 0;
    try {
      for (; step < 9; ++step) loader.next();
      FAIL() << "the damage went unnoticed with " << workers << " workers";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::data);
      EXPECT_THAT(error.what(), HasSubstr("HUVEC-02/Plate1/B03_s1_w4.png"));
    }
    if (damaged_at < 0) damaged_at = step;
    EXPECT_EQ(step, damaged_at) << workers << " workers";
    EXPECT_THROW(loader.next(), Error);  // it does not go on as if nothing had been
  }
}

TEST_F(ViewLoaderTest, EvaluationSeesTheMiddleNormalisedByItsPlate) {
  const auto s = setup();
  const std::vector<int> sites = {s->split.test[1], s->split.train[7], s->split.train[40]};
  const std::vector<float> got = pixels_of(evaluation_views(*s, sites, 16));
  const Batch batch = make_batch(*s, read_batch(*s, sites));  // the supervised evaluation's
  const std::vector<float> want = pixels_of(batch.images);
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i)
    ASSERT_NEAR(got[i], want[i], 1e-4 * (1 + std::abs(want[i])));
}

}  // namespace
}  // namespace mono
