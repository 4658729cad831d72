#include "train/data/tree.h"

#include "kernels/base/error.h"
#include "train/data/csv.h"
#include "train/data/image_file.h"

#include <algorithm>
#include <map>
#include <string_view>
#include <tuple>

namespace mono {
namespace {

namespace fs = std::filesystem;

// "B02_s1_w3.png" or, in WILDS, "B02_s1.png" (channel 0).
struct FileName {
  std::string well;
  int site = 0, channel = 0;
};

bool parse_file_name(std::string_view name, FileName& file) {
  if (!name.ends_with(".png")) return false;
  name.remove_suffix(4);
  const size_t s = name.find("_s");
  if (s == name.npos || s == 0) return false;
  file.well = std::string(name.substr(0, s));
  std::string_view site = name.substr(s + 2), channel;
  if (const size_t w = site.find("_w"); w != site.npos) {
    channel = site.substr(w + 2);
    site = site.substr(0, w);
    if (!parse_int(channel, file.channel) || channel[0] == '-') return false;
    if (file.channel == 0) file.channel = 256;  // "_w0" is a channel, and no valid one
  } else {
    file.channel = 0;
  }
  return parse_int(site, file.site) && site[0] != '-';
}

class Scanner {
 public:
  Scanner(Dataset& dataset, std::vector<Problem>& problems, std::vector<std::string>& notes)
      : dataset_(dataset), problems_(problems), notes_(notes) {}

  void scan() {
    for (size_t i = 0; i < dataset_.sites.size(); ++i) {
      const Site& s = dataset_.sites[i];
      site_at_[{s.experiment, s.plate, s.well, s.site}] = static_cast<int>(i);
    }
    find_layout();
    for (size_t e = 0; e < dataset_.experiments.size(); ++e) scan_experiment(static_cast<int>(e));
    if (rgb_ > 0 && grey_ > 0)
      problem(
          "mixed", dataset_.experiment_dirs[0],
          fmt::format("{} images are named WELL_sS.png as in RxRx1-WILDS and {} WELL_sS_wC.png; "
                      "keep one kind",
                      rgb_, grey_));
    dataset_.rgb = rgb_ > grey_;
    dataset_.channels_on_disk = dataset_.rgb ? 3 : kRxrxChannels;
    if (dataset_.rgb) dataset_.form = TableForm::wilds;
    settle_presence();
    find_image_size(dataset_, problems_);
    find_strangers();
  }

 private:
  bool is_folder(const std::string& relative) const {
    std::error_code error;
    return fs::is_directory(dataset_.root / relative, error);
  }

  void find_layout() {
    const auto& names = dataset_.experiments;
    const auto any = [&](const char* prefix) {
      return std::any_of(names.begin(), names.end(),
                         [&](const std::string& name) { return is_folder(prefix + name); });
    };
    Dataset& d = dataset_;
    d.layout = any("images/")                  ? Layout::images
               : any("train/") || any("test/") ? Layout::train_test
               : any("")                       ? Layout::flat
                                               : Layout::none;
    d.experiment_dirs.assign(names.size(), "");
    for (size_t e = 0; e < names.size(); ++e) {
      if (d.layout == Layout::images && is_folder("images/" + names[e]))
        d.experiment_dirs[e] = "images/" + names[e];
      if (d.layout == Layout::flat && is_folder(names[e])) d.experiment_dirs[e] = names[e];
      if (d.layout == Layout::train_test) d.experiment_dirs[e] = kaggle_folder(names[e]);
    }
  }

  // Kaggle: the folder train/ or test/ is looked for in both places.
  std::string kaggle_folder(const std::string& experiment) {
    const std::string train = "train/" + experiment, test = "test/" + experiment;
    const bool in_train = is_folder(train), in_test = is_folder(test);
    if (in_train && in_test)
      problem("duplicate", test, fmt::format("the experiment is also at {}; keep one", train));
    return in_train ? train : in_test ? test : "";
  }

  void scan_experiment(int experiment) {
    const std::string& dir = dataset_.experiment_dirs[static_cast<size_t>(experiment)];
    if (dir.empty()) return;
    int unlisted = 0;
    std::string example;
    for (const std::string& plate_dir : list(dir)) {
      int plate = 0;
      if (!plate_dir.starts_with("Plate") || !parse_int(plate_dir.substr(5), plate)) continue;
      const std::string folder = dir + "/" + plate_dir;
      if (plate < 1 || plate > kRxrxDesign.plates) {
        problem("mislabelled", folder,
                fmt::format("plates are numbered 1 to {}; rename the folder", kRxrxDesign.plates));
        continue;
      }
      for (const std::string& name : list(folder)) {
        FileName file;
        if (!parse_file_name(name, file)) continue;
        const std::string path = folder + "/" + name;
        if (file.site < 1 || file.site > kRxrxDesign.sites || file.channel > kRxrxChannels) {
          problem(
              "mislabelled", path,
              fmt::format("no site or channel has this number (sites 1 to {}, channels 1 to {}); "
                          "rename the file",
                          kRxrxDesign.sites, kRxrxChannels));
          continue;
        }
        const auto it = site_at_.find({experiment, plate, file.well, file.site});
        if (it == site_at_.end()) {
          ++unlisted;
          if (example.empty()) example = path;
          continue;
        }
        (file.channel == 0 ? rgb_ : grey_) += 1;
        // Bit 7 marks an RGB file until it is known which kind the screen is of.
        dataset_.sites[static_cast<size_t>(it->second)].channels_present |=
            static_cast<uint8_t>(1u << (file.channel == 0 ? 7 : file.channel - 1));
      }
    }
    if (unlisted > 0) notes_.push_back(unlisted_note(dir, unlisted, example, problems_));
  }

  void settle_presence() {
    for (Site& site : dataset_.sites) {
      const bool rgb = (site.channels_present & 0x80) != 0;
      if (dataset_.rgb)
        site.channels_present = rgb ? 0x7 : 0;
      else
        site.channels_present &= 0x3F;
    }
  }

  // Experiment folders that the table does not know.
  void find_strangers() {
    std::vector<std::string> parents;
    if (dataset_.layout == Layout::images) parents = {"images"};
    if (dataset_.layout == Layout::train_test) parents = {"train", "test"};
    for (const std::string& parent : parents)
      for (const std::string& name : list(parent)) {
        if (!is_folder(parent + "/" + name) ||
            std::binary_search(dataset_.experiments.begin(), dataset_.experiments.end(), name))
          continue;
        notes_.push_back(
            fmt::format("{}/{}: the table has no experiment of this name; its images are "
                        "not used",
                        parent, name));
      }
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
  std::map<std::tuple<int, int, std::string, int>, int> site_at_;
  int64_t rgb_ = 0, grey_ = 0;
};

}  // namespace

std::string unlisted_note(const std::string& folder, int images, const std::string& example,
                          const std::vector<Problem>& problems) {
  const bool faults =
      std::any_of(problems.begin(), problems.end(), [](const Problem& p) { return p.row > 0; });
  return fmt::format("{}: {} no row in the table{} and {} not used, e.g. {}",
                     folder.empty() ? "." : folder,
                     images == 1 ? "1 image has" : fmt::format("{} images have", images),
                     faults ? " (or one with a problem)" : "", images == 1 ? "is" : "are", example);
}

std::vector<std::string> sorted_names(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
    names.push_back(it->path().filename().string());
  // One that is not there is one of images that were not acquired.
  if (error && error != std::errc::no_such_file_or_directory && error != std::errc::not_a_directory)
    fail(ErrorKind::data, "{}: cannot be read: {}; without it its images would count as absent",
         folder.string(), error.message());
  std::sort(names.begin(), names.end());
  return names;
}

void find_image_size(Dataset& dataset, std::vector<Problem>& problems) {
  std::vector<size_t> present;
  for (size_t i = 0; i < dataset.sites.size(); ++i)
    if (dataset.sites[i].channels_present != 0) present.push_back(i);
  constexpr size_t kProbes = 25;
  std::map<std::pair<int, int>, int> votes;
  const size_t probes = std::min(kProbes, present.size());
  std::string example;
  for (size_t k = 0; k < probes; ++k) {
    const Site& site = dataset.sites[present[k * present.size() / probes]];
    const int channel = __builtin_ctz(site.channels_present);
    example = dataset.file_of(site, channel);
    try {
      const PngInfo info = image_header(dataset.path_of(site, channel), "");
      ++votes[{info.width, info.height}];
    } catch (const PngError&) {
      continue;  // the check will name it
    }
  }
  const auto most = std::max_element(
      votes.begin(), votes.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  if (most == votes.end()) return;
  const auto [width, height] = most->first;
  if (width != height)
    problems.push_back(
        {"size", example, 0,
         fmt::format("{}: the images are {} x {} pixels; square ones are needed (rotations by 90 "
                     "degrees are part of training): crop them",
                     example, width, height)});
  dataset.image_size = width;
}

void scan_tree(Dataset& dataset, std::vector<Problem>& problems, std::vector<std::string>& notes) {
  Scanner(dataset, problems, notes).scan();
}

}  // namespace mono
