// `train_rxrx evaluate --embeddings DIR`: all that can be said of an embedding, ours or anybody's.
#include <fmt/format.h>

#include <cstdio>

#include "kernels/base/error.h"
#include "train/commands.h"
#include "train/device.h"
#include "train/evaluate/embedding_report.h"
#include "train/run_directory.h"

namespace mono {

int run_evaluate_embeddings(const EmbeddingsOptions& options, const ComputeOptions& compute) {
  if (!options.out.empty()) check_extension(options.out, ".json");
  const std::string& device = compute.device;
  if (choose_device(device == "auto" ? "cpu" : device, compute.threads) != Device::cpu)
    fail(ErrorKind::usage, "--device {}: embeddings are evaluated on the CPU; leave --device out",
         device);
  const EmbeddingSet set = read_embeddings(options.folder, options.columns);
  ReportOptions what;
  what.knn.k = options.k;
  what.kbet.neighbours = options.kbet_neighbours;
  what.kbet.cdcl_compat = options.cdcl_compat;
  what.linear_probe = options.probe_epochs > 0;
  what.probe.epochs = options.probe_epochs;
  const EmbeddingReport report = report_on(set, what);
  Json json = report_json(report);
  json["embeddings"] = options.folder.string();
  if (!options.out.empty()) write_file_durably(options.out.string(), json.text());
  fmt::print("{}", options.json ? json.line() + "\n" : report_text(report));
  if (!options.out.empty() && !options.json) fmt::print("written: {}\n", options.out.string());
  return 0;
}

}  // namespace mono
