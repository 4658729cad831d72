#include "train/reproduce/command_text.h"

#include <fmt/format.h>

#include "train/shell_quote.h"

namespace mono {

std::string command_text(const ReproduceOptions& options) {
  std::string command = "train_rxrx reproduce " + shell_quoted(options.table);
  const auto add = [&](const char* flag, const std::string& value) {
    if (!value.empty()) command += fmt::format(" {} {}", flag, shell_quoted(value));
  };
  if (options.smoke) command += " --smoke";
  add("--methods", fmt::format("{}", fmt::join(options.methods, ",")));
  add("--seeds", fmt::format("{}", fmt::join(options.seeds, ",")));
  for (const std::string& grid : options.grid) add("--grid", grid);
  for (const std::string& set : options.sets) add("--set", set);
  add("--data", options.data.string());
  add("--cache", options.cache.string());
  add("--cpg0004", options.cpg0004.string());
  add("--cpg0004-cache", options.cpg0004_cache.string());
  add("--out", options.out.string());
  const ComputeOptions defaults;
  if (options.compute.device != defaults.device) add("--device", options.compute.device);
  if (options.compute.threads != defaults.threads)
    add("--threads", fmt::to_string(options.compute.threads));
  if (options.compute.deterministic) command += " --deterministic";
  if (options.compute.kernels != defaults.kernels) add("--kernels", options.compute.kernels);
  return command;
}

}  // namespace mono
