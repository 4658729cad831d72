#include "train/evaluate/run_features.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <span>

#include "train/data/csv.h"
#include "train/data/pair_sampler.h"
#include "train/data/screen_file.h"
#include "train/evaluate/image_features.h"
#include "train/evaluate/npy.h"
#include "train/hash.h"
#include "train/json.h"
#include "train/run_directory.h"
#include "train/run_weights.h"

namespace mono {
namespace {

namespace fs = std::filesystem;

constexpr int kFormatVersion = 2;  // 2: the hashes of the screen's tables
constexpr size_t kMostTableBytes = size_t{1} << 30;
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

std::string table_hash(const std::string& path) {
  return hash_text(hash64(read_file(path, kMostTableBytes)));
}

std::map<std::string, std::string> hashes_of_tables(const RunSetup& setup) {
  std::vector<std::string> paths;
  for (const std::string& table : setup.dataset.tables)
    paths.push_back((setup.dataset.root / table).string());
  if (setup.dataset.form == TableForm::described)
    paths.push_back((setup.dataset.root / kScreenFile).string());
  if (!setup.recipe.data.labels.empty()) paths.push_back(setup.recipe.data.labels);
  std::map<std::string, std::string> hashes;
  for (const std::string& path : paths) hashes[path] = table_hash(path);
  return hashes;
}

std::map<std::string, std::string> tables_in(const JsonView& json) {
  std::map<std::string, std::string> tables;
  for (const auto& [path, hash] : json["tables"].members()) tables[path] = hash.string();
  return tables;
}

RunFeatures read_features(const fs::path& folder, const FeatureOrigin& origin) {
  EmbeddingColumns columns;
  columns.label = "Metadata_Class";
  columns.domain = "Metadata_Domain";
  columns.treatment = "Metadata_PerturbationId";
  RunFeatures features;
  features.set = read_embeddings(folder, columns);
  features.origin = origin;
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

std::vector<Part> parts_of(const JsonView& about) {
  std::vector<Part> parts;
  for (const JsonView& name : about["parts"].array())
    for (const Part part : {Part::train, Part::validation, Part::test})
      if (name.string() == name_of(part)) parts.push_back(part);
  return parts;
}

std::string about_text(const Recipe& recipe, const FeatureOrigin& origin,
                       const std::vector<Part>& parts) {
  Json json = Json::object();
  json["format_version"] = kFormatVersion;
  json["recipe"] = recipe.name;
  origin.enter(json);
  Json names = Json::array();
  for (const Part part : parts) names.push_back(name_of(part));
  json["parts"] = names;
  return json.text();
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

void FeatureOrigin::enter(Json& json) const {
  json["step"] = step;
  json["recipe_hash"] = recipe_hash;
  json["checkpoint"] = checkpoint;
  json["data"] = data;
  json["statistics"] = statistics;
  json["tables"] = Json::object();
  for (const auto& [path, hash] : tables) json["tables"][path] = hash;
}

bool FeatureOrigin::is_that_of(const JsonView& json) const {
  return json["step"].integer() == step && json["recipe_hash"].string() == recipe_hash &&
         json["checkpoint"].string() == checkpoint && json["data"].string() == data &&
         json["statistics"].string() == statistics &&
         std::ranges::all_of(tables_in(json), [](const auto& table) {
           return !fs::exists(table.first) || table_hash(table.first) == table.second;
         });
}

int RunFeatures::count(Part part) const {
  return static_cast<int>(std::ranges::count(set.part, part));
}

const std::vector<int>& sites_of(const Split& split, Part part) {
  if (part == Part::train) return split.bank.empty() ? split.train : split.bank;
  return part == Part::validation ? split.validation : split.test;
}

int write_embedding(const TrainedRun& run, const std::vector<Part>& parts, StatisticsMode mode,
                    const fs::path& folder, Communicator& ranks) {
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
    const Features features = *image_features(
        setup, *run.model, sites, {.task = name_of(part), .mode = mode, .ranks = &ranks},
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
  if (!ranks.is_root()) return all.width;
  make_folder(folder);
  write_npy((folder / kEmbeddings).string(), all.values, all.rows, all.width);
  write_file_durably((folder / kMetadata).string(), metadata_csv(setup, rows, answers));
  return all.width;
}

FeatureOrigin origin_of(const fs::path& run, const FeatureOptions& options) {
  const LoadedCheckpoint checkpoint = load_run_checkpoint(run);
  FeatureOrigin origin;
  origin.step = checkpoint.step;
  origin.recipe_hash = checkpoint.recipe_hash;
  origin.checkpoint = checkpoint.manifest_hash;
  origin.data =
      options.data.empty() ? read_run_info(run).data : fs::absolute(options.data).string();
  origin.statistics = name_of(statistics_mode(options.statistics, read_run_recipe(run)));
  return origin;
}

RunFeatures features_of(const fs::path& run, const FeatureOptions& options) {
  FeatureOrigin origin = origin_of(run, options);
  const fs::path folder = run / "evaluation" / "features", about = folder / "features.json";
  std::vector<Part> parts = options.parts;
  bool there = false;
  Communicator& ranks = *options.ranks;
  if (ranks.is_root() && fs::exists(about)) {
    const JsonView json = read_json_file(about.string());
    if (json["format_version"].integer() == kFormatVersion && origin.is_that_of(json)) {
      const std::vector<Part> had = parts_of(json);
      there = std::ranges::all_of(
          parts, [&](Part part) { return std::ranges::find(had, part) != had.end(); });
      // What is there already stays there.
      parts.insert(parts.end(), had.begin(), had.end());
      origin.tables = tables_in(json);
    }
  }
  // The others forward what rank 0 lacks.
  std::array<bool, 3> wanted{};
  for (const Part part : parts) wanted[static_cast<size_t>(part)] = !there;
  wanted = ranks.of_root(wanted);
  parts.clear();
  for (const Part part : {Part::train, Part::validation, Part::test})
    if (wanted[static_cast<size_t>(part)]) parts.push_back(part);
  if (!parts.empty()) {
    // What says that the files are whole goes first and comes back last.
    std::error_code ignored;
    if (ranks.is_root()) fs::remove(about, ignored);
    const TrainedRun opened = load_run(run, {}, options.data, options.cache, options.device, ranks);
    const Recipe& recipe = opened.setup->recipe;
    write_embedding(opened, parts, statistics_mode(options.statistics, recipe), folder, ranks);
    if (!ranks.is_root()) return {};
    origin.tables = hashes_of_tables(*opened.setup);
    write_file_durably(about.string(), about_text(recipe, origin, parts));
  }
  if (!ranks.is_root()) return {};
  return only(read_features(folder, origin), options.parts);
}

}  // namespace mono
