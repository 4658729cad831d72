// Domain centring: the formula, absent domains, domains without training images, options.
#include "nn/domain/domain_centring.h"

#include <gmock/gmock.h>

#include "tests/nn/gradient_check.h"

namespace mono {
namespace {

using test::normal_tensor;
using testing::HasSubstr;

constexpr int kOutputs = 5;

Tensor ids(std::vector<int> values) {
  const Tensor t = Tensor::empty({static_cast<int>(values.size())}, DType::i32);
  std::ranges::copy(values, t.data<int>());
  return t;
}

Tensor scalar(double value) {
  const Tensor t = Tensor::empty({1}, DType::f64);
  t.data<double>()[0] = value;
  return t;
}

std::vector<double> row(const Tensor& t, int r) {
  const double* from = t.data<double>() + int64_t{r} * kOutputs;
  return {from, from + kOutputs};
}

DomainCentring started(std::vector<int64_t> images, const CentringOptions& options = {}) {
  DomainCentring centring(images, kOutputs, DType::f64, Device::cpu, options);
  EXPECT_THAT(centring.centres().span<double>(), testing::Each(0.0));
  centring.centres().copy_from(normal_tensor(centring.centres().shape(), 9));
  return centring;
}

TEST(DomainCentring, CentresEachRowWithItsDomainAndThenTempers) {
  const DomainCentring centring = started({10, 20, 30});
  const Tensor teacher = normal_tensor({3, kOutputs}, 1);
  const Tensor y = centring.centred(teacher, ids({2, 0, 2}), scalar(0.04));
  const int domain[] = {2, 0, 2};
  for (int r = 0; r < 3; ++r)
    for (int k = 0; k < kOutputs; ++k)
      EXPECT_NEAR(row(y, r)[k], (row(teacher, r)[k] - row(centring.centres(), domain[r])[k]) / 0.04,
                  1e-12);
}

TEST(DomainCentring, OutputsOfADomainComeToMeanZeroWhateverItsFrequency) {
  // Domain 1 has a tenth of the images and is seen in one batch of five, with half of the rows.
  DomainCentring centring = started({900, 100});
  const Tensor common = normal_tensor({4, kOutputs}, 1), rare = normal_tensor({4, kOutputs}, 2);
  for (int step = 0; step < 200; ++step)
    if (step % 5 == 0)
      centring.update(rare, ids({0, 1, 1, 0}));
    else
      centring.update(common, ids({0, 0, 0, 0}));
  const Tensor y = centring.centred(rare, ids({0, 1, 1, 0}), scalar(1));
  for (int k = 0; k < kOutputs; ++k) EXPECT_NEAR(row(y, 1)[k] + row(y, 2)[k], 0, 1e-6);
}

TEST(DomainCentring, AnAbsentDomainKeepsItsCentreToTheBit) {
  DomainCentring centring = started({10, 10, 0});
  const std::vector<double> one = row(centring.centres(), 1), two = row(centring.centres(), 2);
  centring.update(normal_tensor({3, kOutputs}, 1), ids({0, 0, 0}));
  EXPECT_EQ(row(centring.centres(), 1), one);
  EXPECT_EQ(row(centring.centres(), 2), two);
}

TEST(DomainCentring, ADomainWithoutTrainingImagesTakesTheLargestWeight) {
  DomainCentring centring = started({10, 10, 0});
  const Tensor teacher = normal_tensor({2, kOutputs}, 1);
  centring.update(teacher, ids({2, 0}));
  for (int k = 0; k < kOutputs; ++k)  // 0.1 * 10: the mean itself
    EXPECT_NEAR(row(centring.centres(), 2)[k], row(teacher, 0)[k], 1e-15);
}

TEST(DomainCentring, ItsOptionsAreTheOtherReadings) {
  const Tensor teacher = normal_tensor({4, kOutputs}, 1);
  DomainCentring plain = started({90, 10}, {.weighted = false, .momentum = 0.75});
  const std::vector<double> before = row(plain.centres(), 1);
  plain.update(teacher, ids({0, 1, 0, 1}));
  for (int k = 0; k < kOutputs; ++k)
    EXPECT_NEAR(row(plain.centres(), 1)[k],
                0.75 * before[k] + 0.25 * (row(teacher, 1)[k] + row(teacher, 3)[k]) / 2, 1e-15);

  DomainCentring single = started({90, 10}, {.per_domain = false});
  ASSERT_EQ(single.domains(), 1);
  const std::vector<double> centre = row(single.centres(), 0);
  single.update(teacher, Tensor());
  for (int k = 0; k < kOutputs; ++k) {
    double mean = 0;
    for (int r = 0; r < 4; ++r) mean += row(teacher, r)[k] / 4;
    EXPECT_NEAR(row(single.centres(), 0)[k], 0.9 * centre[k] + 0.1 * mean, 1e-15);
  }
}

TEST(DomainCentring, RefusesWhatDoesNotFit) {
  const auto message = [](auto&& f) -> std::string {
    try {
      f();
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_THAT(message([] {
                DomainCentring(std::vector<int64_t>{0, 0}, 4, DType::f32, Device::cpu);
              }),
              HasSubstr("2 domains with 0 training images"));
  DomainCentring centring = started({10, 10});
  const Tensor teacher = normal_tensor({2, kOutputs}, 1);
  EXPECT_THAT(message([&] { centring.update(teacher, Tensor()); }), HasSubstr("domains (none)"));
  EXPECT_THAT(message([&] { centring.update(teacher, ids({0})); }), HasSubstr("domains i32 (1)"));
  EXPECT_THAT(message([&] {
                centring.update(teacher, ids({0, 2}));
              }),
              HasSubstr("row 1 is of domain 2"));
  EXPECT_THAT(message([&] {
                centring.update(normal_tensor({2, 3}, 1), ids({0, 1}));
              }),
              HasSubstr("do not fit the teacher's outputs"));
}

}  // namespace
}  // namespace mono
