// The ranks of one training: processes that compute on groups of their own, and add their
// gradients.
//
//   single   one process, nothing to send                                (communicator.cpp)
//   mpi      CPU tensors; and bootstrap and control messages of GPU runs (mpi_communicator.cpp)
//   nccl     sums of tensors on GPUs, over one of the others             (nccl_communicator.cpp)
//
// Every rank calls the same functions in the same order. Sums of f32 and f64 over mpi are balanced
// binary trees over the rank, ((0+1)+(2+3))+((4+5)+(6+7)), each element by itself: with groups in
// contiguous, equal, power-of-two shares they continue the tree over the groups (gradient_tree.h),
// so that any number of ranks gives the bits of one process. NCCL adds in an order of its own:
// rings and trees that depend on the number of ranks, their links and the size of the piece. It is
// the same from run to run on the same machines, and differs from one process in the last bits.
//
// A rank that is lost, stopped, stuck or fails ends all of them: the others do not wait for ever,
// and no call below returns on a rank whose peers are gone. See mpi_communicator.cpp.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "runtime/tensor.h"

namespace mono {

class Communicator {
 public:
  virtual ~Communicator() = default;
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }
  bool is_root() const { return rank_ == 0; }  // the rank that writes and prints

  // Adds `piece` (packed; f32, f64, or bf16, which is rounded after each addition; on any device)
  // over the ranks, in place on each. It may still be under way on return; the memory belongs to
  // the communicator until finish_sums().
  virtual void start_sum(const Tensor& piece) = 0;
  // Waits until every sum that was started has arrived.
  virtual void finish_sums() = 0;

  // Every rank's bytes, in the order of ranks: `all` holds size() times as many as `own`, which may
  // be its own part of it.
  virtual void gather(std::span<const std::byte> own, std::span<std::byte> all) = 0;

  // Tells the others that this rank moves while it computes for long between two collectives, and
  // with what; a string literal ("validation").
  virtual void moving(const char* with_what) = 0;

  // How long a rank may be without a sign of life or, while others wait for it, of progress.
  virtual void set_timeout(double seconds) = 0;

  // Prints the message with the rank's name and ends every rank with this exit code. Does not
  // return; nothing is cleaned up.
  [[noreturn]] void end_all(int exit_code, const std::string& message) {
    end_ranks(exit_code, message);
    std::abort();
  }

  // Composed of gather():
  void barrier() { any(false); }
  bool any(bool mine);
  template <class T>
  std::vector<T> gather_values(std::span<const T> own) {
    static_assert(std::is_trivially_copyable_v<T>);
    std::vector<T> all(own.size() * static_cast<size_t>(size_));
    gather(std::as_bytes(own), std::as_writable_bytes(std::span(all)));
    return all;
  }
  template <class T>
  T of_root(const T& own) {  // rank 0's
    return gather_values(std::span<const T>(&own, 1))[0];
  }
  // A table whose outermost extent is shared out in equal contiguous parts: this rank's rows are
  // there, and everybody's are on return. On any device.
  void gather_rows(const Tensor& table);

 protected:
  virtual void end_ranks(int exit_code, const std::string& message) = 0;  // of end_all

  Communicator(int rank, int size) : rank_(rank), size_(size) {}

 private:
  const int rank_, size_;
};

// The communicator of a process by itself.
Communicator& single_process();

// What started this process as one of several, from the environment: mpirun (OMPI_COMM_WORLD_*),
// srun (SLURM_*), or torchrun's variables (RANK, WORLD_SIZE). One rank, no name: nothing did.
struct Launch {
  int rank = 0, size = 1;
  int local_rank = 0;  // among the ranks of this machine
  std::string launcher;
};
Launch find_launch();

std::string machine_name();

// Joins the ranks that find_launch() sees; null for one process. Exits with 6 if one is not there
// in MONO_START_TIMEOUT_S (300). Errors (device): no MPI, a launcher that MPI knows nothing of.
std::unique_ptr<Communicator> join_ranks();

// Sums of tensors on CUDA devices over NCCL, on a stream of their own beside the computation; all
// else, and the watch over the ranks, stays with `bootstrap`, which must outlive it. One rank is
// fine. `timeout_s` holds for what the GPUs wait for, its start included, until set_timeout().
// Errors (device): a build or machine without NCCL or a GPU, two ranks that have the same GPU.
std::unique_ptr<Communicator> nccl_over(Communicator& bootstrap, double timeout_s = 300);

}  // namespace mono
