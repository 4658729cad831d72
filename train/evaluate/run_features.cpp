#include "train/evaluate/run_features.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>

#include "train/data/csv.h"
#include "train/data/pair_sampler.h"
#include "train/evaluate/image_features.h"
#include "train/evaluate/npy.h"
#include "train/hash.h"
#include "train/json.h"
#include "train/run_directory.h"
#include "train/run_weights.h"

namespace mono {
namespace {

namespace fs = std::filesystem;

constexpr int kFormatVersion = 1;
constexpr const char* kMetadata = "metadata.csv";
constexpr const char* kEmbeddings = "embeddings.npy";

struct Row {
  int site;  // index into Dataset::sites
  Part part;
};

std::vector<Row> rows_of(const Split& split, const std::vector<Part>& parts) {
  std::vector<Row> rows;
  for (const Part part : parts)
    for (const int site : sites_of(split, part)) rows.push_back({site, part});
  std::ranges::sort(rows, {}, &Row::site);
  return rows;
}

std::string name_at(const std::vector<std::string>& names, int index) {
  return index < 0 ? "" : csv_field(names[static_cast<size_t>(index)]);
}
std::string number(int value) {
  return value < 0 ? "" : fmt::to_string(value);
}

// `answers` (rows) or empty.
std::string metadata_csv(const RunSetup& setup, const std::vector<Row>& rows,
                         const std::vector<int>& answers) {
  const Dataset& dataset = setup.dataset;
  const PairKeys keys =
      pair_keys(dataset, setup.recipe.data.domain_key == DomainKey::plate ? PairDomain::plate
                                                                          : PairDomain::experiment);
  std::string csv =
      "site_id,Metadata_Plate,Metadata_Well,Metadata_Site,Metadata_Batch,Metadata_CellType,"
      "Metadata_Perturbation,Metadata_PerturbationId,Metadata_Compound,Metadata_moa,"
      "Metadata_WellType,Metadata_Dataset,Metadata_Part,Metadata_Domain,Metadata_Class,"
      "Metadata_Predicted\n";
  for (size_t i = 0; i < rows.size(); ++i) {
    const size_t index = static_cast<size_t>(rows[i].site);
    const Site& site = dataset.sites[index];
    csv += fmt::format(
        "{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}\n", csv_field(site.site_id),
        csv_field(dataset.plate_name(site.experiment, site.plate)), csv_field(site.well), site.site,
        name_at(dataset.experiments, site.experiment), csv_field(site.cell_type),
        csv_field(site.sirna), number(site.sirna_id), name_at(dataset.compounds, site.compound),
        name_at(dataset.moas, site.moa), name_of(site.well_type), site.in_test ? "test" : "train",
        name_of(rows[i].part), name_at(keys.domain_names, keys.domain[index]),
        number(setup.label[index]), answers.empty() ? "" : number(answers[i]));
  }
  return csv;
}

// What features are made from; equal text, equal features.
std::string origin_text(const Recipe& recipe, const LoadedCheckpoint& checkpoint,
                        const std::string& data, const std::vector<Part>& parts,
                        StatisticsMode mode) {
  Json json = Json::object();
  json["format_version"] = kFormatVersion;
  json["step"] = checkpoint.step;
  json["recipe_hash"] = checkpoint.recipe_hash;
  // It carries the hash of the weights.
  json["checkpoint"] =
      hash_text(hash64(read_file((checkpoint.path / "MANIFEST.json").string(), 1 << 20)));
  json["recipe"] = recipe.name;
  json["data"] = data;
  json["statistics"] = name_of(mode);
  Json names = Json::array();
  for (const Part part : parts) names.push_back(name_of(part));
  json["parts"] = names;
  return json.text();
}

RunFeatures read_features(const fs::path& folder, const LoadedCheckpoint& checkpoint) {
  EmbeddingColumns columns;
  columns.label = "Metadata_Class";
  columns.domain = "Metadata_Domain";
  columns.treatment = "Metadata_PerturbationId";
  RunFeatures features;
  features.set = read_embeddings(folder, columns);
  features.step = checkpoint.step;
  features.recipe_hash = checkpoint.recipe_hash;
  const fs::path file = folder / kMetadata;
  const CsvTable table = read_csv(file, file.string());
  const auto numbers = [&](const char* column) {
    const size_t at = static_cast<size_t>(table.column(column));
    std::vector<int> out;
    for (const CsvRow& row : table.rows) {
      int value = -1;
      if (!row.fields[at].empty() && !parse_int(row.fields[at], value))
        fail(ErrorKind::data, "{}:{}: {} is '{}', which is no number", table.file, row.line, column,
             row.fields[at]);
      out.push_back(value);
    }
    return out;
  };
  features.classes = numbers("Metadata_Class");
  features.answers = numbers("Metadata_Predicted");
  if (std::ranges::all_of(features.answers, [](int answer) { return answer < 0; }))
    features.answers.clear();
  return features;
}

std::vector<Part> parts_of(const fs::path& about) {
  std::vector<Part> parts;
  for (const JsonView& name : read_json_file(about.string())["parts"].array())
    for (const Part part : {Part::train, Part::validation, Part::test})
      if (name.string() == name_of(part)) parts.push_back(part);
  return parts;
}

// The rows of some parts.
RunFeatures only(RunFeatures features, const std::vector<Part>& parts) {
  std::vector<uint8_t> marks;
  for (const Part part : features.set.part)
    marks.push_back(std::ranges::find(parts, part) != parts.end());
  if (std::ranges::find(marks, uint8_t{0}) == marks.end()) return features;
  features.set = features.set.subset(marks);
  for (std::vector<int>* values : {&features.classes, &features.answers}) {
    std::vector<int> kept;
    for (size_t i = 0; i < values->size(); ++i)
      if (marks[i]) kept.push_back((*values)[i]);
    *values = std::move(kept);
  }
  return features;
}

}  // namespace

int RunFeatures::count(Part part) const {
  return static_cast<int>(std::ranges::count(set.part, part));
}

const std::vector<int>& sites_of(const Split& split, Part part) {
  if (part == Part::train) return split.bank.empty() ? split.train : split.bank;
  return part == Part::validation ? split.validation : split.test;
}

int write_embedding(const TrainedRun& run, const std::vector<Part>& parts, StatisticsMode mode,
                    const fs::path& folder) {
  const RunSetup& setup = *run.setup;
  const std::vector<Row> rows = rows_of(setup.split, parts);
  Features all;
  std::vector<int> answers;
  // Part by part: under AdaBN an experiment's statistics are those of one part's images.
  for (const Part part : parts) {
    const std::vector<int>& sites = sites_of(setup.split, part);
    if (sites.empty())
      fail(ErrorKind::data, "{}: the run's split has no {} images", setup.dataset.root.string(),
           name_of(part));
    std::vector<int> of_part;
    const Features features = *image_features(setup, *run.model, sites, mode, name_of(part),
                                              run.has_classifier ? &of_part : nullptr);
    if (all.rows == 0) {
      all = Features(static_cast<int>(rows.size()), features.width);
      if (run.has_classifier) answers.assign(rows.size(), -1);
    }
    for (size_t i = 0; i < sites.size(); ++i) {
      const auto row = std::ranges::lower_bound(rows, sites[i], {}, &Row::site) - rows.begin();
      std::ranges::copy(features.row(static_cast<int>(i)), all.row(static_cast<int>(row)).begin());
      if (run.has_classifier) answers[static_cast<size_t>(row)] = of_part[i];
    }
  }
  make_folder(folder);
  write_npy((folder / kEmbeddings).string(), all.values, all.rows, all.width);
  write_file_durably((folder / kMetadata).string(), metadata_csv(setup, rows, answers));
  return all.width;
}

RunFeatures features_of(const fs::path& run, const FeatureOptions& options) {
  const Recipe recipe = read_run_recipe(run);
  const LoadedCheckpoint checkpoint = load_run_checkpoint(run);
  const StatisticsMode mode = statistics_mode(options.statistics, recipe);
  const std::string data =
      options.data.empty() ? read_run_info(run).data : fs::absolute(options.data).string();
  const auto origin_of = [&](const std::vector<Part>& parts) {
    return origin_text(recipe, checkpoint, data, parts, mode);
  };
  const fs::path folder = run / "evaluation" / "features", about = folder / "features.json";
  std::vector<Part> parts = options.parts;
  bool there = false;
  if (fs::exists(about)) {
    const std::vector<Part> had = parts_of(about);
    there = std::ranges::all_of(
        parts, [&](Part part) { return std::ranges::find(had, part) != had.end(); });
    if (read_file(about.string(), 1 << 20) != origin_of(had))
      there = false;
    else  // what is there already stays there
      parts.insert(parts.end(), had.begin(), had.end());
  }
  std::ranges::sort(parts);
  parts.erase(std::unique(parts.begin(), parts.end()), parts.end());
  if (!there) {
    // What says that the files are whole goes first and comes back last.
    std::error_code ignored;
    fs::remove(about, ignored);
    write_embedding(load_run(run, {}, options.data, options.cache, options.device), parts, mode,
                    folder);
    write_file_durably(about.string(), origin_of(parts));
  }
  return only(read_features(folder, checkpoint), options.parts);
}

}  // namespace mono
