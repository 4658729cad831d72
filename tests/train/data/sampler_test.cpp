// The plan: which images, in which groups, how augmented; and the loader that follows it.
#include "train/data/sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <numeric>
#include <set>

#include "tests/train/tiny_screen.h"
#include "train/data/loader.h"

namespace mono {
namespace {

using testing::HasSubstr;

class SamplerTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    screen_ = new test::TempDir;
    test::write_tiny_screen(screen_->path());
  }
  static void TearDownTestSuite() { delete screen_; }
  static std::unique_ptr<RunSetup> setup(const std::vector<std::string>& sets = {}) {
    return set_up(test::tiny_recipe(sets), screen_->path());
  }
  static test::TempDir* screen_;
};
test::TempDir* SamplerTest::screen_ = nullptr;

const std::vector<std::string> kOneExperiment = {"batch.one_experiment_per_group=true"};

TEST_F(SamplerTest, MixedGroupsUseEverySiteAtMostOnceAnEpoch) {
  const auto s = setup();
  EXPECT_EQ(steps_per_epoch(*s), 4);
  const std::vector<Group> groups = plan_epoch(*s, 0);
  ASSERT_EQ(groups.size(), 8u);
  std::set<int> seen;
  for (const Group& group : groups) {
    EXPECT_EQ(group.size(), 6u);
    seen.insert(group.begin(), group.end());
  }
  EXPECT_EQ(seen, std::set<int>(s->split.train.begin(), s->split.train.end()));
}

TEST_F(SamplerTest, AnAdaBnGroupIsOneExperiment) {
  const auto s = setup(kOneExperiment);
  EXPECT_EQ(steps_per_epoch(*s), 3);  // 16 sites give two groups of six an experiment
  std::set<int> seen;
  std::map<int, int> groups_of;
  for (const Group& group : plan_epoch(*s, 5)) {
    std::set<int> experiments;
    for (const int site : group) {
      EXPECT_TRUE(seen.insert(site).second);
      experiments.insert(s->dataset.sites[static_cast<size_t>(site)].experiment);
    }
    ASSERT_EQ(experiments.size(), 1u);
    ++groups_of[*experiments.begin()];
  }
  EXPECT_EQ(groups_of, (std::map<int, int>{{0, 2}, {1, 2}, {2, 2}}));
}

TEST_F(SamplerTest, ThePlanIsAFunctionOfSeedAndEpoch) {
  for (const auto& sets : {std::vector<std::string>{}, kOneExperiment}) {
    std::vector<std::string> other = sets;
    other.push_back("seed=2");
    const auto s = setup(sets), same = setup(sets), reseeded = setup(other);
    EXPECT_EQ(plan_epoch(*s, 3), plan_epoch(*same, 3));
    EXPECT_NE(plan_epoch(*s, 3), plan_epoch(*s, 4));
    EXPECT_NE(plan_epoch(*s, 3), plan_epoch(*reseeded, 3));
  }
}

TEST_F(SamplerTest, StepsFromCountsAtPaperScale) {
  Recipe::Batch batch;
  EXPECT_EQ(steps_per_epoch(batch, {81224}), 158);  // specs A5
  batch.one_experiment_per_group = true;
  EXPECT_EQ(steps_per_epoch(batch, std::vector<int64_t>(33, 81224 / 33)), 156);  // specs A6
}

TEST_F(SamplerTest, AScreenTooSmallForAStepSaysWhatToDo) {
  try {
    steps_per_epoch(*setup({"batch.group_size=32"}));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    EXPECT_THAT(error.what(), HasSubstr("48 training images"));
    EXPECT_THAT(error.what(), HasSubstr("batch.group_size"));
  }
}

RawBatch drawn(const RunSetup& s, int64_t epoch = 0, int64_t index = 0) {
  RawBatch raw = read_batch(s, plan_epoch(s, epoch)[static_cast<size_t>(index)]);
  draw_augmentation(s, epoch, index, raw);
  return raw;
}

TEST_F(SamplerTest, CutMixHasOneBoxAGroupAndCountsItsClippedArea) {
  const auto s = setup({"augment.mixing=cutmix"});
  std::set<float> shares;
  for (int epoch = 0; epoch < 20; ++epoch) {
    const RawBatch raw = drawn(*s, epoch);
    std::vector<int> partners;
    for (size_t n = 0; n < raw.values.size(); ++n) {
      const AugmentImage& v = raw.values[n];
      partners.push_back(v.partner);
      EXPECT_EQ(v.box_y0, raw.values[0].box_y0);
      EXPECT_EQ(v.box_x1, raw.values[0].box_x1);
      EXPECT_TRUE(0 <= v.box_y0 && v.box_y0 <= v.box_y1 && v.box_y1 <= s->crop);
      EXPECT_TRUE(0 <= v.box_x0 && v.box_x0 <= v.box_x1 && v.box_x1 <= s->crop);
      const double boxed = double(v.box_y1 - v.box_y0) * (v.box_x1 - v.box_x0) / (16.0 * 16.0);
      EXPECT_FLOAT_EQ(raw.own_share[n], static_cast<float>(1 - boxed));
      EXPECT_EQ(v.mix, 1.0f);
    }
    EXPECT_THAT(partners, testing::UnorderedElementsAre(0, 1, 2, 3, 4, 5));
    shares.insert(raw.own_share[0]);
  }
  EXPECT_GT(shares.size(), 10u);
}

TEST_F(SamplerTest, MixUpDrawsForEveryImage) {
  const auto s = setup({"augment.mixing=mixup"});
  const RawBatch raw = drawn(*s);
  EXPECT_GT(std::set<float>(raw.own_share.begin(), raw.own_share.end()).size(), 4u);
  for (size_t n = 0; n < raw.values.size(); ++n) {
    EXPECT_EQ(raw.values[n].mix, raw.own_share[n]);
    EXPECT_TRUE(raw.own_share[n] >= 0 && raw.own_share[n] <= 1);
    EXPECT_EQ(raw.values[n].box_y0, raw.values[n].box_y1);
  }
}

TEST_F(SamplerTest, AllEightOrientationsAndCropOffsetsOccur) {
  const auto s = setup();
  std::set<int> orientations, offsets;
  for (int epoch = 0; epoch < 20; ++epoch)
    for (const AugmentImage& value : drawn(*s, epoch).values) {
      orientations.insert(value.dihedral);
      offsets.insert(value.crop_y);
    }
  EXPECT_EQ(orientations, (std::set<int>{0, 1, 2, 3, 4, 5, 6, 7}));
  EXPECT_EQ(offsets, (std::set<int>{0, 1, 2, 3, 4}));
}

TEST_F(SamplerTest, TargetsFollowTheMixing) {
  const auto s = setup({"augment.mixing=cutmix"});
  const RawBatch raw = drawn(*s, 1);
  const Batch batch = make_batch(*s, raw, 0.1);
  ASSERT_EQ(batch.images.shape(), (Shape{6, 16, 16, 6}));
  ASSERT_EQ(batch.targets.shape(), (Shape{6, 4}));
  ASSERT_EQ(batch.batch_targets.shape(), (Shape{6, 4}));
  for (int n = 0; n < 6; ++n) {
    const size_t i = static_cast<size_t>(n);
    std::vector<double> expected(4, 0.1 / 4);
    const int partner = raw.sites[static_cast<size_t>(raw.values[i].partner)];
    expected[static_cast<size_t>(s->label[static_cast<size_t>(raw.sites[i])])] +=
        0.9 * raw.own_share[i];
    expected[static_cast<size_t>(s->label[static_cast<size_t>(partner)])] +=
        0.9 * (1 - raw.own_share[i]);
    const float* row = batch.targets.data<float>() + n * 4;
    for (size_t k = 0; k < 4; ++k) EXPECT_NEAR(row[k], expected[k], 1e-6);
  }
}

TEST_F(SamplerTest, SelfStandardisationGivesMeanZeroAndDeviationOne) {
  const auto s = setup();
  const Batch batch = make_batch(*s, drawn(*s));
  const float* x = batch.images.data<float>();
  for (int c = 0; c < 6; ++c) {
    double sum = 0, squares = 0;
    for (int p = 0; p < 256; ++p) sum += x[p * 6 + c], squares += x[p * 6 + c] * x[p * 6 + c];
    EXPECT_NEAR(sum / 256, 0, 1e-4);
    EXPECT_NEAR(squares / 255, 1, 1e-4);
  }
}

// All planes and values of the first five steps.
std::vector<uint8_t> loaded(const RunSetup& s, int workers, int64_t first_step) {
  std::vector<uint8_t> bytes;
  Loader loader(s, first_step, 5, workers);
  for (int64_t i = first_step * 2; i < 10; ++i) {
    const RawBatch raw = loader.next();
    const auto* planes = raw.planes.data<uint8_t>();
    bytes.insert(bytes.end(), planes, planes + raw.planes.elements());
    for (const AugmentImage& v : raw.values) {
      bytes.push_back(static_cast<uint8_t>(v.dihedral));
      bytes.push_back(static_cast<uint8_t>(v.crop_x));
      bytes.push_back(static_cast<uint8_t>(v.box_x1));
    }
  }
  return bytes;
}

TEST_F(SamplerTest, AnyNumberOfWorkersLoadsTheSame) {
  const auto s = setup({"augment.mixing=cutmix"});
  const std::vector<uint8_t> expected = loaded(*s, 0, 0);
  EXPECT_EQ(loaded(*s, 1, 0), expected);
  EXPECT_EQ(loaded(*s, 3, 0), expected);
  const std::vector<uint8_t> tail = loaded(*s, 2, 3);  // from the middle of the first epoch
  ASSERT_LT(tail.size(), expected.size());
  EXPECT_TRUE(std::equal(tail.rbegin(), tail.rend(), expected.rbegin()));
}

TEST_F(SamplerTest, ADamagedImageSurfacesInTheMainThread) {
  test::TempDir dir;
  test::write_tiny_screen(dir.path());
  const std::string name = "images/HUVEC-02/Plate1/B03_s1_w4.png";
  std::string text = test::read_text(dir / name);
  text[text.size() / 2] = static_cast<char>(text[text.size() / 2] ^ 4);
  test::write_text(dir / name, text);
  for (const int workers : {0, 2}) {
    const auto s = set_up(test::tiny_recipe(), dir.path());
    Loader loader(*s, 0, 4, workers);
    try {
      for (int i = 0; i < 8; ++i) loader.next();
      FAIL() << "the damage went unnoticed with " << workers << " workers";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::data);
      EXPECT_THAT(error.what(), HasSubstr("HUVEC-02/Plate1/B03_s1_w4.png"));
    }
  }
  const auto s = set_up(test::tiny_recipe({"data.on_bad_image=drop"}), dir.path());
  EXPECT_EQ(s->split.train.size(), 47u);
  ASSERT_EQ(s->left_out.size(), 1u);
  EXPECT_THAT(s->left_out[0].reason, HasSubstr("B03_s1_w4.png"));
}

}  // namespace
}  // namespace mono
