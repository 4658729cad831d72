// How a command starts and ends on several ranks.
#pragma once

#include <functional>

#include "kernels/base/device.h"
#include "runtime/communicator.h"
#include "train/commands.h"

namespace mono {

// Runs a command on the ranks that a launcher started, or on this process by itself. Rank 0 prints
// to stdout. An error on one rank ends all of them with its exit code.
int on_ranks(const std::function<int(Communicator&)>& command);

// In a handler: ends all ranks with the message and the exit code of the exception at hand.
[[noreturn]] void end_ranks_with_this_error(Communicator& ranks);

// --device, --threads and --kernels on a rank: its GPU is that of its number on the machine, its
// threads are its part of the cores that it shares with other ranks. Error(usage) on every rank
// where program, device or instruction set differ.
Device choose_device(const ComputeOptions& options, Communicator& ranks);

}  // namespace mono
