// A communicator of ranks that are not there.
#pragma once

#include <algorithm>
#include <functional>
#include <span>
#include <string>

#include "kernels/base/error.h"
#include "runtime/communicator.h"

namespace mono::test {

// Ranks that all say what this one says, but for what `other` changes.
class FakeRanks : public Communicator {
 public:
  explicit FakeRanks(int size, int rank = 0) : Communicator(rank, size) {}
  void start_sum(const Tensor&) override {}
  void finish_sums() override {}
  void gather(std::span<const std::byte> own, std::span<std::byte> all) override {
    for (int r = 0; r < size(); ++r) {
      const auto part = all.subspan(own.size() * static_cast<size_t>(r), own.size());
      std::ranges::copy(own, part.begin());
      if (other) other(r, part);
    }
  }
  void moving(const char*) override {}
  void set_timeout(double) override {}
  void end_ranks(int, const std::string& message) override {
    fail(ErrorKind::internal, "{}", message);
  }

  std::function<void(int rank, std::span<std::byte>)> other;
};

}  // namespace mono::test
