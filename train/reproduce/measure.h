// The figures of a finished run: those that an earlier evaluation left, if it was of the checkpoint
// and the recipe that stand for the run, else computed and written into RUN/evaluation/.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "runtime/tensor.h"
#include "train/json.h"

namespace mono {

struct MeasureOptions {
  std::string statistics;  // of batch norm; empty: as the recipe trains
  bool views = false;      // CDCL's evaluation (views.json) instead of SPLIT-STATISTICS.json
  Device device = Device::cpu;
};

// The evaluation's JSON. Errors: those of load_run() and of the evaluations.
JsonView evaluation_of(const std::filesystem::path& run, const MeasureOptions& options);

// A figure of an evaluation, by its path: "accuracy_by_cell_type/HUVEC". Where there is none, `why`
// receives the reason that the evaluation gives, if it gives one.
std::optional<double> figure_of(const JsonView& evaluation, const std::string& path,
                                std::string& why);

}  // namespace mono
