// A library in place of libnccl.so.2: answers as its script says and remembers what it was asked.
#pragma once

#include <nccl.h>

#include <atomic>
#include <future>
#include <string>
#include <vector>

namespace mono::test {

struct FakeNccl {
  // The script. What was begun is "in progress" for so many questions (below 0: for ever), and then
  // ends with `outcome`; a call of which `refused` is the name is refused at once.
  int questions = 0;
  ncclResult_t outcome = ncclSuccess;
  std::string refused;
  std::future<void> abort_waits_for;  // valid: ncclCommAbort ends after it

  std::vector<std::string> calls;  // in order; questions are not among them
  int asked = 0;                   // since the last call
  bool blocking = true;            // as the configuration said
  std::atomic<bool> abort_waited = false;
};

}  // namespace mono::test

// The script from now on; must outlive all calls.
extern "C" void use_fake_nccl(mono::test::FakeNccl* script);
