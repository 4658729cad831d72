// A screen on disk: its table of sites and its tree of image files, checked and in memory.
//
// A site is one field of view: six grey PNGs (or one RGB PNG in RxRx1-WILDS). Trees that are
// recognised below the root, P = 1..4, WELL = B02..O23, S = 1..2, C = 1..6:
//   images/EXP/PlateP/WELL_sS_wC.png            rxrx.ai v3      (metadata.csv or rxrx1.csv)
//   {train,test}/EXP/PlateP/WELL_sS_wC.png      Kaggle          (train.csv, test.csv,
//   *_controls.csv) EXP/PlateP/WELL_sS_wC.png                   flat            (any of the tables)
//   images/EXP/PlateP/WELL_sS.png               RxRx1-WILDS     (metadata.csv), RGB
// Opening lists the folders of the plates once and opens a few images; it reads no pixels.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace mono {

// The plate design of RxRx1: what a table may say.
inline constexpr int kMaxPlate = 4;
inline constexpr int kMaxSite = 2;
inline constexpr int kRxrxTreatments = 1108;  // class ids 0..1107
inline constexpr int kRxrxClasses = 1139;     // 1108..1137 positive controls, 1138 EMPTY
inline constexpr int kRxrxChannels = 6;

enum class WellType : uint8_t { treatment, positive_control, negative_control };
enum class Layout : uint8_t { images, train_test, flat, none };  // none: a table without images
enum class TableForm : uint8_t { rxrx, kaggle, kaggle_names, wilds };

const char* name_of(WellType type);
const char* name_of(Layout layout);
const char* name_of(TableForm form);

struct Site {
  std::string site_id;  // "HEPG2-08_1_B02_1"
  int experiment = 0;   // index into Dataset::experiments
  int plate = 1;        // 1..4
  std::string well;     // "B02"
  int site = 1;         // 1..2
  WellType well_type = WellType::treatment;
  std::string sirna;     // name as in the table; empty if unknown
  int sirna_id = -1;     // class, 0..num_classes-1; -1 if unknown (unlabelled test wells)
  bool in_test = false;  // column `dataset` is test (or WILDS's val: the paper counts it as test)
  bool in_validation = false;    // WILDS's val
  std::string cell_type;         // "HEPG2"
  int table = 0;                 // index into Dataset::tables
  int row = 0;                   // line in that table, from 1, for messages
  uint8_t channels_present = 0;  // bit c: the file of channel c exists
  bool is_control() const { return well_type != WellType::treatment; }
};

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
  std::vector<Site> sites;                   // sorted by site_id
  int num_classes = 0;                       // largest sirna_id + 1
  int channels_on_disk = kRxrxChannels;      // 6, or 3 in RxRx1-WILDS
  int image_size = 0;                        // H = W in pixels; 0 without images

  // True if all channels of the site are on disk.
  bool complete(int site) const {
    return sites[static_cast<size_t>(site)].channels_present == (1u << channels_on_disk) - 1;
  }
  // The file that holds `channel` (from 0), absolute or relative as root is. In WILDS all three
  // channels of a site name one file.
  std::filesystem::path path_of(const Site& site, int channel) const;
  // The same, relative to root, as messages and reports print it.
  std::string file_of(const Site& site, int channel) const;
};

// Opens the screen at `path`; throws Error(data) with the first problem of the tables and the count
// of the others. Missing or damaged images are not errors here: see complete() and `data check`.
Dataset open_dataset(const std::filesystem::path& path);

// The same, but collects the problems of tables and tree instead of throwing at the first one, and
// notes on what is unusual but not wrong. Rows with a problem are left out. Throws only when
// nothing can be opened at all.
Dataset open_dataset(const std::filesystem::path& path, std::vector<Problem>& problems,
                     std::vector<std::string>& notes);

}  // namespace mono
