#include "train/on_ranks.h"

#include <sched.h>

#include <algorithm>
#include <cstdio>
#include <new>

#include "kernels/base/gpu.h"
#include "kernels/base/thread_pool.h"
#include "nn/functional/kernel_choice.h"
#include "train/device.h"
#include "train/hash.h"
#include "train/ranks.h"
#include "train/version.h"

namespace mono {
namespace {

// This rank's part of the cores that it shares with other ranks of its machine (mpirun binds ranks
// to a core, a socket or nothing).
int threads_of_rank(int asked, Communicator& ranks) {
  if (asked != 0 || ranks.size() == 1) return asked;
  struct Place {
    char machine[64] = "";
    cpu_set_t cores = {};
  } own;
  machine_name().copy(own.machine, sizeof own.machine - 1);
  sched_getaffinity(0, sizeof own.cores, &own.cores);
  const uint64_t place = hash64(&own, sizeof own);
  const std::vector<uint64_t> places = ranks.gather_values(std::span(&place, 1));
  return std::max(1, num_threads() / static_cast<int>(std::ranges::count(places, place)));
}

}  // namespace

int on_ranks(const std::function<int(Communicator&)>& command) {
  const std::unique_ptr<Communicator> ranks = join_ranks();
  if (!ranks) return command(single_process());
  try {
    if (!ranks->is_root() && !std::freopen("/dev/null", "w", stdout))
      fail(ErrorKind::internal, "/dev/null cannot be opened");
    return command(*ranks);
  } catch (...) {
    end_ranks_with_this_error(*ranks);
  }
}

void end_ranks_with_this_error(Communicator& ranks) {
  try {
    throw;
  } catch (const Error& error) {
    ranks.end_all(error.exit_code(), error.what());
  } catch (const std::bad_alloc&) {
    ranks.end_all(static_cast<int>(ErrorKind::internal),
                  "out of memory; try a smaller batch or image, or fewer ranks on a machine");
  } catch (const std::exception& error) {
    ranks.end_all(static_cast<int>(ErrorKind::internal),
                  fmt::format("{} (a fault of this program)", error.what()));
  }
}

Device choose_device(const ComputeOptions& options, Communicator& ranks) {
  if (ranks.size() > 1) gpu::use_device(find_launch().local_rank % std::max(1, gpu::devices()));
  const Device device = choose_device(options.device, threads_of_rank(options.threads, ranks),
                                      /*quiet=*/!ranks.is_root());
  set_kernel_choice(parse_kernel_choice(options.kernels));
  check_same(ranks, "program", fmt::format("{} {}", program_version(), program_commit()));
  check_same(ranks, "device", std::string(name_of(device)));
  check_same(ranks, "instruction set", instruction_set());
  return device;
}

}  // namespace mono
