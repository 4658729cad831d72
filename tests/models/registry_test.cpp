// The models by name: names and shapes of torchvision's state dicts, the paper's, errors.
#include "models/registry.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "tests/models/formula.h"
#include "tests/paths.h"

namespace mono {
namespace {

using testing::Contains;
using testing::HasSubstr;

std::unique_ptr<Model> small(const std::string& name) {
  ModelOptions options;
  options.channels = 3;
  options.classes = 31;
  options.rxrx1.width = 24;
  options.rxrx1.batch_classes = 7;
  auto model = make_model(name, options);
  model->arena().allocate(DType::f32);  // no weights drawn: they cost seconds
  model->running() = NormStatistics(model->norms(), 1, DType::f32);
  return model;
}

// "name (shape)\n", sorted.
std::vector<std::string> lines_of(const Model& model) {
  std::vector<std::string> lines;
  for (const NamedTensor& t : state_dict(model))
    lines.push_back(fmt::format("{} ({})\n", t.name, fmt::join(t.shape, ",")));
  std::ranges::sort(lines);
  return lines;
}

std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line;
  return text;
}

// names.txt is made by tools/golden/models.py from torchvision and timm.
TEST(Registry, StateDictsAreTorchvisionsAndTimms) {
  std::ifstream file(test::data_folder() + "/golden/names.txt");
  std::string name, hash;
  size_t count = 0;
  int models = 0;
  while (file >> name >> count >> hash) {
    const auto lines = lines_of(*small(name));
    EXPECT_EQ(lines.size(), count) << name;
    EXPECT_EQ(fmt::format("{:016x}", test::fnv1a(joined(lines))), hash)
        << name << " has other names or shapes than torchvision's or timm's";
    ++models;
  }
  EXPECT_EQ(models, 10);
}

TEST(Registry, ThePapersClassifierIsABackboneNeckAndTwoHeads) {
  std::vector<std::string> expected;
  for (const std::string& line : lines_of(*small("resnet18")))
    if (!line.starts_with("fc.")) expected.push_back("backbone." + line);
  expected.push_back("neck.fc1.weight (24,512)\n");
  expected.push_back("neck.fc2.weight (24,24)\n");
  for (const char* norm : {"neck.norm1", "neck.norm2"})
    for (const char* part : {"weight", "bias", "running_mean", "running_var"})
      expected.push_back(fmt::format("{}.{} (24)\n", norm, part));
  expected.push_back("head.weight (31,24)\n");
  expected.push_back("head.bias (31)\n");
  expected.push_back("batch_head.weight (7,24)\n");
  expected.push_back("batch_head.bias (7)\n");
  std::ranges::sort(expected);
  EXPECT_EQ(lines_of(*small("rxrx1_resnet18")), expected);
}

TEST(Registry, CdclsClassifierIsABackboneAndALinearHead) {
  std::vector<std::string> expected;
  for (const std::string& line : lines_of(*small("deit_tiny")))
    if (!line.starts_with("head.")) expected.push_back("backbone." + line);
  expected.push_back("head.weight (31,192)\n");
  expected.push_back("head.bias (31)\n");
  std::ranges::sort(expected);
  EXPECT_EQ(lines_of(*small("cdcl_deit_tiny")), expected);
}

// Section 1 of CDCL's specification: 22,050,664 with 1,000 classes and 3 channels.
TEST(Registry, DeitSmallHasItsNumberOfParameters) {
  for (const auto& [channels, classes, expected] :
       {std::array{3, 1000, 22'050'664}, std::array{6, 1000, 22'050'664 + 3 * 98'304},
        std::array{5, 1, 21'862'272 + 385}}) {
    const auto model = make_model("deit_small", {.channels = channels, .classes = classes});
    int64_t count = 0;
    for (const Parameter& p : model->arena().parameters()) count += p.elements();
    EXPECT_EQ(count, expected);
  }
}

TEST(Registry, ABatchHeadMayHaveAHiddenLayerOrBeAbsent) {
  ModelOptions options;
  options.rxrx1.width = 24;
  options.rxrx1.batch_classes = 7;
  options.rxrx1.batch_hidden = 11;
  const auto deep = make_model("rxrx1_densenet_smoke", options);
  EXPECT_EQ(deep->arena().find("batch_head.hidden.weight")->shape, (Shape{11, 24}));
  EXPECT_EQ(deep->arena().find("batch_head.norm.bias")->shape, (Shape{11}));
  EXPECT_EQ(deep->arena().find("batch_head.weight")->shape, (Shape{7, 11}));
  options.rxrx1.batch_classes = 0;
  const auto none = make_model("rxrx1_densenet_smoke", options);
  EXPECT_EQ(none->arena().find("batch_head.weight"), nullptr);
  EXPECT_EQ(none->arena().find("batch_head.hidden.weight"), nullptr);
}

TEST(Registry, ListsEveryModelWithEveryHead) {
  const auto names = model_names();
  for (const char* name : {"densenet121", "densenet161", "densenet169", "densenet201",
                           "densenet_smoke", "resnet18", "resnet50", "resnet101", "resnet_smoke",
                           "deit_tiny", "deit_small", "deit_base", "deit_smoke"}) {
    EXPECT_THAT(names, Contains(name));
    EXPECT_THAT(names, Contains(std::string("rxrx1_") + name));
    EXPECT_THAT(names, Contains(std::string("cdcl_") + name));
  }
  EXPECT_EQ(names.size(), 39u);
}

TEST(Registry, AnUnknownNameGetsTheNearest) {
  const auto message = [](const std::string& name, ModelOptions options = {}) -> std::string {
    try {
      make_model(name, options);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::usage);
      return error.what();
    }
    return "no error";
  };
  EXPECT_THAT(message("densenet_161"),
              HasSubstr("unknown model 'densenet_161'; did you mean 'densenet161'?"));
  EXPECT_THAT(message("rxrx1_resnet5"), HasSubstr("did you mean 'rxrx1_resnet50'?"));
  EXPECT_THAT(message("rxrx1_rxrx1_resnet50"), HasSubstr("unknown model"));
  ModelOptions options;
  options.channels = 0;
  EXPECT_THAT(message("resnet18", options), HasSubstr("channels (0) and classes (1139)"));
}

// Forward of a square image; returns the tape's record.
std::map<std::string, int64_t> forward(Model& model, int images, int size, int channels) {
  Tape tape;
  const std::vector<int> offsets = {0, images};
  const ForwardContext context{&tape, {1, offsets.data()}, {}};
  model.forward(Variable(Tensor::zeros({images, size, size, channels}, DType::f32)), context);
  return tape.saved_bytes();
}

TEST(Models, AnImageTooSmallIsAUsageError) {
  for (const char* name : {"densenet_smoke", "densenet121"}) {
    const auto model = small(name);
    try {
      forward(*model, 2, 8, 3);
      FAIL() << name << " took an 8x8 image";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::usage);
      EXPECT_THAT(error.what(), HasSubstr("the image size is too small for this model"));
    }
  }
  // A ResNet pads everywhere: it shrinks no image away, but a single pixel has no statistics.
  const auto model = small("resnet18");
  try {
    forward(*model, 1, 16, 3);
    FAIL() << "batch statistics of one pixel of one image";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    EXPECT_THAT(error.what(), HasSubstr("too few for batch statistics"));
  }
}

// What training keeps of DenseNet-121: each block's one buffer X and the bottlenecks y1, and
// nothing that a batch norm or a ReLU can recompute. Bytes of batch 2, 64x64, f32.
TEST(Models, ADenseNetKeepsItsBlocksBuffersAndBottlenecksAlone) {
  const int N = 2, size = 64, channels = 3, growth = 32, bottleneck = 128;
  const auto model = small("densenet121");
  std::map<std::string, int64_t> expected;
  expected["convolution"] = int64_t{N} * size * size * channels * 4;  // the images
  int extent = size / 2, width = 64;
  expected["batch_norm_relu"] = int64_t{N} * extent * extent * width * 4 + 2 * width * 4;
  extent /= 2;
  expected["max_pool"] = int64_t{N} * extent * extent * width;  // a byte each: which won
  const int blocks[] = {6, 12, 24, 16};
  for (int b = 0; b < 4; ++b) {
    const int64_t pixels = int64_t{N} * extent * extent, layers = blocks[b];
    width += blocks[b] * growth;
    expected["dense_block"] += pixels * (width + layers * bottleneck) * 4      // X and y1
                               + 2 * width * 4 + 2 * layers * bottleneck * 4;  // their moments
    if (b == 3) break;
    extent /= 2;
    expected["convolution"] += int64_t{N} * extent * extent * width * 4;  // pooled before the 1x1
    width /= 2;
  }
  expected["linear"] = int64_t{N} * width * 4;
  EXPECT_EQ(forward(*model, N, size, channels), expected);
}

}  // namespace
}  // namespace mono
