#include "train/signals.h"

#include <cstring>
#include <iterator>

namespace mono {
namespace {

constexpr int kSignals[] = {SIGTERM, SIGINT, SIGUSR1};

volatile std::sig_atomic_t g_caught = 0;
int g_catchers = 0;

void on_signal(int signal) {
  g_caught = signal;
  for (const int other : kSignals) std::signal(other, SIG_DFL);  // the second one ends the process
}

}  // namespace

SignalCatcher::SignalCatcher() {
  if (g_catchers++ > 0) return;  // the outer one catches
  g_caught = 0;
  struct sigaction action;
  std::memset(&action, 0, sizeof action);
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  for (size_t i = 0; i < std::size(kSignals); ++i) ::sigaction(kSignals[i], &action, &before_[i]);
}

SignalCatcher::~SignalCatcher() {
  if (--g_catchers > 0) return;
  for (size_t i = 0; i < std::size(kSignals); ++i) ::sigaction(kSignals[i], &before_[i], nullptr);
}

int SignalCatcher::caught() const {
  return g_caught;
}

const char* signal_name(int signal) {
  switch (signal) {
    case SIGTERM:
      return "SIGTERM";
    case SIGINT:
      return "SIGINT";
    case SIGUSR1:
      return "SIGUSR1";
  }
  return "a signal";
}

}  // namespace mono
