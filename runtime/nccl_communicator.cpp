// Sums of GPU tensors over NCCL.
//
// Buckets go out on a stream of their own as backward fills them: the stream waits for the kernels
// that the compute stream was given so far, and the compute stream waits for it at the end. The
// communicator is NCCL's non-blocking kind: no call of it waits for a peer, and the host, which
// does, asks for errors meanwhile and gives up after the timeout. A rank that is killed, stopped or
// stuck is noticed by the bootstrap's watchdog, because finish_sums() begins with a barrier there:
// the GPUs still compute then, so that it costs no time.
#include "runtime/communicator.h"

#if !MONO_NCCL

namespace mono {
std::unique_ptr<Communicator> nccl_over(Communicator&) {
  fail(ErrorKind::device,
       "this build has no NCCL (preset cuda, with nccl.h in CUDA's include folder, has); set "
       "ranks.gpu_sums = \"mpi\" to add gradients over MPI instead");
}
}  // namespace mono

#else

#include <nccl.h>

#include <chrono>
#include <cstring>
#include <thread>

#include "kernels/base/gpu_cuda.h"
#include "kernels/base/shared_library.h"
#include "runtime/stream.h"

namespace mono {
namespace {

// libnccl.so.2, opened when the first communicator is made: 218 MB that other programs do without.
struct Nccl {
  SharedLibrary library{"libnccl.so.2"};
#define MONO_NCCL_FUNCTION(name) decltype(::name)* name = library.function<decltype(::name)>(#name)
  MONO_NCCL_FUNCTION(ncclGetUniqueId);
  MONO_NCCL_FUNCTION(ncclCommInitRankConfig);
  MONO_NCCL_FUNCTION(ncclCommGetAsyncError);
  MONO_NCCL_FUNCTION(ncclAllReduce);
  MONO_NCCL_FUNCTION(ncclCommFinalize);
  MONO_NCCL_FUNCTION(ncclCommDestroy);
  MONO_NCCL_FUNCTION(ncclCommAbort);
  MONO_NCCL_FUNCTION(ncclGetErrorString);
  MONO_NCCL_FUNCTION(ncclGetLastError);
#undef MONO_NCCL_FUNCTION
};
const Nccl& nccl() {
  static const Nccl library;
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
    char machine[64] = "", gpu[64] = "";
    bool operator==(const Place&) const = default;
  } own;
  std::strncpy(own.machine, machine_name().c_str(), sizeof own.machine - 1);
  std::strncpy(own.gpu, gpu::properties()->bus_id.c_str(), sizeof own.gpu - 1);
  const std::vector<Place> all = ranks.gather_values(std::span<const Place>(&own, 1));
  for (size_t a = 0; a < all.size(); ++a)
    for (size_t b = a + 1; b < all.size(); ++b)
      if (all[a] == all[b])
        fail(ErrorKind::device,
             "ranks {} and {} both compute on GPU {} of {}; NCCL wants one for each: start as many "
             "ranks on a machine as it has GPUs, or set ranks.gpu_sums = \"mpi\"",
             a, b, all[a].gpu, all[a].machine);
}

class NcclCommunicator final : public Communicator {
 public:
  explicit NcclCommunicator(Communicator& bootstrap)
      : Communicator(bootstrap.rank(), bootstrap.size()), bootstrap_(bootstrap) {
    compute_stream(kGpu);  // fails where there is no GPU
    check_gpus(bootstrap);
    ncclUniqueId id{};
    if (is_root()) check(nccl().ncclGetUniqueId(&id), "ncclGetUniqueId");
    id = bootstrap.of_root(id);
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    settle(nccl().ncclCommInitRankConfig(&comm_, size(), id, rank(), &config),
           "ncclCommInitRankConfig");
  }

  ~NcclCommunicator() override {
    try {
      settle(nccl().ncclCommFinalize(comm_), "ncclCommFinalize");
      nccl().ncclCommDestroy(comm_);
    } catch (const Error&) {  // aborted
    }
  }

  void start_sum(const Tensor& piece) override {
    MONO_CHECK(piece.packed() && piece.device() == kGpu, "a sum over NCCL of {}",
               piece.to_string());
    order(piece.stream(), stream_);
    settle(nccl().ncclAllReduce(piece.raw(), piece.raw(), static_cast<size_t>(piece.elements()),
                                type_of(piece.dtype()), ncclSum, comm_,
                                cuda_stream(static_cast<Stream>(stream_))),
           "ncclAllReduce");
    piece.used_on(stream_);
    piece.bump_version();
  }

  void finish_sums() override {
    bootstrap_.barrier();  // every rank has started every sum
    Event end;
    end.record(stream_);
    wait([&] { return end.has_happened(); }, "sums of gradients");
    order(stream_, compute_stream(kGpu));
  }

  void gather(std::span<const std::byte> own, std::span<std::byte> all) override {
    bootstrap_.gather(own, all);
  }
  void moving(const char* with_what) override { bootstrap_.moving(with_what); }
  void set_timeout(double seconds) override {
    timeout_ = seconds;
    bootstrap_.set_timeout(seconds);
  }

 private:
  void end_ranks(int exit_code, const std::string& message) override {
    bootstrap_.end_all(exit_code, message);
  }

  void check(ncclResult_t result, const char* call) {
    if (result == ncclSuccess || result == ncclInProgress) return;
    const std::string text = fmt::format("{}: {} ({})", call, nccl().ncclGetErrorString(result),
                                         nccl().ncclGetLastError(comm_));
    abort();
    fail(ErrorKind::device, "{}; NCCL_DEBUG=INFO says more", text);
  }

  // Waits for a call that goes on in the background; the next one may only come after it.
  void settle(ncclResult_t result, const char* call) {
    check(result, call);
    if (result == ncclInProgress) wait([this] { return state() == ncclSuccess; }, call);
  }

  ncclResult_t state() {
    ncclResult_t state = ncclSuccess;
    const ncclResult_t asked = nccl().ncclCommGetAsyncError(comm_, &state);
    return asked == ncclSuccess ? state : asked;
  }

  template <class Done>
  void wait(Done done, const char* for_what) {
    using Clock = std::chrono::steady_clock;
    const Clock::time_point start = Clock::now();
    for (int tries = 0; !done(); ++tries) {
      check(state(), for_what);
      const std::chrono::duration<double> waited = Clock::now() - start;
      if (waited.count() > timeout_) {
        abort();
        fail(ErrorKind::device,
             "NCCL: {} did not end within {:.0f} s (ranks.timeout_s), although every rank takes "
             "part: the network between the GPUs does not work; NCCL_DEBUG=INFO says more",
             for_what, timeout_);
      }
      if (tries < 1000)
        std::this_thread::yield();
      else
        std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
  }

  void abort() {
    if (comm_) nccl().ncclCommAbort(comm_);
    comm_ = nullptr;
  }

  Communicator& bootstrap_;
  ncclComm_t comm_ = nullptr;
  OwnedStream stream_;
  double timeout_ = 300;
};

}  // namespace

std::unique_ptr<Communicator> nccl_over(Communicator& bootstrap) {
  return std::make_unique<NcclCommunicator>(bootstrap);
}

}  // namespace mono

#endif
