// A communicator whose sums arrive when a link of a given latency and rate would have carried them:
// to see on one machine what a network costs, and how much of that backward hides.
//
// The link carries one sum at a time. Only a timer runs: it takes no time from the computation.
#pragma once

#include <chrono>

#include "runtime/communicator.h"

namespace mono {

struct Link {
  double latency_seconds = 0;
  double bytes_per_second = 0;  // of the gradient: what an all-reduce achieves, not the wire's rate
  double seconds(double bytes) const { return latency_seconds + bytes / bytes_per_second; }
};

class TimedLink final : public Communicator {
 public:
  // `inner` must outlive this.
  TimedLink(Communicator& inner, const Link& link)
      : Communicator(inner.rank(), inner.size()), inner_(inner), link_(link) {}

  void start_sum(const Tensor& piece) override;
  void finish_sums() override;
  void gather(std::span<const std::byte> own, std::span<std::byte> all) override {
    inner_.gather(own, all);
  }
  void moving(const char* with_what) override { inner_.moving(with_what); }
  void set_timeout(double seconds) override { inner_.set_timeout(seconds); }

 private:
  void end_ranks(int exit_code, const std::string& message) override {
    inner_.end_all(exit_code, message);
  }

  Communicator& inner_;
  const Link link_;
  std::chrono::steady_clock::time_point free_;  // when the link has carried everything so far
};

}  // namespace mono
