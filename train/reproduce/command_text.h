// The command line that repeats a call of `reproduce`.
#pragma once

#include <string>

#include "train/commands.h"

namespace mono {

// Every option that is not at its default, each a word of a shell: "train_rxrx reproduce wilds
// --methods adabn --set 'data.channels=[1, 2]' --data screen --out runs".
std::string command_text(const ReproduceOptions& options);

}  // namespace mono
