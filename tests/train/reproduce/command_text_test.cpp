#include "train/reproduce/command_text.h"

#include <gtest/gtest.h>

#include "train/shell_quote.h"

namespace mono {
namespace {

TEST(CommandText, HasEveryOptionAsAShellTakesIt) {
  ReproduceOptions options;
  options.table = "cdcl";
  options.out = "runs";
  EXPECT_EQ(command_text(options), "train_rxrx reproduce cdcl --out runs");
  options.smoke = true;
  options.methods = {"supervised", "cdcl"};
  options.seeds = {1, 2};
  options.grid = {"optim.lr=1e-4,3e-4"};
  options.sets = {"data.channels=[1, 2]", "model.weights=\"it's.safetensors\""};
  options.data = "my screen";
  options.cache = "screen.cache";
  options.cpg0004 = "/lincs";
  options.cpg0004_cache = "lincs.cache";
  options.compute = {.device = "cpu", .threads = 2, .deterministic = true, .kernels = "reference"};
  EXPECT_EQ(command_text(options),
            "train_rxrx reproduce cdcl --smoke --methods supervised,cdcl --seeds 1,2 --grid "
            "optim.lr=1e-4,3e-4 --set 'data.channels=[1, 2]' --set "
            "'model.weights=\"it'\\''s.safetensors\"' --data 'my screen' --cache screen.cache "
            "--cpg0004 /lincs --cpg0004-cache lincs.cache --out runs --device cpu --threads 2 "
            "--deterministic --kernels reference");
}

TEST(ShellQuote, LeavesPlainWordsAsTheyAre) {
  EXPECT_EQ(shell_quoted("runs/a-1,b=2"), "runs/a-1,b=2");
  EXPECT_EQ(shell_quoted(""), "''");
  EXPECT_EQ(shell_quoted("$HOME"), "'$HOME'");
  EXPECT_EQ(shell_quoted("~/runs"), "'~/runs'");
}

}  // namespace
}  // namespace mono
