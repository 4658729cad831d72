#include "train/evaluate/embedded_images.h"

#include <algorithm>
#include <map>
#include <set>

#include "kernels/base/error.h"
#include "kernels/base/suggest.h"
#include "train/evaluate/inference.h"
#include "train/evaluate/view_features.h"

namespace mono {
namespace {

Coding kept(const Coding& coding, const std::vector<int>& rows) {
  Coding out{coding.column, {}, coding.names};
  if (coding.known())
    for (const int i : rows) out.of.push_back(coding.of[static_cast<size_t>(i)]);
  return out;
}

Features forwarded(const TrainedRun& run) {
  const RunSetup& setup = *run.setup;
  if (setup.recipe.batch.form == BatchForm::views)
    return *view_features(setup, *run.model, run.sites, "embed");
  Features features;
  const auto visit = [&](std::span<const int> batch, const ModelOutput& output) {
    if (features.rows == 0)
      features = Features(static_cast<int>(run.sites.size()), output.embedding.shape().back());
    for (size_t n = 0; n < batch.size(); ++n) {
      const auto row = std::ranges::lower_bound(run.sites, batch[n]) - run.sites.begin();
      std::ranges::copy(row_of(output.embedding.value(), static_cast<int>(n)),
                        features.row(static_cast<int>(row)).begin());
    }
  };
  forward_images(setup, *run.model, run.sites, statistics_mode("", setup.recipe), "embed", visit);
  return features;
}

}  // namespace

EmbeddedImages EmbeddedImages::subset(const std::vector<uint8_t>& marks) const {
  MONO_CHECK(static_cast<int>(marks.size()) == images(), "{} marks for {} images", marks.size(),
             images());
  std::vector<int> rows;
  for (int i = 0; i < images(); ++i)
    if (marks[static_cast<size_t>(i)]) rows.push_back(i);
  EmbeddedImages out{title, Features(static_cast<int>(rows.size()), features.width),
                     kept(experiment, rows), kept(cell_type, rows), kept(treatment, rows)};
  for (int i = 0; i < out.images(); ++i)
    std::ranges::copy(features.row(rows[static_cast<size_t>(i)]), out.features.row(i).begin());
  return out;
}

EmbeddedImages EmbeddedImages::of_cell_type(const std::string& name) const {
  const auto found = std::ranges::find(cell_type.names, name);
  if (found == cell_type.names.end())
    fail(ErrorKind::usage, "{}: no image is of cell type '{}'{}", title, name,
         did_you_mean(name, cell_type.names));
  const int wanted = static_cast<int>(found - cell_type.names.begin());
  std::vector<uint8_t> marks;
  for (const int type : cell_type.of) marks.push_back(type == wanted);
  return subset(marks);
}

EmbeddedImages EmbeddedImages::of_widest_cell_type() const {
  if (!cell_type.known()) return *this;
  std::map<int, std::set<int>> experiments;
  for (size_t i = 0; i < cell_type.of.size(); ++i)
    experiments[cell_type.of[i]].insert(experiment.of[i]);
  const auto widest = std::ranges::max_element(experiments, {},
                                               [](const auto& type) { return type.second.size(); });
  return of_cell_type(cell_type.names[static_cast<size_t>(widest->first)]);
}

EmbeddedImages embedded_images(const TrainedRun& run, std::string title) {
  const Dataset& dataset = run.setup->dataset;
  EmbeddedImages out{std::move(title), forwarded(run), {}, {}, {}};
  out.experiment.names = dataset.experiments;
  out.cell_type.names = dataset.cell_types;
  out.treatment.names = dataset.class_names;
  for (const int site : run.sites) {
    const Site& s = dataset.sites[static_cast<size_t>(site)];
    out.experiment.of.push_back(s.experiment);
    out.cell_type.of.push_back(dataset.cell_type_of[static_cast<size_t>(s.experiment)]);
    out.treatment.of.push_back(s.sirna_id);
  }
  return out;
}

EmbeddedImages embedded_images(const EmbeddingSet& set, std::string title) {
  EmbeddedImages all{std::move(title), set.features, set.domain, {}, set.label};
  if (!std::ranges::count(set.part, Part::test)) return all;
  std::vector<uint8_t> marks;
  for (const Part part : set.part) marks.push_back(part == Part::test);
  return all.subset(marks);
}

}  // namespace mono
