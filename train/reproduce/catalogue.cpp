#include "train/reproduce/catalogue.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/base/error.h"
#include "kernels/base/suggest.h"

namespace mono {

std::vector<Row> rows_of(const std::string& folder, const std::vector<std::string>& names) {
  std::vector<Row> rows;
  for (const std::string& name : names) rows.push_back({name, folder + "/" + name, {}});
  return rows;
}

const std::vector<Experiment>& catalogue() {
  static const std::vector<Experiment> all = [] {
    std::vector<Experiment> list = rxrx1_experiments();
    std::vector<Experiment> more = cdcl_experiments();
    std::ranges::move(more, std::back_inserter(list));
    return list;
  }();
  return all;
}

std::vector<const Experiment*> find_experiments(const std::string& name) {
  std::vector<const Experiment*> found;
  std::vector<std::string> known = {"rxrx1", "cdcl"};
  for (const Experiment& experiment : catalogue()) {
    if (experiment.id == name || experiment.id.starts_with(name + "/"))
      found.push_back(&experiment);
    known.push_back(experiment.id);
  }
  if (found.empty())
    fail(ErrorKind::usage, "reproduce: there is no experiment '{}'{}; there are {}", name,
         did_you_mean(name, known), fmt::join(known, ", "));
  return found;
}

}  // namespace mono
