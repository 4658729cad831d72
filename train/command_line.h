// The command line of train_rxrx: flags to option structs. CLI11 is behind it.
#pragma once

namespace mono {

// Parses the arguments and runs the command. Returns the exit code; --help and --version print and
// return 0. A mistake in the arguments is ErrorKind::usage; other errors are those of the command.
int run_command_line(int argc, const char* const* argv);

}  // namespace mono
