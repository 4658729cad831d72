#include "train/data/labels.h"

#include "kernels/base/error.h"
#include "train/data/csv.h"

#include <algorithm>
#include <map>

namespace mono {

Labels dataset_labels(const Dataset& dataset, LabelKind kind) {
  Labels labels;
  const bool moa = kind == LabelKind::moa;
  if (moa && dataset.moas.empty())
    fail(ErrorKind::usage,
         "{}: mechanisms of action are asked for as labels, and its tables have none; use "
         "treatments",
         dataset.root.string());
  labels.names = moa ? dataset.moas : dataset.class_names;
  for (const Site& s : dataset.sites) labels.of_site.push_back(moa ? s.moa : s.sirna_id);
  return labels;
}

Labels table_labels(const Dataset& dataset, const std::filesystem::path& file) {
  const CsvTable csv = read_csv(file, file.string());
  const int treatment = csv.column("treatment"), label = csv.column("label");
  for (const auto& [column, name] : {std::pair(treatment, "treatment"), {label, "label"}})
    if (column < 0)
      fail(ErrorKind::data, "{}:1: column '{}' is missing; expected are treatment and label",
           csv.file, name);
  std::map<std::string, const CsvRow*> row_of;
  std::map<std::string, int> class_of;
  for (const CsvRow& r : csv.rows) {
    const std::string &name = r.fields[static_cast<size_t>(treatment)],
                      &value = r.fields[static_cast<size_t>(label)];
    if (std::find(dataset.class_names.begin(), dataset.class_names.end(), name) ==
            dataset.class_names.end() ||
        name.empty())
      fail(ErrorKind::data,
           "{}:{}: treatment '{}' is not one of the {} of {} (such as '{}'); correct the row, or "
           "give the table of this screen and selection",
           csv.file, r.line, name, dataset.class_names.size(), dataset.root.string(),
           dataset.class_names.empty() ? "" : dataset.class_names.back());
    if (value.empty())
      fail(ErrorKind::data, "{}:{}: treatment '{}' has an empty label; give one", csv.file, r.line,
           name);
    const auto [it, fresh] = row_of.emplace(name, &r);
    if (!fresh)
      fail(ErrorKind::data,
           "{}:{}: treatment '{}' was already given label '{}' in line {}; keep one", csv.file,
           r.line, name, it->second->fields[static_cast<size_t>(label)], it->second->line);
    class_of[value] = 0;
  }
  Labels labels;
  for (auto& [name, id] : class_of) {
    id = static_cast<int>(labels.names.size());
    labels.names.push_back(name);
  }
  std::vector<int> of_class;
  for (const std::string& name : dataset.class_names) {
    if (name.empty()) {  // a class without a site
      of_class.push_back(-1);
      continue;
    }
    const auto it = row_of.find(name);
    if (it == row_of.end())
      fail(ErrorKind::data, "{}: treatment '{}' of {} has no row; add it ({} of {} have one)",
           csv.file, name, dataset.root.string(), row_of.size(), dataset.class_names.size());
    of_class.push_back(class_of.at(it->second->fields[static_cast<size_t>(label)]));
  }
  for (const Site& s : dataset.sites)
    labels.of_site.push_back(s.sirna_id < 0 ? -1 : of_class[static_cast<size_t>(s.sirna_id)]);
  return labels;
}

}  // namespace mono
