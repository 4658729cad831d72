#include "train/ranks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <functional>

#include "kernels/base/error.h"
#include "models/registry.h"
#include "tests/runtime/fake_ranks.h"

namespace mono {
namespace {

using test::FakeRanks;
using testing::HasSubstr;

std::string message_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& error) {
    return fmt::format("{}: {}", error.exit_code(), error.what());
  }
  return "";
}

TEST(Ranks, ShareTheGroupsOutInContiguousPowersOfTwo) {
  const FakeRanks third(4, 2);
  const GroupShare share = share_of(third, 8);
  EXPECT_EQ(share.groups, 8);
  EXPECT_EQ(share.first, 4);
  EXPECT_EQ(share.count, 2);
  EXPECT_EQ(share_of(single_process(), 6).count, 6) << "one process takes any number";
  EXPECT_EQ(share_of(FakeRanks(3), 6).count, 2);
  EXPECT_EQ(share_of(FakeRanks(8), 8).count, 1);
}

TEST(Ranks, NumbersThatDoNotFitAreRefusedWithThoseThatDo) {
  const std::string text = message_of([] { share_of(FakeRanks(3), 8); });
  EXPECT_THAT(text, HasSubstr("2: batch.groups = 8"));
  EXPECT_THAT(text, HasSubstr("start 1, 2, 4, 8 ranks"));
  // Three groups a rank: their sum is another tree than that of six in one process.
  EXPECT_THAT(message_of([] { share_of(FakeRanks(2), 6); }), HasSubstr("start 1, 3, 6 ranks"));
  EXPECT_THAT(message_of([] { share_of(FakeRanks(16), 8); }), HasSubstr("16 ranks"));
}

TEST(Ranks, WhoIsDifferentIsNamed) {
  FakeRanks ranks(4);
  EXPECT_NO_THROW(check_same(ranks, "recipe", "adabn, hash 1"));
  ranks.other = [](int rank, std::span<std::byte> value) {
    if (rank == 3) value[0] ^= std::byte{1};
  };
  const std::string text = message_of([&] { check_same(ranks, "recipe", "adabn, hash 1"); });
  EXPECT_THAT(text, HasSubstr("2: rank 3: has not the same recipe as rank 0"));
  EXPECT_THAT(text, HasSubstr("adabn, hash 1"));
}

struct State {
  std::unique_ptr<Model> model;
  TrainingState state;
  State() {
    ModelOptions options;
    options.channels = 3;
    options.classes = 4;
    model = make_model("resnet18", options);
    model->initialise(DType::f32, 1);
    state.add_model("", *model);
  }
};

TEST(Ranks, ADifferentTensorIsNamedWithItsRank) {
  State s;
  FakeRanks ranks(4);
  EXPECT_NO_THROW(check_same_state(ranks, s.state, 7));
  const std::vector<TrainingState::TensorHash> tensors = s.state.hashes();
  size_t which = 0;
  while (tensors.at(which).name != "layer1.0.bn1.weight") ++which;
  ranks.other = [&](int rank, std::span<std::byte> hashes) {
    if (rank != 2) return;
    if (hashes.size() == sizeof(uint64_t))
      hashes[0] ^= std::byte{1};  // of everything
    else
      hashes[which * sizeof(uint64_t)] ^= std::byte{1};
  };
  const std::string text = message_of([&] { check_same_state(ranks, s.state, 7); });
  EXPECT_THAT(text, HasSubstr("6: after step 7 'layer1.0.bn1.weight' of rank 2 is not that"));
  // One against one: nobody can tell.
  FakeRanks two(2);
  two.other = [&](int rank, std::span<std::byte> hashes) {
    if (rank == 1)
      hashes[hashes.size() == sizeof(uint64_t) ? 0 : which * sizeof(uint64_t)] ^= std::byte{1};
  };
  EXPECT_THAT(message_of([&] { check_same_state(two, s.state, 7); }),
              HasSubstr("failed there, or on the others: neither side outvotes the other"));
  // Rank 0 can be the odd one, too.
  ranks.other = [&](int rank, std::span<std::byte> hashes) {
    if (rank == 0) return;
    hashes[hashes.size() == sizeof(uint64_t) ? 0 : which * sizeof(uint64_t)] ^= std::byte{1};
  };
  EXPECT_THAT(message_of([&] { check_same_state(ranks, s.state, 7); }),
              HasSubstr("'layer1.0.bn1.weight' of rank 0 is not"));
}

TEST(Ranks, EveryBitOfTheStateIsHashed) {
  State s;
  const auto before = s.state.hashes();
  const auto changed = [&](float* value) {
    uint32_t bits;
    std::memcpy(&bits, value, sizeof bits);
    bits ^= 1;
    std::memcpy(value, &bits, sizeof bits);
    std::vector<std::string> names;
    const auto after = s.state.hashes();
    for (size_t i = 0; i < after.size(); ++i)
      if (after[i].hash != before[i].hash) names.push_back(after[i].name);
    bits ^= 1;
    std::memcpy(value, &bits, sizeof bits);
    return names;
  };
  const Parameter* fc = s.model->arena().find("fc.bias");
  EXPECT_THAT(changed(s.model->arena().weights().data<float>() + fc->offset),
              testing::ElementsAre("fc.bias"));
  EXPECT_THAT(changed(s.model->running().variance().data<float>() + 5),
              testing::ElementsAre("running_var"));
}

}  // namespace
}  // namespace mono
