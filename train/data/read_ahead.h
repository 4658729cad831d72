// Numbered items read ahead by threads and handed out in order.
//
// Workers take numbers in turn and read; next() hands the items out by number, whoever was quicker.
// What is ready and not yet taken is bounded by workers + 1 items. Without workers next() reads by
// itself.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "kernels/base/error.h"
#include "kernels/base/thread_pool.h"

namespace mono {

template <class Item>
class ReadAhead {
 public:
  // Items [first, end); `read` is called from any worker, several at a time.
  ReadAhead(int64_t first, int64_t end, int workers, std::function<Item(int64_t)> read)
      : read_(std::move(read)),
        end_(end),
        next_(first),
        ticket_(first),
        slots_(static_cast<size_t>(workers) + 1) {
    for (int i = 0; i < workers; ++i) threads_.emplace_back([this] { work(); });
  }
  ~ReadAhead() {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    room_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }
  ReadAhead(const ReadAhead&) = delete;
  ReadAhead& operator=(const ReadAhead&) = delete;

  // The next item; rethrows what its reading threw, again at every further call.
  Item next() {
    MONO_CHECK(!finished(), "all items up to {} have been handed out", end_);
    const Waiting waiting(waited_);
    if (threads_.empty()) {
      Item item = read_(next_);
      ++next_;
      return item;
    }
    std::unique_lock lock(mutex_);
    Slot& slot = slot_of(next_);
    ready_.wait(lock, [&] { return slot.item || slot.error; });
    if (slot.error) std::rethrow_exception(slot.error);
    Item item = std::move(*slot.item);
    slot.item.reset();
    ++next_;
    lock.unlock();
    room_.notify_all();
    return item;
  }
  bool finished() const { return next_ >= end_; }
  // Seconds that next() has spent waiting (or reading, without workers) since the start.
  double waited() const { return waited_; }

 private:
  struct Slot {
    std::optional<Item> item;
    std::exception_ptr error;
  };
  class Waiting {
   public:
    explicit Waiting(double& total) : total_(total) {}
    ~Waiting() {
      total_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    }

   private:
    double& total_;
    const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  };
  Slot& slot_of(int64_t number) { return slots_[static_cast<size_t>(number) % slots_.size()]; }

  void work() {
    const SerialRegion serial;  // the compute threads belong to the step
    std::unique_lock lock(mutex_);
    while (true) {
      // An item may be read once its slot has been emptied.
      room_.wait(lock, [&] {
        return stop_ || ticket_ >= end_ || ticket_ < next_ + static_cast<int64_t>(slots_.size());
      });
      if (stop_ || ticket_ >= end_) return;
      const int64_t number = ticket_++;
      lock.unlock();
      Slot done;
      try {
        done.item.emplace(read_(number));
      } catch (...) {
        done.error = std::current_exception();
      }
      lock.lock();
      slot_of(number) = std::move(done);
      ready_.notify_all();
    }
  }

  const std::function<Item(int64_t)> read_;
  const int64_t end_;
  int64_t next_;    // to be handed out
  int64_t ticket_;  // to be read
  double waited_ = 0;
  bool stop_ = false;
  std::vector<Slot> slots_;  // ring, by number
  std::mutex mutex_;
  std::condition_variable room_, ready_;
  std::vector<std::thread> threads_;
};

}  // namespace mono
