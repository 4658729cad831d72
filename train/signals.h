// SIGTERM, SIGINT and SIGUSR1 ask training to save and end (exit code 75); a second one, of
// whichever kind, ends the process at once. Nothing is lost by that either: checkpoints appear
// under their names only when they are complete.
#pragma once

#include <csignal>

namespace mono {

// Catches the three signals while it lives. One at a time.
class SignalCatcher {
 public:
  SignalCatcher();
  ~SignalCatcher();
  SignalCatcher(const SignalCatcher&) = delete;
  SignalCatcher& operator=(const SignalCatcher&) = delete;

  // The signal that has arrived since construction, or 0.
  int caught() const;

 private:
  struct sigaction before_[3];
};

// "SIGTERM", for messages.
const char* signal_name(int signal);

}  // namespace mono
