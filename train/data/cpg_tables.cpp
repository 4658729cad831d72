#include "train/data/cpg_tables.h"

#include "kernels/base/error.h"
#include "train/data/csv.h"
#include "train/data/table_fields.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <unordered_map>

namespace mono {
namespace {

namespace fs = std::filesystem;

constexpr const char* kCellType = "A549";
constexpr const char* kIndexTables[] = {"enriched_index.csv", "sub_index.csv"};
constexpr const char* kPlateTable = "barcode_platemap.csv";
constexpr const char* kMoaTable = "repurposing_info_external_moa_map_resolved.tsv";
constexpr const char* kImagedPlates = "lincs_plates_final_batch_1.txt";

// Where a value came from.
struct Place {
  int table = 0, line = 0;
};

// A row as text; `replicate` may be empty where the form has another way to tell.
struct Row {
  Place place;
  std::string site_id, plate, plate_map, replicate, well, site, compound, dose, moa;
};

// A plate as its first row gives it.
struct Plate {
  std::string map;
  int replicate = 0;
  Place place;
};

class Reader {
 public:
  Reader(Dataset& dataset, std::vector<Problem>& problems)
      : dataset_(dataset), problems_(problems) {}

  bool read() {
    if (read_own()) return finish();
    for (const char* folder : {"", "metadata/"}) {
      for (const char* table : kIndexTables)
        if (exists(std::string(folder) + table)) {
          read_index(std::string(folder) + table);
          return finish();
        }
      if (exists(std::string(folder) + kPlateTable)) {
        read_platemaps(folder);
        return finish();
      }
    }
    return false;
  }

 private:
  // ---- the three forms --------------------------------------------------------------------------

  bool read_own() {
    const std::string file = "metadata.csv";
    if (!exists(file)) return false;
    CsvTable csv = read_csv(dataset_.root / file, file);
    if (csv.column("compound") < 0) return false;  // RxRx1's
    dataset_.form = TableForm::cpg_metadata;
    const int table = add_table(file);
    const auto columns = find_columns(
        csv, table, {"plate", "plate_map", "replicate", "well", "site", "compound", "dose", "moa"});
    if (columns.empty()) return true;
    const int id = csv.column("site_id");
    for (const CsvRow& r : csv.rows) {
      const auto at = [&](size_t c) { return r.fields[static_cast<size_t>(columns[c])]; };
      Row row{{table, r.line}, "", at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7)};
      if (id >= 0) row.site_id = r.fields[static_cast<size_t>(id)];
      add_row(row);
    }
    return true;
  }

  void read_index(const std::string& file) {
    dataset_.form = TableForm::cpg_index;
    const CsvTable csv = read_csv(dataset_.root / file, file);
    const int table = add_table(file);
    const auto columns = find_columns(
        csv, table,
        {"Metadata_Plate", "Plate_Map_Name", "Treatment_Replicate", "Metadata_Well",
         "Metadata_Site", "Metadata_broad_sample", "Metadata_mmoles_per_liter", "Metadata_moa"});
    if (columns.empty()) return;
    std::vector<Row> rows;
    std::map<std::string, std::vector<double>> replicates;
    for (const CsvRow& r : csv.rows) {
      const auto at = [&](size_t c) { return r.fields[static_cast<size_t>(columns[c])]; };
      rows.push_back({{table, r.line}, "", at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7)});
      double replicate = 0;
      const bool untreated = at(5).empty() || at(5) == kDmso;  // has more replicates than plates
      if (!untreated && parse_real(at(2), replicate)) replicates[at(0)].push_back(replicate);
    }
    std::map<std::string, std::string> median;
    for (auto& [plate, values] : replicates) {
      const auto middle = values.begin() + static_cast<ptrdiff_t>((values.size() - 1) / 2);
      std::nth_element(values.begin(), middle, values.end());
      median[plate] = fmt::format("{}", std::llround(*middle));
    }
    for (Row& row : rows) {
      if (median.contains(row.plate)) row.replicate = median.at(row.plate);
      add_row(row);
    }
  }

  // One well of a plate map.
  struct MapWell {
    Place place;
    std::string well, compound, dose, moa;
  };

  void read_platemaps(const std::string& folder) {
    dataset_.form = TableForm::cpg_platemaps;
    const std::string file = folder + kPlateTable;
    const CsvTable csv = read_csv(dataset_.root / file, file);
    const int table = add_table(file);
    const auto columns = find_columns(csv, table, {"Assay_Plate_Barcode", "Plate_Map_Name"});
    if (columns.empty()) return;
    struct Barcode {
      std::string plate;
      Place place;
    };
    std::map<std::string, std::vector<Barcode>> plates_of_map;
    const std::set<std::string> imaged = read_imaged(folder);
    std::set<std::string> known;
    for (const CsvRow& r : csv.rows) {
      const std::string &plate = r.fields[static_cast<size_t>(columns[0])],
                        &map = r.fields[static_cast<size_t>(columns[1])];
      if (!known.insert(plate).second) {
        problem("duplicate", {table, r.line},
                fmt::format("plate '{}' is given twice; delete one of the rows", plate));
        continue;
      }
      if (imaged.empty() || imaged.contains(plate))
        plates_of_map[map].push_back({plate, {table, r.line}});
    }
    for (const std::string& plate : imaged)
      if (!known.contains(plate))
        problem("experiment", {table, 1},
                fmt::format("plate '{}' of {} has no row; add it with its plate map", plate,
                            folder + kImagedPlates));
    const auto moas = read_moas(folder);
    for (auto& [map, plates] : plates_of_map) {
      std::sort(plates.begin(), plates.end(),
                [](const Barcode& a, const Barcode& b) { return a.plate < b.plate; });
      const std::vector<MapWell> wells = read_map(folder, map, plates.front().place, moas);
      for (size_t p = 0; p < plates.size(); ++p)
        for (const MapWell& w : wells)
          add_well({w.place, "", plates[p].plate, map, fmt::format("{}", p + 1), w.well, "",
                    w.compound, w.dose, w.moa},
                   plates[p].place);
    }
  }

  // Barcodes of a list of folders, "SQ00015198__2016-05-06T02_10_05-Measurement1"; empty without.
  std::set<std::string> read_imaged(const std::string& folder) const {
    std::set<std::string> plates;
    std::ifstream in(dataset_.root / (folder + kImagedPlates), std::ios::binary);
    for (std::string line; std::getline(in, line);) {
      while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
      if (!line.empty()) plates.insert(line.substr(0, line.find("__")));
    }
    return plates;
  }

  std::unordered_map<std::string, std::string> read_moas(const std::string& folder) {
    std::unordered_map<std::string, std::string> moas;
    const std::string file = folder + kMoaTable;
    if (!exists(file)) {
      problem("moa", {0, 1},
              fmt::format("needs {} beside it (broad_sample and moa, separated by tabs); copy it "
                          "from lincs-cell-painting, metadata/moa",
                          file));
      return moas;
    }
    const CsvTable csv = read_csv(dataset_.root / file, file, '\t');
    const int table = add_table(file);
    const auto columns = find_columns(csv, table, {"broad_sample", "moa"});
    if (columns.empty()) return moas;
    for (const CsvRow& r : csv.rows) {
      const std::string &name = r.fields[static_cast<size_t>(columns[0])],
                        &moa = r.fields[static_cast<size_t>(columns[1])];
      const auto [it, fresh] = moas.emplace(name, moa);
      if (!fresh && it->second != moa)
        problem("contradiction", {table, r.line},
                fmt::format("moa of '{}' is '{}', an earlier row says '{}'; a compound has one",
                            name, moa, it->second));
    }
    return moas;
  }

  std::vector<MapWell> read_map(const std::string& folder, const std::string& map, Place place,
                                const std::unordered_map<std::string, std::string>& moas) {
    const std::string file = folder + "platemap/" + map + ".txt";
    std::vector<MapWell> wells;
    if (!is_name(map) || !exists(file)) {
      problem("plate-map", place,
              fmt::format("plate map '{}' has no table {}; copy it from lincs-cell-painting, "
                          "metadata/platemaps",
                          map, file));
      return wells;
    }
    const CsvTable csv = read_csv(dataset_.root / file, file, '\t');
    const int table = add_table(file);
    const auto columns = find_columns(
        csv, table,
        {"plate_map_name", "well_position", "broad_sample", "mmoles_per_liter", "solvent"});
    if (columns.empty()) return wells;
    for (const CsvRow& r : csv.rows) {
      const auto at = [&](size_t c) { return r.fields[static_cast<size_t>(columns[c])]; };
      const Place here{table, r.line};
      if (at(0) != map) {
        problem("plate-map", here,
                fmt::format("plate_map_name '{}' in the table of '{}'; correct one of them", at(0),
                            map));
        continue;
      }
      if (at(2).empty() && at(4) != kDmso) {
        problem(
            "compound", here,
            fmt::format("well {} has neither a broad_sample nor the solvent DMSO ('{}'); correct "
                        "or delete the row",
                        at(1), at(4)));
        continue;
      }
      const auto moa = moas.find(at(2));
      if (!at(2).empty() && at(2) != kDmso && !moas.empty() && moa == moas.end()) {
        problem(
            "moa", here,
            fmt::format("broad_sample '{}' has no row in {}; add one, with an empty moa if none "
                        "is known",
                        at(2), folder + kMoaTable));
        continue;
      }
      wells.push_back({here, at(1), at(2), at(3), moa == moas.end() ? "" : moa->second});
    }
    return wells;
  }

  // ---- rows -> sites ----------------------------------------------------------------------------

  void add_row(const Row& row) {
    Site site;
    if (!fill_well(row, row.place, site)) return;
    if (!parse_int(row.site, site.site) || site.site < 1 || site.site > kCpgDesign.sites)
      return problem("site", row.place,
                     fmt::format("site '{}' is not a number from 1 to {}; correct the row",
                                 row.site, kCpgDesign.sites));
    add_site(row, row.place, site);
  }

  // A row of a plate map: all fields of the well, on one plate.
  void add_well(const Row& row, Place plate_place) {
    Site site;
    if (!fill_well(row, plate_place, site)) return;
    for (site.site = 1; site.site <= kCpgDesign.sites; ++site.site)
      if (!add_site(row, row.place, site)) return;  // said once a well
  }

  bool bad(const char* kind, Place place, const std::string& message) {
    problem(kind, place, message);
    return false;
  }

  // Everything but the field of view. `plate_place`: the row that speaks of the plate.
  bool fill_well(const Row& row, Place plate_place, Site& site) {
    site.table = row.place.table;
    site.row = row.place.line;
    if (!is_name(row.plate))
      return bad("experiment", plate_place,
                 fmt::format("plate '{}' is not a name; letters, digits, '-', '_' and '.' are "
                             "allowed, as in SQ00015198",
                             row.plate));
    if (!is_name(row.plate_map))
      return bad("plate-map", plate_place,
                 fmt::format("plate map '{}' is not a name; letters, digits, '-', '_' and '.' are "
                             "allowed, as in C-7161-01-LM6-014",
                             row.plate_map));
    if (!parse_int(row.replicate, site.replicate) || site.replicate < 1 ||
        site.replicate > kMaxReplicate)
      return bad("replicate", plate_place,
                 fmt::format("replicate '{}' of plate {} is not a number from 1 to {}; a plate map "
                             "has at most {} plates",
                             row.replicate, row.plate, kMaxReplicate, kMaxReplicate));
    if (!is_well(row.well, kCpgDesign))
      return bad(
          "well", row.place,
          fmt::format("well '{}' is not on the plate (rows A to P, columns 01 to 24, written "
                      "as A01); correct the row",
                      row.well));
    site.sirna = row.compound.empty() ? kDmso : row.compound;
    if (!is_name(site.sirna))
      return bad("compound", row.place,
                 fmt::format("compound '{}' is not a name; letters, digits, '-', '_' and '.' are "
                             "allowed; DMSO or nothing for untreated wells",
                             row.compound));
    site.well_type = site.sirna == kDmso ? WellType::negative_control : WellType::treatment;
    return fill_treatment(row, site) && agrees(row, plate_place, site);
  }

  bool fill_treatment(const Row& row, Site& site) {
    double dose = 0;
    if (!row.dose.empty() && (!parse_real(row.dose, dose) || dose < 0))
      return bad("dose", row.place,
                 fmt::format("dose '{}' is not a concentration in uM; correct the row", row.dose));
    if (site.is_control() && dose != 0)
      return bad("dose", row.place,
                 fmt::format("dose '{}' of a DMSO well; leave it empty or 0, or name the compound",
                             row.dose));
    if (!site.is_control() && dose == 0)
      return bad("dose", row.place,
                 fmt::format("dose '{}' of compound '{}'; give its concentration in uM", row.dose,
                             row.compound));
    if (site.is_control() && !row.moa.empty() && row.moa != kNoMoa)
      return bad(
          "moa", row.place,
          fmt::format("moa '{}' of a DMSO well; leave it empty, or name the compound", row.moa));
    site.dose = static_cast<float>(dose);
    site.dose_level = site.is_control() ? 0 : dose_level(dose);
    return true;
  }

  // What earlier rows said about the same plate, well position or compound. The first counts.
  bool agrees(const Row& row, Place plate_place, const Site& site) {
    const auto [plate, fresh] =
        plates_.emplace(row.plate, Plate{row.plate_map, site.replicate, plate_place});
    if (plate->second.map != row.plate_map)
      return bad("contradiction", row.place,
                 fmt::format("plate map of {} is '{}', {} says '{}'; a plate has one", row.plate,
                             row.plate_map, text_of(plate->second.place), plate->second.map));
    if (plate->second.replicate != site.replicate)
      return bad(
          "contradiction", row.place,
          fmt::format("replicate of {} is {}, {} says {}; a plate has one", row.plate,
                      site.replicate, text_of(plate->second.place), plate->second.replicate));
    const auto [other, first] =
        plate_of_.emplace(std::pair(row.plate_map, site.replicate), row.plate);
    if (other->second != row.plate && dataset_.form != TableForm::cpg_index)  // there: a median
      return bad(
          "contradiction", row.place,
          fmt::format("plates {} and {} are both replicate {} of {}; number a map's plates 1 "
                      "to {}",
                      other->second, row.plate, site.replicate, row.plate_map, kMaxReplicate));
    const std::string treatment = treatment_name(site.sirna, site.dose_level);
    if (const Fact* f =
            differs(treatment_at_, row.plate_map + " " + row.well, treatment, row.place))
      return bad(
          "contradiction", row.place,
          fmt::format("well {} of {} holds {}, {} says {}; the plates of a map share their "
                      "layout",
                      row.well, row.plate_map, treatment, text_of({f->table, f->line}), f->value));
    const std::string moa = row.moa.empty() ? kNoMoa : row.moa;
    if (const Fact* f = differs(moa_of_, site.sirna, moa, row.place))
      return bad("contradiction", row.place,
                 fmt::format("moa of {} is '{}', {} says '{}'; a compound has one", site.sirna, moa,
                             text_of({f->table, f->line}), f->value));
    return true;
  }

  bool add_site(const Row& row, Place place, const Site& well) {
    Site site = well;
    site.site_id = fmt::format("{}_1_{}_{}", row.plate, row.well, site.site);
    if (!row.site_id.empty() && row.site_id != site.site_id)
      return bad("id", place,
                 fmt::format("site_id '{}' contradicts plate, well and site, which make '{}'; "
                             "correct one of them",
                             row.site_id, site.site_id));
    const auto [first, fresh] = seen_.emplace(site.site_id, place);
    if (!fresh)
      return bad("duplicate", place,
                 fmt::format("site '{}' was already given by {}; delete one of the rows",
                             site.site_id, text_of(first->second)));
    site.well = row.well;
    site.cell_type = kCellType;
    site.in_validation = site.replicate == 4;
    site.in_test = site.replicate >= 4;
    names_.push_back({row.plate, row.plate_map});
    dataset_.sites.push_back(std::move(site));
    return true;
  }

  // Names to indices; sorts.
  bool finish() {
    Dataset& d = dataset_;
    if (d.sites.empty() && problems_.empty())
      problem("empty", {0, 1}, "holds no rows; copy or download the table again");
    std::set<std::string> plates, maps, compounds, moas;
    for (size_t i = 0; i < d.sites.size(); ++i) {
      plates.insert(names_[i].plate);
      maps.insert(names_[i].map);
      compounds.insert(d.sites[i].sirna);
      moas.insert(moa_of_.at(d.sites[i].sirna).value);
    }
    d.experiments.assign(plates.begin(), plates.end());
    d.plate_maps.assign(maps.begin(), maps.end());
    d.compounds.assign(compounds.begin(), compounds.end());
    d.moas.assign(moas.begin(), moas.end());
    d.cell_types = {kCellType};
    d.cell_type_of.assign(d.experiments.size(), 0);
    d.channels_on_disk = kCpgDesign.channels;
    const auto at = [](const std::vector<std::string>& list, const std::string& name) {
      return static_cast<int>(std::lower_bound(list.begin(), list.end(), name) - list.begin());
    };
    for (size_t i = 0; i < d.sites.size(); ++i) {
      Site& s = d.sites[i];
      s.experiment = at(d.experiments, names_[i].plate);
      s.plate_map = at(d.plate_maps, names_[i].map);
      s.compound = at(d.compounds, s.sirna);
      s.moa = at(d.moas, moa_of_.at(s.sirna).value);
    }
    std::sort(d.sites.begin(), d.sites.end(),
              [](const Site& a, const Site& b) { return a.site_id < b.site_id; });
    number_treatments(d);
    return true;
  }

  // ---- small helpers ----------------------------------------------------------------------------

  static const Fact* differs(std::unordered_map<std::string, Fact>& facts, const std::string& key,
                             const std::string& value, Place place) {
    return earlier_fact(facts, key, {value, place.table, place.line});
  }

  bool exists(const std::string& file) const {
    std::error_code error;
    return fs::exists(dataset_.root / file, error);
  }

  int add_table(const std::string& file) {
    dataset_.tables.push_back(file);
    return static_cast<int>(dataset_.tables.size()) - 1;
  }

  // Indices of the columns; empty, with a problem for each, where one is missing.
  std::vector<int> find_columns(const CsvTable& csv, int table,
                                const std::vector<const char*>& names) {
    std::vector<int> columns;
    std::string have;
    for (const std::string& c : csv.columns) have += (have.empty() ? "" : ", ") + c;
    for (const char* name : names) {
      columns.push_back(csv.column(name));
      if (columns.back() < 0)
        problem("column", {table, 1},
                fmt::format("column '{}' is missing; the table has: {}", name, have));
    }
    if (std::find(columns.begin(), columns.end(), -1) != columns.end()) columns.clear();
    return columns;
  }

  std::string text_of(Place place) const {
    return fmt::format("{}:{}", dataset_.tables[static_cast<size_t>(place.table)], place.line);
  }

  void problem(const char* kind, Place place, const std::string& message) {
    const std::string& file = dataset_.tables[static_cast<size_t>(place.table)];
    problems_.push_back(
        {kind, file, place.line, fmt::format("{}:{}: {}", file, place.line, message)});
  }

  struct Names {
    std::string plate, map;
  };

  Dataset& dataset_;
  std::vector<Problem>& problems_;
  std::vector<Names> names_;  // of dataset_.sites
  std::unordered_map<std::string, Plate> plates_;
  std::map<std::pair<std::string, int>, std::string> plate_of_;
  std::unordered_map<std::string, Fact> treatment_at_, moa_of_;
  std::unordered_map<std::string, Place> seen_;
};

}  // namespace

int dose_level(double dose) {
  int best = 0;
  for (int l = 1; l < static_cast<int>(std::size(kDoseLevels)); ++l)
    if (std::abs(dose - static_cast<double>(kDoseLevels[l])) <
        std::abs(dose - static_cast<double>(kDoseLevels[best])))
      best = l;
  return best + 1;
}

std::string treatment_name(const std::string& compound, int level) {
  return level == 0 ? compound : fmt::format("{}@{}", compound, kDoseLevels[level - 1]);
}

void number_treatments(Dataset& d) {
  std::map<std::pair<int, int>, int> class_of;  // compounds are sorted, so this is by name
  std::map<int, int> compound_at, moa_at;
  for (const Site& s : d.sites) {
    if (!s.is_control()) class_of[{s.compound, s.dose_level}] = 0;
    compound_at[s.compound] = moa_at[s.moa] = 0;
  }
  const auto renumber = [](std::map<int, int>& map, std::vector<std::string>& names) {
    std::vector<std::string> kept;
    for (auto& [from, to] : map) {
      to = static_cast<int>(kept.size());
      kept.push_back(names[static_cast<size_t>(from)]);
    }
    names = std::move(kept);
  };
  d.class_names = {kDmso};
  for (auto& [key, id] : class_of) {
    id = static_cast<int>(d.class_names.size());
    d.class_names.push_back(
        treatment_name(d.compounds[static_cast<size_t>(key.first)], key.second));
  }
  d.num_classes = static_cast<int>(d.class_names.size());
  renumber(compound_at, d.compounds);
  renumber(moa_at, d.moas);
  for (Site& s : d.sites) {
    s.sirna_id = s.is_control() ? 0 : class_of.at({s.compound, s.dose_level});
    s.sirna = d.class_names[static_cast<size_t>(s.sirna_id)];
    s.compound = compound_at.at(s.compound);
    s.moa = moa_at.at(s.moa);
  }
}

bool read_cpg_tables(Dataset& dataset, std::vector<Problem>& problems) {
  return Reader(dataset, problems).read();
}

}  // namespace mono
