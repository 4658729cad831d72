// Sums of GPU tensors over NCCL.
//
// Buckets go out on a stream of their own as backward fills them: the stream waits for the kernels
// that the compute stream was given so far, and the compute stream waits for it at the end. A rank
// that is killed, stopped or stuck is noticed by the bootstrap's watchdog, because finish_sums()
// begins with a barrier there: the GPUs still compute then, so that it costs no time. What the
// network between the GPUs does is watched by runtime/non_blocking_nccl.h.
#include "runtime/communicator.h"

#if !MONO_NCCL

namespace mono {
std::unique_ptr<Communicator> nccl_over(Communicator&, double) {
  fail(ErrorKind::device,
       "this build has no NCCL (preset cuda, with nccl.h in CUDA's include folder, has); set "
       "ranks.gpu_sums = \"mpi\" to add gradients over MPI instead");
}
}  // namespace mono

#else

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <utility>

#include "kernels/base/gpu_cuda.h"
#include "runtime/non_blocking_nccl.h"
#include "runtime/stream.h"

namespace mono {
namespace {

// Opened when the first communicator is made: 218 MB that other programs do without.
const Nccl& nccl() {
  static const Nccl library = [] {
    // It would overrule the configuration (nccl.h: blocking), and waits would have no timeout.
    ::setenv("NCCL_COMM_BLOCKING", "0", /*overwrite=*/1);
    return Nccl{SharedLibrary("libnccl.so.2")};
  }();
  return library;
}

ncclDataType_t type_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return ncclFloat32;
    case DType::f64:
      return ncclFloat64;
    case DType::bf16:
      return ncclBfloat16;
    default:
      fail(ErrorKind::internal, "a sum over ranks of {}", name_of(dtype));
  }
}

// NCCL wants a GPU for each rank and says little where it has not. Before it is asked.
void check_gpus(Communicator& ranks) {
  struct Place {
    char boot[64] = "", gpu[64] = "";  // two machines may have one name
    bool operator==(const Place&) const = default;
  } own;
  std::ifstream("/proc/sys/kernel/random/boot_id").getline(own.boot, sizeof own.boot);
  std::strncpy(own.gpu, gpu::properties()->bus_id.c_str(), sizeof own.gpu - 1);
  const std::vector<Place> all = ranks.gather_values(std::span<const Place>(&own, 1));
  for (size_t a = 0; a < all.size(); ++a)
    for (size_t b = a + 1; b < all.size(); ++b)
      if (all[a] == all[b])
        fail(ErrorKind::device,
             "ranks {} and {} both compute on GPU {} of one machine; NCCL wants one for each: "
             "start as many "
             "ranks on a machine as it has GPUs, or set ranks.gpu_sums = \"mpi\"",
             a, b, all[a].gpu);
}

// Every rank gives the id that the root made.
ncclUniqueId common_id(Communicator& ranks) {
  compute_stream(kGpu);  // fails where there is no GPU
  check_gpus(ranks);
  ncclUniqueId id{};
  if (ranks.is_root()) nccl().check(nccl().ncclGetUniqueId(&id), "ncclGetUniqueId", nullptr);
  return ranks.of_root(id);
}

class NcclCommunicator final : public Communicator {
 public:
  NcclCommunicator(Communicator& bootstrap, double timeout_s)
      : Communicator(bootstrap.rank(), bootstrap.size()),
        bootstrap_(bootstrap),
        nccl_(nccl(), common_id(bootstrap), rank(), size(), timeout_s) {}

  void start_sum(const Tensor& piece) override {
    MONO_CHECK(piece.packed() && piece.device() == kGpu, "a sum over NCCL of {}",
               piece.to_string());
    // NCCL connects in its first sum, which so waits for all ranks: here the watchdog sees who is
    // late.
    if (!std::exchange(connected_, true)) bootstrap_.barrier();
    order(piece.stream(), stream_);
    nccl_.start_sum(piece.raw(), static_cast<size_t>(piece.elements()), type_of(piece.dtype()),
                    cuda_stream(static_cast<Stream>(stream_)));
    piece.used_on(stream_);
    piece.bump_version();
  }

  void finish_sums() override {
    bootstrap_.barrier();  // every rank has started every sum
    Event end;
    end.record(stream_);
    nccl_.wait([&] { return end.has_happened(); }, "sums of gradients");
    order(stream_, compute_stream(kGpu));
  }

  void gather(std::span<const std::byte> own, std::span<std::byte> all) override {
    bootstrap_.gather(own, all);
  }
  void moving(const char* with_what) override { bootstrap_.moving(with_what); }
  void set_timeout(double seconds) override {
    nccl_.set_timeout(seconds);
    bootstrap_.set_timeout(seconds);
  }

 private:
  void end_ranks(int exit_code, const std::string& message) override {
    bootstrap_.end_all(exit_code, message);
  }

  Communicator& bootstrap_;
  bool connected_ = false;
  OwnedStream stream_;
  NonBlockingNccl nccl_;  // after its stream: ends before it
};

}  // namespace

std::unique_ptr<Communicator> nccl_over(Communicator& bootstrap, double timeout_s) {
  return std::make_unique<NcclCommunicator>(bootstrap, timeout_s);
}

}  // namespace mono

#endif
