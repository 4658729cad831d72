#include "train/evaluate/embedded_images.h"

#include <algorithm>
#include <map>
#include <set>

#include "kernels/base/error.h"

namespace mono {
namespace {

Coding kept(const Coding& coding, const std::vector<int>& rows) {
  Coding out{coding.column, {}, coding.names};
  if (coding.known())
    for (const int i : rows) out.of.push_back(coding.of[static_cast<size_t>(i)]);
  return out;
}

// A text that methods have, once where all agree: "TEXT" or "TEXT (TITLE), TEXT (TITLE)".
std::string said_of(std::span<const EmbeddedImages> methods, std::string EmbeddedImages::*text) {
  std::string list;
  bool differ = false;
  for (const EmbeddedImages& method : methods) {
    differ |= method.*text != methods.front().*text;
    if (!(method.*text).empty())
      list += fmt::format("{}{} ({})", list.empty() ? "" : ", ", method.*text, method.title);
  }
  return differ || methods.empty() ? list : methods.front().*text;
}

// "training images"; of several parts "training, test images".
std::string images_in(const std::set<Part>& parts) {
  std::string text;
  for (const Part part : parts)
    text += fmt::format("{}{}", text.empty() ? "" : ", ",
                        part == Part::train ? "training" : name_of(part));
  return text.empty() ? "images" : text + " images";
}

}  // namespace

EmbeddedImages EmbeddedImages::subset(const std::vector<uint8_t>& marks) const {
  MONO_CHECK(static_cast<int>(marks.size()) == images(), "{} marks for {} images", marks.size(),
             images());
  std::vector<int> rows;
  for (int i = 0; i < images(); ++i)
    if (marks[static_cast<size_t>(i)]) rows.push_back(i);
  EmbeddedImages out{title,
                     Features(static_cast<int>(rows.size()), features.width),
                     kept(experiment, rows),
                     kept(cell_type, rows),
                     kept(treatment, rows),
                     of,
                     run};
  for (int i = 0; i < out.images(); ++i)
    std::ranges::copy(features.row(rows[static_cast<size_t>(i)]), out.features.row(i).begin());
  return out;
}

EmbeddedImages EmbeddedImages::of_widest_cell_type() const {
  std::map<int, std::set<int>> experiments;
  for (size_t i = 0; i < cell_type.of.size(); ++i)
    if (cell_type.of[i] >= 0) experiments[cell_type.of[i]].insert(experiment.of[i]);
  if (experiments.empty()) return *this;
  const int widest = std::ranges::max_element(experiments, {}, [](const auto& type) {
                       return type.second.size();
                     })->first;
  std::vector<uint8_t> marks;
  for (const int type : cell_type.of) marks.push_back(type == widest);
  return subset(marks);
}

EmbeddedImages embedded_images(const EmbeddingSet& set, std::string title) {
  if (!set.domain.known())
    fail(ErrorKind::data,
         "{}: metadata.csv has no column of batches (Metadata_Batch, experiment, batch, ...); "
         "figures of embeddings compare batches",
         title);
  EmbeddedImages all{std::move(title), set.features, set.domain, set.cell_type, set.treatments()};
  if (!set.treatment_name.names.empty()) all.treatment = set.treatment_name;
  if (!all.treatment.known()) all.treatment.of.assign(static_cast<size_t>(set.rows()), -1);
  // A column without a single value says nothing.
  if (all.cell_type.names.empty()) all.cell_type = {};
  std::set<Part> parts(set.part.begin(), set.part.end());
  if (!parts.contains(Part::test)) {
    all.of = images_in(parts);
    return all;
  }
  all.of = images_in({Part::test});
  std::vector<uint8_t> marks;
  for (const Part part : set.part) marks.push_back(part == Part::test);
  return all.subset(marks);
}

std::string images_of(std::span<const EmbeddedImages> methods) {
  return methods.empty() ? "images" : said_of(methods, &EmbeddedImages::of);
}

std::string runs_of(std::span<const EmbeddedImages> methods) {
  const std::string runs = said_of(methods, &EmbeddedImages::run);
  return runs.empty() ? "" : fmt::format(" Of each method one run is shown: {}.", runs);
}

}  // namespace mono
