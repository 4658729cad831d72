// From runs to the cells of a table.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "train/checkpoint.h"
#include "train/reproduce/execute.h"
#include "train/reproduce/measure.h"

namespace mono {
namespace {

class Collector {
 public:
  Collector(const Plan& plan, const PlannedExperiment& planned, const Execution& execution,
            Device device, const SignalCatcher& signals)
      : plan_(plan), planned_(planned), execution_(execution), device_(device), signals_(signals) {}

  ResultRow row(const PlannedRow& planned) {
    ResultRow row;
    row.name = planned.row->name;
    row.recipe = planned.row->recipe;
    row.beside_the_paper = planned.row->beside_the_paper;
    row.paper = planned.paper;
    std::string obstacle;
    row.point = choose(planned, obstacle);
    row.chosen = planned.points[row.point].name;
    const std::vector<Column>& columns = planned_.experiment->columns;
    for (size_t c = 0; c < columns.size(); ++c) {
      Cell& cell = row.cells[columns[c].key];
      for (const Replicate& replicate : planned.replicates[row.point]) {
        Absence absence{obstacle, {}};
        cell.values.push_back(obstacle.empty()
                                  ? value(planned, columns[c], replicate.columns[c], absence)
                                  : std::nullopt);
        if (cell.reason.empty()) cell.reason = absence.reason;
        if (!cell.failed) cell.failed = absence.failed;
      }
    }
    return row;
  }

 private:
  // Why a figure is not there.
  struct Absence {
    std::string reason;
    std::optional<ErrorKind> failed;
  };

  std::optional<double> value(const PlannedRow& planned, const Column& column, const Source& source,
                              Absence& absence) {
    const auto own = figure(planned, column, source.run, absence);
    if (!own) return std::nullopt;
    if (!source.over) return *own * (column.percent ? 100 : 1);
    const auto over = figure(planned, column, *source.over, absence);
    if (!over) return std::nullopt;
    if (*over > 0) return 100 * *own / *over;
    absence.reason = "nothing was right on the other split";
    return std::nullopt;
  }

  std::optional<double> figure(const PlannedRow& planned, const Column& column, size_t index,
                               Absence& absence) {
    const RunOutcome& outcome = execution_.runs[index];
    absence = {outcome.reason, outcome.failed};
    if (!absence.reason.empty()) return std::nullopt;
    if (const std::string refused = label_obstacle(column, plan_.runs[index]); !refused.empty()) {
      absence.reason = "refused: " + refused;
      return std::nullopt;
    }
    try {
      return figure_of(evaluation(planned.statistics, index), column.figure, absence.reason);
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::interrupted) throw;
      absence = {fmt::format("failed: evaluation: {}", error.what()), error.kind()};
      return std::nullopt;
    }
  }

  const JsonView& evaluation(const std::string& statistics, size_t index) {
    const auto key = std::pair(statistics, index);
    const auto known = evaluations_.find(key);
    if (known != evaluations_.end()) return known->second;
    if (signals_.caught())
      fail(ErrorKind::interrupted, "{}: every run is there; the same call goes on with the tables",
           signal_name(signals_.caught()));
    const MeasureOptions options{
        .statistics = statistics, .views = planned_.experiment->cdcl, .device = device_};
    return evaluations_.emplace(key, evaluation_of(plan_.runs[index].folder, options))
        .first->second;
  }

  // The point with the best mean validation accuracy, the first of equals.
  size_t choose(const PlannedRow& planned, std::string& obstacle) {
    if (planned.points.size() == 1) return 0;
    size_t best = 0;
    double best_accuracy = -1;
    for (size_t i = 0; i < planned.points.size(); ++i) {
      double sum = 0;
      std::set<size_t> runs;
      for (const Replicate& replicate : planned.replicates[i])
        for (const Source& source : replicate.columns) runs.insert(source.run);
      for (const size_t run : runs) {
        if (!execution_.runs[run].reason.empty())
          obstacle = fmt::format("{}: {}", planned.points[i].name, execution_.runs[run].reason);
        else
          sum += validation_of(plan_.runs[run].folder, obstacle);
      }
      const double accuracy = sum / static_cast<double>(runs.size());
      fmt::print("{}, {}: validation k-NN {:.2f} %\n", planned.row->name, planned.points[i].name,
                 100 * accuracy);
      if (accuracy > best_accuracy) {
        best_accuracy = accuracy;
        best = i;
      }
    }
    return best;
  }

  // The best validation accuracy of a finished run.
  static double validation_of(const std::filesystem::path& run, std::string& obstacle) {
    try {
      const std::filesystem::path newest = list_checkpoints(run).front();
      const JsonView state = read_json_file((newest / "state.json").string());
      return state["more"]["validation"]["best_accuracy"].number();
    } catch (const Error& error) {
      obstacle = fmt::format("--grid has nothing to choose by: {}", error.what());
      return 0;
    }
  }

  const Plan& plan_;
  const PlannedExperiment& planned_;
  const Execution& execution_;
  Device device_;
  const SignalCatcher& signals_;
  std::map<std::pair<std::string, size_t>, JsonView> evaluations_;  // by statistics and run
};

template <class T>
void add_once(std::vector<T>& list, const T& value) {
  if (std::ranges::find(list, value) == list.end()) list.push_back(value);
}

}  // namespace

Result collect(const Plan& plan, const PlannedExperiment& planned, const Execution& execution,
               Device device, const SignalCatcher& signals) {
  Result result;
  result.experiment = planned.experiment;
  result.scale = planned.scale;
  result.not_rehearsed = planned.not_rehearsed;
  Collector collector(plan, planned, execution, device, signals);
  for (const PlannedRow& row : planned.rows) {
    result.rows.push_back(collector.row(row));
    for (const auto& replicates : row.replicates)
      for (const Replicate& replicate : replicates) {
        add_once(result.folds, replicate.fold);
        add_once(result.seeds, replicate.seed);
        // What a row that learns starts from; a fine-tuned one says so itself.
        const Recipe::Model& model = plan.runs[replicate.columns[0].run].recipe.model;
        if (row.row->starts_from.empty() && row.row->beside_the_paper.empty())
          result.start = model.weights;
      }
  }
  const auto screen = plan.screens.find(planned.experiment->screen);
  judge(result, screen == plan.screens.end()
                    ? 0
                    : static_cast<int64_t>(screen->second.dataset.experiments.size()));
  return result;
}

}  // namespace mono
