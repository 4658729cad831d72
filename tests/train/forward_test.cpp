// `train_rxrx forward` from file to file: what Y holds, against PyTorch, and what is refused.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "models/registry.h"
#include "tests/models/formula.h"
#include "tests/paths.h"
#include "tests/train/data/test_screen.h"
#include "train/commands.h"

namespace mono {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr int kChannels = 6, kClasses = 31, kSize = 64;

// The tensors of X in PyTorch's layout, float64 so that one file serves every precision.
struct Input {
  int images = 3, channels = kChannels, classes = kClasses, size = kSize;
  std::vector<double> x, dy;
  std::vector<int32_t> domain;

  explicit Input(int n, int side = kSize)
      : images(n), size(side), x(size_t(n) * kChannels * side * side), dy(size_t(n) * 31) {
    const test::FormulaStream of_x("x"), of_dy("dy");
    for (size_t i = 0; i < x.size(); ++i)
      x[i] = double(float(1.75 * of_x.uniform(static_cast<int64_t>(i))));
    for (size_t i = 0; i < dy.size(); ++i)
      dy[i] = double(float(of_dy.uniform(static_cast<int64_t>(i))));
  }
  // The image at position i comes from position order[i].
  Input permuted(const std::vector<int>& order) const {
    Input out = *this;
    const size_t image = x.size() / order.size(), row = dy.size() / order.size();
    for (size_t i = 0; i < order.size(); ++i) {
      std::copy_n(x.begin() + order[i] * image, image, out.x.begin() + i * image);
      std::copy_n(dy.begin() + order[i] * row, row, out.dy.begin() + i * row);
      if (!domain.empty()) out.domain[i] = domain[order[i]];
    }
    return out;
  }
  void write(const std::string& path) const {
    const auto i64 = [](int v) { return int64_t{v}; };
    std::vector<SafetensorsTensor> tensors = {
        safetensors_f64("x", {i64(images), i64(channels), i64(size), i64(size)}, x),
        safetensors_f64("dy", {i64(images), i64(classes)}, dy)};
    if (!domain.empty())
      tensors.push_back({"domain",
                         "I32",
                         {static_cast<int64_t>(domain.size())},
                         std::as_bytes(std::span(domain))});
    write_safetensors(path, tensors);
  }
};

class Forward : public testing::Test {
 protected:
  Forward() {
    options_.model = "densenet_smoke";
    options_.channels = kChannels;
    options_.classes = kClasses;
    options_.weights = file("w.safetensors");
    options_.input = file("x.safetensors");
    options_.output = file("y.safetensors");
    options_.precision = "f64";
    ModelOptions model_options;
    model_options.classes = kClasses;
    model_ = make_model(options_.model, model_options);
    model_->initialise(DType::f32, 0);
    test::set_formula_weights(*model_);
    const auto tensors = state_dict(*model_);
    write_safetensors(options_.weights, as_safetensors(tensors));
  }
  std::string file(const char* name) const { return folder_.path() / name; }

  SafetensorsFile run(const Input& input) {
    input.write(options_.input);
    EXPECT_EQ(run_forward(options_), 0);
    return SafetensorsFile(options_.output);
  }
  // The message and exit code of what must fail.
  std::pair<int, std::string> refusal(const Input& input) {
    input.write(options_.input);
    return refusal();
  }
  std::pair<int, std::string> refusal() {
    try {
      run_forward(options_);
    } catch (const Error& error) {
      EXPECT_FALSE(std::filesystem::exists(options_.output)) << "a failed run left its output";
      return {error.exit_code(), error.what()};
    }
    return {0, "no error"};
  }

  test::TempDir folder_;
  ForwardOptions options_;
  std::unique_ptr<Model> model_;
};

std::map<std::string, std::string> contents(const SafetensorsFile& file) {
  std::map<std::string, std::string> map;
  for (const SafetensorsEntry& entry : file.entries())
    map[entry.name] = fmt::format("{} ({})", entry.dtype, fmt::join(entry.shape, ","));
  return map;
}

double distance(const std::vector<double>& a, const std::vector<double>& b) {
  EXPECT_EQ(a.size(), b.size());
  double worst = 0, largest = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    worst = std::isnan(a[i]) ? INFINITY : std::max(worst, std::abs(a[i] - b[i]));
    largest = std::max(largest, std::abs(b[i]));
  }
  return worst / largest;
}

SafetensorsFile golden(const char* name) {
  return SafetensorsFile(test::data_folder() + "/golden/" + name + ".safetensors");
}

// The rows of a golden table against the tensors of Y whose names begin with `prefix`.
void expect_golden(const SafetensorsFile& y, const std::string& prefix,
                   const std::vector<double>& table) {
  std::set<std::string> names;
  for (const SafetensorsEntry& entry : y.entries())
    if (entry.name.starts_with(prefix)) names.insert(entry.name.substr(prefix.size()));
  ASSERT_EQ(names.size() * 7, table.size());
  const double* theirs = table.data();
  for (const std::string& name : names) {
    const auto ours = test::fingerprint(name, y.values<double>(prefix + name));
    for (int j = 0; j < 7; ++j)
      EXPECT_NEAR(ours[j], theirs[j], 1e-8 * theirs[j == 1 || j == 2 ? 1 : 0]) << prefix << name;
    theirs += 7;
  }
}

TEST_F(Forward, EvalHoldsTheLogitsAlone) {
  const std::map<std::string, std::string> wide = {{"y", "F64 (3,31)"}},
                                           single = {{"y", "F32 (3,31)"}};
  EXPECT_EQ(contents(run(Input(3))), wide);
  const auto expected = golden("densenet_smoke_eval").values<double>("y");
  EXPECT_LE(distance(SafetensorsFile(options_.output).values<double>("y"), expected), 1e-8);
  for (const char* precision : {"f32", "bf16"}) {
    options_.precision = precision;
    const SafetensorsFile y = run(Input(3));
    EXPECT_EQ(contents(y), single) << precision;
    const auto values = y.values<float>("y");
    EXPECT_LE(distance({values.begin(), values.end()}, expected),
              options_.precision == "f32" ? 1e-4 : 0.1);
  }
}

TEST_F(Forward, BackwardAddsEveryGradientAndTrainingEveryBuffer) {
  for (const bool train : {false, true}) {
    options_.mode = train ? "train" : "eval";
    options_.backward = true;
    std::map<std::string, std::string> expected = {{"y", "F64 (3,31)"},
                                                   {"grad.x", "F64 (3,6,64,64)"}};
    for (const NamedTensor& t : state_dict(*model_)) {
      const bool buffer = t.name.find("running_") != std::string::npos;
      if (buffer && !train) continue;
      expected[(buffer ? "buffer." : "grad.") + t.name] =
          fmt::format("F64 ({})", fmt::join(t.shape, ","));
    }
    const SafetensorsFile y = run(Input(3));
    EXPECT_EQ(contents(y), expected);
    const SafetensorsFile theirs = golden(train ? "densenet_smoke_train" : "densenet_smoke_eval");
    EXPECT_LE(distance(y.values<double>("y"), theirs.values<double>("y")), 1e-8);
    expect_golden(y, "grad.", theirs.values<double>("grad"));
    if (train) expect_golden(y, "buffer.", theirs.values<double>("buffer"));
  }
}

// The golden case has its domains in order; numbers and positions must not matter.
TEST_F(Forward, DomainsInAnyOrderGiveTheResultsOfSortedOnes) {
  options_.mode = "train";
  options_.backward = true;
  Input input(5);
  input.domain = {-7, -7, -7, 2000000000, 2000000000};
  const SafetensorsFile sorted = run(input);
  const SafetensorsFile theirs = golden("densenet_smoke_domains");
  EXPECT_LE(distance(sorted.values<double>("y"), theirs.values<double>("y")), 1e-8);
  expect_golden(sorted, "grad.", theirs.values<double>("grad"));
  expect_golden(sorted, "buffer.", theirs.values<double>("buffer"));

  const std::vector<int> order = {3, 0, 1, 4, 2};  // within a domain in order: the same sums
  const SafetensorsFile mixed = run(input.permuted(order));
  EXPECT_EQ(contents(mixed), contents(sorted));
  for (const SafetensorsEntry& entry : mixed.entries()) {
    const std::vector<double> a = mixed.values<double>(entry.name);
    const std::vector<double> b = sorted.values<double>(entry.name);
    if (entry.name != "y" && entry.name != "grad.x") {
      EXPECT_EQ(a, b) << entry.name;
      continue;
    }
    const size_t row = a.size() / order.size();
    for (size_t i = 0; i < order.size(); ++i)
      EXPECT_TRUE(
          std::equal(a.begin() + i * row, a.begin() + (i + 1) * row, b.begin() + order[i] * row))
          << entry.name << ", image " << i;
  }

  input.domain.assign(5, 3);  // one domain is no domain
  const SafetensorsFile one = run(input);
  input.domain.clear();
  const SafetensorsFile none = run(input);
  EXPECT_EQ(one.values<double>("y"), none.values<double>("y"));
  EXPECT_NE(none.values<double>("y"), sorted.values<double>("y"));
}

TEST_F(Forward, ThePapersClassifierHasASecondOutput) {
  options_.model = "rxrx1_densenet_smoke";
  ModelOptions model_options;
  model_options.classes = kClasses;
  model_options.rxrx1.width = 24;  // widths are read from the weights
  model_options.rxrx1.batch_classes = 7;
  const auto model = make_model(options_.model, model_options);
  model->initialise(DType::f32, 0);
  test::set_formula_weights(*model);
  const auto tensors = state_dict(*model);
  write_safetensors(options_.weights, as_safetensors(tensors));
  const std::map<std::string, std::string> expected = {{"y", "F64 (3,31)"}, {"batch", "F64 (3,7)"}};
  EXPECT_EQ(contents(run(Input(3))), expected);
  options_.mode = "train";
  options_.backward = true;
  const SafetensorsFile y = run(Input(3));
  EXPECT_EQ(y.entry("grad.neck.fc1.weight").shape[0], 24);
  // The head's probe is detached, and no dbatch was given.
  for (const double g : y.values<double>("grad.batch_head.weight")) ASSERT_EQ(g, 0.0);
}

// The file and the gradient hold the 224 grid whatever the image's size.
TEST_F(Forward, ADeitResamplesItsPositionEmbeddingByTheRule) {
  options_.model = "deit_smoke";
  options_.backward = true;
  const auto model = make_model("deit_smoke", {.classes = kClasses});
  model->initialise(DType::f32, 0);
  test::set_formula_weights(*model);
  const auto tensors = state_dict(*model);
  write_safetensors(options_.weights, as_safetensors(tensors));
  const auto outputs_at = [&](int side, const char* rule) {
    const Input input(3, side);
    options_.position_rule = rule;
    const SafetensorsFile y = run(input);
    EXPECT_EQ(describe(y.entry("grad.pos_embed")), "F64 (1,65,64)");
    return y.values<double>("y");
  };
  EXPECT_EQ(outputs_at(64, "cdcl"), outputs_at(64, "timm")) << "the grid's own size";
  const auto cdcl = outputs_at(32, ""), deit = outputs_at(32, "deit");
  EXPECT_LE(distance(cdcl, deit), 1e-12) << "equal at every square size";
  EXPECT_GE(distance(cdcl, outputs_at(32, "dino")), 1e-6);
  EXPECT_GE(distance(cdcl, outputs_at(32, "timm")), 1e-6);
  std::filesystem::remove(options_.output);
  options_.position_rule = "cdlc";
  EXPECT_THAT(refusal(Input(3)), testing::Pair(2, HasSubstr("did you mean 'cdcl'?")));
  options_.position_rule.clear();
  EXPECT_THAT(refusal(Input(3, 60)), testing::Pair(2, HasSubstr("images of 60 x 60")));
  options_.model = "densenet_smoke";
  options_.position_rule = "timm";
  EXPECT_THAT(refusal(Input(3)), testing::Pair(2, HasSubstr("has no position embedding")));
}

TEST_F(Forward, InputsThatDoNotFitAreDataErrorsNamingFileTensorAndBothShapes) {
  Input input(3);
  input.channels = 3;
  input.x.resize(input.x.size() / 2);
  EXPECT_THAT(refusal(input),
              testing::Pair(3, AllOf(HasSubstr(options_.input.string()),
                                     HasSubstr("'x' is F64 (3,3,64,64); expected (N,6,H,W)"))));
  options_.backward = true;
  input = Input(3);
  input.classes = 30;
  input.dy.resize(90);
  EXPECT_THAT(refusal(input),
              testing::Pair(3, AllOf(HasSubstr(options_.input.string()),
                                     HasSubstr("'dy' is F64 (3,30); the output is (3,31)"))));
  options_.mode = "train";
  input = Input(3);
  input.domain = {1, 1};
  EXPECT_THAT(refusal(input),
              testing::Pair(3, HasSubstr("'domain' is (2), but there are 3 images")));
  input.domain = {4, 9, 4};
  EXPECT_THAT(refusal(input), testing::Pair(3, HasSubstr("domain 9 has a single image")));
}

TEST_F(Forward, WeightsThatDoNotFitAreListed) {
  Input(3).write(options_.input);
  auto tensors = state_dict(*model_);
  std::erase_if(tensors, [](const NamedTensor& t) { return t.name == "features.norm5.bias"; });
  write_safetensors(options_.weights, as_safetensors(tensors));
  EXPECT_THAT(refusal(), testing::Pair(3, AllOf(HasSubstr(options_.weights.string()),
                                                HasSubstr("missing 'features.norm5.bias' ("))));
  options_.classes = 30;
  EXPECT_THAT(refusal(), testing::Pair(3, HasSubstr("'classifier.bias' is (31) in the file, (30) "
                                                    "in the model")));
}

TEST_F(Forward, WrongFlagsAreUsageErrors) {
  Input input(3);
  input.domain = {1, 1, 1};
  EXPECT_THAT(refusal(input),
              testing::Pair(2, HasSubstr("'domain' has a meaning in --mode train")));
  input.domain.clear();
  options_.mode = "test";
  EXPECT_THAT(refusal(input),
              testing::Pair(2, HasSubstr("unknown mode 'test'; expected train or eval")));
  options_.mode = "eval";
  options_.precision = "f16";
  EXPECT_THAT(refusal(input), testing::Pair(2, HasSubstr("unknown precision 'f16'")));
  options_.precision = "f64";
  options_.model = "densenet_smok";
  EXPECT_THAT(refusal(input), testing::Pair(2, HasSubstr("did you mean 'densenet_smoke'?")));
}

TEST_F(Forward, AMissingTensorOrFileIsNamed) {
  const std::vector<double> x(8, 0.0);
  const SafetensorsTensor other[] = {safetensors_f64("images", {8}, x)};
  write_safetensors(options_.input, other);
  EXPECT_THAT(refusal(),
              testing::Pair(3, AllOf(HasSubstr(options_.input.string()), HasSubstr("'x'"))));
  const SafetensorsTensor mistyped[] = {safetensors_f64("x", {8}, x),
                                        safetensors_f64("domains", {8}, x)};
  write_safetensors(options_.input, mistyped);
  EXPECT_THAT(refusal(),
              testing::Pair(3, HasSubstr("unknown tensor 'domains'; did you mean 'domain'?")));
  options_.input = file("absent.safetensors");
  EXPECT_THAT(refusal(), testing::Pair(testing::AnyOf(2, 3), HasSubstr("absent.safetensors")));
}

}  // namespace
}  // namespace mono
