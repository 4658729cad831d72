#include "train/evaluate/embedding_set.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <map>
#include <optional>
#include <set>
#include <string_view>

#include "kernels/base/error.h"
#include "kernels/base/suggest.h"
#include "train/data/csv.h"
#include "train/evaluate/npy.h"

namespace mono {
namespace {

using Names = std::vector<std::string_view>;

// Columns by field, in the order in which they are looked for: our own, RxRx1's tables,
// cytomining's.
const Names kLabel = {
    "Metadata_PerturbationId", "Metadata_Perturbation", "sirna_id",  "sirna", "Metadata_Treatment",
    "Metadata_broad_sample",   "Metadata_pert_iname",   "treatment", "label"};
const Names kTreatmentName = {"Metadata_Perturbation", "sirna", "Metadata_pert_iname"};
const Names kCellType = {"Metadata_CellType", "Metadata_cell_type", "Metadata_Cell_Line",
                         "Metadata_cell_line", "cell_type"};
const Names kDomain = {
    "Metadata_Batch", "Metadata_Experiment",          "experiment", "batch", "domain",
    "Metadata_Plate", "Metadata_Assay_Plate_Barcode", "plate"};
const Names kPlate = {"Metadata_Plate", "Metadata_Assay_Plate_Barcode", "plate"};
const Names kWell = {"Metadata_Well", "well"};
const Names kWellType = {"Metadata_WellType", "well_type", "Metadata_control_type",
                         "Metadata_pert_type", "Metadata_broad_sample_type"};
const Names kMoa = {"Metadata_moa", "Metadata_MoA", "moa"};
const Names kCompound = {"Metadata_Compound", "Metadata_compound", "Metadata_broad_sample",
                         "Metadata_pert_iname", "compound"};
const Names kPart = {"Metadata_Part", "part", "Metadata_Dataset", "dataset", "split"};
const Names kId = {"site_id", "Metadata_SiteId", "id"};

const std::set<std::string_view> kNegative = {
    "negative_control", "negcon", "control", "dmso", "empty", "untreated"};
const std::set<std::string_view> kPositive = {"positive_control", "poscon"};
const std::set<std::string_view> kTreated = {"treatment", "treated", "trt", "compound", ""};

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

// Index of the column for a field: the one asked for, which must be there, or the first that is
// known; -1: none.
int column_for(const CsvTable& table, const std::string& asked, const Names& known) {
  if (!asked.empty()) {
    const int column = table.column(asked);
    if (column < 0)
      fail(ErrorKind::data, "{}: there is no column '{}'{}", table.file, asked,
           did_you_mean(asked, table.columns));
    return column;
  }
  for (const std::string_view name : known)
    if (const int column = table.column(name); column >= 0) return column;
  return -1;
}

std::string name_of_column(const CsvTable& table, int column) {
  return column < 0 ? "" : table.columns[static_cast<size_t>(column)];
}

std::vector<std::string> values_of(const CsvTable& table, int column) {
  std::vector<std::string> values;
  for (const CsvRow& row : table.rows) values.push_back(row.fields[static_cast<size_t>(column)]);
  return values;
}

// Values of several columns, joined: a plate is known by its batch and its own name.
std::vector<std::string> joined(const CsvTable& table, std::initializer_list<int> columns) {
  std::vector<std::string> values(table.rows.size());
  for (const int column : columns) {
    if (column < 0) continue;
    for (size_t i = 0; i < values.size(); ++i)
      values[i] +=
          (values[i].empty() ? "" : "/") + table.rows[i].fields[static_cast<size_t>(column)];
  }
  return values;
}

Coding coding_of(const CsvTable& table, int column) {
  if (column < 0) return {};
  return encode(name_of_column(table, column), values_of(table, column));
}

std::vector<WellType> well_types(const CsvTable& table, int column, const std::string& negative) {
  std::vector<WellType> types;
  for (const CsvRow& row : table.rows) {
    const std::string& field = row.fields[static_cast<size_t>(column)];
    const std::string value = lower(field);
    if (negative.empty() ? kNegative.contains(value) : field == negative)
      types.push_back(WellType::negative_control);
    else if (kPositive.contains(value))
      types.push_back(WellType::positive_control);
    else if (!negative.empty() || kTreated.contains(value))
      types.push_back(WellType::treatment);
    else
      fail(
          ErrorKind::data,
          "{}:{}: {} is '{}', which is none of treatment, positive_control, negative_control; name "
          "the value of negative controls with --negative-control",
          table.file, row.line, name_of_column(table, column), field);
  }
  return types;
}

// Without a column of well types: the rows whose label is a name of untreated wells, if there are
// any.
std::vector<WellType> types_by_label(const CsvTable& table, int column,
                                     const std::string& negative) {
  std::vector<WellType> types;
  bool any = false;
  for (const CsvRow& row : table.rows) {
    const std::string& field = row.fields[static_cast<size_t>(column)];
    const bool control = negative.empty() ? kNegative.contains(lower(field)) : field == negative;
    types.push_back(control ? WellType::negative_control : WellType::treatment);
    any = any || control;
  }
  return any ? types : std::vector<WellType>();
}

std::vector<Part> parts_of(const CsvTable& table, int column) {
  static const std::map<std::string_view, Part> kParts = {
      {"train", Part::train},           {"training", Part::train},  {"val", Part::validation},
      {"validation", Part::validation}, {"eval", Part::validation}, {"test", Part::test}};
  std::vector<Part> parts;
  for (const CsvRow& row : table.rows) {
    const std::string& field = row.fields[static_cast<size_t>(column)];
    const auto found = kParts.find(lower(field));
    if (found == kParts.end())
      fail(ErrorKind::data, "{}:{}: {} is '{}', which is none of train, validation, test",
           table.file, row.line, name_of_column(table, column), field);
    parts.push_back(found->second);
  }
  return parts;
}

void check_values(const EmbeddingSet& set, const std::string& file) {
  for (int i = 0; i < set.rows(); ++i) {
    const std::span<const float> row = set.features.row(i);
    const auto bad = std::ranges::find_if(row, [](float value) { return !std::isfinite(value); });
    if (bad != row.end())
      fail(ErrorKind::data,
           "{}: row {}{}, column {} is {}; leave out the images that could not be embedded", file,
           i, set.ids.empty() ? "" : " (" + set.ids[static_cast<size_t>(i)] + ")",
           bad - row.begin(), *bad);
  }
}

}  // namespace

const char* name_of(Part part) {
  static constexpr std::array<const char*, 3> kNames = {"train", "validation", "test"};
  return kNames[static_cast<size_t>(part)];
}

Coding encode(std::string column, const std::vector<std::string>& values) {
  Coding coding;
  coding.column = std::move(column);
  std::set<std::string> names(values.begin(), values.end());
  names.erase("");
  coding.names.assign(names.begin(), names.end());
  int number = 0;
  if (std::ranges::all_of(coding.names, [&](const std::string& n) { return parse_int(n, number); }))
    std::ranges::stable_sort(coding.names, {}, [](const std::string& name) {
      int value = 0;
      parse_int(name, value);
      return value;
    });
  std::map<std::string_view, int> code;
  for (const std::string& name : coding.names) code.emplace(name, static_cast<int>(code.size()));
  for (const std::string& value : values) coding.of.push_back(value.empty() ? -1 : code.at(value));
  return coding;
}

std::vector<uint8_t> EmbeddingSet::negative_controls() const {
  std::vector<uint8_t> marks(static_cast<size_t>(rows()));
  for (size_t i = 0; i < well_type.size(); ++i)
    marks[i] = well_type[i] == WellType::negative_control;
  return marks;
}

std::vector<uint8_t> EmbeddingSet::controls() const {
  std::vector<uint8_t> marks(static_cast<size_t>(rows()));
  for (size_t i = 0; i < well_type.size(); ++i) marks[i] = well_type[i] != WellType::treatment;
  return marks;
}

EmbeddingSet EmbeddingSet::subset(const std::vector<uint8_t>& marks) const {
  const auto kept = [&]<class T>(const std::vector<T>& values) {
    std::vector<T> out;
    for (size_t i = 0; i < values.size(); ++i)
      if (marks[i]) out.push_back(values[i]);
    return out;
  };
  EmbeddingSet out = *this;
  out.features = Features(
      static_cast<int>(std::ranges::count_if(marks, [](uint8_t m) { return m; })), features.width);
  int to = 0;
  for (int i = 0; i < rows(); ++i)
    if (marks[static_cast<size_t>(i)])
      std::ranges::copy(features.row(i), out.features.row(to++).begin());
  out.ids = kept(ids);
  for (Coding EmbeddingSet::*field :
       {&EmbeddingSet::label, &EmbeddingSet::treatment, &EmbeddingSet::treatment_name,
        &EmbeddingSet::cell_type, &EmbeddingSet::domain, &EmbeddingSet::plate, &EmbeddingSet::well,
        &EmbeddingSet::moa, &EmbeddingSet::compound})
    (out.*field).of = kept((this->*field).of);
  out.well_type = kept(well_type);
  out.part = kept(part);
  return out;
}

EmbeddingSet read_embeddings(const std::filesystem::path& folder, const EmbeddingColumns& columns) {
  const std::filesystem::path npy = folder / "embeddings.npy", csv = folder / "metadata.csv";
  EmbeddingSet set;
  set.features = read_npy(npy.string());
  const CsvTable table = read_csv(csv, csv.string());
  if (static_cast<int>(table.rows.size()) != set.rows())
    fail(ErrorKind::data,
         "{} has {} rows and {} has {}; they must be of the same images, in one order",
         npy.string(), set.rows(), csv.string(), table.rows.size());

  const int label = column_for(table, columns.label, kLabel);
  const int domain = column_for(table, columns.domain, kDomain);
  const int plate = column_for(table, columns.plate, kPlate);
  const int well = column_for(table, columns.well, kWell);
  const int well_type = column_for(table, columns.well_type, kWellType);
  const int part = column_for(table, columns.part, kPart);
  if (const int id = column_for(table, "", kId); id >= 0) set.ids = values_of(table, id);
  set.label = coding_of(table, label);
  if (!columns.treatment.empty())
    set.treatment = coding_of(table, column_for(table, columns.treatment, {}));
  set.treatment_name = coding_of(table, column_for(table, "", kTreatmentName));
  set.cell_type = coding_of(table, column_for(table, "", kCellType));
  set.domain = coding_of(table, domain);
  const int batch = domain == plate ? -1 : domain;
  if (plate >= 0) set.plate = encode(name_of_column(table, plate), joined(table, {batch, plate}));
  if (well >= 0)
    set.well = encode(name_of_column(table, well), joined(table, {batch, plate, well}));
  set.compound = coding_of(table, column_for(table, columns.compound, kCompound));
  if (const int moa = column_for(table, columns.moa, kMoa); moa >= 0) {
    std::vector<std::string> values = values_of(table, moa);
    for (std::string& value : values)
      if (lower(value) == kNoMoa) value.clear();
    set.moa = encode(name_of_column(table, moa), values);
  }
  if (well_type >= 0) {
    set.well_type = well_types(table, well_type, columns.negative_control);
    set.well_type_column = name_of_column(table, well_type);
  } else if (label >= 0) {
    set.well_type = types_by_label(table, label, columns.negative_control);
    if (!set.well_type.empty()) set.well_type_column = name_of_column(table, label);
  }
  if (part >= 0) {
    set.part = parts_of(table, part);
    set.part_column = name_of_column(table, part);
  }
  check_values(set, npy.string());
  return set;
}

}  // namespace mono
