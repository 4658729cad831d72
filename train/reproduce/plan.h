// From a name ("rxrx1/table1", "cdcl") to the trainings behind it.
//
// A training is known by the hash of its resolved recipe, seed and split included: rows and
// experiments that need the same one share it, in this call and in later ones. Its folder is
// OUT/runs/RECIPE/(SPLIT or fold-F)/[GRID POINT/]seed-N of the row that needs it first, with the
// hash behind it where the name is taken; a folder that holds it under another name is found by
// the hash.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "train/commands.h"
#include "train/recipe.h"
#include "train/reproduce/catalogue.h"
#include "train/reproduce/cost.h"
#include "train/reproduce/scale.h"

namespace mono {

// A screen that runs are trained on.
struct Screen {
  std::filesystem::path data, cache;
  Dataset dataset;
  bool has_images() const { return dataset.layout != Layout::none; }
  int side() const;  // of its images in pixels; 512 where there is only a table
};

struct PlannedRun {
  std::string recipe_name;        // "smoke/rxrx1/table1/adabn"
  std::vector<std::string> sets;  // the command line's, the row's, split or fold, seed
  Recipe recipe;                  // resolved from both
  std::string hash;
  ScreenKind screen = ScreenKind::rxrx1;
  std::optional<size_t> after;  // the run whose backbone it starts from; it comes before
  std::filesystem::path folder;
  bool finished = false;
  std::string obstacle;  // why it cannot be trained; empty: it can

  int64_t training = 0, validation = 0, test = 0;
  int64_t unlabelled = 0;  // of the test images
  int64_t steps_per_epoch = 0;
  int64_t steps() const { return steps_per_epoch * recipe.train.epochs; }
  Cost cost;
  double flops() const { return static_cast<double>(steps()) * cost.flops_per_step; }
  std::string place() const;  // "separated split, seed 1", "fold 2, seed 1"
};

// Where a figure comes from: a run, and the one that it is divided by.
struct Source {
  size_t run = 0;
  std::optional<size_t> over;
};

struct Replicate {
  int64_t fold = 0, seed = 1;
  std::vector<Source> columns;  // as Experiment::columns; one of a picture without columns
};

// One point of a grid: what is set, and how folders and tables call it; empty without --grid.
struct GridPoint {
  std::vector<std::string> sets;
  std::string name;
};

struct PlannedRow {
  const Row* row = nullptr;
  std::map<std::string, PaperFigure> paper;  // of the recipe at paper scale
  std::string statistics;                    // of batch norms at evaluation
  std::vector<GridPoint> points;             // one at least: what of --grid is something to the row
  std::vector<std::vector<Replicate>> replicates;  // [point]
};

struct PlannedExperiment {
  const Experiment* experiment = nullptr;
  std::vector<PlannedRow> rows;
  std::vector<std::string> not_rehearsed;  // rows without a smoke twin
  Scale scale;
};

struct Plan {
  std::map<ScreenKind, Screen> screens;
  std::vector<PlannedExperiment> experiments;
  std::vector<PlannedRun> runs;  // in an order in which they can be trained
  // The runs of a row, each once, in order.
  std::vector<size_t> runs_of(const PlannedRow& row) const;
};

// Opens the screens, resolves recipes, counts images and steps, and looks for what OUT has. Errors:
// usage (an experiment, method, key or grid that does not exist, a grid on rows that are not
// validated, runs in OUT that belong to another screen), data (a screen's tables).
Plan make_plan(const ReproduceOptions& options);

// The product of --grid. Errors: usage for one that is not KEY=V1,V2,...
std::vector<GridPoint> grid_points(const std::vector<std::string>& grid);

// Seconds a FLOP by kind of network, from a trial step of each kind that is still to be trained.
// Kinds of which no step could be made (no images) are not there.
std::map<std::string, double> measured_speed(const Plan& plan, Device device);

// The kind that a run's speed is known by: backbone and method.
std::string kind_of(const PlannedRun& run);

// What --dry-run prints, with a time where `speed` knows all kinds.
std::string plan_text(const Plan& plan, const ReproduceOptions& options,
                      const std::map<std::string, double>& speed);

// Why the figure of `column` cannot be had of a run: test images without a class. Empty: it can.
std::string label_obstacle(const Column& column, const PlannedRun& run);

}  // namespace mono
