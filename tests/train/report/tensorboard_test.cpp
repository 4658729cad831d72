#include "train/report/tensorboard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <bit>
#include <csignal>
#include <stdexcept>

#include "kernels/base/error.h"
#include "tests/train/data/test_screen.h"
#include "train/report/training_watch.h"

namespace mono::report {
namespace {

using ::testing::ElementsAre;
using ::testing::FloatEq;
using ::testing::Pair;

// Reads events back, with a CRC computed bit by bit and fields in any order; shares nothing with
// what writes.
struct ReadEvent {
  double wall_time = 0;
  int64_t step = 0;
  std::string version;
  std::vector<std::pair<std::string, float>> scalars;
};

uint32_t slow_crc(const std::string& bytes) {
  // Most significant bit first, over reflected bytes.
  const auto reflect = [](uint32_t value, int bits) {
    uint32_t out = 0;
    for (int i = 0; i < bits; ++i) out |= (value >> i & 1u) << (bits - 1 - i);
    return out;
  };
  uint32_t crc = 0xFFFFFFFF;
  for (const char c : bytes) {
    crc ^= reflect(static_cast<uint8_t>(c), 8) << 24;
    for (int i = 0; i < 8; ++i) crc = crc & 0x80000000u ? crc << 1 ^ 0x1EDC6F41u : crc << 1;
  }
  return ~reflect(crc, 32);
}

class EventReader {
 public:
  explicit EventReader(std::string bytes) : bytes_(std::move(bytes)) {}

  std::vector<ReadEvent> events() {
    std::vector<ReadEvent> out;
    while (at_ < bytes_.size()) {
      const std::string header = take(8);
      const uint64_t length = word(header);
      check(header, take(4));
      const std::string data = take(length);
      check(data, take(4));
      out.push_back(event(data));
    }
    return out;
  }

 private:
  std::string take(size_t count) {
    if (bytes_.size() - at_ < count) throw std::runtime_error("the file is cut short");
    at_ += count;
    return bytes_.substr(at_ - count, count);
  }
  static uint64_t word(const std::string& bytes) {
    uint64_t value = 0;
    for (size_t i = bytes.size(); i-- > 0;) value = value << 8 | static_cast<uint8_t>(bytes[i]);
    return value;
  }
  static void check(const std::string& data, const std::string& stored) {
    uint32_t crc = static_cast<uint32_t>(word(stored)) - 0xA282EAD8u;
    crc = crc >> 17 | crc << 15;
    if (crc != slow_crc(data)) throw std::runtime_error("the CRC differs");
  }
  struct Field {
    uint64_t number, integer;
    std::string bytes;
  };
  static std::vector<Field> fields(const std::string& message) {
    size_t at = 0;
    const auto varint = [&] {
      uint64_t value = 0;
      for (int shift = 0;; shift += 7) {
        const auto byte = static_cast<uint8_t>(message.at(at++));
        value |= static_cast<uint64_t>(byte & 0x7F) << shift;
        if (byte < 0x80) return value;
      }
    };
    std::vector<Field> out;
    while (at < message.size()) {
      const uint64_t key = varint();
      Field field{key >> 3, 0, {}};
      const uint64_t kind = key & 7;
      if (kind == 0) {
        field.integer = varint();
      } else {
        const uint64_t size = kind == 1 ? 8 : kind == 5 ? 4 : varint();
        if (size > message.size() - at) throw std::runtime_error("a field is cut short");
        field.bytes = message.substr(at, size);
        field.integer = word(field.bytes.substr(0, 8));
        at += size;
      }
      out.push_back(field);
    }
    return out;
  }
  static ReadEvent event(const std::string& data) {
    ReadEvent out;
    for (const Field& field : fields(data)) {
      if (field.number == 1) out.wall_time = std::bit_cast<double>(field.integer);
      if (field.number == 2) out.step = static_cast<int64_t>(field.integer);
      if (field.number == 3) out.version = field.bytes;
      if (field.number != 5) continue;
      for (const Field& value : fields(field.bytes)) {
        std::pair<std::string, float> scalar;
        for (const Field& part : fields(value.bytes)) {
          if (part.number == 1) scalar.first = part.bytes;
          if (part.number == 2)
            scalar.second = std::bit_cast<float>(static_cast<uint32_t>(part.integer));
        }
        out.scalars.push_back(scalar);
      }
    }
    return out;
  }

  std::string bytes_;
  size_t at_ = 0;
};

std::vector<ReadEvent> events_of(const std::filesystem::path& run) {
  return EventReader(test::read_text(run / "tensorboard" / "events.out.tfevents.monolayer"))
      .events();
}

TEST(Tensorboard, CrcIsThatOfTheStandard) {
  EXPECT_EQ(crc32c("123456789"), 0xE3069283u);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8A9136AAu);  // RFC 3720, B.4
  EXPECT_EQ(crc32c(std::string(32, '\xFF')), 0x62A8AB43u);
  EXPECT_EQ(crc32c(""), 0u);
}

TEST(Tensorboard, EventsReadBack) {
  test::TempDir dir;
  {
    TensorboardFile file((dir / "tensorboard").string());
    file.append(1.5, 1, {{"train/loss", 2.25}, {"train/lr", 0.1}});
    file.append(2.5, 15'800, {{"train/loss", -1e-3}});
  }
  const std::vector<ReadEvent> events = events_of(dir.path());
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(events[0].version, "brain.Event:2");
  EXPECT_EQ(events[1].wall_time, 1.5);
  EXPECT_EQ(events[1].step, 1);
  EXPECT_THAT(events[1].scalars,
              ElementsAre(Pair("train/loss", FloatEq(2.25f)), Pair("train/lr", FloatEq(0.1f))));
  EXPECT_EQ(events[2].step, 15'800);
  EXPECT_THAT(events[2].scalars, ElementsAre(Pair("train/loss", FloatEq(-1e-3f))));
}

// A disk that is full at so many bytes, for this process.
class FullDisk {
 public:
  explicit FullDisk(size_t bytes) : signal_(std::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FullDisk() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, signal_);
  }

 private:
  void (*signal_)(int);
  rlimit before_{};
};

TEST(Tensorboard, AFullDiskLeavesNoTornRecord) {
  test::TempDir dir;
  TensorboardFile file((dir / "tensorboard").string());
  file.append(1, 1, {{"a", 1}});
  const auto size = std::filesystem::file_size(dir / "tensorboard/events.out.tfevents.monolayer");
  {
    const FullDisk full(size + 5);
    EXPECT_THROW(file.append(2, 2, {{"a", 2}}), Error);
  }
  file.append(3, 3, {{"a", 3}});
  const std::vector<ReadEvent> events = events_of(dir.path());
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(events[2].step, 3);
}

TEST(TrainingWatch, FollowsTheLogsFromTheirBeginning) {
  test::TempDir dir;
  const std::string first = "{\"step\": 1, \"epoch\": 1, \"loss\": 2.5, \"batch_loss\": null}\n";
  test::write_text(dir / "metrics.jsonl", first);
  {
    TrainingWatch watch(dir.path(), false, true);
    // A row that is half written comes when it is whole.
    test::write_text(dir / "metrics.jsonl", first + "{\"step\": 2, \"epo");
    watch.step();
    test::write_text(dir / "metrics.jsonl", first + "{\"step\": 2, \"epoch\": 1, \"loss\": 1.5}\n");
    watch.step();
    test::write_text(dir / "validation.jsonl", "{\"step\": 2, \"knn_accuracy\": 0.5}\n");
    watch.epoch();
  }
  std::vector<ReadEvent> events = events_of(dir.path());
  ASSERT_EQ(events.size(), 4u);
  EXPECT_THAT(events[1].scalars, ElementsAre(Pair("train/epoch", 1.f), Pair("train/loss", 2.5f)));
  EXPECT_EQ(events[2].step, 2);
  EXPECT_THAT(events[3].scalars, ElementsAre(Pair("validation/knn_accuracy", 0.5f)));
  // A run resumed at step 1 starts the file again: no step twice.
  test::write_text(dir / "metrics.jsonl", first);
  test::write_text(dir / "validation.jsonl", "");
  { const TrainingWatch again(dir.path(), false, true); }
  events = events_of(dir.path());
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[1].step, 1);
}

TEST(TrainingWatch, RowsThatCameLateAreThereAtTheEnd) {
  test::TempDir dir;
  {
    TrainingWatch watch(dir.path(), false, true);
    test::write_text(dir / "metrics.jsonl", "{\"step\": 1, \"loss\": 2.5}\n");
    watch.epoch();
  }
  EXPECT_EQ(events_of(dir.path()).size(), 2u);
}

TEST(TrainingWatch, WhatCannotBeWrittenIsAWarning) {
  test::TempDir dir;
  test::write_text(dir / "tensorboard", "a file where the folder should be");
  ::testing::internal::CaptureStderr();
  TrainingWatch watch(dir / "no such run", true, false);
  watch.epoch();
  watch.epoch();
  TrainingWatch(dir.path(), false, true).step();
  const std::string text = ::testing::internal::GetCapturedStderr();
  EXPECT_THAT(text, ::testing::HasSubstr("training goes on"));
  size_t warnings = 0;
  for (size_t at = text.find("warning: "); at != text.npos; at = text.find("warning: ", at + 1))
    warnings += text.find("plots.html", at) < text.find('\n', at);
  EXPECT_EQ(warnings, 1u) << text;
}

}  // namespace
}  // namespace mono::report
