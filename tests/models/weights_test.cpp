// Weight files: round trip, the stem rule, old names, and the error that each misfit gets.
#include "models/weights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "models/registry.h"
#include "tests/models/formula.h"

namespace mono {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

std::unique_ptr<Model> smoke(const std::string& name, int channels, DType master, uint64_t seed) {
  ModelOptions options;
  options.channels = channels;
  options.classes = 5;
  options.rxrx1.width = 16;
  options.rxrx1.batch_classes = 3;
  auto model = make_model(name, options);
  model->initialise(master, seed);
  return model;
}

class Weights : public testing::Test {
 protected:
  Weights() {
    folder_ = fs::temp_directory_path() / ("mono_weights_" + std::to_string(::getpid()));
    fs::create_directories(folder_);
  }
  ~Weights() override { fs::remove_all(folder_); }

  std::string path() const { return folder_ / "w.safetensors"; }
  SafetensorsFile file(const std::vector<NamedTensor>& tensors) const {
    write_safetensors(path(), as_safetensors(tensors));
    return SafetensorsFile(path());
  }
  // What loading `tensors` into `model` says; the model must be as before.
  std::string refusal(Model& model, const std::vector<NamedTensor>& tensors,
                      StemRule rule = StemRule::exact) const {
    const SafetensorsFile from = file(tensors);
    const std::vector<double> before = test::as_doubles(model.arena().weights());
    try {
      load_weights(model, from, rule);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::data);
      EXPECT_THAT(error.what(), HasSubstr(path()));
      EXPECT_EQ(test::as_doubles(model.arena().weights()), before) << "half a file was loaded";
      return error.what();
    }
    return "no error";
  }
  fs::path folder_;
};

NamedTensor& tensor(std::vector<NamedTensor>& tensors, const std::string& name) {
  return *std::ranges::find(tensors, name, &NamedTensor::name);
}

void expect_equal(const Model& a, const Model& b) {
  const auto ours = state_dict(a), theirs = state_dict(b);
  ASSERT_EQ(ours.size(), theirs.size());
  for (size_t i = 0; i < ours.size(); ++i) {
    EXPECT_EQ(ours[i].name, theirs[i].name);
    EXPECT_EQ(test::as_doubles(ours[i].values), test::as_doubles(theirs[i].values)) << ours[i].name;
  }
}

TEST_F(Weights, ARoundTripKeepsEveryBit) {
  for (const char* name : {"densenet_smoke", "rxrx1_densenet_smoke"})
    for (const DType master : {DType::f32, DType::f64}) {
      const auto saved = smoke(name, 6, master, 1), loaded = smoke(name, 6, master, 2);
      test::set_formula_weights(*saved);
      const uint64_t version = loaded->arena().version();
      load_weights(*loaded, file(state_dict(*saved)));
      expect_equal(*loaded, *saved);
      EXPECT_GT(loaded->arena().version(), version);
    }
}

TEST_F(Weights, ASingleFileServesDoubleMastersAndTheOtherWayRound) {
  const auto single = smoke("densenet_smoke", 6, DType::f32, 1);
  const auto wide = smoke("densenet_smoke", 6, DType::f64, 2);
  load_weights(*wide, file(state_dict(*single)));
  expect_equal(*wide, *single);
  const auto back = smoke("densenet_smoke", 6, DType::f32, 3);
  load_weights(*back, file(state_dict(*wide)));
  expect_equal(*back, *single);
}

// (K,C,R,S) there, (K,R,S,C) here.
TEST_F(Weights, FiltersArePyTorchsInTheFile) {
  const auto model = smoke("densenet_smoke", 6, DType::f32, 1);
  const Parameter& stem = *model->arena().find("features.conv0.weight");
  ASSERT_EQ(stem.shape, (Shape{32, 7, 7, 6}));
  auto tensors = state_dict(*model);
  const NamedTensor& theirs = tensor(tensors, "features.conv0.weight");
  EXPECT_EQ(theirs.shape, (std::vector<int64_t>{32, 6, 7, 7}));
  const int k = 3, c = 4, r = 1, s = 5;
  EXPECT_EQ(theirs.values.data<float>()[((k * 6 + c) * 7 + r) * 7 + s],
            stem.weights<float>()[((k * 7 + r) * 7 + s) * 6 + c]);
}

TEST_F(Weights, TheStemRuleRepeatsChannelsAndKeepsTheirSum) {
  const auto rgb = smoke("densenet_smoke", 3, DType::f64, 1);
  for (const int channels : {6, 4, 1}) {
    const auto model = smoke("densenet_smoke", channels, DType::f64, 2);
    load_weights(*model, file(state_dict(*rgb)), StemRule::repeat);
    const double* from = rgb->arena().find("features.conv0.weight")->weights<double>();
    const double* to = model->arena().find("features.conv0.weight")->weights<double>();
    for (int64_t i = 0; i < 32 * 7 * 7; ++i) {
      double from_sum = 0, to_sum = 0;
      for (int c = 0; c < 3; ++c) from_sum += from[i * 3 + c];
      for (int c = 0; c < channels; ++c) {
        EXPECT_NEAR(to[i * channels + c], from[i * 3 + c % 3] * 3 / channels, 1e-15);
        to_sum += to[i * channels + c];
      }
      if (channels % 3 == 0) {
        EXPECT_NEAR(to_sum, from_sum, 1e-14);
      }
    }
    EXPECT_EQ(model->arena().find("features.conv0.weight")->shape[3], channels);
  }
  const auto model = smoke("densenet_smoke", 6, DType::f64, 2);
  EXPECT_THAT(refusal(*model, state_dict(*rgb)),
              HasSubstr("'features.conv0.weight' is (32,3,7,7) in the file, (32,6,7,7) in the "
                        "model"));
}

TEST_F(Weights, CdclsStemRuleTilesChannelsAsTheyAre) {
  const auto rgb = smoke("deit_smoke", 3, DType::f64, 1);
  for (const int channels : {6, 5, 2}) {
    const auto model = smoke("deit_smoke", channels, DType::f64, 2);
    load_weights(*model, file(state_dict(*rgb)), StemRule::tile);
    const double* from = rgb->arena().find("patch_embed.proj.weight")->weights<double>();
    const Parameter& stem = *model->arena().find("patch_embed.proj.weight");
    for (int64_t i = 0; i < stem.elements(); ++i)
      ASSERT_EQ(stem.weights<double>()[i],
                from[i / channels * 3 + static_cast<int>(i % channels) % 3]);
  }
}

TEST_F(Weights, CdclsClassifierTakesTimmsFileAndKeepsItsHead) {
  const auto timms = smoke("deit_smoke", 3, DType::f32, 1);
  const auto model = smoke("cdcl_deit_smoke", 5, DType::f32, 2);
  const auto fresh = smoke("cdcl_deit_smoke", 5, DType::f32, 2);
  load_backbone(*model, file(state_dict(*timms)), StemRule::tile);
  for (const Parameter& p : model->arena().parameters()) {
    if (p.name == "backbone.patch_embed.proj.weight") continue;
    const bool head = p.name.starts_with("head.");
    const Parameter& expected =
        head ? *fresh->arena().find(p.name) : *timms->arena().find(p.name.substr(9));
    EXPECT_TRUE(std::equal(p.weights<float>(), p.weights<float>() + p.elements(),
                           expected.weights<float>()))
        << p.name;
  }
}

TEST_F(Weights, OldDottedNamesAndBatchCountersAreRead) {
  const auto saved = smoke("densenet_smoke", 6, DType::f32, 1);
  auto tensors = state_dict(*saved);
  int dotted = 0;
  for (NamedTensor& t : tensors)
    for (const char* word : {"norm1", "norm2", "conv1", "conv2"}) {
      const size_t at = t.name.find(std::string(".") + word + ".");
      if (at == std::string::npos) continue;
      t.name.insert(at + 5, ".");  // denselayer1.norm.1.weight
      ++dotted;
    }
  EXPECT_EQ(dotted, (3 + 4 + 4) * (2 * 4 + 2));
  tensors.push_back({"features.norm0.num_batches_tracked", {1}, Tensor::zeros({1}, DType::f32)});
  const auto loaded = smoke("densenet_smoke", 6, DType::f32, 2);
  load_weights(*loaded, file(tensors));
  expect_equal(*loaded, *saved);

  tensors.push_back(tensor(tensors, "features.denseblock1.denselayer1.norm.1.weight"));
  tensors.back().name = "features.denseblock1.denselayer1.norm1.weight";
  EXPECT_THAT(refusal(*loaded, tensors),
              HasSubstr("'features.denseblock1.denselayer1.norm1.weight' is there twice, once by "
                        "its old dotted name"));
}

TEST_F(Weights, AMisfitListsEveryDifference) {
  const auto model = smoke("densenet_smoke", 6, DType::f32, 1);
  auto tensors = state_dict(*model);
  std::erase_if(tensors, [](const NamedTensor& t) { return t.name == "classifier.bias"; });
  tensor(tensors, "features.norm0.running_var").shape = {8, 4};
  tensors.push_back({"fc.weight", {2, 3}, Tensor::zeros({6}, DType::f32)});
  const std::string message = refusal(*model, tensors);
  EXPECT_THAT(message, HasSubstr("the weights do not fit the model, 3 differences (is --model, "
                                 "--channels or --classes another one?):"));
  EXPECT_THAT(message, HasSubstr("\n  missing 'classifier.bias' (5)"));
  EXPECT_THAT(message, HasSubstr("\n  'features.norm0.running_var' is (8,4) in the file, (32) in "
                                 "the model"));
  EXPECT_THAT(message, HasSubstr("\n  unknown 'fc.weight' (2,3)"));
}

TEST_F(Weights, ALongListIsCutAndCounted) {
  const auto model = smoke("densenet_smoke", 6, DType::f32, 1);
  const std::string message = refusal(*model, {});
  const size_t names = state_dict(*model).size();
  EXPECT_THAT(message, HasSubstr(fmt::format("{} differences", names)));
  EXPECT_THAT(message, HasSubstr(fmt::format("\n  ... and {} more", names - 20)));
}

TEST_F(Weights, IntegersAreNoWeights) {
  const auto model = smoke("densenet_smoke", 6, DType::f32, 1);
  const auto kept = state_dict(*model);
  auto tensors = as_safetensors(kept);
  for (SafetensorsTensor& t : tensors)
    if (t.name == "classifier.bias") t.dtype = "I32";
  write_safetensors(path(), tensors);
  try {
    load_weights(*model, SafetensorsFile(path()));
    FAIL() << "integers were accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::data);
    EXPECT_THAT(error.what(),
                HasSubstr("tensor 'classifier.bias' is I32; weights must be F32 or F64"));
  }
}

TEST_F(Weights, ABackboneTakesTorchvisionsFileAndKeepsNeckAndHeads) {
  const auto torchvision = smoke("densenet_smoke", 3, DType::f32, 1);
  test::set_formula_weights(*torchvision);
  const auto model = smoke("rxrx1_densenet_smoke", 6, DType::f32, 2);
  const auto fresh = smoke("rxrx1_densenet_smoke", 6, DType::f32, 2);
  load_backbone(*model, file(state_dict(*torchvision)));
  auto theirs = state_dict(*torchvision), before = state_dict(*fresh);
  int taken = 0;
  for (const NamedTensor& t : state_dict(*model)) {
    const bool backbone = t.name.starts_with("backbone.");
    taken += backbone;
    if (t.name == "backbone.features.conv0.weight") continue;  // the stem rule's
    const NamedTensor& expected =
        backbone ? tensor(theirs, t.name.substr(9)) : tensor(before, t.name);
    EXPECT_EQ(test::as_doubles(t.values), test::as_doubles(expected.values)) << t.name;
  }
  EXPECT_EQ(static_cast<size_t>(taken), theirs.size() - 2) << "all but the file's own head";
  std::erase_if(theirs, [](const NamedTensor& t) { return t.name == "features.norm5.bias"; });
  try {
    load_backbone(*model, file(theirs));
    FAIL() << "a file without features.norm5.bias";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("missing 'features.norm5.bias'"));
  }
}

}  // namespace
}  // namespace mono
