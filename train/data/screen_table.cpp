#include "train/data/screen_table.h"

#include "kernels/base/error.h"
#include "kernels/base/suggest.h"
#include "train/data/csv.h"
#include "train/data/image_file.h"
#include "train/data/screen_file.h"
#include "train/data/table_fields.h"
#include "train/data/tree.h"
#include "train/data/well.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <unordered_map>

namespace mono {
namespace {

// Places of images.file that are no columns of the table.
const std::vector<std::string> kPlaces = {"experiment", "plate", "well",       "row",
                                          "column",     "site",  "row_number", "channel"};

// What a piece of a pattern is filled with.
struct Source {
  const NamePattern::Piece* piece = nullptr;
  int column = -1;  // of the table
  int place = -1;   // of kPlaces
};
using Sources = std::vector<Source>;

// One line of 1 to 128 printable characters, in UTF-8.
bool is_value(std::string_view text) {
  const auto characters = std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;  // not a character's later byte
  });
  return characters >= 1 && characters <= 128 && std::none_of(text.begin(), text.end(), [](char c) {
           return static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
         });
}

// A file below the folder: no part of it is "..", none is empty, and it is not absolute.
bool stays_below(std::string_view file) {
  if (file.empty() || file.front() == '/') return false;
  for (size_t at = 0; at <= file.size();) {
    const size_t end = std::min(file.find('/', at), file.size());
    const std::string_view part = file.substr(at, end - at);
    if (part.empty() || part == "..") return false;
    at = end + 1;
  }
  return true;
}

// What a row's columns say, as text.
struct Names {
  std::string experiment, plate, moa;
};
struct Seen {
  Names names;
  int line = 0;
};

class Reader {
 public:
  Reader(ScreenFile screen, Dataset& dataset, std::vector<Problem>& problems)
      : screen_(std::move(screen)), dataset_(dataset), problems_(problems) {}

  void read() {
    Dataset& d = dataset_;
    d.form = TableForm::described;
    d.tables = {screen_.table};
    d.channels = screen_.channels;
    d.channels_on_disk = static_cast<int>(screen_.channels.size());
    d.tiff_white = screen_.tiff_white;
    std::error_code error;
    if (!std::filesystem::exists(d.root / screen_.table, error))
      fail(ErrorKind::data, "{}: table.file is '{}', which {} does not hold; correct the name",
           kScreenFile, screen_.table, d.root.string());
    const CsvTable csv = read_csv(d.root / screen_.table, screen_.table,
                                  screen_.table.ends_with(".tsv") ? '\t' : ',');
    find_columns(csv);
    if (!problems_.empty()) return;
    if (csv.rows.empty())
      return problem("empty", 1, "holds no rows; copy or export the table again");
    for (const CsvRow& row : csv.rows) add_row(row);
    check_names();
    finish();
  }

 private:
  // ---- columns ----------------------------------------------------------------------------------

  void find_columns(const CsvTable& csv) {
    experiment_ = sources_of(csv, "columns.experiment", screen_.experiment, false);
    well_ = sources_of(csv, "columns.well", screen_.well, false);
    treatment_ = sources_of(csv, "columns.treatment", screen_.treatment, false);
    const auto find = [&](const char* key, const std::optional<ScreenText>& text) {
      return text ? sources_of(csv, key, *text, false) : Sources();
    };
    plate_ = find("columns.plate", screen_.plate);
    site_ = find("columns.site", screen_.site);
    control_ = find("columns.control", screen_.control);
    split_ = find("columns.split", screen_.split);
    cell_type_ = find("columns.cell_type", screen_.cell_type);
    moa_ = find("columns.moa", screen_.moa);
    for (const ScreenText& file : screen_.files)
      files_.push_back(sources_of(csv, "images.file", file, true));
  }

  Sources sources_of(const CsvTable& csv, const char* key, const ScreenText& text, bool places) {
    std::vector<std::string> known = csv.columns;
    if (places) known.insert(known.end(), kPlaces.begin(), kPlaces.end());
    Sources sources;
    for (const NamePattern::Piece& piece : text.pattern.pieces) {
      Source source{&piece, -1, -1};
      if (piece.is_place) {
        const auto place = std::find(kPlaces.begin(), kPlaces.end(), piece.text);
        if (places && place != kPlaces.end())
          source.place = static_cast<int>(place - kPlaces.begin());
        else
          source.column = csv.column(piece.text);
        if (source.place < 0 && source.column < 0) {
          std::string have;
          for (const std::string& c : csv.columns) have += (have.empty() ? "" : ", ") + c;
          described("column", text.place,
                    fmt::format("{}: {} has no column '{}'{}; it has: {}", key, screen_.table,
                                piece.text, did_you_mean(piece.text, known), have));
        }
      }
      sources.push_back(source);
    }
    return sources;
  }

  // ---- rows -> sites ----------------------------------------------------------------------------

  // The text that `sources` make of a row; a place is filled by `at`. Places that are all empty
  // make nothing: no "@" of "{Compound}@{Dose}".
  template <class PlaceValue>
  std::string text_of(const Sources& sources, const CsvRow& row, const PlaceValue& at,
                      std::string& fault) const {
    std::string out;
    const auto value_of = [&](const Source& s) {
      return s.place >= 0 ? at(s.place) : row.fields[static_cast<size_t>(s.column)];
    };
    bool places = false, any = false;
    for (const Source& s : sources)
      if (s.piece->is_place) places = true, any = any || !value_of(s).empty();
    if (places && !any) return out;
    for (const Source& s : sources) {
      if (!s.piece->is_place) {
        out += s.piece->text;
        continue;
      }
      const std::string value = value_of(s);
      if (!fill_place(*s.piece, value, out))
        fault = fmt::format("{{{}:{:02}}} needs a whole number, and {} is '{}'", s.piece->text,
                            s.piece->digits, s.piece->text, value);
    }
    return out;
  }

  std::string text_of(const Sources& sources, const CsvRow& row, std::string& fault) const {
    return text_of(
        sources, row, [](int) { return std::string(); }, fault);
  }

  // Which kind of well the row is of; a message where its column says neither.
  std::string kind_fault(const std::string& value, WellType& type) const {
    const auto in = [&](const ScreenNames& names) {
      return std::find(names.list.begin(), names.list.end(), value) != names.list.end();
    };
    type = in(screen_.negative)   ? WellType::negative_control
           : in(screen_.positive) ? WellType::positive_control
                                  : WellType::treatment;
    if (!screen_.control || type != WellType::treatment || in(screen_.no_control)) return {};
    std::vector<std::string> known;
    for (const auto* names : {&screen_.negative, &screen_.positive, &screen_.no_control})
      known.insert(known.end(), names->list.begin(), names->list.end());
    return fmt::format(
        "columns.control is '{}', which is in none of controls.negative, controls.positive and "
        "controls.treatment of {}{}; add it to one of them",
        value, kScreenFile, did_you_mean(value, known));
  }

  std::string split_fault(const std::string& value, const std::string& experiment, Site& site) {
    const auto in = [](const ScreenNames& names, const std::string& name) {
      return std::find(names.list.begin(), names.list.end(), name) != names.list.end();
    };
    if (!screen_.split) {
      site.in_test = in(screen_.test_experiments, experiment);
      return {};
    }
    site.in_test = in(screen_.test, value);
    if (site.in_test || in(screen_.train, value)) return {};
    std::vector<std::string> known = screen_.train.list;
    known.insert(known.end(), screen_.test.list.begin(), screen_.test.list.end());
    return fmt::format(
        "columns.split is '{}', which is in neither split.train nor split.test of {}{}"
        "; add it to one of them",
        value, kScreenFile, did_you_mean(value, known));
  }

  void add_row(const CsvRow& row) {
    const auto bad = [&](const char* kind, const std::string& message) {
      problem(kind, row.line, message);
    };
    std::string fault;
    const auto value = [&](const Sources& sources) { return text_of(sources, row, fault); };
    Names names{value(experiment_), plate_.empty() ? "1" : value(plate_), value(moa_)};
    Site site;
    site.row = row.line;
    site.sirna = value(treatment_);
    site.cell_type = cell_type_.empty() ? kCells : value(cell_type_);
    const std::string well = value(well_), number = value(site_), control = value(control_),
                      part = value(split_);
    // Also of rows with a fault: their names are there all the same.
    experiments_seen_.insert(names.experiment);
    values_seen_.insert(screen_.control ? control : site.sirna);
    if (!fault.empty()) return bad("number", fault + "; correct the row or the pattern");
    for (const auto& [key, text] : {std::pair("experiment", &names.experiment),
                                    {"plate", &names.plate},
                                    {"cell_type", &site.cell_type}})
      if (!is_value(*text))
        return bad(key, fmt::format("{} '{}' is not a name of 1 to 128 printable characters; "
                                    "correct the row",
                                    key, *text));
    site.well = well_name(well, screen_.wells);
    if (site.well.empty())
      return bad("well", fmt::format("well '{}' is not on a plate of {} wells (A01 to {}, written "
                                     "as B02 or B2); correct the row, or plate.wells",
                                     well, screen_.wells, last_well(screen_.wells)));
    int first = 1, last = screen_.sites_per_well;
    if (screen_.site) {
      if (!parse_int(number, first) || first < 0 || first > 9999)
        return bad("site",
                   fmt::format("site '{}' is not a whole number from 0 to 9999; correct the "
                               "row",
                               number));
      last = first;
    }
    if (const auto message = kind_fault(screen_.control ? control : site.sirna, site.well_type);
        !message.empty())
      return bad("control", message);
    if (const auto message = split_fault(part, names.experiment, site); !message.empty())
      return bad("split", message);
    if (site.sirna.empty() && (site.is_control() || !site.in_test))
      return bad("label",
                 fmt::format("the {} has no treatment; only treatments of test experiments "
                             "may be unlabelled",
                             site.is_control() ? "control" : "training row"));
    if (!site.sirna.empty() && !is_value(site.sirna))
      return bad("label",
                 "the treatment is not a name of 1 to 128 printable characters; correct "
                 "the row");
    if (names.moa.empty() || site.well_type == WellType::negative_control) names.moa = kNoMoa;
    if (!is_value(names.moa))
      return bad("moa",
                 "the mechanism is not a name of 1 to 128 printable characters; correct the row");
    if (const auto message = contradiction(row, names, site, part); !message.empty())
      return bad("contradiction", message);
    for (site.site = first; site.site <= last; ++site.site) {
      Site own = site;
      own.site_id = fmt::format("{}_{}_{}_{}", names.experiment, names.plate, site.well, site.site);
      const auto [it, fresh] = seen_.emplace(own.site_id, Seen{names, row.line});
      if (const Seen& other = it->second; !fresh) {
        if (other.names.experiment != names.experiment)
          return bad("id",
                     fmt::format("experiment '{}' with plate '{}' makes the site_id '{}', as "
                                 "'{}' with '{}' of {}:{} does; rename one of them",
                                 names.experiment, names.plate, own.site_id, other.names.experiment,
                                 other.names.plate, screen_.table, other.line));
        return bad("duplicate",
                   fmt::format("site '{}' was already given by {}:{}; delete one of the rows{}",
                               own.site_id, screen_.table, other.line,
                               !screen_.site    ? ", or name the column of sites in columns.site"
                               : !screen_.plate ? ", or name the column of plates in columns.plate"
                                                : ""));
      }
      if (!name_files(row, names, well, screen_.site ? number : fmt::format("{}", own.site), own))
        return;
      names_.push_back(names);
      dataset_.sites.push_back(std::move(own));
    }
  }

  // Sets site.files; false with a problem.
  bool name_files(const CsvRow& row, const Names& names, const std::string& well,
                  const std::string& number, Site& site) {
    const Well place_of_well = *parse_well(site.well);
    for (int c = 0; c < dataset_.channels_on_disk; ++c) {
      const auto at = [&](int place) {
        const std::string& name = kPlaces[static_cast<size_t>(place)];
        return name == "experiment"   ? names.experiment
               : name == "plate"      ? names.plate
               : name == "well"       ? site.well
               : name == "row"        ? row_name(place_of_well.row)
               : name == "column"     ? fmt::format("{}", place_of_well.column + 1)
               : name == "site"       ? number
               : name == "row_number" ? fmt::format("{}", place_of_well.row + 1)
                                      : screen_.channel_files[static_cast<size_t>(c)];
      };
      std::string fault;
      const std::string file = without_dots(
          text_of(files_[files_.size() > 1 ? static_cast<size_t>(c) : 0], row, at, fault));
      if (!fault.empty()) {
        problem("number", row.line, fault + "; correct the row or images.file");
        return false;
      }
      if (!stays_below(file)) {
        problem("file", row.line,
                fmt::format("images.file makes '{}' of the row, which is not a file below "
                            "images.folder; correct the row or the pattern",
                            file));
        return false;
      }
      site.files.push_back(screen_.folder + file);
      const auto [other, fresh] = file_of_.emplace(site.files.back(), row.line);
      if (!fresh) {
        problem(
            "file", row.line,
            fmt::format("channel {} of site {} (well {}) is '{}', as another image of {}:{} is; "
                        "put what tells them apart into images.file of {}",
                        dataset_.channels[static_cast<size_t>(c)].name, site.site_id, well, file,
                        screen_.table, other->second, kScreenFile));
        return false;
      }
    }
    return true;
  }

  // What earlier rows said about the same thing. The first row counts.
  std::string contradiction(const CsvRow& row, const Names& names, const Site& site,
                            const std::string& part) {
    const auto differs = [&](std::unordered_map<std::string, Fact>& facts, const std::string& key,
                             const std::string& value) {
      return earlier_fact(facts, key, {value, 0, row.line});
    };
    const auto said = [&](const Fact& f) {
      return fmt::format("{}:{} says '{}'", screen_.table, f.line, f.value);
    };
    if (const Fact* f = differs(cell_type_of_, names.experiment, site.cell_type))
      return fmt::format(
          "the cell type of experiment {} is '{}', {}; an experiment has one: correct "
          "the row, or make an experiment of each, as in columns.experiment = "
          "\"{{batch}}-{{cells}}\"",
          names.experiment, site.cell_type, said(*f));
    if (const Fact* f = differs(part_of_, names.experiment, part))
      return fmt::format("columns.split of experiment {} is '{}', {}; an experiment is in one part",
                         names.experiment, part, said(*f));
    if (site.sirna.empty()) return {};
    if (const Fact* f = differs(type_of_, site.sirna, name_of(site.well_type)))
      return fmt::format("treatment '{}' is a {}, {}; a treatment is one of them", site.sirna,
                         name_of(site.well_type), said(*f));
    if (const Fact* f = differs(moa_of_, site.sirna, names.moa))
      return fmt::format("the mechanism of treatment '{}' is '{}', {}; a treatment has one",
                         site.sirna, names.moa, said(*f));
    return {};
  }

  // Names of screen.toml that no row has: a typing mistake there would make treatments of controls.
  void check_names() {
    const auto check = [&](const char* kind, const char* key, const ScreenNames& names,
                           const std::set<std::string>& seen, const char* what) {
      const std::vector<std::string> known(seen.begin(), seen.end());
      for (const std::string& name : names.list)
        if (!seen.contains(name))
          described(kind, names.place,
                    fmt::format("{}: '{}' is {} no row of {}{}; correct it or leave it out", key,
                                name, what, screen_.table, did_you_mean(name, known)));
    };
    const char* what = screen_.control ? "the columns.control of" : "the treatment of";
    check("control", "controls.negative", screen_.negative, values_seen_, what);
    check("control", "controls.positive", screen_.positive, values_seen_, what);
    check("split", "split.test_experiments", screen_.test_experiments, experiments_seen_,
          "the experiment of");
  }

  // ---- names -> numbers -------------------------------------------------------------------------

  void finish() {
    Dataset& d = dataset_;
    std::map<std::string, std::set<std::string, NaturalLess>> plates;
    std::set<std::string> types, moas;
    std::set<std::pair<int, std::string>> kinds;
    for (size_t i = 0; i < d.sites.size(); ++i) {
      const Site& s = d.sites[i];
      plates[names_[i].experiment].insert(names_[i].plate);
      types.insert(s.cell_type);
      moas.insert(names_[i].moa);
      if (!s.sirna.empty()) kinds.emplace(static_cast<int>(s.well_type), s.sirna);
    }
    for (const auto& [experiment, of_experiment] : plates) {
      d.experiments.push_back(experiment);
      d.plate_names.emplace_back(of_experiment.begin(), of_experiment.end());
    }
    d.experiment_dirs.assign(d.experiments.size(), "");
    d.cell_types.assign(types.begin(), types.end());
    if (screen_.moa) d.moas.assign(moas.begin(), moas.end());
    std::vector<std::pair<int, std::string>> order(kinds.begin(), kinds.end());
    std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
      return a.first != b.first ? a.first < b.first : NaturalLess()(a.second, b.second);
    });
    std::unordered_map<std::string, int> class_of;
    for (const auto& [type, name] : order) {
      class_of.emplace(name, static_cast<int>(d.class_names.size()));
      d.class_names.push_back(name);
    }
    d.num_classes = static_cast<int>(d.class_names.size());
    d.cell_type_of.assign(d.experiments.size(), 0);
    const auto at = [](const std::vector<std::string>& list, const std::string& name) {
      return static_cast<int>(std::lower_bound(list.begin(), list.end(), name) - list.begin());
    };
    for (size_t i = 0; i < d.sites.size(); ++i) {
      Site& s = d.sites[i];
      s.experiment = at(d.experiments, names_[i].experiment);
      const auto e = static_cast<size_t>(s.experiment);
      const std::vector<std::string>& of_experiment = d.plate_names[e];
      s.plate =
          static_cast<int>(std::find(of_experiment.begin(), of_experiment.end(), names_[i].plate) -
                           of_experiment.begin()) +
          1;
      s.sirna_id = s.sirna.empty() ? -1 : class_of.at(s.sirna);
      d.cell_type_of[e] = at(d.cell_types, s.cell_type);
      if (screen_.moa) s.moa = at(d.moas, names_[i].moa);
    }
    std::sort(d.sites.begin(), d.sites.end(),
              [](const Site& a, const Site& b) { return a.site_id < b.site_id; });
  }

  // ---- messages ---------------------------------------------------------------------------------

  void problem(const char* kind, int line, const std::string& message) {
    problems_.push_back(
        {kind, screen_.table, line, fmt::format("{}:{}: {}", screen_.table, line, message)});
  }

  // A fault of what screen.toml says of the table.
  void described(const char* kind, const TomlPlace& place, const std::string& message) {
    problems_.push_back(
        {kind, kScreenFile, place.line,
         fmt::format("{}:{}:{}: {}", kScreenFile, place.line, place.column, message)});
  }

  const ScreenFile screen_;
  Dataset& dataset_;
  std::vector<Problem>& problems_;
  Sources experiment_, plate_, well_, site_, treatment_, control_, split_, cell_type_, moa_;
  std::vector<Sources> files_;
  std::vector<Names> names_;  // of dataset_.sites
  std::set<std::string> experiments_seen_, values_seen_;
  std::unordered_map<std::string, Seen> seen_;    // site id -> its row
  std::unordered_map<std::string, int> file_of_;  // file -> line
  std::unordered_map<std::string, Fact> cell_type_of_, part_of_, type_of_, moa_of_;
};

}  // namespace

bool read_screen_table(Dataset& dataset, std::vector<Problem>& problems) {
  if (!has_screen_file(dataset.root)) return false;
  Reader(read_screen_file(dataset.root), dataset, problems).read();
  return true;
}

void scan_screen_tree(Dataset& dataset, std::vector<Problem>& problems,
                      std::vector<std::string>& notes) {
  // [folder][name] -> sites; each folder is listed once.
  std::map<std::string, std::unordered_map<std::string, std::pair<size_t, int>>> wanted;
  for (size_t i = 0; i < dataset.sites.size(); ++i)
    for (int c = 0; c < dataset.channels_on_disk; ++c) {
      const std::string& file = dataset.sites[i].files[static_cast<size_t>(c)];
      const size_t slash = file.rfind('/');
      wanted[slash == file.npos ? "" : file.substr(0, slash)].emplace(
          slash == file.npos ? file : file.substr(slash + 1), std::pair(i, c));
    }
  bool any = false;
  for (const auto& [folder, of_folder] : wanted) {
    int unlisted = 0;
    std::string example;
    for (const std::string& name : sorted_names(dataset.root / folder)) {
      const auto it = of_folder.find(name);
      if (it != of_folder.end()) {
        any = true;
        dataset.sites[it->second.first].channels_present |=
            static_cast<uint8_t>(1u << it->second.second);
      } else if (is_image_file(name) && unlisted++ == 0) {
        example = name;
      }
    }
    if (unlisted > 0) notes.push_back(unlisted_note(folder, unlisted, example, problems));
  }
  dataset.layout = any ? Layout::described : Layout::none;
  find_image_size(dataset, problems);
}

}  // namespace mono
