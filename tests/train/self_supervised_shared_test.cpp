// CDCL's loss, its gradient and its centres against the published code's formulae, evaluated by
// others in float64: ../shared/data/cdcl/derived/golden_cdcl_loss.json, to the digits it carries.
#include <gtest/gtest.h>

#include <filesystem>
#include <numeric>

#include "nn/domain/domain_centring.h"
#include "nn/functional/self_supervised.h"
#include "tests/paths.h"
#include "train/json.h"

namespace mono {
namespace {

Tensor matrix(const JsonView& rows) {
  const std::vector<JsonView> list = rows.array();
  const int columns = static_cast<int>(list.at(0).array().size());
  const Tensor t = Tensor::empty({static_cast<int>(list.size()), columns}, DType::f64);
  double* to = t.data<double>();
  for (const JsonView& row : list)
    for (const JsonView& value : row.array()) *to++ = value.number();
  return t;
}

Tensor scalar(double value) {
  const Tensor t = Tensor::empty({1}, DType::f64);
  t.data<double>()[0] = value;
  return t;
}

double mean_of(const Tensor& losses) {
  const auto values = losses.span<double>();
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double worst_of(const Tensor& got, const Tensor& want) {
  EXPECT_EQ(got.shape(), want.shape());
  double worst = 0;
  for (int64_t i = 0; i < want.elements(); ++i)
    worst = std::max(worst, std::abs(got.data<double>()[i] - want.data<double>()[i]));
  return worst;
}

TEST(SelfSupervisedShared, LossGradientAndCentresOfThePublishedCode) {
  const std::string path = test::shared_folder() + "/data/cdcl/derived/golden_cdcl_loss.json";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "not there: " << path;
  const JsonView golden = read_json_file(path);
  const Tensor teacher = matrix(golden["teacher"]), student = matrix(golden["student"]),
               centres = matrix(golden["center"]);
  std::vector<int64_t> images;
  for (const JsonView& count : golden["examples_in_each_domain"].array())
    images.push_back(static_cast<int64_t>(count.number()));
  const Tensor domains = Tensor::empty({teacher.shape()[0]}, DType::i32);
  int* id = domains.data<int>();
  for (const char* image : {"domain1", "domain2"})
    for (const JsonView& domain : golden[image].array()) *id++ = static_cast<int>(domain.integer());

  for (const JsonView& c : golden["cases"].array()) {
    SCOPED_TRACE(c["epoch"].integer());
    DomainCentring centring(images, teacher.shape()[1], DType::f64, Device::cpu);
    centring.centres().copy_from(centres);
    Tape tape;
    ForwardContext context;
    context.tape = &tape;
    const Variable logits(student, true);
    const ConsistencyLosses losses = consistency_losses(
        logits, centring.centred(teacher, domains, scalar(c["teacher_temp"].number())),
        view_pairs(8), scalar(0.1), {}, context);
    centring.update(teacher, domains);
    tape.backward();
    const double dino = mean_of(losses.dino), barlow = mean_of(losses.barlow);
    EXPECT_NEAR(dino, c["dino"].number(), 1e-13);
    EXPECT_NEAR(barlow, c["barlow"].number(), 1e-13);
    EXPECT_NEAR(0.25 * dino + 0.75 * barlow, c["total"].number(), 1e-13);
    EXPECT_LE(worst_of(logits.grad(), matrix(c["grad_student"])), 1e-13);
    // The published code adds 1e-10 to each count of images.
    EXPECT_LE(worst_of(centring.centres(), matrix(c["new_center"])), 1e-11);
  }
}

}  // namespace
}  // namespace mono
