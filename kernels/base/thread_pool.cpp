#include "kernels/base/thread_pool.h"

#include <immintrin.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "kernels/base/error.h"

namespace mono {
namespace {

thread_local bool inside_job = false;

int cores_available() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1u, std::thread::hardware_concurrency());
}

class ThreadPool {
 public:
  explicit ThreadPool(int threads) : threads_(threads) {
    for (int worker = 1; worker < threads; ++worker)
      workers_.emplace_back([this, worker] { serve(worker); });
  }

  ~ThreadPool() {
    stop_.store(true);
    generation_.fetch_add(1);
    generation_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }

  int threads() const { return threads_; }

  void run(int64_t units, void (*body)(void*, int64_t, int), void* context) {
    auto job = std::make_shared<Job>();
    job->units = units;
    job->body = body;
    job->context = context;
    std::atomic_store(&job_, job);
    generation_.fetch_add(1);
    generation_.notify_all();
    work(*job, 0);
    while (job->done.load(std::memory_order_acquire) < units) _mm_pause();
    std::atomic_store(&job_, std::shared_ptr<Job>());
    if (job->failed.load()) std::rethrow_exception(job->error);
  }

 private:
  struct Job {
    int64_t units = 0;
    void (*body)(void*, int64_t, int) = nullptr;
    void* context = nullptr;
    alignas(64) std::atomic<int64_t> ticket{0};
    alignas(64) std::atomic<int64_t> done{0};
    std::atomic<bool> failed{false};
    std::mutex error_mutex;
    std::exception_ptr error;
  };

  static void work(Job& job, int worker) {
    inside_job = true;
    while (true) {
      const int64_t unit = job.ticket.fetch_add(1, std::memory_order_relaxed);
      if (unit >= job.units) break;
      if (!job.failed.load(std::memory_order_relaxed)) {
        try {
          job.body(job.context, unit, worker);
        } catch (...) {
          std::lock_guard lock(job.error_mutex);
          if (!job.failed.load()) job.error = std::current_exception();
          job.failed.store(true);
        }
      }
      job.done.fetch_add(1, std::memory_order_release);
    }
    inside_job = false;
  }

  void serve(int worker) {
    uint32_t seen = 0;
    while (true) {
      for (int spin = 0; generation_.load(std::memory_order_acquire) == seen; ++spin) {
        if (spin < 4000)
          _mm_pause();
        else
          generation_.wait(seen);
      }
      seen = generation_.load(std::memory_order_acquire);
      if (stop_.load()) return;
      // The shared pointer keeps the job alive for a worker that wakes up after it was finished.
      if (const std::shared_ptr<Job> job = std::atomic_load(&job_)) work(*job, worker);
    }
  }

  const int threads_;
  std::vector<std::thread> workers_;
  std::shared_ptr<Job> job_;
  alignas(64) std::atomic<uint32_t> generation_{0};
  std::atomic<bool> stop_{false};
};

std::mutex pool_mutex;  // held while a job runs: one caller at a time
std::unique_ptr<ThreadPool> pool;
std::atomic<int> wanted_threads{0};

ThreadPool& current_pool() {  // pool_mutex held
  if (!pool || pool->threads() != num_threads()) pool = std::make_unique<ThreadPool>(num_threads());
  return *pool;
}

}  // namespace

int num_threads() {
  static const int available = cores_available();
  const int wanted = wanted_threads.load();
  return wanted > 0 ? wanted : available;
}

void set_num_threads(int threads) {
  if (threads < 1 || threads > 1024)
    fail(ErrorKind::usage, "threads must be between 1 and 1024, not {}", threads);
  wanted_threads.store(threads);
}

SerialRegion::SerialRegion() : outer_(inside_job) {
  inside_job = true;
}
SerialRegion::~SerialRegion() {
  inside_job = outer_;
}

namespace detail {

void run_units(int64_t units, void (*body)(void*, int64_t, int), void* context) {
  if (units <= 0) return;
  if (!inside_job && units > 1 && num_threads() > 1) {
    std::unique_lock lock(pool_mutex, std::try_to_lock);
    if (lock.owns_lock()) {
      current_pool().run(units, body, context);
      return;
    }
  }
  for (int64_t unit = 0; unit < units; ++unit) body(context, unit, 0);
}

}  // namespace detail
}  // namespace mono
