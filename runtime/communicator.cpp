#include "runtime/communicator.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>

#include "kernels/base/error.h"
#include "runtime/copy.h"

namespace mono {
namespace {

class SingleProcess final : public Communicator {
 public:
  SingleProcess() : Communicator(0, 1) {}
  void start_sum(const Tensor&) override {}
  void finish_sums() override {}
  void gather(std::span<const std::byte> own, std::span<std::byte> all) override {
    if (own.data() != all.data()) std::ranges::copy(own, all.begin());
  }
  void moving(const char*) override {}
  void set_timeout(double) override {}
  void end_ranks(int exit_code, const std::string& message) override {
    std::fflush(stdout);
    fmt::print(stderr, "error: {}\n", message);
    std::_Exit(exit_code);
  }
};

// The value of an environment variable that holds a whole number; -1: there is none.
int number_in(const char* variable) {
  const char* text = std::getenv(variable);
  if (!text) return -1;
  int value = -1;
  const char* end = text + std::strlen(text);
  const auto result = std::from_chars(text, end, value);
  return result.ec == std::errc() && result.ptr == end ? value : -1;
}

struct Variables {
  const char *launcher, *rank, *size, *local_rank;
};
// A batch script has SLURM_PROCID as well, but SLURM_STEP_NUM_TASKS only what srun started.
constexpr Variables kLaunchers[] = {
    {"mpirun", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"},
    {"srun", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"},
    {"torchrun", "RANK", "WORLD_SIZE", "LOCAL_RANK"},
};

}  // namespace

bool Communicator::any(bool mine) {
  const std::byte own{mine};
  std::vector<std::byte> all(static_cast<size_t>(size_));
  gather(std::span(&own, 1), all);
  return std::ranges::any_of(all, [](std::byte b) { return b != std::byte{0}; });
}

void Communicator::gather_rows(const Tensor& table) {
  if (size_ == 1) return;
  const int rows = table.shape()[0];
  MONO_CHECK(table.packed() && rows % size_ == 0, "{} in {} parts", table.to_string(), size_);
  const size_t bytes = static_cast<size_t>(table.bytes()),
               part = bytes / static_cast<size_t>(size_);
  const auto span_of = [&](std::byte* all) { return std::span(all, bytes); };
  const size_t at = part * static_cast<size_t>(rank_);
  if (table.device() == Device::cpu) {
    std::byte* all = static_cast<std::byte*>(table.raw());
    gather(std::span(all + at, part), span_of(all));
    return;
  }
  std::vector<std::byte> host(bytes);
  std::byte* device = static_cast<std::byte*>(table.raw());
  download(table.stream(), host.data() + at, device + at, part);
  gather(std::span(host.data() + at, part), span_of(host.data()));
  upload(table.stream(), device, host.data(), bytes);
}

Communicator& single_process() {
  static SingleProcess one;
  return one;
}

std::string machine_name() {
  char name[256] = "";
  gethostname(name, sizeof name - 1);
  return name;
}

Launch find_launch() {
  for (const Variables& v : kLaunchers) {
    const int rank = number_in(v.rank), size = number_in(v.size);
    if (rank < 0 || size < 1 || rank >= size) continue;
    return {rank, size, std::max(0, number_in(v.local_rank)), v.launcher};
  }
  return {};
}

}  // namespace mono
