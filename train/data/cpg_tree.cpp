#include <algorithm>
#include <array>
#include <map>
#include <string_view>

#include "kernels/base/error.h"
#include "train/data/csv.h"
#include "train/data/tree.h"

namespace mono {
namespace {

namespace fs = std::filesystem;

constexpr int kDepth = 5;  // of a plate's folder below the root, itself included
constexpr std::array<const char*, 3> kExtensions = {".png", ".tiff", ".tif"};
constexpr int kRows = 16, kColumns = 24;

// "r01c13f09p01-ch5sk1fk1fl1.png": plane, sequence and camera numbers are 1 throughout.
struct FileName {
  int row = 0, column = 0, field = 0, channel = 0, extension = -1;
};

bool parse_file_name(std::string_view name, FileName& file) {
  for (size_t e = 0; e < kExtensions.size(); ++e)
    if (name.ends_with(kExtensions[e])) file.extension = static_cast<int>(e);
  const size_t end = name.find('.');
  if (file.extension < 0 || end != 25) return false;
  const auto number = [&](size_t at, size_t digits, int& value) {
    return parse_int(name.substr(at, digits), value) && value >= 0;
  };
  return name[0] == 'r' && name[3] == 'c' && name[6] == 'f' && name.substr(9, 6) == "p01-ch" &&
         name.substr(16, end - 16) == "sk1fk1fl1" && number(1, 2, file.row) &&
         number(4, 2, file.column) && number(7, 2, file.field) && number(15, 1, file.channel);
}

class Scanner {
 public:
  Scanner(Dataset& dataset, std::vector<Problem>& problems, std::vector<std::string>& notes)
      : dataset_(dataset), problems_(problems), notes_(notes) {}

  void scan() {
    Dataset& d = dataset_;
    d.experiment_dirs.assign(d.experiments.size(), "");
    d.channels_on_disk = kCpgDesign.channels;
    find_folders("", 1);
    number_sites();
    for (auto& bits : present_) bits.assign(d.sites.size(), 0);
    for (size_t e = 0; e < d.experiments.size(); ++e) scan_plate(static_cast<int>(e));
    const size_t most =
        static_cast<size_t>(std::max_element(files_.begin(), files_.end()) - files_.begin());
    d.extension = kExtensions[most];
    d.layout = files_[most] > 0 ? Layout::cpg0004 : Layout::none;
    for (size_t other = 0; other < files_.size(); ++other)
      if (other != most && files_[other] > 0)
        problem(
            "mixed", ".",
            fmt::format("{} images are {} and {} are {}, which are scaled differently; keep one "
                        "kind (another folder as --data for the other)",
                        files_[most], kExtensions[most], files_[other], kExtensions[other]));
    for (size_t i = 0; i < d.sites.size(); ++i) d.sites[i].channels_present = present_[most][i];
    find_image_size(d, problems_);
  }

 private:
  // Folders named after a plate of the table, in all folders below `relative` but those of plates.
  void find_folders(const std::string& relative, int depth) {
    int strange_images = 0;
    FileName file;
    for (const std::string& name : list(relative)) {
      if (name.front() == '.') continue;
      const std::string path = relative.empty() ? name : relative + "/" + name;
      if (parse_file_name(name, file)) {
        ++strange_images;
        continue;
      }
      if (!is_folder(path)) continue;
      const std::string barcode = name.substr(0, name.find("__"));
      const auto& plates = dataset_.experiments;
      const auto at = std::lower_bound(plates.begin(), plates.end(), barcode);
      if (at != plates.end() && *at == barcode)
        add_folder(static_cast<size_t>(at - plates.begin()), path);
      else if (depth < kDepth)
        find_folders(path, depth + 1);
    }
    if (strange_images > 0)
      notes_.push_back(
          fmt::format("{}: {} images of a plate that the table does not have; they are "
                      "not used",
                      relative.empty() ? "." : relative, strange_images));
  }

  void add_folder(size_t plate, const std::string& path) {
    const std::string folder = is_folder(path + "/Images") ? path + "/Images" : path;
    std::string& dir = dataset_.experiment_dirs[plate];
    if (dir.empty())
      dir = folder;
    else
      problem("duplicate", folder,
              fmt::format("the plate is also at {}; keep one, or give the folder above one of them "
                          "as --data",
                          dir));
  }

  // site_at_[experiment][(row, column, field)] -> site, -1.
  void number_sites() {
    site_at_.assign(dataset_.experiments.size(), {});
    for (size_t i = 0; i < dataset_.sites.size(); ++i) {
      const Site& s = dataset_.sites[i];
      auto& at = site_at_[static_cast<size_t>(s.experiment)];
      if (at.empty()) at.assign(kRows * kColumns * kCpgDesign.sites, -1);
      int column = 0;
      parse_int(std::string_view(s.well).substr(1), column);
      at[index(s.well[0] - 'A' + 1, column, s.site)] = static_cast<int>(i);
    }
  }

  static size_t index(int row, int column, int field) {
    return static_cast<size_t>(((row - 1) * kColumns + column - 1) * kCpgDesign.sites + field - 1);
  }

  void scan_plate(int experiment) {
    const std::string& dir = dataset_.experiment_dirs[static_cast<size_t>(experiment)];
    if (dir.empty()) return;
    int unlisted = 0;
    std::string example;
    for (const std::string& name : list(dir)) {
      FileName file;
      if (!parse_file_name(name, file)) continue;
      const std::string path = dir + "/" + name;
      if (file.row < 1 || file.row > kRows || file.column < 1 || file.column > kColumns ||
          file.field < 1 || file.field > kCpgDesign.sites || file.channel < 1 ||
          file.channel > kCpgDesign.channels) {
        problem("mislabelled", path,
                fmt::format("no well, field or channel has this number (rows 1 to {}, columns 1 to "
                            "{}, fields 1 to {}, channels 1 to {}); rename the file",
                            kRows, kColumns, kCpgDesign.sites, kCpgDesign.channels));
        continue;
      }
      const auto& sites = site_at_[static_cast<size_t>(experiment)];
      const int site = sites.empty() ? -1 : sites[index(file.row, file.column, file.field)];
      if (site < 0) {
        if (unlisted++ == 0) example = path;
        continue;
      }
      const auto extension = static_cast<size_t>(file.extension);
      ++files_[extension];
      present_[extension][static_cast<size_t>(site)] |=
          static_cast<uint8_t>(1u << (file.channel - 1));
    }
    if (unlisted > 0) notes_.push_back(unlisted_note(dir, unlisted, example, problems_));
  }

  bool is_folder(const std::string& relative) const {
    std::error_code error;
    return fs::is_directory(dataset_.root / relative, error);
  }

  std::vector<std::string> list(const std::string& relative) const {
    return sorted_names(dataset_.root / relative);
  }

  void problem(const char* kind, const std::string& file, const std::string& message) {
    problems_.push_back({kind, file, 0, fmt::format("{}: {}", file, message)});
  }

  Dataset& dataset_;
  std::vector<Problem>& problems_;
  std::vector<std::string>& notes_;
  std::vector<std::vector<int>> site_at_;
  std::array<std::vector<uint8_t>, kExtensions.size()> present_;
  std::array<int64_t, kExtensions.size()> files_{};
};

}  // namespace

void scan_cpg_tree(Dataset& dataset, std::vector<Problem>& problems,
                   std::vector<std::string>& notes) {
  Scanner(dataset, problems, notes).scan();
}

}  // namespace mono
