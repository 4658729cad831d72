// `train_rxrx evaluate`: the accuracy of a trained run on the test images of its split (RxRx1,
// section 5; Tables 1 and 3), and the files that hold it.
//
//   RUN/evaluation/SPLIT-STATISTICS.json             the figures, fractions 0..1
//   RUN/evaluation/SPLIT-STATISTICS.csv              a row an image, by site id
//   RUN/evaluation/SPLIT-STATISTICS.safetensors      mean, variance and count of every batch norm
//                                                    in each experiment (experiment mode)
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "train/commands.h"
#include "train/evaluate/figures.h"
#include "train/evaluate/inference.h"
#include "train/evaluate/trained_run.h"

namespace mono {

struct Evaluation {
  StatisticsMode mode = StatisticsMode::running;
  std::vector<Classified> images;  // by site id
  AccuracyFigures figures;
  ExperimentStatistics statistics;
};

// Classifies run.sites. Of several ranks, all have the result.
Evaluation evaluate(const TrainedRun& run, StatisticsMode mode,
                    Communicator& ranks = single_process());

// Writes the files above; returns the path of the JSON. An older result of the same split and
// statistics is replaced; the JSON is written last, so that it never names a CSV that is not there.
std::filesystem::path write_evaluation(const std::filesystem::path& run_folder,
                                       const TrainedRun& run, const Evaluation& evaluation);

// Whether the batch head's answers say something: it has seen every experiment.
bool has_batch_accuracy(const TrainedRun& run, const Evaluation& evaluation);

// The table that a person reads.
std::string evaluation_text(const TrainedRun& run, const Evaluation& evaluation);

}  // namespace mono
