// A screen on disk: its table of sites and its tree of image files, checked and in memory.
//
// A site is one field of view: a grey image per channel (or one RGB PNG in RxRx1-WILDS). Trees of
// RxRx1 that are recognised below the root, P = 1..4, WELL = B02..O23, S = 1..2, C = 1..6:
//   images/EXP/PlateP/WELL_sS_wC.png        rxrx.ai v3    (metadata.csv or rxrx1.csv)
//   {train,test}/EXP/PlateP/WELL_sS_wC.png  Kaggle        ({train,test}[_controls].csv)
//   EXP/PlateP/WELL_sS_wC.png               flat          (any of the tables)
//   images/EXP/PlateP/WELL_sS.png           RxRx1-WILDS   (metadata.csv), RGB
// and of CPG0004-LINCS, R = 01..16, C = 01..24 (wells A01..P24), F = 01..09, K = 1..5:
//   [up to 4 folders/]PLATE/rRRcCCfFFp01-chKsk1fk1fl1.png                   8-bit, published
//   [up to 4 folders/]PLATE__*-Measurement*/Images/rRRcCCfFFp01-chK...tiff   16-bit, raw
// A screen of one's own is described by a screen.toml (screen_file.h), file names included.
// A plate of CPG0004 is an experiment here, the domain whose effect is to be removed: experiment =
// barcode, plate = 1, site = field, cell type A549, sirna = COMPOUND@DOSE. Its tables: metadata.h.
// Opening lists the folders of the plates once and opens a few images; it reads no pixels.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace mono {

inline constexpr int kRxrxTreatments = 1108;  // class ids 0..1107
inline constexpr int kRxrxClasses = 1139;     // 1108..1137 positive controls, 1138 EMPTY
inline constexpr int kRxrxChannels = 6;

enum class WellType : uint8_t { treatment, positive_control, negative_control };
enum class Layout : uint8_t {
  images,
  train_test,
  flat,
  cpg0004,
  described,  // by screen.toml
  none        // only a table
};
enum class TableForm : uint8_t {
  rxrx,
  kaggle,
  kaggle_names,
  wilds,
  cpg_metadata,   // CPG0004: our own metadata.csv
  cpg_index,      // enriched_index.csv or sub_index.csv of the gallery
  cpg_platemaps,  // barcode_platemap.csv, the plate maps, the table of MoAs (lincs-cell-painting)
  described       // screen.toml and the table that it names
};

// What a table and a tree may say. Class ids of CPG0004 follow from its names, so `classes` only
// bounds them.
struct PlateDesign {
  int plates, sites;  // numbered from 1
  int classes, channels;
  char first_row, last_row;
  int first_column, last_column;
};
inline constexpr PlateDesign kRxrxDesign{4, 2, kRxrxClasses, kRxrxChannels, 'B', 'O', 2, 23};
inline constexpr PlateDesign kCpgDesign{1, 9, 100000, 5, 'A', 'P', 1, 24};
inline bool is_cpg0004(TableForm form) {
  return form >= TableForm::cpg_metadata && form <= TableForm::cpg_platemaps;
}

// How a channel is shown to people.
struct ChannelDisplay {
  std::string name;
  std::array<int, 3> colour{};  // at full intensity
  int high = 255;               // the count that reaches it
};

const char* name_of(WellType type);
const char* name_of(Layout layout);
const char* name_of(TableForm form);

struct Site {
  std::string site_id;  // "HEPG2-08_1_B02_1"
  int experiment = 0;   // index into Dataset::experiments
  int plate = 1;        // of the experiment, from 1: 1..4; 1 in CPG0004
  std::string well;     // "B02"
  int site = 1;         // 1..2; 1..9 in CPG0004
  WellType well_type = WellType::treatment;
  std::string sirna;     // name as in the table; empty if unknown
  int sirna_id = -1;     // class, 0..num_classes-1; -1 if unknown (unlabelled test wells)
  bool in_test = false;  // column `dataset` is test (or WILDS's val: the paper counts it as test)
  bool in_validation = false;      // WILDS's val; CPG0004: replicate 4 (and 4, 5 are in_test)
  std::string cell_type;           // "HEPG2"
  int table = 0;                   // index into Dataset::tables
  int row = 0;                     // line in that table, from 1, for messages
  uint8_t channels_present = 0;    // bit c: the file of channel c exists
  std::vector<std::string> files;  // [channel], relative to the root; screen.toml only
  // CPG0004 only (moa: also screen.toml); indices into Dataset::compounds, moas, plate_maps.
  int compound = -1;
  int moa = -1;
  int plate_map = -1;
  float dose = 0;      // uM; 0 for DMSO
  int dose_level = 0;  // 1..7, the nearest of kDoseLevels; 0 for DMSO
  int replicate = 0;   // 1..5: which of its plate map's plates this is
  bool is_control() const { return well_type != WellType::treatment; }
};

// The doses of CPG0004 in uM; level l is kDoseLevels[l - 1].
inline constexpr float kDoseLevels[] = {0.04f, 0.12f, 0.37f, 1.11f, 3.33f, 10.0f, 20.0f};
inline constexpr int kMaxReplicate = 5;
inline constexpr const char* kDmso = "DMSO";      // compound and siRNA of the untreated; class 0
inline constexpr const char* kNoMoa = "unknown";  // mechanism of DMSO, and where none is annotated

// Something wrong with a screen. `row` is the line in a table, 0 for images.
struct Problem {
  std::string kind;  // "missing", "damaged", "size", "duplicate-site", "column", ...
  std::string file;  // relative to the root
  int row = 0;
  std::string message;  // complete: names file, row, reason and remedy
};

struct Dataset {
  std::filesystem::path root;
  Layout layout = Layout::none;
  TableForm form = TableForm::rxrx;
  std::vector<std::string> tables;           // relative to the root
  std::vector<std::string> experiments;      // sorted; index = batch label
  std::vector<std::string> experiment_dirs;  // relative to the root; empty if there is none
  std::vector<std::string> cell_types;       // sorted
  std::vector<int> cell_type_of;             // [experiment] -> index into cell_types
  std::vector<std::string> class_names;      // [sirna_id] -> name; empty where no row tells
  std::vector<std::string> compounds;        // CPG0004, sorted: broad_sample or DMSO
  std::vector<std::string> moas;             // sorted: mechanisms of action, where tables tell
  std::vector<std::string> plate_maps;       // CPG0004, sorted
  std::vector<Site> sites;                   // sorted by site_id
  int num_classes = 0;                       // largest sirna_id + 1
  int channels_on_disk = kRxrxChannels;      // 6; 3 in RxRx1-WILDS, 5 in CPG0004, 1..8 of one's own
  bool rgb = false;                          // RxRx1-WILDS: one RGB file holds the three channels
  int tiff_white = 16384;                    // the count of a 16-bit TIFF that becomes 255
  std::vector<ChannelDisplay> channels;      // screen.toml only; else see channel_displays()
  std::vector<std::vector<std::string>> plate_names;  // [experiment][plate - 1]; screen.toml only
  std::string extension = ".png";  // of the images; CPG0004: .tiff, .tif where raw
  int image_size = 0;              // H = W in pixels; 0 without images

  // True if all channels of the site are on disk.
  bool complete(int site) const {
    return sites[static_cast<size_t>(site)].channels_present == (1u << channels_on_disk) - 1;
  }
  // Files that an image of the site consists of.
  int files_per_site() const { return rgb ? 1 : channels_on_disk; }
  // "2", or the table's own name.
  std::string plate_name(int experiment, int plate) const;
  // The file that holds `channel` (from 0), absolute or relative as root is. In WILDS all three
  // channels of a site name one file.
  std::filesystem::path path_of(const Site& site, int channel) const;
  // The same, relative to root, as messages and reports print it.
  std::string file_of(const Site& site, int channel) const;
};

// Names, colours and ranges of all channels on disk.
std::vector<ChannelDisplay> channel_displays(const Dataset& dataset);

// "expected are ...": which files the screen's images should be, for messages.
std::string expected_files(const Dataset& dataset);

// Opens the screen at `path`; throws Error(data) with the first problem of the tables and the count
// of the others. Missing or damaged images are not errors here: see complete() and `data check`.
Dataset open_dataset(const std::filesystem::path& path);

// The same, but collects the problems of tables and tree instead of throwing at the first one, and
// notes on what is unusual but not wrong. Rows with a problem are left out. Throws only when
// nothing can be opened at all.
Dataset open_dataset(const std::filesystem::path& path, std::vector<Problem>& problems,
                     std::vector<std::string>& notes);

}  // namespace mono
