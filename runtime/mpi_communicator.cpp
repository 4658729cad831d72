// Ranks over MPI.
//
// One thread of the process makes every MPI call: it works off collectives in the order in which
// they were started, while the program computes. Sums go by recursive halving and doubling: each
// round pairs ranks at distance 1, 2, 4, ..., each of which keeps a half of what it had; then the
// halves come back. Element by element that is the balanced tree over the rank, at the least
// possible traffic of 2 (size-1)/size of the data. Where size is no power of two: a binomial tree
// to rank 0, and back.
//
// The same thread is the watchdog. It tells rank 0 several times within the timeout that this rank
// lives and what it does, and rank 0 answers. Then, within the timeout,
//
//   lost    no sign of life: killed, stopped, its machine gone
//   stuck   alive, while the others wait for it, and nothing moves
//
// are noticed by rank 0, or by the others if it is rank 0, named on stderr, and everything ends
// with exit code 6; within twice the timeout also that no rank moves, each of them in work of its
// own (devices or a file system that no longer answer). The thread makes non-blocking calls only.
// MPI's own start and end wait for all ranks, and have a limit of time.
#include "runtime/communicator.h"

#if !MONO_MPI

namespace mono {
std::unique_ptr<Communicator> join_ranks() {
  const Launch launch = find_launch();
  if (launch.size == 1) return nullptr;
  fail(ErrorKind::device,
       "started by {} as rank {} of {}, but this build has no MPI: install libopenmpi-dev and "
       "build again, or start one process",
       launch.launcher, launch.rank, launch.size);
}
}  // namespace mono

#else

#define OMPI_SKIP_MPICXX 1
#include <mpi.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <charconv>
#include <chrono>
#include <climits>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>

#include "kernels/base/bf16.h"
#include "kernels/base/error.h"
#include "runtime/copy.h"
#include "runtime/stream.h"

namespace mono {
namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

void check(int result, const char* call) {
  if (result == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  MPI_Error_string(result, text, &length);
  fail(ErrorKind::device, "{}: {}", call, text);
}
#define MONO_MPI_CALL(call) check(call, #call)

// Ends this process, and with it all ranks, if it lives for so long: around calls of MPI that wait
// for every rank and for ever.
class TimeLimit {
 public:
  TimeLimit(double seconds, const char* what)
      : thread_([this, seconds, what] {
          std::unique_lock lock(mutex_);
          if (over_.wait_for(lock, Seconds(seconds), [this] { return done_; })) return;
          const Launch own = find_launch();
          fmt::print(stderr,
                     "error: rank {} of {} ({}): {} did not end within {:.0f} s: it waits for all "
                     "ranks, and one did not come\n",
                     own.rank, own.size, machine_name(), what, seconds);
          std::fflush(stderr);
          std::_Exit(static_cast<int>(ErrorKind::device));
        }) {}
  ~TimeLimit() {
    {
      const std::lock_guard lock(mutex_);
      done_ = true;
    }
    over_.notify_all();
    thread_.join();
  }

 private:
  std::mutex mutex_;
  std::condition_variable over_;
  bool done_ = false;
  std::thread thread_;  // last: it uses the others
};

// No recipe is read before ranks have met.
double start_timeout() {
  const char* text = std::getenv("MONO_START_TIMEOUT_S");
  if (!text) return 300;
  double seconds = 0;
  const char* end = text + std::strlen(text);
  const auto [stop, error] = std::from_chars(text, end, seconds);
  if (error != std::errc() || stop != end || !(seconds > 0))
    fail(ErrorKind::usage, "MONO_START_TIMEOUT_S is '{}'; expected seconds, above 0", text);
  return seconds;
}

template <class M>
void add_to(M& sum, M value) {
  sum += value;
}
void add_to(bf16& sum, bf16 value) {
  sum = bf16(float(sum) + float(value));
}

// What a rank tells the others several times within the timeout.
struct SignOfLife {
  int64_t collectives = 0;  // that it has started
  int64_t moves = 0;
  int32_t waits = 0;  // in a collective, for other ranks
  int32_t pid = 0;
  char with_what[24] = "start-up";
  char machine[64] = "";
};
constexpr int kSignOfLife = 1;  // tag

class MpiCommunicator final : public Communicator {
 public:
  MpiCommunicator(int rank, int size) : Communicator(rank, size), peers_(size_t(size)) {
    MONO_MPI_CALL(MPI_Comm_dup(MPI_COMM_WORLD, &data_));
    MONO_MPI_CALL(MPI_Comm_dup(MPI_COMM_WORLD, &control_));
    for (MPI_Comm comm : {MPI_COMM_WORLD, data_, control_})
      MONO_MPI_CALL(MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN));
    own_.pid = static_cast<int32_t>(getpid());
    std::strncpy(own_.machine, machine_name().c_str(), sizeof own_.machine - 1);
    thread_ = std::thread([this] { run(); });
  }

  // All ranks come here, or none: a rank that fails ends by end_all().
  ~MpiCommunicator() override {
    {
      const std::lock_guard lock(mutex_);
      ending_ = true;
    }
    wake_.notify_all();
    thread_.join();
    const TimeLimit limit(timeout_, "MPI_Finalize");
    MPI_Comm_free(&data_);
    MPI_Comm_free(&control_);
    MPI_Finalize();
  }

  void start_sum(const Tensor& piece) override {
    MONO_CHECK(piece.packed() && piece.elements() <= INT_MAX, "a sum over ranks of {}",
               piece.to_string());
    Tensor host = piece;
    if (piece.device() != Device::cpu) {
      host = piece.to(Device::cpu);  // waits for the device; NCCL is what does not
      staged_.push_back({piece, host});
    }
    push([this, host] {
      if (host.dtype() == DType::f32)
        sum(host.data<float>(), host.elements(), MPI_FLOAT);
      else if (host.dtype() == DType::f64)
        sum(host.data<double>(), host.elements(), MPI_DOUBLE);
      else
        sum(host.data<bf16>(), host.elements(), MPI_UINT16_T);
    });
  }

  void finish_sums() override {
    wait();
    for (const auto& [piece, host] : std::exchange(staged_, {})) piece.copy_from(host);
  }

  void gather(std::span<const std::byte> own, std::span<std::byte> all) override {
    MONO_CHECK(all.size() == own.size() * static_cast<size_t>(size()), "{} bytes of {} ranks in {}",
               own.size(), size(), all.size());
    push([this, own, all] { gather_now(own, all); });
    wait();
  }

  void moving(const char* with_what) override {
    with_what_.store(with_what, std::memory_order_relaxed);
    moves_.fetch_add(1, std::memory_order_relaxed);
  }

  void set_timeout(double seconds) override { timeout_ = seconds; }

  void end_ranks(int exit_code, const std::string& message) override {
    std::fflush(stdout);
    // Where all ranks fail alike, the first one speaks for them: it ends the others meanwhile.
    std::this_thread::sleep_for(Seconds(rank() == 0 ? 0 : 0.5 + 0.1 * std::min(rank(), 20)));
    {
      const std::lock_guard lock(mutex_);
      last_words_ = message;
      exit_code_ = exit_code;
      ended_ = true;
    }
    wake_.notify_all();
    std::this_thread::sleep_for(Seconds(5));  // for the thread that calls MPI
    end(exit_code, message);
  }

 private:
  struct Peer {
    SignOfLife sign;
    Clock::time_point heard = Clock::now();
    Clock::time_point moved = Clock::now();  // when the sign last differed from the one before
    Clock::time_point level = Clock::now();  // when nobody was last ahead of it
    SignOfLife outgoing;                     // in a send that may not be over
    MPI_Request sending = MPI_REQUEST_NULL;
  };

  // ---- the program's side

  void push(std::function<void()> collective) {
    {
      const std::lock_guard lock(mutex_);
      queue_.push_back(std::move(collective));
      ++started_;
    }
    wake_.notify_all();
  }

  void wait() {
    std::unique_lock lock(mutex_);
    done_.wait(lock, [&] { return finished_ == started_; });
  }

  // ---- the thread that calls MPI

  void run() {
    try {
      while (true) {
        std::function<void()> collective;
        {
          std::unique_lock lock(mutex_);
          wake_.wait_for(lock, Seconds(0.02), [&] { return ending_ || ended_ || !queue_.empty(); });
          if (ended_) break;
          if (queue_.empty() && ending_) break;
          if (!queue_.empty()) {
            collective = std::move(queue_.front());
            queue_.pop_front();
          }
        }
        if (collective) {
          in_collective_ = true;
          collective();
          in_collective_ = false;
          const std::lock_guard lock(mutex_);
          ++finished_;
          done_.notify_all();
        }
        watch();
      }
      if (ended_) end(exit_code_, last_words_);
      say_goodbye();
    } catch (const std::exception& error) {
      end(static_cast<int>(ErrorKind::device),
          fmt::format("the connection to the other ranks failed: {}", error.what()));
    }
  }

  // Sends have been made and nothing more will be said: what is on its way is received first.
  void say_goodbye() {
    in_collective_ = true;  // rank 0 may have a report to write before it comes
    MPI_Request barrier;
    MONO_MPI_CALL(MPI_Ibarrier(data_, &barrier));
    finish({&barrier, 1});
    hear();
    for (Peer& peer : peers_)
      if (peer.sending != MPI_REQUEST_NULL) MPI_Wait(&peer.sending, MPI_STATUS_IGNORE);
  }

  // Tests until the requests are through; keeps watch and leaves the core to others meanwhile.
  void finish(std::span<MPI_Request> requests) {
    for (int tries = 0;; ++tries) {
      int all_through = 0;
      MONO_MPI_CALL(MPI_Testall(static_cast<int>(requests.size()), requests.data(), &all_through,
                                MPI_STATUSES_IGNORE));
      if (all_through) return;
      if (tries < 64)
        std::this_thread::yield();
      else  // first for data that are on their way, later for a rank that validates or saves
        std::this_thread::sleep_for(std::chrono::microseconds(tries < 2000 ? 50 : 1000));
      watch();
    }
  }

  void exchange(int partner, const void* out, int64_t out_elements, void* in, int64_t in_elements,
                MPI_Datatype type) {
    MPI_Request requests[2] = {MPI_REQUEST_NULL, MPI_REQUEST_NULL};
    if (in_elements > 0)
      MONO_MPI_CALL(
          MPI_Irecv(in, static_cast<int>(in_elements), type, partner, 0, data_, &requests[0]));
    if (out_elements > 0)
      MONO_MPI_CALL(
          MPI_Isend(out, static_cast<int>(out_elements), type, partner, 0, data_, &requests[1]));
    finish(requests);
  }

  template <class M>
  void sum(M* data, int64_t n, MPI_Datatype type) {
    if (std::has_single_bit(static_cast<unsigned>(size())))
      halve_and_double(data, n, type);
    else
      sum_at_root(data, n, type);
  }

  template <class M>
  M* scratch(int64_t n) {
    scratch_.resize(std::max(scratch_.size(), static_cast<size_t>(n) * sizeof(M)));
    return reinterpret_cast<M*>(scratch_.data());
  }

  template <class M>
  void halve_and_double(M* data, int64_t n, MPI_Datatype type) {
    struct Range {
      int64_t begin, end;
      int64_t size() const { return end - begin; }
    };
    std::vector<Range> kept = {{0, n}};
    for (int distance = 1; distance < size(); distance *= 2) {
      const int partner = rank() ^ distance;
      const Range whole = kept.back();
      const int64_t middle = whole.begin + whole.size() / 2;
      Range mine{whole.begin, middle}, theirs{middle, whole.end};
      if (rank() & distance) std::swap(mine, theirs);
      M* const in = scratch<M>(mine.size());
      exchange(partner, data + theirs.begin, theirs.size(), in, mine.size(), type);
      M* const out = data + mine.begin;
      for (int64_t i = 0; i < mine.size(); ++i) add_to(out[i], in[i]);
      kept.push_back(mine);
    }
    for (int distance = size() / 2; distance > 0; distance /= 2) {
      const Range mine = kept.back();
      kept.pop_back();
      const Range whole = kept.back();
      const Range theirs =
          mine.begin == whole.begin ? Range{mine.end, whole.end} : Range{whole.begin, mine.begin};
      exchange(rank() ^ distance, data + mine.begin, mine.size(), data + theirs.begin,
               theirs.size(), type);
    }
  }

  template <class M>
  void sum_at_root(M* data, int64_t n, MPI_Datatype type) {
    int above = 0;  // who has this rank's sum
    for (int distance = 1; distance < size(); distance *= 2) {
      if (rank() & distance) {
        above = rank() - distance;
        exchange(above, data, n, nullptr, 0, type);
        break;
      }
      if (rank() + distance >= size()) continue;
      M* const in = scratch<M>(n);
      exchange(rank() + distance, nullptr, 0, in, n, type);
      for (int64_t i = 0; i < n; ++i) add_to(data[i], in[i]);
    }
    MPI_Request request;
    MONO_MPI_CALL(MPI_Ibcast(data, static_cast<int>(n), type, 0, data_, &request));
    finish({&request, 1});
  }

  void gather_now(std::span<const std::byte> own, std::span<std::byte> all) {
    // In pieces: MPI counts in int, and OpenMPI so counts the bytes of all ranks together.
    constexpr size_t kMost = size_t{1} << 30;
    const size_t ranks = static_cast<size_t>(size()), most = kMost / ranks;
    std::vector<std::byte> piece, pieces;
    for (size_t at = 0; at < own.size(); at += most) {
      // A copy: `own` may be a part of `all`, which MPI forbids.
      const size_t bytes = std::min(most, own.size() - at);
      piece.assign(own.begin() + static_cast<std::ptrdiff_t>(at),
                   own.begin() + static_cast<std::ptrdiff_t>(at + bytes));
      const bool whole = bytes == own.size();
      if (!whole) pieces.resize(bytes * ranks);
      MPI_Request request;
      MONO_MPI_CALL(MPI_Iallgather(piece.data(), static_cast<int>(bytes), MPI_BYTE,
                                   whole ? all.data() : pieces.data(), static_cast<int>(bytes),
                                   MPI_BYTE, data_, &request));
      finish({&request, 1});
      for (size_t r = 0; r < ranks && !whole; ++r)
        std::memcpy(all.data() + r * own.size() + at, pieces.data() + r * bytes, bytes);
    }
  }

  // ---- the watchdog

  void watch() {
    const Clock::time_point now = Clock::now();
    if (now - watched_ < std::chrono::milliseconds(2)) return;
    {
      const std::lock_guard lock(mutex_);
      if (ended_) end(exit_code_, last_words_);
    }
    // This process has been stopped itself: what it has not heard says nothing of the others.
    if (Seconds(now - watched_).count() > 0.5 * timeout_)
      for (Peer& peer : peers_) peer.heard = peer.moved = peer.level = now;
    watched_ = now;
    hear();
    if (Seconds(now - spoken_).count() > std::min(1.0, timeout_ / 8)) {
      spoken_ = now;
      speak();
    }
    judge(now);
  }

  void speak() {
    {
      const std::lock_guard lock(mutex_);
      own_.collectives = started_;
    }
    own_.waits = in_collective_;
    own_.moves = moves_.load(std::memory_order_relaxed);
    std::strncpy(own_.with_what, with_what_.load(std::memory_order_relaxed),
                 sizeof own_.with_what - 1);
    note(rank(), own_);
    const int first = rank() == 0 ? 1 : 0, last = rank() == 0 ? size() : 1;
    for (int to = first; to < last; ++to) {
      Peer& peer = peers_[static_cast<size_t>(to)];
      if (peer.sending != MPI_REQUEST_NULL) {
        int through = 0;
        MONO_MPI_CALL(MPI_Test(&peer.sending, &through, MPI_STATUS_IGNORE));
        if (!through) continue;  // it takes nothing: it will be judged by what it says
      }
      peer.outgoing = own_;
      MONO_MPI_CALL(MPI_Isend(&peer.outgoing, sizeof peer.outgoing, MPI_BYTE, to, kSignOfLife,
                              control_, &peer.sending));
    }
  }

  void hear() {
    while (true) {
      int there = 0;
      MPI_Status status;
      MONO_MPI_CALL(MPI_Iprobe(MPI_ANY_SOURCE, kSignOfLife, control_, &there, &status));
      if (!there) return;
      SignOfLife sign;
      MONO_MPI_CALL(MPI_Recv(&sign, sizeof sign, MPI_BYTE, status.MPI_SOURCE, kSignOfLife, control_,
                             MPI_STATUS_IGNORE));
      note(status.MPI_SOURCE, sign);
    }
  }

  void note(int from, const SignOfLife& sign) {
    Peer& peer = peers_[static_cast<size_t>(from)];
    peer.heard = Clock::now();
    if (sign.collectives != peer.sign.collectives || sign.moves != peer.sign.moves)
      peer.moved = peer.heard;
    peer.sign = sign;
  }

  // Rank 0 judges all others; each of them judges rank 0, the nearest one first.
  void judge(Clock::time_point now) {
    const double patience = timeout_ + (rank() == 0 ? 0 : 0.2 * std::min(rank(), 20));
    const int last = rank() == 0 ? size() : 1;
    for (int r = 0; r < last; ++r) {
      const Peer& peer = peers_[static_cast<size_t>(r)];
      if (r != rank() && Seconds(now - peer.heard).count() > patience)
        end(static_cast<int>(ErrorKind::device),
            fmt::format("lost {}: no sign of life for {:.0f} s; it was killed or stopped, or its "
                        "machine is gone. The last checkpoint is whole: run the same command with "
                        "--resume auto",
                        name_of(r), timeout_.load()));
    }
    if (rank() != 0) return;
    int64_t furthest = 0;
    for (const Peer& peer : peers_) furthest = std::max(furthest, peer.sign.collectives);
    bool all_stand = true, none_moves = true;
    for (int r = 0; r < size(); ++r) {
      Peer& peer = peers_[static_cast<size_t>(r)];
      if (peer.sign.collectives == furthest) peer.level = now;
      const bool stands = Seconds(now - peer.moved).count() > timeout_;
      if (stands && Seconds(now - peer.level).count() > timeout_)
        end(static_cast<int>(ErrorKind::device),
            fmt::format("{} is stuck: the others have waited for it for {:.0f} s, and it does not "
                        "move (last seen in: {}). The last checkpoint is whole: run the same "
                        "command with --resume auto; a slow file system or machine needs a larger "
                        "ranks.timeout_s",
                        name_of(r), timeout_.load(), peer.sign.with_what));
      all_stand &= stands && peer.sign.waits;
      // Start-up may take its time: not everything there says that it moves.
      none_moves &= peer.sign.moves > 0 && !peer.sign.waits &&
                    Seconds(now - peer.moved).count() > 2 * timeout_;
    }
    if (all_stand)
      end(static_cast<int>(ErrorKind::device),
          fmt::format("all {} ranks have waited for each other's data for {:.0f} s: the network "
                      "between them does not work",
                      size(), timeout_.load()));
    if (none_moves)
      end(static_cast<int>(ErrorKind::device),
          fmt::format(
              "none of the {} ranks has moved for {:.0f} s (last seen in: {}): their devices "
              "or the file system no longer answer. The last checkpoint is whole: run the "
              "same command with --resume auto; steps as long as that need a larger "
              "ranks.timeout_s",
              size(), 2 * timeout_.load(), peers_[0].sign.with_what));
  }

  std::string name_of(int r) const {
    const SignOfLife& sign = peers_[static_cast<size_t>(r)].sign;
    if (sign.pid == 0) return fmt::format("rank {}, which was never heard of", r);
    return fmt::format("rank {} (process {} on {})", r, sign.pid, sign.machine);
  }

  [[noreturn]] void end(int exit_code, const std::string& message) {
    // Should MPI not manage, or nobody read stderr: nobody stays behind.
    std::thread([exit_code] {
      std::this_thread::sleep_for(Seconds(5));
      std::_Exit(exit_code);
    }).detach();
    fmt::print(stderr, "error: rank {} of {} ({}): {}\n", rank(), size(), own_.machine, message);
    std::fflush(stderr);
    MPI_Abort(MPI_COMM_WORLD, exit_code);
    std::_Exit(exit_code);
  }

  std::atomic<double> timeout_{300};
  MPI_Comm data_ = MPI_COMM_NULL, control_ = MPI_COMM_NULL;
  std::vector<std::pair<Tensor, Tensor> > staged_;  // on a device, and on the host

  std::mutex mutex_;  // guards the next lines
  std::condition_variable wake_, done_;
  std::deque<std::function<void()> > queue_;
  int64_t started_ = 0, finished_ = 0;
  bool ending_ = false, ended_ = false;
  int exit_code_ = 0;
  std::string last_words_;

  std::atomic<int64_t> moves_{0};
  std::atomic<const char*> with_what_{"start-up"};

  // Of the thread.
  SignOfLife own_;
  std::vector<Peer> peers_;
  std::vector<std::byte> scratch_;
  bool in_collective_ = false;
  Clock::time_point watched_ = Clock::now(), spoken_;
  std::thread thread_;
};

}  // namespace

std::unique_ptr<Communicator> join_ranks() {
  const Launch launch = find_launch();
  if (launch.size == 1) return nullptr;
  const TimeLimit limit(start_timeout(), "MPI_Init");
  int provided = 0;
  MONO_MPI_CALL(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &provided));
  int size = 1, rank = 0;
  MONO_MPI_CALL(MPI_Comm_size(MPI_COMM_WORLD, &size));
  MONO_MPI_CALL(MPI_Comm_rank(MPI_COMM_WORLD, &rank));
  if (size != launch.size) {
    MPI_Finalize();
    fail(ErrorKind::device,
         "{} started {} ranks, but MPI sees {}: start with `mpirun -np {} train_rxrx ...` or `srun "
         "--mpi=pmix ...`",
         launch.launcher, launch.size, size, launch.size);
  }
  if (provided < MPI_THREAD_SERIALIZED) {
    MPI_Finalize();
    fail(ErrorKind::device, "this MPI does not let a thread of its own call it (level {})",
         provided);
  }
  return std::make_unique<MpiCommunicator>(rank, size);
}

}  // namespace mono

#endif
