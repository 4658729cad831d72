#include "train/data/metadata.h"

#include "kernels/base/error.h"
#include "train/data/cpg_tables.h"
#include "train/data/csv.h"
#include "train/data/screen_table.h"
#include "train/data/table_fields.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>
#include <unordered_map>

namespace mono {
namespace {

namespace fs = std::filesystem;

// One row of any table, as text, before it is a Site.
struct Row {
  int table = 0, line = 0;
  std::string id, well_id, experiment, cell_type, plate, well, site, dataset, well_type, sirna,
      sirna_id;
};

class Reader {
 public:
  Reader(Dataset& dataset, std::vector<Problem>& problems)
      : dataset_(dataset), problems_(problems) {}

  void read() {
    const bool rxrx = add_table("metadata.csv", {}, true) || add_table("rxrx1.csv", {}, true);
    if (!rxrx) {
      add_table("train.csv", "train", false);
      add_table("train_controls.csv", "train", false);
      add_table("test.csv", "test", false);
      add_table("test_controls.csv", "test", false);
    }
    if (dataset_.tables.empty())
      fail(ErrorKind::data,
           "{}: has no table; expected is metadata.csv (or rxrx1.csv), Kaggle's train.csv, "
           "test.csv, train_controls.csv and test_controls.csv, or, for CPG0004, here or in "
           "metadata/, enriched_index.csv, sub_index.csv or barcode_platemap.csv, or, for a screen "
           "of your own, screen.toml: is this the folder of the screen?",
           dataset_.root.string());
    if (rows_.empty() && problems_.empty())
      problem("empty", 0, 1, "holds no rows; copy or download the table again");
    find_form(rxrx);
    if (dataset_.form == TableForm::kaggle_names) number_names();
    for (const Row& row : rows_) add_row(row, rxrx);
    finish();
  }

 private:
  // ---- tables -> rows ---------------------------------------------------------------------------

  bool add_table(const std::string& file, const std::string& part, bool rxrx) {
    const fs::path path = dataset_.root / file;
    std::error_code error;
    if (!fs::exists(path, error)) return false;
    const int table = static_cast<int>(dataset_.tables.size());
    dataset_.tables.push_back(file);
    const CsvTable csv = read_csv(path, file);
    if (rxrx)
      add_sites(csv, table);
    else
      add_wells(csv, table, part);
    return true;
  }

  // Index of a column; a problem and -1 where a required one is absent.
  int column(const CsvTable& csv, int table, const char* name, bool required) {
    const int index = csv.column(name);
    if (index < 0 && required) {
      std::string have;
      for (const auto& c : csv.columns) have += (have.empty() ? "" : ", ") + c;
      problem("column", table, 1,
              fmt::format("column '{}' is missing; the table has: {}", name, have));
    }
    return index;
  }

  void add_sites(const CsvTable& csv, int table) {
    const size_t before = problems_.size();
    const auto need = [&](const char* name) { return column(csv, table, name, true); };
    const int id = need("site_id"), cell_type = need("cell_type"), dataset = need("dataset"),
              experiment = need("experiment"), plate = need("plate"), well = need("well"),
              site = need("site"), well_type = need("well_type"), sirna = need("sirna"),
              sirna_id = need("sirna_id"), well_id = column(csv, table, "well_id", false);
    if (problems_.size() > before) return;
    for (const CsvRow& r : csv.rows) {
      const auto at = [&](int c) {
        return c < 0 ? std::string() : r.fields[static_cast<size_t>(c)];
      };
      rows_.push_back({table, r.line, at(id), at(well_id), at(experiment), at(cell_type), at(plate),
                       at(well), at(site), at(dataset), at(well_type), at(sirna), at(sirna_id)});
    }
  }

  // Kaggle: a row is a well and stands for its two sites; the cell type is the experiment's prefix.
  void add_wells(const CsvTable& csv, int table, const std::string& part) {
    const size_t before = problems_.size();
    const bool controls = csv.file.find("controls") != std::string::npos;
    const int id = column(csv, table, "id_code", true),
              experiment = column(csv, table, "experiment", true),
              plate = column(csv, table, "plate", true), well = column(csv, table, "well", true),
              sirna = column(csv, table, "sirna", controls || part == "train"),
              well_type = column(csv, table, "well_type", controls);
    if (problems_.size() > before) return;
    for (const CsvRow& r : csv.rows) {
      const auto at = [&](int c) {
        return c < 0 ? std::string() : r.fields[static_cast<size_t>(c)];
      };
      Row row;
      row.table = table;
      row.line = r.line;
      row.well_id = at(id);
      row.experiment = at(experiment);
      row.cell_type = row.experiment.substr(0, row.experiment.find('-'));
      row.plate = at(plate);
      row.well = at(well);
      row.dataset = part;
      row.well_type = at(well_type).empty() && !controls ? "treatment" : at(well_type);
      row.sirna = at(sirna);
      for (int site = 1; site <= kRxrxDesign.sites; ++site) {
        row.site = fmt::format("{}", site);
        row.id = fmt::format("{}_{}", row.well_id, site);
        rows_.push_back(row);
      }
    }
  }

  // ---- rows -> sites ----------------------------------------------------------------------------

  void find_form(bool rxrx) {
    if (rxrx) {
      const bool val = std::any_of(rows_.begin(), rows_.end(),
                                   [](const Row& row) { return row.dataset == "val"; });
      dataset_.form = val ? TableForm::wilds : TableForm::rxrx;
      return;
    }
    // The first label decides; a label of the other kind is then a fault of its row.
    int number = 0;
    const auto labelled =
        std::find_if(rows_.begin(), rows_.end(), [](const Row& row) { return !row.sirna.empty(); });
    const bool names = labelled != rows_.end() && !parse_int(labelled->sirna, number);
    dataset_.form = names ? TableForm::kaggle_names : TableForm::kaggle;
  }

  // Names to class ids: treatments, then positive, then negative controls, each in natural order of
  // their names. With RxRx1's full tables: 0..1107, 1108..1137, 1138.
  void number_names() {
    std::set<std::pair<int, std::string>> kinds;
    for (const Row& row : rows_) {
      WellType type{};
      if (row.sirna.empty() || !parse_type(row.well_type, type)) continue;
      kinds.emplace(static_cast<int>(type), row.sirna);
    }
    std::vector<std::pair<int, std::string>> order(kinds.begin(), kinds.end());
    std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
      return a.first != b.first ? a.first < b.first : NaturalLess()(a.second, b.second);
    });
    for (const auto& [type, name] : order)
      if (!number_of_.contains(name)) number_of_.emplace(name, static_cast<int>(number_of_.size()));
  }

  static bool parse_type(const std::string& text, WellType& type) {
    for (const WellType t :
         {WellType::treatment, WellType::positive_control, WellType::negative_control})
      if (text == name_of(t)) {
        type = t;
        return true;
      }
    return false;
  }

  void add_row(const Row& row, bool rxrx) {
    const auto bad = [&](const char* kind, const std::string& message) {
      // A Kaggle row stands for two sites: say it once.
      if (rxrx || row.site == "1") problem(kind, row.table, row.line, message);
    };
    Site site;
    site.table = row.table;
    site.row = row.line;
    if (!is_name(row.experiment))
      return bad("experiment", fmt::format("experiment '{}' is not a name; letters, digits, '-', "
                                           "'_' and '.' are allowed, as in HUVEC-01",
                                           row.experiment));
    if (!is_name(row.cell_type))
      return bad(
          "cell-type",
          fmt::format("cell_type '{}' is not a name; expected is one like HUVEC", row.cell_type));
    if (!parse_int(row.plate, site.plate) || site.plate < 1 || site.plate > kRxrxDesign.plates)
      return bad("plate", fmt::format("plate '{}' is not a number from 1 to {}; correct the row",
                                      row.plate, kRxrxDesign.plates));
    if (!is_well(row.well, kRxrxDesign))
      return bad("well",
                 fmt::format("well '{}' is not on the plate (rows B to O, columns 02 to 23, "
                             "written as B02); correct the row",
                             row.well));
    if (!parse_int(row.site, site.site) || site.site < 1 || site.site > kRxrxDesign.sites)
      return bad("site", fmt::format("site '{}' is not a number from 1 to {}; correct the row",
                                     row.site, kRxrxDesign.sites));
    const std::string well_id = fmt::format("{}_{}_{}", row.experiment, site.plate, row.well);
    site.site_id = fmt::format("{}_{}", well_id, site.site);
    if (!row.well_id.empty() && row.well_id != well_id)
      return bad("id",
                 fmt::format("{} '{}' contradicts experiment, plate and well, which make '{}'; "
                             "correct one of them",
                             rxrx ? "well_id" : "id_code", row.well_id, well_id));
    if (row.id != site.site_id)
      return bad("id",
                 fmt::format("site_id '{}' contradicts experiment, plate, well and site, which "
                             "make '{}'; correct one of them",
                             row.id, site.site_id));
    if (row.dataset != "train" && row.dataset != "test" && row.dataset != "val")
      return bad("dataset",
                 fmt::format("dataset '{}' is unknown; expected is train or test (val in "
                             "RxRx1-WILDS)",
                             row.dataset));
    site.in_test = row.dataset != "train";
    site.in_validation = row.dataset == "val";
    if (!parse_type(row.well_type, site.well_type))
      return bad("well-type", fmt::format("well_type '{}' is unknown; expected is treatment, "
                                          "positive_control or negative_control",
                                          row.well_type));
    site.well = row.well;
    site.sirna = row.sirna;
    site.cell_type = row.cell_type;
    if (const std::string message = label_fault(row, site, rxrx); !message.empty())
      return bad("label", message);
    if (const std::string message = contradiction(row, site); !message.empty())
      return bad("contradiction", message);
    const auto [first, fresh] = seen_.emplace(site.site_id, std::pair(row.table, row.line));
    if (!fresh)
      return bad("duplicate", fmt::format("{} '{}' was already given by {}; delete one of the rows",
                                          rxrx ? "site" : "well", rxrx ? site.site_id : well_id,
                                          place(first->second)));
    experiment_names_.insert(row.experiment);
    experiment_of_site_.push_back(row.experiment);
    dataset_.sites.push_back(std::move(site));
  }

  // Sets site.sirna_id; returns what is wrong with the label, empty if nothing is.
  std::string label_fault(const Row& row, Site& site, bool rxrx) {
    const bool unlabelled = rxrx ? row.sirna_id.empty() : row.sirna.empty();
    if (unlabelled) {
      if (site.in_test && !site.is_control()) return {};
      return fmt::format("the {} has no {}; only treatments of test experiments may be unlabelled",
                         site.is_control() ? "control" : "training row",
                         rxrx ? "sirna_id" : "sirna");
    }
    if (dataset_.form == TableForm::kaggle_names) {
      int number = 0;
      if (parse_int(row.sirna, number))
        return fmt::format("sirna '{}' is a number, other rows have names; do not mix two releases",
                           row.sirna);
      site.sirna_id = number_of_.at(row.sirna);
    } else {
      const std::string& text = rxrx ? row.sirna_id : row.sirna;
      if (!parse_int(text, site.sirna_id) || site.sirna_id < 0 || site.sirna_id >= kRxrxClasses) {
        site.sirna_id = -1;
        return fmt::format("{} '{}' is not a class from 0 to {}; correct the row",
                           rxrx ? "sirna_id" : "sirna", text, kRxrxClasses - 1);
      }
      if (rxrx && row.sirna.empty())
        return fmt::format("sirna is empty but sirna_id is {}; give both or neither",
                           site.sirna_id);
    }
    return {};
  }

  // What earlier rows said about the same thing. The first row counts.
  std::string contradiction(const Row& row, const Site& site) {
    const auto differs = [&](auto& facts, const auto& key, const std::string& value) {
      return earlier_fact(facts, key, {value, row.table, row.line});
    };
    if (const Fact* f = differs(cell_type_of_, row.experiment, row.cell_type))
      return fmt::format("cell_type of {} is '{}', {} says '{}'; an experiment has one cell type",
                         row.experiment, row.cell_type, place({f->table, f->line}), f->value);
    if (const Fact* f = differs(part_of_, row.experiment, row.dataset))
      return fmt::format("dataset of {} is '{}', {} says '{}'; an experiment is in one part",
                         row.experiment, row.dataset, place({f->table, f->line}), f->value);
    if (site.sirna_id < 0) return {};
    if (const Fact* f = differs(id_of_name_, row.sirna, fmt::format("{}", site.sirna_id)))
      return fmt::format("sirna '{}' has sirna_id {}, {} says {}; names and ids are one to one",
                         row.sirna, site.sirna_id, place({f->table, f->line}), f->value);
    if (const Fact* f = differs(name_of_id_, site.sirna_id, row.sirna))
      return fmt::format("sirna_id {} is '{}', {} says '{}'; names and ids are one to one",
                         site.sirna_id, row.sirna, place({f->table, f->line}), f->value);
    if (const Fact* f = differs(type_of_id_, site.sirna_id, row.well_type))
      return fmt::format("sirna '{}' is a {}, {} says {}; a class has one well_type", row.sirna,
                         row.well_type, place({f->table, f->line}), f->value);
    return {};
  }

  // Sorts, and turns names into indices.
  void finish() {
    Dataset& d = dataset_;
    d.experiments.assign(experiment_names_.begin(), experiment_names_.end());
    std::map<std::string, int> index;
    for (size_t i = 0; i < d.experiments.size(); ++i) index[d.experiments[i]] = static_cast<int>(i);
    std::set<std::string> types;
    d.cell_type_of.resize(d.experiments.size());
    for (size_t i = 0; i < d.sites.size(); ++i) {
      d.sites[i].experiment = index.at(experiment_of_site_[i]);
      types.insert(d.sites[i].cell_type);
      d.num_classes = std::max(d.num_classes, d.sites[i].sirna_id + 1);
    }
    d.cell_types.assign(types.begin(), types.end());
    d.class_names.resize(static_cast<size_t>(d.num_classes));
    for (const Site& site : d.sites) {
      const auto type = std::lower_bound(d.cell_types.begin(), d.cell_types.end(), site.cell_type);
      d.cell_type_of[static_cast<size_t>(site.experiment)] =
          static_cast<int>(type - d.cell_types.begin());
      if (site.sirna_id >= 0) d.class_names[static_cast<size_t>(site.sirna_id)] = site.sirna;
    }
    std::sort(d.sites.begin(), d.sites.end(),
              [](const Site& a, const Site& b) { return a.site_id < b.site_id; });
    check_prefixes();
  }

  // HUVEC-03 with cell type RPE is a mix-up; BATCH-03 with RPE is somebody's own name.
  void check_prefixes() {
    for (const auto& [experiment, fact] : cell_type_of_) {
      const std::string prefix = experiment.substr(0, experiment.find('-'));
      const auto& types = dataset_.cell_types;
      if (prefix != fact.value && std::find(types.begin(), types.end(), prefix) != types.end())
        problem(
            "cell-type", fact.table, fact.line,
            fmt::format("cell_type of {} is '{}'; correct one of them", experiment, fact.value));
    }
  }

  // ---- messages ---------------------------------------------------------------------------------

  std::string place(std::pair<int, int> at) const {
    return fmt::format("{}:{}", dataset_.tables[static_cast<size_t>(at.first)], at.second);
  }

  void problem(const char* kind, int table, int line, const std::string& message) {
    const std::string& file = dataset_.tables[static_cast<size_t>(table)];
    problems_.push_back({kind, file, line, fmt::format("{}:{}: {}", file, line, message)});
  }

  Dataset& dataset_;
  std::vector<Problem>& problems_;
  std::vector<Row> rows_;
  std::unordered_map<std::string, int> number_of_;  // kaggle_names
  std::unordered_map<std::string, std::pair<int, int>> seen_;
  std::map<std::string, Fact> cell_type_of_, part_of_;
  std::unordered_map<std::string, Fact> id_of_name_;
  std::unordered_map<int, Fact> name_of_id_, type_of_id_;
  std::set<std::string> experiment_names_;
  std::vector<std::string> experiment_of_site_;
};

}  // namespace

void read_tables(Dataset& dataset, std::vector<Problem>& problems) {
  if (read_screen_table(dataset, problems) || read_cpg_tables(dataset, problems)) return;
  Reader(dataset, problems).read();
}

}  // namespace mono
