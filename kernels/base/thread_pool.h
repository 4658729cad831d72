// The compute pool: parallel_for over units of work.
//
// Determinism is the caller's: units are fixed by the problem, never by the number of threads, and
// whatever units produce is reduced in unit order. Then any number of threads gives the same bits.
//
// Units are handed out by an atomic ticket. A job is done when its units are, not when its threads
// are, so a descheduled worker delays nobody unless it holds a unit. Workers spin briefly between
// jobs, then sleep on a futex.
#pragma once

#include <cstdint>
#include <type_traits>

namespace mono {

// The number of compute threads, the calling thread included. Default: the cores that this process
// may run on (affinity respected). set_num_threads takes effect at the next parallel_for.
int num_threads();
void set_num_threads(int threads);

// While one lives, parallel_for on this thread runs its units here: for loader threads, which must
// not take the pool away from the training step.
class SerialRegion {
 public:
  SerialRegion();
  ~SerialRegion();
  SerialRegion(const SerialRegion&) = delete;
  SerialRegion& operator=(const SerialRegion&) = delete;

 private:
  bool outer_;
};

namespace detail {
void run_units(int64_t units, void (*body)(void*, int64_t unit, int worker), void* context);
}

// Calls f(unit, worker) for every unit in [0, units), each exactly once, in any order, from up to
// num_threads() threads; worker in [0, num_threads()) identifies the thread (for scratch space).
// Returns when all are done. The first exception thrown by f is rethrown here, after the rest of
// the units have been skipped. Nested calls run on the calling thread. One caller at a time: a call
// from a second thread (a loader's) runs on that thread alone.
template <class F>
void parallel_for(int64_t units, F&& f) {
  using Body = std::remove_reference_t<F>;
  detail::run_units(
      units,
      [](void* context, int64_t unit, int worker) { (*static_cast<Body*>(context))(unit, worker); },
      const_cast<void*>(static_cast<const void*>(&f)));
}

}  // namespace mono
