// NCCL's non-blocking communicator. Every call returns at once; what it began is waited for here,
// asking for errors meanwhile, and given up after a timeout. Of streams it knows the handle alone,
// so that its tests, which bring a library of their own, need no GPU. For sources that have nccl.h.
#pragma once

#include <nccl.h>

#include <chrono>
#include <exception>
#include <future>
#include <memory>
#include <thread>
#include <utility>

#include "kernels/base/shared_library.h"

namespace mono {

struct Nccl {
  const SharedLibrary library;
  MONO_LIBRARY_FUNCTION(ncclGetUniqueId);
  MONO_LIBRARY_FUNCTION(ncclCommInitRankConfig);
  MONO_LIBRARY_FUNCTION(ncclCommGetAsyncError);
  MONO_LIBRARY_FUNCTION(ncclAllReduce);
  MONO_LIBRARY_FUNCTION(ncclCommFinalize);
  MONO_LIBRARY_FUNCTION(ncclCommDestroy);
  MONO_LIBRARY_FUNCTION(ncclCommAbort);
  MONO_LIBRARY_FUNCTION(ncclGetErrorString);
  MONO_LIBRARY_FUNCTION(ncclGetLastError);

  // `comm` may be null. "In progress" is no error.
  void check(ncclResult_t result, const char* call, ncclComm_t comm) const {
    if (result == ncclSuccess || result == ncclInProgress) return;
    fail(ErrorKind::device, "{}: {} ({}); NCCL_DEBUG=INFO says more", call,
         ncclGetErrorString(result), ncclGetLastError(comm));
  }
};

// Errors (device) of every call but the destructor: what NCCL reports, of this rank or another, and
// a wait of more than `timeout_s`. All that may follow one is the destructor.
class NonBlockingNccl {
 public:
  // Returns when all ranks have called it. `nccl` must outlive it; `id` is one rank's
  // ncclGetUniqueId, the same for all.
  NonBlockingNccl(const Nccl& nccl, const ncclUniqueId& id, int rank, int size, double timeout_s)
      : nccl_(nccl), timeout_s_(timeout_s) {
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    try {
      settle(nccl_.ncclCommInitRankConfig(&comm_, size, id, rank, &config),
             "ncclCommInitRankConfig");
    } catch (...) {
      abort();
      throw;
    }
  }

  // In good order all ranks end together. After an error, of whatever kind, peers may be gone, and
  // nobody is waited for.
  ~NonBlockingNccl() {
    try {
      if (!failed_ && std::uncaught_exceptions() == exceptions_) {
        settle(nccl_.ncclCommFinalize(comm_), "ncclCommFinalize");
        nccl_.ncclCommDestroy(comm_);
        return;
      }
    } catch (const Error&) {
    }
    abort();
  }
  NonBlockingNccl(const NonBlockingNccl&) = delete;
  NonBlockingNccl& operator=(const NonBlockingNccl&) = delete;

  void set_timeout(double seconds) { timeout_s_ = seconds; }

  // Over all ranks, in place, in the order of `stream`. Returns when it is in the stream.
  void start_sum(void* values, size_t count, ncclDataType_t type, cudaStream_t stream) {
    settle(nccl_.ncclAllReduce(values, values, count, type, ncclSum, comm_, stream),
           "ncclAllReduce");
  }

  // Until done(). `for_what` is for the message.
  template <class Done>
  void wait(Done done, const char* for_what) {
    using Clock = std::chrono::steady_clock;
    const Clock::time_point start = Clock::now();
    failed_ = true;  // unless it ends
    for (int tries = 0; !done(); ++tries) {
      nccl_.check(state(), for_what, comm_);
      const std::chrono::duration<double> waited = Clock::now() - start;
      if (waited.count() > timeout_s_)
        fail(ErrorKind::device,
             "NCCL: {} did not end within {:.0f} s (ranks.timeout_s), although every rank takes "
             "part: the network between the GPUs does not work; NCCL_DEBUG=INFO says more",
             for_what, timeout_s_);
      if (tries < 1000)
        std::this_thread::yield();
      else
        std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
    failed_ = false;
  }

 private:
  // Waits for a call that goes on in the background; the next one may only come after it.
  void settle(ncclResult_t result, const char* call) {
    failed_ = true;
    nccl_.check(result, call, comm_);
    failed_ = false;
    if (result == ncclInProgress) wait([this] { return state() == ncclSuccess; }, call);
  }

  ncclResult_t state() {
    ncclResult_t state = ncclSuccess;
    const ncclResult_t asked = nccl_.ncclCommGetAsyncError(comm_, &state);
    return asked == ncclSuccess ? state : asked;
  }

  // Ends kernels that wait for a peer. NCCL itself may wait for peers on this machine, and for ever
  // (its issues 992 and 1777): then it is left to the end of the process.
  void abort() {
    if (!comm_) return;
    std::promise<void> aborted;
    const std::future<void> end = aborted.get_future();
    std::thread([call = nccl_.ncclCommAbort, comm = comm_, aborted = std::move(aborted)]() mutable {
      call(comm);
      aborted.set_value();
    }).detach();
    end.wait_for(std::chrono::seconds(2));
  }

  const Nccl& nccl_;
  ncclComm_t comm_ = nullptr;
  double timeout_s_;
  bool failed_ = false;
  const int exceptions_ = std::uncaught_exceptions();
};

}  // namespace mono
