// SIGTERM, SIGINT and SIGUSR1 ask training to save and end (exit code 75); a second one, of
// whichever kind, ends the process at once. Nothing is lost by that either: checkpoints appear
// under their names only when they are complete.
#pragma once

#include <csignal>

namespace mono {

// Catches the three signals while it lives. One in the scope of another shares what has arrived, so
// that a command of many trainings misses no signal between them.
class SignalCatcher {
 public:
  SignalCatcher();
  ~SignalCatcher();
  SignalCatcher(const SignalCatcher&) = delete;
  SignalCatcher& operator=(const SignalCatcher&) = delete;

  // The signal that has arrived since the outermost one was made, or 0.
  int caught() const;

 private:
  struct sigaction before_[3];
};

// "SIGTERM", for messages.
const char* signal_name(int signal);

}  // namespace mono
